/*-------------------------------------------------------------------------
 *
 * revive.c
 *	  Jobs that have ended, and await again what they awaited.
 *
 * When jobs that have ended run again (bgjob_batch_retry), so may those that could not
 * run because of them: they await again, and so do those that could not run because of these.
 * The edges of such jobs are kept for that (store/edge.c). A revived job of a batch
 * opens its batch again, so what has awaited that batch is revived likewise.
 *
 * A job that has ended, and is to run again together with what it awaited, awaits that
 * again, instead of running beside it (bgjob_revival_await_again).
 *
 * A revived job of which something else cannot be met is deleted again at once. So is one
 * that would await itself now (store/cycle.h).
 *
 * Runs in the calling session. A job that another transaction is changing is left as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/acquire.h"
#include "store/awaiting.h"
#include "store/batch.h"
#include "store/cycle.h"
#include "store/edge.h"
#include "store/job.h"
#include "store/release.h"
#include "store/revive.h"
#include "store/unique.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

struct BgjobRevival
{
	MemoryContext context;
	MemoryContext each;
	bool (*may)(Oid role); /* whether the jobs of a role may be revived */
	HTAB *seen;            /* the targets */
	int64 *targets;        /* still to be visited */
	int n;
	int room;
	int64 *revived;
	int nrevived;
	int revived_room;
};

/* bgjob_revival_begin begins to revive jobs of roles that "may" approves of. */
BgjobRevival *
bgjob_revival_begin(bool (*may)(Oid role))
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob revival", ALLOCSET_DEFAULT_SIZES);
	HASHCTL info = {.keysize = sizeof(int64), .entrysize = sizeof(int64), .hcxt = context};
	BgjobRevival *revival = MemoryContextAllocZero(context, sizeof(BgjobRevival));

	revival->context = context;
	revival->each = AllocSetContextCreate(context, "bgjob revived job", ALLOCSET_DEFAULT_SIZES);
	revival->may = may;
	revival->seen =
		hash_create("bgjob revived", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	revival->room = revival->revived_room = 64;
	revival->targets = MemoryContextAlloc(context, revival->room * sizeof(int64));
	revival->revived = MemoryContextAlloc(context, revival->revived_room * sizeof(int64));
	return revival;
}

/* bgjob_revival_of revives what could not run because of a target: a job or batch that goes on again. */
void
bgjob_revival_of(BgjobRevival *revival, int64 target)
{
	bool seen;

	(void) hash_search(revival->seen, &target, HASH_ENTER, &seen);
	if (seen)
		return;
	if (revival->n == revival->room)
	{
		revival->room *= 2;
		revival->targets = repalloc_huge(revival->targets, revival->room * sizeof(int64));
	}
	revival->targets[revival->n++] = target;
}

/* bgjob_revival_of_job revives what could not run because of a job that goes on again, or because of its batch or those above that. */
void
bgjob_revival_of_job(BgjobRevival *revival, int64 id)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	BgjobJob job;
	const int64 *chain;
	int n = 0;

	bgjob_revival_of(revival, id);
	if (bgjob_job_read_standing(jobs, id, &job) && !bgjob_job_is_null(&job, BGJOB_C_BATCH_ID))
	{
		chain = bgjob_batch_chain(DatumGetInt64(bgjob_job_datum(&job, BGJOB_C_BATCH_ID)), &n);
		for (int i = 0; i < n; i++)
			bgjob_revival_of(revival, chain[i]);
	}
	bgjob_rel_close(jobs);
}

/* Returns whether a job may be revived. */
static bool
can_revive(const BgjobRevival *revival, const BgjobJob *job)
{
	const char *reason;

	if (job->state != BGJOB_DELETED || !bgjob_has_prerequisites(job) ||
		!revival->may(job->run_as))
		return false;
	reason = bgjob_job_text(job, BGJOB_C_REASON);
	return bgjob_is_hopeless_reason(reason);
}

/* Has a job, which has just been read, await again. False: another transaction has it, or another job its key. */
static bool
await_again(BgjobRel *jobs, BgjobJob *job)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Revived with what it awaits"};

	if (!bgjob_job_try_lock(jobs, job) || bgjob_unique_try_reenter(job) != 0)
		return false;
	bgjob_job_apply(job, BGJOB_EV_REVIVE, &what);
	bgjob_job_save(jobs, job);
	return true;
}

/* Has a job await again that could not run. False: it is not such a one, or it cannot be done now. */
static bool
revive(const BgjobRevival *revival, int64 id)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobJob job;
	bool revived =
		bgjob_job_read(jobs, id, &job) && can_revive(revival, &job) && await_again(jobs, &job);

	bgjob_rel_close(jobs);
	return revived;
}

static void
note_revived(BgjobRevival *revival, int64 id)
{
	if (revival->nrevived == revival->revived_room)
	{
		revival->revived_room *= 2;
		revival->revived =
			repalloc_huge(revival->revived, revival->revived_room * sizeof(int64));
	}
	revival->revived[revival->nrevived++] = id;
}

/* Takes a revived job into account. */
static void
add_revived(BgjobRevival *revival, int64 id)
{
	note_revived(revival, id);
	CommandCounterIncrement(); /* two targets may have the same dependant */
	bgjob_revival_of_job(revival, id);
}

/* Returns whether a job is in a state, and has awaited something that is not there any more, since it runs again. */
static bool
awaits_again(BgjobRel *jobs, const BgjobJob *job, BgjobState from)
{
	BgjobPrerequisites all;
	BgjobLook look;

	if (job->state != from || !bgjob_prerequisites_read(job, &all))
		return false;
	bgjob_prerequisites_look(jobs, &all, 0, false, &look);
	return look.awaited == BGJOB_AWAITED_OPEN;
}

/*
 * bgjob_revival_await_again has a job, which is in a final state and is to run again, await what it has awaited, if
 * some of that runs again, too. False: the caller has it run at once. It is counted by bgjob_revival_end.
 */
bool
bgjob_revival_await_again(BgjobRevival *revival, int64 id, BgjobState from)
{
	MemoryContext old = MemoryContextSwitchTo(revival->each);
	BgjobRel *jobs;
	BgjobJob job;
	bool again;

	CommandCounterIncrement(); /* what it awaits may have been requeued just now */
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	again = bgjob_job_read(jobs, id, &job) && revival->may(job.run_as) &&
			awaits_again(jobs, &job, from) && await_again(jobs, &job);
	bgjob_rel_close(jobs);
	if (again)
		add_revived(revival, id);
	MemoryContextSwitchTo(old);
	MemoryContextReset(revival->each);
	return again;
}

/* Revives the dependants of a target. */
static void
visit(BgjobRevival *revival, int64 target)
{
	int n;
	int64 *dependants = bgjob_edges_of(target, &n);

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(revival->each);

		CHECK_FOR_INTERRUPTS();
		if (revive(revival, dependants[i]))
			add_revived(revival, dependants[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(revival->each);
	}
	pfree(dependants);
}

/*
 * Returns whether a job that was not revived awaits one that was: it could await that while it was
 * deleted, as it awaited others or asked only that it be finished.
 */
static bool
has_old_dependant(const BgjobRevival *revival, int64 id)
{
	int n;
	int64 *dependants = bgjob_edges_of(id, &n);
	bool old = false;

	for (int i = 0; i < n && !old; i++)
	{
		BgjobAwaiting row;
		bool seen;

		CHECK_FOR_INTERRUPTS();
		(void) hash_search(revival->seen, &dependants[i], HASH_FIND, &seen);
		old = !seen && bgjob_awaiting_find(dependants[i], &row);
	}
	pfree(dependants);
	return old;
}

/*
 * Returns whether a revived job that awaits would await itself. Each cycle that has come about by the
 * revival leads over a revived job that awaits a batch or is in one, or from a job that was not revived to
 * one that was; so no others are searched for.
 */
static bool
closes_cycle(const BgjobRevival *revival, BgjobRel *jobs, const BgjobJob *job)
{
	int64 batch = bgjob_job_is_null(job, BGJOB_C_BATCH_ID)
					  ? 0
					  : DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID));
	BgjobDependantNotes *notes = bgjob_change_dependants();
	BgjobPrerequisites all;
	BgjobCycle cycle;

	if (job->state != BGJOB_AWAITING || !bgjob_prerequisites_read(job, &all) ||
		(batch == 0 && all.nbatches == 0 && !has_old_dependant(revival, job->id)))
		return false;
	if (bgjob_cycle_find(jobs, job->id, batch, &all, &cycle) != BGJOB_NO_CYCLE)
		return true;
	if (notes != NULL)
		bgjob_dependant_note_cycle(notes, job->id);
	return false;
}

/* Deletes a revived job again if it would await itself, over a batch that has been opened again. */
static void
give_up_cycle(const BgjobRevival *revival, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .reason = BGJOB_HOPELESS_REASON "it would await itself",
							   .leave = true};
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobJob job;

	if (bgjob_job_read(jobs, id, &job) && closes_cycle(revival, jobs, &job) &&
		bgjob_job_try_acquire(jobs, &job))
	{
		bgjob_job_apply(&job, BGJOB_EV_DELETE, &what);
		bgjob_job_save(jobs, &job);
		CommandCounterIncrement();
	}
	bgjob_rel_close(jobs);
}

/* Lets revived jobs go on that may, and has the others reviewed after the commit: other transactions may be ending their targets. */
static int64
review_revived(const BgjobRevival *revival)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();
	int64 left = 0;

	for (int i = 0; i < revival->nrevived; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(revival->each);
		TimestampTz deadline = DT_NOEND;

		CHECK_FOR_INTERRUPTS();
		CommandCounterIncrement();
		give_up_cycle(revival, revival->revived[i]);
		if (bgjob_review_job(revival->revived[i], &deadline) != BGJOB_REVIEWED_DELETED)
			left++;
		if (notes != NULL)
			bgjob_dependant_note_review(notes, revival->revived[i]);
		MemoryContextSwitchTo(old);
		MemoryContextReset(revival->each);
	}
	return left;
}

/* bgjob_revival_end revives all that is to be revived; returns the number of jobs that await again, or can run. */
int64
bgjob_revival_end(BgjobRevival *revival)
{
	int64 revived;

	CommandCounterIncrement(); /* the targets run again */
	while (revival->n > 0)
		visit(revival, revival->targets[--revival->n]);
	revived = review_revived(revival);
	MemoryContextDelete(revival->context);
	return revived;
}
