/*-------------------------------------------------------------------------
 *
 * instate.c
 *	  The ids of the jobs in a state, without reading all jobs.
 *
 * A job in any state but succeeded and deleted stands in a small table besides its
 * own row (store/place.h). These tables say which jobs are in such a state, at the
 * cost of those jobs. After a restore they may lack jobs that are held back
 * until bgjob_adopt(); then the table of all jobs is read instead.
 *
 * The list may have jobs that are in another state; it never lacks one that
 * the snapshot of the query shows in the state. The caller reads the row of each.
 * That a job is processing is known from the slot of its worker, which the caller
 * adds: it is read at one moment, and the view reads it at another.
 * Rows that a superuser has edited by UPDATE are not where they should be.
 *
 * Runs in a session that reads bgjob.jobs (api/viewplan.c) or lists jobs
 * (store/candidates.c), with the snapshot of its query. Locks: AccessShareLock on
 * the tables while they are read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store/instate.h"
#include "store/jobrow.h"
#include "store/relation.h"
#include "store/sidetables.h"
#include "utils/snapmgr.h"

/*
 * The tables in which the jobs of a state stand, and their columns for the job's id, the
 * id where that is null, and the role (0: none).
 */
typedef struct StateList
{
	BgjobState state;
	BgjobTable table;
	AttrNumber job;
	AttrNumber else_job;
	AttrNumber role;
} StateList;

static const StateList lists[] = {
	{BGJOB_ENQUEUED, BGJOB_TABLE_QUEUE, 5, 2, 3},
	{BGJOB_ENQUEUED, BGJOB_TABLE_GATE, 3, 0, 0},
	{BGJOB_SCHEDULED, BGJOB_TABLE_SCHEDULE, 2, 0, 3},
	{BGJOB_AWAITING, BGJOB_TABLE_AWAITING, 1, 0, 2},
	{BGJOB_PROCESSING, BGJOB_TABLE_CLAIM, 1, 0, 0},
	{BGJOB_FAILED, BGJOB_TABLE_FAILURE, 1, 0, 2},
};

/* bgjob_state_is_listed returns whether the ids of the jobs in a state can be listed without reading all jobs. */
bool
bgjob_state_is_listed(BgjobState state)
{
	for (int i = 0; i < lengthof(lists); i++)
		if (lists[i].state == state)
			return true;
	return false;
}

/* bgjob_ids_init makes an empty list, in the current memory context. */
void
bgjob_ids_init(BgjobIds *ids)
{
	ids->max = 64;
	ids->n = 0;
	ids->ids = palloc(ids->max * sizeof(Datum));
}

/* bgjob_ids_add adds an id to a list. */
void
bgjob_ids_add(BgjobIds *ids, int64 id)
{
	if (ids->n == ids->max)
	{
		ids->max *= 2;
		ids->ids = repalloc_huge(ids->ids, ids->max * sizeof(Datum));
	}
	ids->ids[ids->n++] = Int64GetDatum(id);
}

/* Returns a column of a row as an id; the second column where the first is null. */
static int64
id_in(TupleTableSlot *slot, AttrNumber column, AttrNumber otherwise)
{
	bool isnull;
	Datum id = slot_getattr(slot, column, &isnull);

	return DatumGetInt64(isnull ? slot_getattr(slot, otherwise, &isnull) : id);
}

/* Adds the jobs that stand in a table, by the rows that "snapshot" shows. "with" is the snapshot of the scan: that, or one with more rows. */
static void
add_listed(BgjobIds *ids, const StateList *list, BgjobRel *rel, Snapshot with,
		   Snapshot snapshot, BgjobSees sees, void *arg)
{
	TableScanDesc scan = table_beginscan(rel->rel, with, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (with != snapshot && !table_tuple_satisfies_snapshot(rel->rel, rel->slot, snapshot))
			continue;
		if (list->role == 0 ||
			sees(DatumGetObjectId(slot_getattr(rel->slot, list->role, &isnull)), arg))
			bgjob_ids_add(ids, id_in(rel->slot, list->job, list->else_job));
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
}

/* Adds the jobs whose rows have one of the states. */
static void
add_from_all(BgjobIds *ids, uint32 states, BgjobSees sees, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	TableScanDesc scan = table_beginscan(rel->rel, GetActiveSnapshot(), 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		bool isnull;
		char letter = DatumGetChar(slot_getattr(rel->slot, BGJOB_C_STATE, &isnull));

		CHECK_FOR_INTERRUPTS();
		if ((states & (1u << bgjob_state_by_letter(letter))) != 0 &&
			sees(DatumGetObjectId(slot_getattr(rel->slot, BGJOB_C_RUN_AS, &isnull)), arg))
			bgjob_ids_add(ids, DatumGetInt64(slot_getattr(rel->slot, BGJOB_C_ID, &isnull)));
	}
	table_endscan(scan);
	bgjob_rel_close(rel);
}

/*
 * bgjob_ids_in_states adds the ids of the jobs whose rows are in one of the states
 * (bits 1 << BgjobState, each of them listed) and whose role "sees" accepts.
 */
void
bgjob_ids_in_states(BgjobIds *ids, uint32 states, BgjobSees sees, void *arg)
{
	if (bgjob_restored_at(GetActiveSnapshot()))
	{
		add_from_all(ids, states, sees, arg);
		return;
	}
	for (int i = 0; i < lengthof(lists); i++)
		if ((states & (1u << lists[i].state)) != 0)
		{
			BgjobRel *rel = bgjob_rel_open_read(lists[i].table);

			add_listed(ids, &lists[i], rel, GetActiveSnapshot(), GetActiveSnapshot(), sees,
					   arg);
			bgjob_rel_close(rel);
		}
}

/*
 * bgjob_ids_if_few does the same for one state, if that reads no more than "most" blocks of each
 * table, dead rows included; otherwise it returns false. It takes no predicate locks.
 */
bool
bgjob_ids_if_few(BgjobIds *ids, BgjobState state, BlockNumber most, Snapshot snapshot,
				 BgjobSees sees, void *arg)
{
	bool few = !bgjob_restored_at(snapshot);

	for (int i = 0; few && i < lengthof(lists); i++)
		if (lists[i].state == state)
		{
			BgjobRel *rel = bgjob_rel_open_read(lists[i].table);

			few = RelationGetNumberOfBlocks(rel->rel) <= most;
			if (few)
				add_listed(ids, &lists[i], rel, bgjob_scan_snapshot(snapshot), snapshot, sees,
						   arg);
			bgjob_rel_close(rel);
		}
	return few;
}
