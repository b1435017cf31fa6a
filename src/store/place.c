/*-------------------------------------------------------------------------
 *
 * place.c
 *	  Where a job stands besides its own row.
 *
 * The table of the places is below, and bgjob_place_of() alone decides which of
 * them is a job's. No other code maps states to tables: bgjob_job_apply() removes
 * a job from its place, bgjob_job_save() puts it into the new one, store/acquire.c
 * takes it out to lock it, and store/restore.c compares.
 *
 * There are two kinds of places. In the queue, in the schedule and among those that await
 * something the row is the lock: the transaction that deletes it has the job, and a change of state finds
 * no row to delete. In the others the lock is the job's own row, and the row in
 * the place is deleted when the state changes.
 *
 * A job that an external worker has fetched is stored as enqueued, as one that a worker of the
 * server performs in one transaction; the row of its lease is the lock then (store/leased.c).
 *
 * src/README.md says step by step how to add a place.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/gatechange.h"
#include "base/registry.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "store/awaiting.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/gating.h"
#include "store/lease.h"
#include "store/place.h"
#include "store/queue.h"
#include "store/schedule.h"
#include "store/sidetables.h"

/* ---- each place ---- */

/* Returns whether an external worker has a job. */
static bool
has_lease(const BgjobJob *job)
{
	return job->kind == BGJOB_KIND_EXTERNAL && bgjob_lease_holds(job->id);
}

static bool
has_queued(const BgjobJob *job)
{
	return bgjob_queue_holds(job) || has_lease(job);
}

static BgjobTaken
take_queued(const BgjobJob *job, TransactionId *holder)
{
	BgjobLaneKey lane;
	BgjobTaken taken;

	bgjob_queue_lane(job, &lane);
	taken = bgjob_queue_take(&lane, job->pos, holder);
	if (taken == BGJOB_NOT_THERE && has_lease(job))
	{
		if (holder != NULL)
			*holder = InvalidTransactionId;
		return BGJOB_BUSY; /* it has just been fetched: the caller looks again */
	}
	if (taken != BGJOB_TAKEN)
		return taken;
	bgjob_change_took(&lane, job->pos, job->id);
	bgjob_gating_pass_back(job);
	return taken;
}

static int64
gate_of(const BgjobJob *job)
{
	return DatumGetInt64(bgjob_job_datum(job, BGJOB_C_GATE));
}

static int64
place_in_line(const BgjobJob *job)
{
	return bgjob_line_place(job, gate_of(job), bgjob_gate_of_sequence(job));
}

static void
put_at_gate(const BgjobJob *job)
{
	bgjob_line_insert(gate_of(job), place_in_line(job), job);
}

/* Takes a job out of its line, or if it was let through, out of the queue. */
static BgjobTaken
take_at_gate(const BgjobJob *job, TransactionId *holder)
{
	BgjobTaken taken = bgjob_line_take(gate_of(job), place_in_line(job), holder);

	if (taken == BGJOB_NOT_THERE)
		return take_queued(job, holder);
	if (taken == BGJOB_TAKEN)
		bgjob_change_gate_took(gate_of(job));
	return taken;
}

static bool
has_at_gate(const BgjobJob *job)
{
	return bgjob_line_has(gate_of(job), place_in_line(job)) || has_queued(job);
}

static void
put_scheduled(const BgjobJob *job)
{
	bgjob_schedule_insert(job->run_as, bgjob_job_time(job, BGJOB_C_RUN_AT), job->id,
						  job->queue);
}

/* Inserts new jobs that are to run at the same time. */
static void
put_many_scheduled(BgjobBulk *bulk, const BgjobJob *job, int64 first,
				   const ItemPointerData *tids, int n)
{
	TimestampTz at = bgjob_job_time(job, BGJOB_C_RUN_AT);

	for (int i = 0; i < n; i++)
		bgjob_schedule_insert(job->run_as, at, first + i, job->queue);
}

static BgjobTaken
take_scheduled(const BgjobJob *job, TransactionId *holder)
{
	TimestampTz at = bgjob_job_time(job, BGJOB_C_RUN_AT);
	BgjobTaken taken = bgjob_schedule_take(job->run_as, at, job->id, holder);

	if (taken == BGJOB_TAKEN)
		bgjob_change_took_scheduled(at);
	return taken;
}

static bool
has_scheduled(const BgjobJob *job)
{
	return bgjob_schedule_has(job->run_as, bgjob_job_time(job, BGJOB_C_RUN_AT), job->id);
}

/* Inserts new jobs that await the same. */
static void
put_many_awaiting(BgjobBulk *bulk, const BgjobJob *job, int64 first,
				  const ItemPointerData *tids, int n)
{
	bgjob_awaiting_insert_many(job, first, tids, n);
}

static BgjobTaken
take_awaiting(const BgjobJob *job, TransactionId *holder)
{
	return bgjob_awaiting_take(job->id, holder);
}

static bool
has_awaiting(const BgjobJob *job)
{
	BgjobAwaiting row;

	return bgjob_awaiting_find(job->id, &row);
}

/* Inserts the claim of the current worker. */
static void
put_claimed(const BgjobJob *job)
{
	bgjob_claim_insert(job->id, MyProcPid, bgjob_my_slot->started_at);
}

/* Returns BGJOB_BUSY if a live process has claimed a job; a claim that a dead process left is void. */
static BgjobTaken
take_claimed(const BgjobJob *job, TransactionId *holder)
{
	return bgjob_claim_is_held(job->id) ? BGJOB_BUSY : BGJOB_NOT_THERE;
}

static bool
has_claimed(const BgjobJob *job)
{
	return bgjob_claim_is_held(job->id);
}

static void
put_failed(const BgjobJob *job)
{
	bgjob_failure_insert(job->id, job->run_as, job->queue);
}

static bool
has_failed(const BgjobJob *job)
{
	return bgjob_failure_has(job->id);
}

/* ---- the table ---- */

static const struct
{
	bool is_lock; /* the transaction that deletes the row there has the job */
	void (*put)(const BgjobJob *job);
	/* many new jobs that differ only in their ids; NULL: a new job is never there */
	void (*put_many)(BgjobBulk *bulk, const BgjobJob *job, int64 first,
					 const ItemPointerData *tids, int n);
	BgjobTaken (*take)(const BgjobJob *job,
					   TransactionId *holder); /* NULL: no process can have it */
	bool (*has)(const BgjobJob *job);          /* NULL: always */
	void (*leave)(int64 job);                  /* NULL: taking the job has deleted the row */
} places[BGJOB_NPLACES] = {
	[BGJOB_PLACE_NONE] = {false, NULL, NULL, NULL, NULL, NULL},
	[BGJOB_PLACE_QUEUE] = {true, bgjob_queue_insert, bgjob_queue_insert_many, take_queued,
						   has_queued, NULL},
	[BGJOB_PLACE_GATE] = {true, put_at_gate, NULL, take_at_gate, has_at_gate, NULL},
	[BGJOB_PLACE_SCHEDULE] = {true, put_scheduled, put_many_scheduled, take_scheduled,
							  has_scheduled, NULL},
	[BGJOB_PLACE_AWAITING] = {true, bgjob_awaiting_insert, put_many_awaiting, take_awaiting,
							  has_awaiting, NULL},
	[BGJOB_PLACE_CLAIM] = {false, put_claimed, NULL, take_claimed, has_claimed,
						   bgjob_claim_delete},
	[BGJOB_PLACE_FAILURE] = {false, put_failed, NULL, NULL, has_failed, bgjob_failure_delete},
};

static const BgjobPlace place_of_state[BGJOB_NSTATES] = {
	[BGJOB_ENQUEUED] = BGJOB_PLACE_QUEUE,    [BGJOB_SCHEDULED] = BGJOB_PLACE_SCHEDULE,
	[BGJOB_AWAITING] = BGJOB_PLACE_AWAITING, [BGJOB_PROCESSING] = BGJOB_PLACE_CLAIM,
	[BGJOB_FAILED] = BGJOB_PLACE_FAILURE,
};

/* bgjob_place_of_state returns the place of jobs in a state, as far as the state alone decides. */
BgjobPlace
bgjob_place_of_state(BgjobState state)
{
	return place_of_state[state];
}

/* bgjob_place_of returns the place of a job, from its row alone: an enqueued job that may not run yet stands at a gate. */
BgjobPlace
bgjob_place_of(const BgjobJob *job)
{
	if (job->state == BGJOB_ENQUEUED && !bgjob_job_is_null(job, BGJOB_C_GATE))
		return BGJOB_PLACE_GATE;
	return bgjob_place_of_state(job->state);
}

/* bgjob_place_is_lock returns whether a job's row in a place is its lock. */
bool
bgjob_place_is_lock(BgjobPlace place)
{
	return places[place].is_lock;
}

/* bgjob_place_put puts a job, whose row has been written, into its place. */
void
bgjob_place_put(const BgjobJob *job)
{
	BgjobPlace place = bgjob_place_of(job);

	if (places[place].put != NULL)
		places[place].put(job);
}

/*
 * bgjob_place_put_many does the same for n new jobs that differ only in their
 * ids, which are consecutive from "first" on; "bulk" is of the queue.
 */
void
bgjob_place_put_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
					 const ItemPointerData *tids, int n)
{
	if (n > 0)
		places[bgjob_place_of(job)].put_many(bulk, job, first, tids, n);
}

/*
 * bgjob_place_take takes a job out of its place, if the row there is the lock;
 * never waits. If the result is BGJOB_BUSY, *holder (which may be NULL) is the
 * transaction that has the job, if known. A taken job is announced again if the
 * transaction is rolled back.
 */
BgjobTaken
bgjob_place_take(const BgjobJob *job, TransactionId *holder)
{
	BgjobPlace place = bgjob_place_of(job);

	return places[place].take == NULL ? BGJOB_NOT_THERE : places[place].take(job, holder);
}

/* bgjob_place_has returns whether a job is in its place. */
bool
bgjob_place_has(const BgjobJob *job)
{
	BgjobPlace place = bgjob_place_of(job);

	return places[place].has == NULL || places[place].has(job);
}

/* bgjob_place_leave deletes a job's row in a place where the row is not the lock, when its state changes. */
void
bgjob_place_leave(BgjobPlace place, int64 job)
{
	if (places[place].leave != NULL)
		places[place].leave(job);
}
