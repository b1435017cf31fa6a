/*-------------------------------------------------------------------------
 *
 * prerequisite.c
 *	  What a job awaits, and whether it is there.
 *
 * A job awaits jobs, a batch and signals, its targets; and a job that had its unique_key and
 * ran, which it follows (store/supersede.c). A target that has been removed
 * counts as deleted. The end of a target counts as it is when it is looked at: a parent that is requeued
 * before its child is released is awaited again.
 *
 * A CYCLE of jobs cannot be: an edge leads from a new job to jobs that exist and can
 * be seen, and no edge is ever added to a job. Through batches it could, since
 * a batch takes new members: store/cycle.c prevents that.
 *
 * Any process, inside a transaction. Everything is read as it is at this moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/batch.h"
#include "store/prerequisite.h"
#include "store/signalrow.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* Returns the elements of an array column that are not null, and their number. */
static Datum *
elements(const BgjobJob *job, BgjobColumn column, Oid type, int *n)
{
	ArrayType *array;
	Datum *values;
	bool *nulls;
	int kept = 0;

	*n = 0;
	if (bgjob_job_is_null(job, column))
		return NULL;
	array = DatumGetArrayTypeP(bgjob_job_datum(job, column));
	if (type == INT8OID)
		deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls,
						  n);
	else
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, n);
	for (int i = 0; i < *n; i++) /* a row that was written by hand may have nulls */
		if (!nulls[i])
			values[kept++] = values[i];
	*n = kept;
	return values;
}

/* bgjob_prerequisites_read reads from a job's row what it awaits; false if it awaits nothing. */
bool
bgjob_prerequisites_read(const BgjobJob *job, BgjobPrerequisites *all)
{
	int njobs;
	int nsignals;
	Datum *jobs;
	Datum *signals;

	if (!bgjob_has_prerequisites(job))
		return false;
	jobs = elements(job, BGJOB_C_AFTER, INT8OID, &njobs);
	signals = elements(job, BGJOB_C_AFTER_SIGNAL, TEXTOID, &nsignals);
	all->role = job->run_as;
	all->condition =
		bgjob_job_is_null(job, BGJOB_C_CONDITION)
			? BGJOB_IF_SUCCEEDED
			: (BgjobCondition) DatumGetChar(bgjob_job_datum(job, BGJOB_C_CONDITION));
	all->njobs = njobs;
	all->nbatches = bgjob_job_is_null(job, BGJOB_C_AFTER_BATCH) ? 0 : 1;
	all->nsignals = nsignals;
	all->nfollowed = bgjob_job_is_null(job, BGJOB_C_FOLLOWS) ? 0 : 1;
	all->n = njobs + all->nbatches + nsignals + all->nfollowed;
	if (all->n == all->nfollowed) /* it is the only one that the condition is compared with */
		all->condition = BGJOB_IF_FINISHED;
	all->targets = palloc(Max(all->n, 1) * sizeof(int64));
	all->signals = palloc(Max(nsignals, 1) * sizeof(char *));
	for (int i = 0; i < njobs; i++)
		all->targets[i] = DatumGetInt64(jobs[i]);
	if (all->nbatches > 0)
		all->targets[njobs] = DatumGetInt64(bgjob_job_datum(job, BGJOB_C_AFTER_BATCH));
	for (int i = 0; i < nsignals; i++)
	{
		all->signals[i] = TextDatumGetCString(signals[i]);
		all->targets[njobs + all->nbatches + i] = bgjob_signal_target(all->signals[i]);
	}
	all->nedges = all->n;
	if (all->nfollowed > 0)
		all->targets[all->n - 1] =
			bgjob_followed_id(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_FOLLOWS)));
	for (int i = 0; i < njobs && all->nfollowed > 0; i++)
		if (all->targets[i] == all->targets[all->n - 1])
			all->nedges = all->n - 1;
	return true;
}

/* bgjob_prerequisites_free frees the arrays. */
void
bgjob_prerequisites_free(BgjobPrerequisites *all)
{
	pfree(all->targets);
	pfree(all->signals);
}

/* Returns the state of a job at this moment; deleted if it is no longer there. */
static BgjobState
job_state(BgjobRel *jobs, int64 id)
{
	BgjobState state = BGJOB_DELETED;
	bool isnull;

	if (bgjob_job_peek(jobs, id, NULL))
		state = bgjob_state_by_letter(
			DatumGetChar(slot_getattr(jobs->slot, BGJOB_C_STATE, &isnull)));
	ExecClearTuple(jobs->slot);
	return state;
}

/* bgjob_target_is_job returns whether target i is a job, also one that is followed. */
bool
bgjob_target_is_job(const BgjobPrerequisites *all, int i)
{
	return i < all->njobs || i >= all->n - all->nfollowed;
}

/*
 * bgjob_target_state returns the state of target i at this moment. A batch that has
 * not finished is awaiting; a signal is succeeded when it is there, else awaiting.
 */
BgjobState
bgjob_target_state(BgjobRel *jobs, const BgjobPrerequisites *all, int i)
{
	if (bgjob_target_is_job(all, i))
		return job_state(jobs, all->targets[i]);
	if (i < all->njobs + all->nbatches)
		return bgjob_batch_state(all->targets[i]);
	return bgjob_signal_is_there(all->signals[i - all->njobs - all->nbatches], all->role)
			   ? BGJOB_SUCCEEDED
			   : BGJOB_AWAITING;
}

/* bgjob_condition_of returns whether a target in a state meets a condition. */
BgjobAwaited
bgjob_condition_of(BgjobCondition condition, BgjobState state)
{
	bool met = false;

	if (!bgjob_state_is_final(state))
		return BGJOB_AWAITED_OPEN;
	switch (condition)
	{
		case BGJOB_IF_FINISHED:
			met = true;
			break;
		case BGJOB_IF_FAILED:
			met = state == BGJOB_FAILED;
			break;
		case BGJOB_IF_DELETED:
			met = state == BGJOB_DELETED;
			break;
		case BGJOB_IF_SUCCEEDED:
		case BGJOB_IF_ANY:
			met = state == BGJOB_SUCCEEDED;
			break;
	}
	return met ? BGJOB_AWAITED_MET : BGJOB_AWAITED_HOPELESS;
}

/* bgjob_is_hopeless_reason returns whether the reason of a deleted job says that it could not run. */
bool
bgjob_is_hopeless_reason(const char *reason)
{
	return reason != NULL &&
		   strncmp(reason, BGJOB_HOPELESS_REASON, strlen(BGJOB_HOPELESS_REASON)) == 0;
}

/* Returns the reason of a deleted job if it says that the job itself could not run; else NULL. */
static const char *
inherited_reason(BgjobRel *jobs, int64 id)
{
	const char *reason = NULL;
	bool isnull;
	Datum value;

	if (bgjob_job_peek(jobs, id, NULL))
	{
		value = slot_getattr(jobs->slot, BGJOB_C_REASON, &isnull);
		if (!isnull)
			reason = TextDatumGetCString(value);
	}
	ExecClearTuple(jobs->slot);
	return bgjob_is_hopeless_reason(reason) ? reason : NULL;
}

/* bgjob_hopeless_reason returns why a job cannot run: target i ended in a state. It names the first culprit of a chain. */
const char *
bgjob_hopeless_reason(BgjobRel *jobs, const BgjobPrerequisites *all, int i, BgjobState state)
{
	const char *what = i < all->njobs ? "job" : "batch";
	const char *inherited = NULL;

	if (i < all->njobs && state == BGJOB_DELETED)
		inherited = inherited_reason(jobs, all->targets[i]);
	if (inherited != NULL)
		return inherited;
	return psprintf(BGJOB_HOPELESS_REASON "%s " INT64_FORMAT " %s", what, all->targets[i],
					state == BGJOB_DELETED ? "was deleted" : bgjob_state_name(state));
}

/* Notes that target i is still open; the first of them is remembered. */
static void
note_open(BgjobLook *look, int i)
{
	if (look->awaited != BGJOB_AWAITED_OPEN)
		*look = (BgjobLook){.awaited = BGJOB_AWAITED_OPEN, .open = i};
}

/* Looks at the jobs and the batch, of which one must have succeeded. */
static void
look_for_any(BgjobRel *jobs, const BgjobPrerequisites *all, int from, bool stop,
			 BgjobLook *look)
{
	*look = (BgjobLook){.awaited = BGJOB_AWAITED_HOPELESS,
						.reason = BGJOB_HOPELESS_REASON
						"none of the jobs that it awaits has succeeded"};
	for (int i = from; i < all->njobs + all->nbatches; i++)
	{
		BgjobAwaited awaited =
			bgjob_condition_of(BGJOB_IF_ANY, bgjob_target_state(jobs, all, i));

		if (awaited == BGJOB_AWAITED_OPEN)
			note_open(look, i);
		if (awaited == BGJOB_AWAITED_MET)
			*look = (BgjobLook){.awaited = BGJOB_AWAITED_MET};
		if (awaited == BGJOB_AWAITED_MET || (awaited == BGJOB_AWAITED_OPEN && stop))
			return;
	}
}

/* Looks at the jobs before "to" and the batch, all of which must meet the condition. */
static void
look_for_all(BgjobRel *jobs, const BgjobPrerequisites *all, int from, int to, bool stop,
			 BgjobLook *look)
{
	for (int i = from; i < all->njobs + all->nbatches; i++)
	{
		BgjobState state;
		BgjobAwaited awaited;

		if (i >= to && i < all->njobs)
		{
			i = all->njobs - 1;
			continue;
		}
		state = bgjob_target_state(jobs, all, i);
		awaited = bgjob_condition_of(all->condition, state);
		if (awaited == BGJOB_AWAITED_HOPELESS)
		{
			look->awaited = awaited;
			look->reason = bgjob_hopeless_reason(jobs, all, i, state);
			return;
		}
		if (awaited == BGJOB_AWAITED_OPEN)
			note_open(look, i);
		if (awaited == BGJOB_AWAITED_OPEN && stop)
			return;
	}
}

/*
 * bgjob_prerequisites_look_between looks whether what a job awaits is there. Targets before
 * "from", and jobs from "to" on, have ended without making it hopeless, as the caller knows. look->open is the first
 * target that is still open; "stop" there, although a later one may make the job hopeless.
 */
void
bgjob_prerequisites_look_between(BgjobRel *jobs, const BgjobPrerequisites *all, int from,
								 int to, bool stop, BgjobLook *look)
{
	int targets = all->njobs + all->nbatches;

	/* From a signal on, the condition was met. If there is one target, the reason names it. */
	*look = (BgjobLook){.awaited = BGJOB_AWAITED_MET};
	if (all->condition == BGJOB_IF_ANY && targets > 1 && from < targets)
		look_for_any(jobs, all, from, stop, look);
	else
		look_for_all(jobs, all, from, to, stop, look);
	for (int i = targets; i < all->n && look->awaited == BGJOB_AWAITED_MET; i++)
		if (!bgjob_state_is_final(bgjob_target_state(jobs, all, i)))
			note_open(look, i);
}

/* bgjob_prerequisites_look does the same where nothing is known of the last jobs. */
void
bgjob_prerequisites_look(BgjobRel *jobs, const BgjobPrerequisites *all, int from, bool stop,
						 BgjobLook *look)
{
	bgjob_prerequisites_look_between(jobs, all, from, all->njobs, stop, look);
}

/* bgjob_prerequisites_last returns the last job before "to" that has not ended as required; "from" if all after that have. */
int
bgjob_prerequisites_last(BgjobRel *jobs, const BgjobPrerequisites *all, int from, int to)
{
	while (--to > from &&
		   bgjob_condition_of(all->condition, bgjob_target_state(jobs, all, to)) ==
			   BGJOB_AWAITED_MET)
		;
	return Max(to, from);
}
