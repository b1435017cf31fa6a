/*-------------------------------------------------------------------------
 *
 * candidates.c
 *	  The ids of the jobs in a state, in descending order.
 *
 * The map of jobs (base/jobmap.h) names ranges of 256 ids. Where one job in a range has
 * failed, a listing of failed jobs would read 256 rows for it; and until the map has
 * been made, after a start of the server, it would read all rows. But a job in any state but
 * succeeded and deleted stands in a small table, too (store/instate.c). So a listing of
 * the jobs in one such state reads only the rows of these, by their ids:
 *	 - where the small table has an index on the id, along that, however large it is;
 *	 - otherwise from a sorted copy, if the table is small.
 *
 * Candidates never lack a job that the snapshot shows in the state; they may have others,
 * so the caller compares each row. There are none after a restore, until bgjob_adopt(), and
 * none for other states, for several, or for a large table without such an index.
 *
 * Runs in the session that lists jobs. No predicate locks are taken. Locks: AccessShareLock
 * on the tables and indexes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "store/candidates.h"
#include "store/instate.h"
#include "store/relation.h"
#include "store/sidetables.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/* A table with more blocks is not copied: some 7,000 jobs, which takes a millisecond. */
#define BLOCKS_AT_MOST 64

/* So many dead rows are passed over to find the next candidate; where there are more, the map tells where to look. */
#define DEAD_AT_MOST 1000

/* Tables with an index on the id, which is their first column. */
static const struct
{
	BgjobState state;
	BgjobTable table;
	const char *index;
} indexed[] = {
	{BGJOB_FAILED, BGJOB_TABLE_FAILURE, "failure_pkey"},
	{BGJOB_AWAITING, BGJOB_TABLE_AWAITING, "awaiting_pkey"},
};

struct BgjobCandidates
{
	/* along an index; NULL: a copy */
	BgjobRel *rel;
	Relation index;
	IndexScanDesc scan;
	Snapshot snapshot;

	/* the copy, ascending */
	BgjobIds ids;
	int next; /* -1: there are no more */
	int64 lowest;
};

/* ---- copies ---- */

static int
compare_ids(const void *left, const void *right)
{
	int64 a = DatumGetInt64(*(const Datum *) left);
	int64 b = DatumGetInt64(*(const Datum *) right);

	return a < b ? -1 : a > b;
}

/* Returns whether the reader of a listing sees the jobs of a role; a BgjobSees. */
static bool
is_seen(Oid role, void *filter)
{
	return ((const BgjobListFilter *) filter)->sees(role);
}

/* Copies the ids of the jobs in a state. False: they may be many. */
static bool
copy_ids(BgjobCandidates *candidates, const BgjobListFilter *filter, BgjobState state,
		 Snapshot snapshot)
{
	BgjobIds *ids = &candidates->ids;

	bgjob_ids_init(ids);
	if (!bgjob_ids_if_few(ids, state, BLOCKS_AT_MOST, snapshot, is_seen,
						  unconstify(BgjobListFilter *, filter)))
		return false;
	for (int i = 0; state == BGJOB_PROCESSING && i < filter->nrunning; i++)
		bgjob_ids_add(ids, filter->running[i]);
	qsort(ids->ids, ids->n, sizeof(Datum), compare_ids);
	return true;
}

/* Returns the place of the highest id up to "highest", -1 if there is none. */
static int
place_of(const BgjobIds *ids, int64 highest)
{
	int low = 0;
	int high = ids->n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (DatumGetInt64(ids->ids[middle]) <= highest)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

/* Returns the next id of a copy, which may have an id twice. */
static int64
next_copied(BgjobCandidates *candidates)
{
	const Datum *ids = candidates->ids.ids;
	int64 id;

	if (candidates->next < 0 || DatumGetInt64(ids[candidates->next]) < candidates->lowest)
		return -1;
	id = DatumGetInt64(ids[candidates->next]);
	while (candidates->next >= 0 && DatumGetInt64(ids[candidates->next]) == id)
		candidates->next--;
	return id;
}

/* ---- indexes ---- */

static void
open_index(BgjobCandidates *candidates, BgjobTable table, const char *index, Snapshot snapshot)
{
	candidates->rel = bgjob_rel_open_read(table);
	candidates->index = index_open(bgjob_relation_oid(index), AccessShareLock);
	candidates->snapshot = snapshot;
	candidates->scan = bgjob_index_beginscan(candidates->rel->rel, candidates->index,
											 bgjob_scan_snapshot(snapshot), 2);
}

/* Returns the next id of an index, whose rows are never updated. BGJOB_CANDIDATE_UNKNOWN: before it are "most" rows that the snapshot does not show. */
static int64
next_indexed(BgjobCandidates *candidates, int most)
{
	TupleTableSlot *slot = candidates->rel->slot;
	int dead = 0;
	bool isnull;

	while (index_getnext_tid(candidates->scan, BackwardScanDirection) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (index_fetch_heap(candidates->scan, slot) &&
			bgjob_scan_sees(candidates->rel, candidates->scan, candidates->snapshot))
			return DatumGetInt64(slot_getattr(slot, 1, &isnull));
		if (++dead == most)
			return BGJOB_CANDIDATE_UNKNOWN;
	}
	return -1;
}

/* ---- the interface ---- */

/*
 * bgjob_candidates_begin prepares the candidates of a filter, of which a snapshot shows the
 * tables. NULL: there are none.
 */
BgjobCandidates *
bgjob_candidates_begin(const BgjobListFilter *filter, Snapshot snapshot)
{
	BgjobCandidates *candidates = palloc0(sizeof(BgjobCandidates));

	for (int i = 0; i < lengthof(indexed); i++)
		if (filter->states == BGJOB_STATE_BIT(indexed[i].state))
		{
			if (bgjob_restored_at(snapshot))
				return NULL;
			open_index(candidates, indexed[i].table, indexed[i].index, snapshot);
			return candidates;
		}
	for (BgjobState state = 0; state < BGJOB_NSTATES; state++)
		if (filter->states == BGJOB_STATE_BIT(state) && bgjob_state_is_listed(state) &&
			copy_ids(candidates, filter, state, snapshot))
			return candidates;
	return NULL;
}

/* bgjob_candidates_seek goes to the highest candidate that is not above "highest"; none is below "lowest". */
void
bgjob_candidates_seek(BgjobCandidates *candidates, int64 lowest, int64 highest)
{
	ScanKeyData keys[2];

	if (candidates->scan == NULL)
	{
		candidates->lowest = lowest;
		candidates->next = place_of(&candidates->ids, highest);
		return;
	}
	bgjob_key(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(lowest));
	bgjob_key(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(highest));
	index_rescan(candidates->scan, keys, 2, NULL, 0);
}

/* bgjob_candidates_next returns the id of the next candidate, each lower than the one before; -1: there are no more. */
int64
bgjob_candidates_next(BgjobCandidates *candidates)
{
	return candidates->scan != NULL ? next_indexed(candidates, PG_INT32_MAX)
									: next_copied(candidates);
}

/*
 * bgjob_candidates_highest returns the highest candidate up to an id; -1: there is none;
 * BGJOB_CANDIDATE_UNKNOWN: it is behind many dead rows, as a held snapshot keeps them. It seeks.
 */
int64
bgjob_candidates_highest(BgjobCandidates *candidates, int64 up_to)
{
	bgjob_candidates_seek(candidates, 0, up_to);
	return candidates->scan != NULL ? next_indexed(candidates, DEAD_AT_MOST)
									: next_copied(candidates);
}

/* bgjob_candidates_end closes what the candidates are read from. */
void
bgjob_candidates_end(BgjobCandidates *candidates)
{
	if (candidates->scan == NULL)
		return;
	ExecClearTuple(candidates->rel->slot);
	index_endscan(candidates->scan);
	index_close(candidates->index, AccessShareLock);
	bgjob_rel_close(candidates->rel);
}
