/*-------------------------------------------------------------------------
 *
 * listing.c
 *	  The newest jobs that match a filter.
 *
 * A listing goes along the ids of jobs, from the newest on. The map of jobs
 * (base/jobmap.h) names the ranges of ids that may have what is wanted; only in these
 * are rows read, along the primary key, and compared with the filter. So it costs
 * what it returns and some ranges besides, however many jobs there are. Where there is
 * no map (in recovery, or without shared memory) all rows are read. Of the jobs in one state
 * whose ids a small table names (store/candidates.h), only the rows are read, and ranges without
 * such a job are passed over; the map may be missing then.
 *
 * A range that was read in vain, although the map had promised something there, is
 * cleaned (store/rangeclean.c), CLEANINGS of them in one listing: the next one
 * passes them over.
 *
 * A SEARCH (store/search.h) is a listing that may have a deadline. It counts the rows that
 * it compares, and says where it has stopped. Neither that nor the time that it takes
 * may tell about rows that the reader does not see. So rights come first, and nothing
 * of such a row is compared; a search stops at a row that the reader sees, or between two
 * ranges.
 *
 * Rows are those of the active snapshot, as in the view bgjob.jobs; so is their state,
 * apart from jobs that workers are at: these are named by the filter, as of its making.
 * No predicate locks are taken (bgjob_scan_snapshot); reading the view's rows afterwards
 * takes them.
 *
 * Runs in the session that lists jobs. Locks: AccessShareLock on the table and its
 * index; those of base/jobmap.h while a range is cleaned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/candidates.h"
#include "store/jobrow.h"
#include "store/listing.h"
#include "store/listmatch.h"
#include "store/rangeclean.h"
#include "store/search.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Ranges that one listing cleans. */
#define CLEANINGS 1000

/* Jobs that one listing searches for words, unless it is a search. */
#define SEARCHED 100000

/* A search looks at the clock after so many rows that the reader sees, or does not see. */
#define ROWS_SEEN   16
#define ROWS_UNSEEN 1024

struct BgjobListing
{
	const BgjobListFilter *filter;
	BgjobMatcher *matcher;
	BgjobMapProbe probe;
	BgjobRel *jobs;
	Relation index;
	IndexScanDesc scan;
	Snapshot snapshot;
	BgjobCandidates *candidates; /* NULL: all rows of a range are read */
	bool mapped;
	int64 up_to; /* higher ids have been visited; -1: all have */
	int cleanings;
	int64
		searched; /* rows that were compared with words; of a search: all that the reader sees */
	int64 unseen; /* of a search: rows that the reader does not see */
	bool late;    /* the deadline of a search has passed */
};

/* bgjob_listing_begin begins a listing of the jobs that match a filter, which stays. There is an active snapshot. */
BgjobListing *
bgjob_listing_begin(const BgjobListFilter *filter)
{
	BgjobListing *listing = palloc0(sizeof(BgjobListing));

	listing->filter = filter;
	listing->jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	listing->matcher = bgjob_matcher_create(filter, RelationGetRelid(listing->jobs->rel));
	bgjob_matcher_probe(listing->matcher, &listing->probe);
	listing->mapped = bgjob_ranges_settle(listing->jobs);
	listing->snapshot = GetActiveSnapshot();
	listing->probe.xmin = bgjob_full_transaction(listing->snapshot->xmin);
	listing->probe.xmax = bgjob_full_transaction(listing->snapshot->xmax);
	listing->index = index_open(bgjob_relation_oid("job_pkey"), AccessShareLock);
	listing->scan = bgjob_index_beginscan(listing->jobs->rel, listing->index,
										  bgjob_scan_snapshot(listing->snapshot), 2);
	listing->candidates = bgjob_candidates_begin(filter, listing->snapshot);
	listing->up_to = filter->before == PG_INT64_MAX ? PG_INT64_MAX : filter->before - 1;
	return listing;
}

/* bgjob_listing_end ends a listing. */
void
bgjob_listing_end(BgjobListing *listing)
{
	if (listing->candidates != NULL)
		bgjob_candidates_end(listing->candidates);
	index_endscan(listing->scan);
	index_close(listing->index, AccessShareLock);
	bgjob_rel_close(listing->jobs);
}

/* Returns the highest range, up to "from", with a job that a worker is at; -1: there is none. */
static int64
running_range(const BgjobListing *listing, int64 from)
{
	for (int i = listing->filter->nrunning - 1; i >= 0; i--)
		if (bgjob_jobmap_range_of(listing->filter->running[i]) <= from)
			return bgjob_jobmap_range_of(listing->filter->running[i]);
	return -1;
}

/*
 * Goes on to the range of the next candidate, rather than to its id: where a search stops must not tell about
 * a job that the reader does not see. False: there is none.
 */
static bool
pass_over(BgjobListing *listing)
{
	int64 id = bgjob_candidates_highest(listing->candidates, listing->up_to);

	if (id >= 0)
		listing->up_to = Min(listing->up_to, bgjob_jobmap_last_id(bgjob_jobmap_range_of(id)));
	return id >= 0 || id == BGJOB_CANDIDATE_UNKNOWN;
}

/* Finds the next ranges to be read. False: there are none. */
static bool
next_span(BgjobListing *listing, BgjobMapSpan *span)
{
	int64 from;
	int64 running = -1;
	bool found = true;

	if (listing->candidates != NULL && !pass_over(listing))
		return false;
	from = bgjob_jobmap_range_of(listing->up_to);
	*span = (BgjobMapSpan){0, from};
	if (!listing->mapped)
		return true;
	found = bgjob_jobmap_next(from, &listing->probe, span);
	if ((listing->filter->states & BGJOB_STATE_BIT(BGJOB_PROCESSING)) != 0)
		running = running_range(listing, from);
	if (running < 0 || (found && span->last >= running))
		return found;
	*span = (BgjobMapSpan){running, running};
	return true;
}

/* Returns whether the deadline has passed. */
static bool
is_late(BgjobListing *listing)
{
	if (!listing->late && listing->filter->deadline != 0)
		listing->late = bgjob_steady_now() >= listing->filter->deadline;
	return listing->late;
}

/* Cleans ranges of a span of which all ids were read, in vain; "found" has the bits of those that were not in vain. */
static void
clean_span(BgjobListing *listing, const BgjobMapSpan *span, int64 lowest, int64 highest,
		   uint64 found)
{
	if (!listing->mapped || listing->candidates != NULL ||
		span->last - span->first >= BGJOB_MAP_SPAN)
		return;
	for (int64 range = span->last; range >= span->first; range--)
		if ((found & (UINT64CONST(1) << (range - span->first))) == 0 &&
			bgjob_jobmap_last_id(range) <= highest && bgjob_jobmap_first_id(range) >= lowest &&
			listing->cleanings < CLEANINGS && bgjob_jobmap_may_clean(range) &&
			!is_late(listing))
		{
			listing->cleanings++;
			(void) bgjob_range_clean(listing->jobs, listing->index, range, false);
		}
}

/* Begins to read the rows with ids from "highest" down to "lowest". */
static void
scan_ids(BgjobListing *listing, int64 lowest, int64 highest)
{
	ScanKeyData keys[2];

	bgjob_key(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(lowest));
	bgjob_key(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(highest));
	index_rescan(listing->scan, keys, 2, NULL, 0);
}

/* Begins to read what may match of a span. */
static void
begin_span(BgjobListing *listing, int64 lowest, int64 highest)
{
	if (listing->candidates != NULL)
		bgjob_candidates_seek(listing->candidates, lowest, highest);
	else
		scan_ids(listing, lowest, highest);
}

/* Goes on to the next row that the snapshot shows; false if there is none. */
static bool
scan_on(BgjobListing *listing)
{
	while (index_getnext_slot(listing->scan, BackwardScanDirection, listing->jobs->slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (bgjob_scan_sees(listing->jobs, listing->scan, listing->snapshot))
			return true;
	}
	return false;
}

/* Reads the next row of a span that may match; false if there is none. */
static bool
read_next(BgjobListing *listing)
{
	int64 id;

	if (listing->candidates == NULL)
		return scan_on(listing);
	while ((id = bgjob_candidates_next(listing->candidates)) >= 0)
	{
		scan_ids(listing, id, id);
		if (scan_on(listing))
			return true;
	}
	return false;
}

/* Reads the next row of a span, which must match but for words and rights; returns its id, -1 if there is none. */
static int64
next_row(BgjobListing *listing)
{
	TupleTableSlot *slot = listing->jobs->slot;
	bool isnull;

	while (read_next(listing))
		if (bgjob_matcher_has_names(listing->matcher, slot))
			return DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull));
	return -1;
}

/* Returns whether the row that was read last is to be listed. Ends the listing if enough has been searched. */
static bool
is_wanted(BgjobListing *listing)
{
	TupleTableSlot *slot = listing->jobs->slot;

	if (!bgjob_matcher_is_seen(listing->matcher, slot))
		return false;
	if (listing->filter->words == NIL)
		return true;
	if (++listing->searched <= SEARCHED)
		return bgjob_matcher_has_words(listing->matcher, slot);
	listing->up_to = -1;
	return false;
}

/* Lists at most "max" jobs of a span; returns their number. */
static int
read_span(BgjobListing *listing, const BgjobMapSpan *span, int64 *ids, int max)
{
	int64 highest = Min(bgjob_jobmap_last_id(span->last), listing->up_to);
	int64 lowest = bgjob_jobmap_first_id(span->first);
	uint64 found = 0;
	int64 id;
	int n = 0;

	begin_span(listing, lowest, highest);
	while (n < max && listing->up_to >= 0 && (id = next_row(listing)) >= 0)
	{
		found |= UINT64CONST(1) << ((bgjob_jobmap_range_of(id) - span->first) % 64);
		if (!is_wanted(listing))
			continue;
		ids[n++] = id;
		listing->up_to = id - 1;
	}
	ExecClearTuple(listing->jobs->slot);
	if (n == max)
		lowest = ids[n - 1];
	else if (listing->up_to >= 0)
		listing->up_to = lowest - 1;
	if (listing->searched <= SEARCHED)
		clean_span(listing, span, lowest, highest, found);
	return n;
}

/* Compares a row that the reader sees with a search. *named is set if it matches as far as the map of jobs knows. */
static bool
is_found(BgjobListing *listing, bool *named)
{
	TupleTableSlot *slot = listing->jobs->slot;

	listing->searched++;
	*named = bgjob_matcher_has_names(listing->matcher, slot);
	return *named && bgjob_search_has_rest(listing->filter->search, slot) &&
		   bgjob_matcher_has_words(listing->matcher, slot);
}

/* Counts a row that the reader does not see. Returns whether the search is to stop, which it does before the range of the row. */
static bool
stops_at_unseen(BgjobListing *listing, int64 id)
{
	if (++listing->unseen % ROWS_UNSEEN != 0 || !is_late(listing))
		return false;
	listing->up_to = Min(listing->up_to, bgjob_jobmap_last_id(bgjob_jobmap_range_of(id)));
	return true;
}

/*
 * Searches the ids from "highest" down to "lowest", which are in a span. Lists at most "max" jobs and
 * returns their number.
 */
static int
search_span(BgjobListing *listing, const BgjobMapSpan *span, int64 lowest, int64 highest,
			int64 *ids, int max)
{
	TupleTableSlot *slot = listing->jobs->slot;
	uint64 found = 0;
	bool stopped = false;
	int n = 0;

	begin_span(listing, lowest, highest);
	while (!stopped && read_next(listing))
	{
		bool named;
		bool isnull;
		int64 id = DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull));
		if (!bgjob_matcher_is_seen(listing->matcher, slot))
		{
			stopped = stops_at_unseen(listing, id);
			continue;
		}
		if (is_found(listing, &named))
		{
			ids[n++] = id;
			if (listing->filter->visit != NULL)
				listing->filter->visit(slot, listing->filter->visit_arg);
		}
		if (named)
			found |= UINT64CONST(1) << ((bgjob_jobmap_range_of(id) - span->first) % 64);
		listing->up_to = id - 1;
		stopped = n == max || (listing->searched % ROWS_SEEN == 0 && is_late(listing));
	}
	ExecClearTuple(slot);
	if (!stopped)
		listing->up_to = lowest - 1;
	clean_span(listing, span, listing->up_to + 1, highest, found);
	return n;
}

/* Searches the jobs with ids that the query names. */
static int
search_ids(BgjobListing *listing, const int64 *wanted, int nwanted, int64 *ids, int max)
{
	BgjobMapSpan span;
	int n = 0;

	for (int i = nwanted - 1; i >= 0 && n < max && !listing->late; i--)
		if (wanted[i] <= listing->up_to)
		{
			span.first = span.last = bgjob_jobmap_range_of(wanted[i]);
			n += search_span(listing, &span, wanted[i], wanted[i], ids + n, max - n);
		}
	if (n < max && !listing->late)
		listing->up_to = -1;
	return n;
}

/*
 * bgjob_listing_search returns the ids of the next jobs that a search finds, in descending order:
 * "max" of them if there are so many, and the deadline does not pass before.
 */
int
bgjob_listing_search(BgjobListing *listing, int64 *ids, int max)
{
	BgjobMapSpan span;
	int nwanted;
	const int64 *wanted = bgjob_search_ids(listing->filter->search, &nwanted);
	int n = 0;

	if (wanted != NULL)
		return search_ids(listing, wanted, nwanted, ids, max);
	while (n < max && listing->up_to >= 0 && !listing->late)
	{
		if (!next_span(listing, &span))
			listing->up_to = -1;
		else
			n += search_span(listing, &span, bgjob_jobmap_first_id(span.first),
							 Min(bgjob_jobmap_last_id(span.last), listing->up_to), ids + n,
							 max - n);
		(void) is_late(listing);
	}
	return n;
}

/* bgjob_listing_looked_through returns how many rows a search has compared. */
int64
bgjob_listing_looked_through(const BgjobListing *listing)
{
	return listing->searched;
}

/* bgjob_listing_rest returns below which id a search is to go on; 0: it has looked through everything. */
int64
bgjob_listing_rest(const BgjobListing *listing)
{
	return listing->up_to < 0 ? 0 : listing->up_to + 1;
}

/* bgjob_listing_next returns the ids of the next jobs in descending order, "max" of them if there are so many. */
int
bgjob_listing_next(BgjobListing *listing, int64 *ids, int max)
{
	BgjobMapSpan span;
	int n = 0;

	while (n < max && listing->up_to >= 0 && next_span(listing, &span))
		n += read_span(listing, &span, ids + n, max - n);
	return n;
}
