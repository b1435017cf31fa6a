/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  What can run now: putting jobs there, looking for them, claiming them.
 *
 * bgjob.queue has a row for each job that can run now and none for any other
 * (scheduled, awaiting, finished). A row is inserted and deleted, never
 * updated, so its ctid stands for it as long as it is there; a ctid that was
 * remembered is checked against the row's key before it is trusted, since
 * after a vacuum another row may have taken it.
 *
 * The claim is the deletion of the row in the transaction that performs the
 * job (never waiting: who meets a row that somebody else is at goes on to
 * the next). If that transaction ends badly, the row is there again.
 *
 * Where to look is told by the lanes (base/lane.h), which also explain why
 * no job is stranded and none claimed twice. A look reads at most
 * LOOK_AT_MOST index entries at a time, since it holds a lock during which
 * interrupts wait; it kills index entries of dead rows on its way and prunes
 * pages, as any index scan does.
 *
 * Claiming is for workers; the rest is for any process. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/change.h"
#include "base/compat.h"
#include "base/registry.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "store/queue.h"
#include "store/relation.h"
#include "store/schedule.h"
#include "store/sidetables.h"
#include "rules/clock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define QUEUE_INDEX  "queue_pkey"
#define LOOK_AT_MOST 5000

/* Columns of bgjob.queue and of its index. */
enum
{
	Q_ROLE = 1,
	Q_QUEUE,
	Q_PRIORITY,
	Q_POS,
	Q_JOB
};

/* bgjob_queue_insert puts a job into the queue. */
void
bgjob_queue_insert(Oid role, const char *queue, int priority, int64 pos, int64 job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Datum values[] = {ObjectIdGetDatum(role), CStringGetTextDatum(queue),
					  Int16GetDatum(priority), Int64GetDatum(pos), Int64GetDatum(job)};
	bool nulls[lengthof(values)] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	bgjob_change_ready(role, queue, priority, pos);
}

/* Keys for a lane: the first three columns are equal, and pos compares as said. */
static void
lane_keys(ScanKey keys, Oid role, const char *queue, int priority, StrategyNumber strategy,
		  RegProcedure compare, int64 pos)
{
	bgjob_key(&keys[0], Q_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], Q_QUEUE, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(queue));
	bgjob_key(&keys[2], Q_PRIORITY, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(priority));
	bgjob_key(&keys[3], Q_POS, strategy, compare, Int64GetDatum(pos));
}

/*
 * bgjob_queue_take takes a job out of the queue if nobody else is at it;
 * never waits. The job is the caller's until the transaction ends. Where the
 * answer is BGJOB_BUSY, *holder (which may be NULL) is who has it, if known.
 */
BgjobTaken
bgjob_queue_take(Oid role, const char *queue, int priority, int64 pos, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[4];
	BgjobScan *scan;

	lane_keys(keys, role, queue, priority, BTEqualStrategyNumber, F_INT8EQ, pos);
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, keys, 4);
	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

static bool
is_in_flight(int64 pos, const int64 *positions, int n)
{
	for (int i = 0; i < n; i++)
		if (positions[i] == pos)
			return true;
	return false;
}

/*
 * Looks along a lane from place "start" and collects what is ready. The order
 * of the two first steps matters: the snapshot is older than the list of what
 * is in flight, so a row that is visible and not in that list may be stale
 * (its deletion committed in between), but never in somebody's hands.
 */
static int
look(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 start, BgjobLaneItem *items,
	 int64 *next, bool *more)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	int64 *in_flight = palloc(bgjob_registry->nslots * sizeof(int64));
	int nin_flight = bgjob_slots_in_flight(key->database, in_flight, bgjob_registry->nslots);
	ScanKeyData keys[4];
	IndexScanDesc scan = bgjob_index_beginscan(rel->rel, index, snapshot, lengthof(keys));
	int nitems = 0;
	int visited = 0;

	lane_keys(keys, key->role, key->queue, key->priority, BTGreaterEqualStrategyNumber,
			  F_INT8GE, start);
	scan->xs_want_itup = true; /* the places of dead rows are in the index only */
	index_rescan(scan, keys, lengthof(keys), NULL, 0);
	*next = start;
	*more = false;
	while (!*more && index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool isnull;
		int64 pos =
			DatumGetInt64(index_getattr(scan->xs_itup, Q_POS, scan->xs_itupdesc, &isnull));

		*next = pos + 1;
		if (index_fetch_heap(scan, rel->slot) && !is_in_flight(pos, in_flight, nin_flight))
		{
			items[nitems].pos = pos;
			items[nitems].job = DatumGetInt64(slot_getattr(rel->slot, Q_JOB, &isnull));
			items[nitems].tid = rel->slot->tts_tid;
			nitems++;
		}
		*more = nitems == BGJOB_LANE_AHEAD || ++visited == LOOK_AT_MOST;
	}
	ExecClearTuple(rel->slot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	pfree(in_flight);
	return nitems;
}

/* Fills a lane that has nothing at hand from the queue. */
static void
refill(BgjobRel *rel, const BgjobLaneKey *key)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	Relation index =
		index_open(get_relname_relid(QUEUE_INDEX, bgjob_schema_oid(false)), AccessShareLock);
	int64 start;
	BgjobLane *lane = bgjob_lane_scan_begin(key, &start);

	if (lane != NULL)
	{
		PG_TRY();
		{
			int64 next;
			bool more;
			int nitems = look(rel, index, key, start, items, &next, &more);

			bgjob_lane_scan_end(lane, items, nitems, next, more);
		}
		PG_CATCH();
		{
			bgjob_lane_scan_abort(lane);
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	index_close(index, AccessShareLock);
}

/* Deletes the row of an item, if it is still that item's row and nobody else is at it. */
static bool
claim_row(BgjobRel *rel, BgjobLaneItem *item, const BgjobLaneKey *key)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool claimed = false;

	if (bgjob_rel_fetch(rel, &item->tid, snapshot))
	{
		Datum *values = rel->slot->tts_values;
		text *queue;

		slot_getallattrs(rel->slot);
		queue = DatumGetTextPP(values[Q_QUEUE - 1]);
		claimed = DatumGetInt64(values[Q_POS - 1]) == item->pos &&
				  DatumGetInt64(values[Q_JOB - 1]) == item->job &&
				  DatumGetObjectId(values[Q_ROLE - 1]) == key->role &&
				  VARSIZE_ANY_EXHDR(queue) == strlen(key->queue) &&
				  memcmp(VARDATA_ANY(queue), key->queue, VARSIZE_ANY_EXHDR(queue)) == 0;
		ExecClearTuple(rel->slot);
		claimed = claimed && bgjob_rel_delete(rel, &item->tid, NULL);
	}
	UnregisterSnapshot(snapshot);

	/* VACUUM FULL and CLUSTER move rows: then the key finds what the ctid no longer does. */
	return claimed || bgjob_queue_take(key->role, key->queue, key->priority, item->pos, NULL) ==
						  BGJOB_TAKEN;
}

/*
 * bgjob_queue_claim claims the next job for this worker: its row is deleted
 * from the queue by the running transaction, this worker's slot names it, and
 * *job holds its row of bgjob.job. Interrupts are held then, since from the
 * moment that the slot names the job they may be meant for it: the caller
 * resumes them when it is ready to answer for the job. False if there is
 * nothing to do.
 */
bool
bgjob_queue_claim(BgjobRel *jobs, BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	bool claimed = false;

	while (!claimed)
	{
		BgjobLaneItem item;
		BgjobLaneKey key;
		BgjobTake take;

		CHECK_FOR_INTERRUPTS();
		HOLD_INTERRUPTS();
		take = bgjob_lane_take(&item, &key);
		if (take != BGJOB_TAKE_ITEM)
		{
			RESUME_INTERRUPTS();
			if (take == BGJOB_TAKE_NONE)
				break;
			refill(rel, &key);
			continue;
		}
		if (item.more) /* one wakes the next, as long as there is work */
			(void) bgjob_wake_worker(key.database, key.role);
		/* A row that stands for nothing (somebody wrote it by hand) goes unperformed. */
		claimed = claim_row(rel, &item, &key) && bgjob_job_read(jobs, item.job, job) &&
				  job->state == BGJOB_ENQUEUED && job->pos == item.pos;
		if (claimed)
			bgjob_slot_claimed();
		else
		{
			bgjob_slot_end(false);
			RESUME_INTERRUPTS();
		}
	}
	bgjob_rel_close(rel);
	return claimed;
}

/* Reads the first row, dead or alive, that fits the keys; false if there is none. */
static bool
first_any(BgjobRel *rel, ScanKey keys, int nkeys, Oid *role, char **queue, int *priority)
{
	BgjobScan *scan = bgjob_scan_begin(rel, QUEUE_INDEX, SnapshotAny, keys, nkeys);
	bool found = bgjob_scan_next(scan);

	if (found)
	{
		slot_getallattrs(rel->slot);
		*role = DatumGetObjectId(rel->slot->tts_values[Q_ROLE - 1]);
		*queue = TextDatumGetCString(rel->slot->tts_values[Q_QUEUE - 1]);
		*priority = DatumGetInt16(rel->slot->tts_values[Q_PRIORITY - 1]);
		ExecClearTuple(rel->slot);
	}
	bgjob_scan_end(scan);
	return found;
}

/* Goes on to the next lane that the index has any entry of. */
static bool
next_lane(BgjobRel *rel, Oid *role, char **queue, int *priority)
{
	ScanKeyData keys[3];

	bgjob_key(&keys[0], Q_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(*role));
	if (*queue != NULL)
	{
		bgjob_key(&keys[1], Q_QUEUE, BTEqualStrategyNumber, F_TEXTEQ,
				  CStringGetTextDatum(*queue));
		bgjob_key(&keys[2], Q_PRIORITY, BTGreaterStrategyNumber, F_INT2GT,
				  Int16GetDatum(*priority));
		if (first_any(rel, keys, 3, role, queue, priority))
			return true;
		bgjob_key(&keys[1], Q_QUEUE, BTGreaterStrategyNumber, F_TEXT_GT,
				  CStringGetTextDatum(*queue));
		if (first_any(rel, keys, 2, role, queue, priority))
			return true;
	}
	bgjob_key(&keys[0], Q_ROLE, BTGreaterStrategyNumber, F_OIDGT, ObjectIdGetDatum(*role));
	return first_any(rel, keys, 1, role, queue, priority);
}

/*
 * bgjob_queue_discover makes sure that there is a lane for all that is in the
 * queue, whoever put it there. It steps from lane to lane along the index
 * without regard to visibility, so dead rows cost it nothing.
 */
void
bgjob_queue_discover(void)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Oid role = InvalidOid;
	char *queue = NULL;
	int priority = 0;

	while (next_lane(rel, &role, &queue, &priority))
	{
		BgjobLaneKey key;

		CHECK_FOR_INTERRUPTS();
		bgjob_lane_key(&key, MyDatabaseId, role, queue, priority);
		bgjob_lane_reopen(&key);
	}
	bgjob_rel_close(rel);
}

/*
 * bgjob_queue_look looks into the queue for all lanes of a database that
 * nothing is known of, and that no worker could look into. By the scheduler.
 */
void
bgjob_queue_look(Oid database)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	BgjobLaneKey key;

	while (bgjob_lane_next_unknown(database, &key))
	{
		refill(rel, &key);
		CHECK_FOR_INTERRUPTS();
	}
	bgjob_rel_close(rel);
}

/* bgjob_queue_jobs_of_role returns jobs of a role that are in the queue, at most max; their number. */
int
bgjob_queue_jobs_of_role(Oid role, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, Q_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, &key, 1);
	while (n < max && bgjob_scan_next(scan))
	{
		bool isnull;

		jobs[n++] = DatumGetInt64(slot_getattr(rel->slot, Q_JOB, &isnull));
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* Whether a job that waits has its row in the queue. */
static bool
is_in_queue(BgjobRel *rel, const BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[4];
	BgjobScan *scan;
	bool found;

	lane_keys(keys, job->run_as, job->queue, job->priority, BTEqualStrategyNumber, F_INT8EQ,
			  job->pos);
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, keys, 4);
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether a job is in the table that its state says. */
static bool
is_in_place(BgjobRel *queue, const BgjobJob *job)
{
	switch (job->state)
	{
		case BGJOB_ENQUEUED:
			return is_in_queue(queue, job);
		case BGJOB_SCHEDULED:
			return bgjob_schedule_has(DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT)),
									  job->id);
		case BGJOB_PROCESSING:
			return bgjob_claim_is_held(job->id);
		case BGJOB_FAILED:
			return bgjob_failure_has(job->id);
		default:
			return true;
	}
}

/* Whether jobs in a state are in some table besides bgjob.job. */
static bool
has_place(char letter)
{
	BgjobState state = bgjob_state_by_letter(letter);

	return state == BGJOB_ENQUEUED || state == BGJOB_SCHEDULED || state == BGJOB_PROCESSING ||
		   state == BGJOB_FAILED;
}

/*
 * Puts one job to where its state says that it belongs, if it is not there.
 * Jobs that others are at are in their places, or become so; only what is
 * missing in both looks, the second with the row locked, is put there. Returns
 * whether something will be performed that would not have been.
 */
static bool
rebuild_one(BgjobRel *jobs, BgjobRel *queue, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Restored from a copy"};
	TimestampTz run_at;
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || is_in_place(queue, &job) ||
		!bgjob_job_lock(jobs, &job) || is_in_place(queue, &job))
		return false;
	switch (job.state)
	{
		case BGJOB_ENQUEUED:
			bgjob_queue_insert(job.run_as, job.queue, job.priority, job.pos, job.id);
			return true;
		case BGJOB_PROCESSING:
			bgjob_job_apply(&job, BGJOB_EV_INTERRUPT, &what);
			bgjob_job_save(jobs, &job);
			return true;
		case BGJOB_SCHEDULED:
			run_at = DatumGetTimestampTz(bgjob_job_datum(&job, BGJOB_C_RUN_AT));
			bgjob_schedule_insert(run_at, job.id, job.queue);
			return true;
		default:
			bgjob_failure_insert(job.id, job.queue);
			return false;
	}
}

/*
 * bgjob_queue_rebuild puts every job that is waiting, but is in neither queue
 * nor schedule, where it belongs: after a restore. Returns their number.
 */
int64
bgjob_queue_rebuild(void)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	TableScanDesc scan = table_beginscan(jobs->rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(jobs->rel, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob rebuild", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);
	int64 n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (has_place(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull))) &&
			rebuild_one(jobs, queue, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull))))
			n++;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(queue);
	bgjob_rel_close(jobs);
	return n;
}
