/*-------------------------------------------------------------------------
 *
 * continuation.c
 *	  What a new job awaits, and the batch that it joins.
 *
 * The options after, after_batch, after_signal, condition, await_timeout and batch
 * are checked here against what there is, and set in the columns of the job. The caller must
 * control the jobs and batches that it names.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/continuation.h"
#include "api/rights.h"
#include "base/change.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/awaiting.h"
#include "store/batch.h"
#include "store/cycle.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* ---- reading the options ---- */

static void
refuse_null(const char *option)
{
	ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					errmsg("%s must not contain null", option),
					errdetail("Each element names something that the job awaits."),
					errhint("Remove the null elements, for example with array_remove().")));
}

static int
compare_ids(const void *a, const void *b)
{
	int64 left = DatumGetInt64(*(const Datum *) a);
	int64 right = DatumGetInt64(*(const Datum *) b);

	return left < right ? -1 : left > right ? 1 : 0;
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(TextDatumGetCString(*(const Datum *) a),
				  TextDatumGetCString(*(const Datum *) b));
}

/* Sorts the elements of an array and removes doubles. Returns the new number. */
static int
make_distinct(Datum *values, int n, int (*compare)(const void *, const void *))
{
	int kept = 0;

	qsort(values, n, sizeof(Datum), compare);
	for (int i = 0; i < n; i++)
		if (kept == 0 || compare(&values[i], &values[kept - 1]) != 0)
			values[kept++] = values[i];
	return kept;
}

/* Sets an array column to the distinct elements of an option; an empty array is none. */
static void
set_array(const BgjobOptionSet *set, BgjobOption option, Oid type, BgjobJob *job,
		  BgjobColumn column)
{
	bool ids = type == INT8OID;
	Datum *values;
	bool *nulls;
	int n;

	bgjob_job_set_null(job, column);
	if (!set->given[option])
		return;
	deconstruct_array(DatumGetArrayTypeP(set->values[option]), type, ids ? 8 : -1,
					  ids ? FLOAT8PASSBYVAL : false, ids ? TYPALIGN_DOUBLE : TYPALIGN_INT,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			refuse_null(bgjob_options[option].name);
		if (!ids)
			bgjob_check_signal_name(TextDatumGetCString(values[i]));
	}
	n = make_distinct(values, n, ids ? compare_ids : compare_texts);
	if (n > 0)
		bgjob_job_set(job, column,
					  PointerGetDatum(construct_array(values, n, type, ids ? 8 : -1,
													  ids ? FLOAT8PASSBYVAL : false,
													  ids ? TYPALIGN_DOUBLE : TYPALIGN_INT)));
}

/* Raises 22023 for options that have no meaning without a job, batch or signal to await. */
static void
refuse_without_targets(const BgjobOptionSet *set, const BgjobJob *job)
{
	bool targets =
		!bgjob_job_is_null(job, BGJOB_C_AFTER) || !bgjob_job_is_null(job, BGJOB_C_AFTER_BATCH);
	bool given = set->given[BGJOB_O_AFTER] || set->given[BGJOB_O_AFTER_BATCH];

	if (!given && !targets && !bgjob_job_is_null(job, BGJOB_C_CONDITION))
		bgjob_invalid("condition needs after or after_batch",
					  "It is what must become of the jobs that this one awaits.",
					  "Omit condition, or name the jobs with after.");
	if (set->given[BGJOB_O_AWAIT_TIMEOUT] && !given && !set->given[BGJOB_O_AFTER_SIGNAL])
		bgjob_invalid("await_timeout needs after, after_batch or after_signal",
					  "It is how long the job may await them.", "Omit await_timeout.");
}

/* Sets the columns of a job from the options. */
static void
set_columns(const BgjobOptionSet *set, BgjobJob *job)
{
	char condition = set->given[BGJOB_O_CONDITION]
						 ? DatumGetChar(set->values[BGJOB_O_CONDITION])
						 : BGJOB_IF_SUCCEEDED;

	set_array(set, BGJOB_O_AFTER, INT8OID, job, BGJOB_C_AFTER);
	set_array(set, BGJOB_O_AFTER_SIGNAL, TEXTOID, job, BGJOB_C_AFTER_SIGNAL);
	if (set->given[BGJOB_O_AFTER_BATCH])
		bgjob_job_set(job, BGJOB_C_AFTER_BATCH, set->values[BGJOB_O_AFTER_BATCH]);
	if (condition != BGJOB_IF_SUCCEEDED)
		bgjob_job_set(job, BGJOB_C_CONDITION, CharGetDatum(condition));
	refuse_without_targets(set, job);
	if (set->given[BGJOB_O_AWAIT_TIMEOUT] && bgjob_has_prerequisites(job))
		bgjob_job_set(job, BGJOB_C_AWAIT_TIMEOUT, set->values[BGJOB_O_AWAIT_TIMEOUT]);
	if (set->given[BGJOB_O_DELAY] && bgjob_has_prerequisites(job))
		bgjob_job_set(job, BGJOB_C_AWAIT_DELAY, set->values[BGJOB_O_DELAY]);
	if (set->given[BGJOB_O_BATCH])
		bgjob_job_set(job, BGJOB_C_BATCH_ID, set->values[BGJOB_O_BATCH]);
}

/* ---- what there is ---- */

/* bgjob_check_batch raises 22023 unless there is a batch, and 42501 unless the caller controls it. */
void
bgjob_check_batch(int64 id)
{
	BgjobBatch batch;

	if (!bgjob_batch_read(id, &batch))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("batch " INT64_FORMAT " does not exist", id),
						errdetail("It was never created, or has been removed."),
						errhint("bgjob_batch() creates a batch and returns its id.")));
	if (!bgjob_may_control(batch.role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for batch " INT64_FORMAT, id),
				 errdetail("It belongs to role \"%s\".", GetUserNameFromId(batch.role, true))));
}

/* What the targets of a new job have in common. */
typedef struct Targets
{
	bool foreign; /* another transaction may be ending one of them */
	bool
		behind; /* one awaits a batch, directly or over others; or may be revived, and then does */
} Targets;

/* Returns whether the job in a slot awaits a batch, directly or over others, or may be revived. */
static bool
is_behind_batch(TupleTableSlot *slot, int64 id)
{
	bool isnull;
	BgjobState state =
		bgjob_state_by_letter(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull)));
	BgjobAwaiting row;
	Datum reason;

	if (state == BGJOB_AWAITING)
		return bgjob_awaiting_find(id, &row) && row.behind_batch;
	if (state != BGJOB_DELETED)
		return false;
	reason = slot_getattr(slot, BGJOB_C_REASON, &isnull);
	return !isnull && bgjob_is_hopeless_reason(TextDatumGetCString(reason));
}

/* Raises 22023 unless there is a job to be awaited, and 42501 unless the caller controls it. */
static void
check_target(BgjobRel *jobs, int64 id, Targets *targets)
{
	Oid role;
	bool isnull;

	if (!bgjob_job_peek(jobs, id, NULL))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("job " INT64_FORMAT " does not exist", id),
						errdetail("It was never enqueued, or has been removed, or its "
								  "transaction has not committed."),
						errhint("after awaits the jobs whose ids it names.")));
	role = DatumGetObjectId(slot_getattr(jobs->slot, BGJOB_C_RUN_AS, &isnull));
	if (!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
			slot_getsysattr(jobs->slot, MinTransactionIdAttributeNumber, &isnull))))
		targets->foreign = true; /* it can end none that this one has inserted, or changed */
	targets->behind = targets->behind || is_behind_batch(jobs->slot, id);
	ExecClearTuple(jobs->slot);
	bgjob_check_control(id, role);
}

/* Checks all targets. */
static void
check_targets(BgjobRel *jobs, const BgjobPrerequisites *all, Targets *targets)
{
	BgjobBatch batch;

	*targets =
		(Targets){.foreign = all->n > all->njobs + all->nbatches, .behind = all->nbatches > 0};
	for (int i = 0; i < all->njobs; i++)
	{
		CHECK_FOR_INTERRUPTS();
		check_target(jobs, all->targets[i], targets);
	}
	if (all->nbatches == 0)
		return;
	bgjob_check_batch(all->targets[all->njobs]);
	if (!bgjob_batch_read(all->targets[all->njobs], &batch) || !batch.mine)
		targets->foreign = true;
}

/* ---- cycles ---- */

/* Raises 22023 if a new job of a batch would await itself. Returns whether that has to be checked again at the commit. */
static bool
refuse_cycles(BgjobRel *jobs, int64 batch, const BgjobPrerequisites *all)
{
	BgjobCycle cycle;

	switch (bgjob_cycle_find(jobs, 0, batch, all, &cycle))
	{
		case BGJOB_NO_CYCLE:
			break;
		case BGJOB_CYCLE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the job would await itself"),
					 errdetail("It joins batch " INT64_FORMAT ", which job " INT64_FORMAT
							   " awaits; and it awaits that job, directly or over others.",
							   cycle.batch, cycle.by),
					 errhint("Enqueue it outside of the batch, or do not await that job.")));
			break;
		case BGJOB_CYCLE_UNKNOWN:
			ereport(
				ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many jobs to be searched for a cycle"),
				 errdetail("The job joins a batch, and awaits more than %d jobs of batches.",
						   BGJOB_CYCLE_SEARCH_MAX),
				 errhint("Create and fill the batch in one transaction, before others "
						 "await it; or enqueue the job outside of the batch.")));
			break;
	}
	return cycle.searched;
}

/* Raises 22023 if a new job awaits the batch that it joins, or one above it, even if that has finished: it would open it again. */
static void
refuse_own_batch(const BgjobJob *job, const BgjobPrerequisites *all)
{
	const int64 *chain;
	int n = 0;

	if (bgjob_job_is_null(job, BGJOB_C_BATCH_ID) || all->nbatches == 0)
		return;
	chain = bgjob_batch_chain(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID)), &n);
	for (int i = 0; i < n; i++)
		if (chain[i] == all->targets[all->njobs])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the job would await itself"),
							errdetail("It joins batch " INT64_FORMAT
									  ", directly or in a batch in it, and awaits that batch.",
									  chain[i]),
							errhint("Enqueue it outside of the batch.")));
}

/* ---- the whole ---- */

/*
 * bgjob_continuation_read checks what new jobs await and the batch that they join, and
 * sets their columns. Errors: 22004 a null element; 22023 there is no such job or batch,
 * options that contradict each other, a cycle; 42501 another's job or batch.
 */
void
bgjob_continuation_read(const BgjobOptionSet *set, BgjobJob *job,
						BgjobContinuation *continuation)
{
	BgjobPrerequisites *all = &continuation->all;
	BgjobRel *jobs;
	BgjobLook look;
	Targets targets;

	memset(continuation, 0, sizeof(*continuation));
	set_columns(set, job);
	if (!bgjob_job_is_null(job, BGJOB_C_BATCH_ID) || bgjob_has_prerequisites(job))
		CommandCounterIncrement(); /* they may be this transaction's own */
	if (!bgjob_job_is_null(job, BGJOB_C_BATCH_ID))
		bgjob_check_batch(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID)));
	continuation->any = bgjob_prerequisites_read(job, all);
	if (!continuation->any)
		return;
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	check_targets(jobs, all, &targets);
	continuation->foreign = targets.foreign;
	bgjob_prerequisites_look(jobs, all, 0, false, &look);
	continuation->awaited = look.awaited;
	job->behind_batch = targets.behind;
	refuse_own_batch(job, all);
	if (targets.behind && look.awaited == BGJOB_AWAITED_OPEN &&
		!bgjob_job_is_null(job, BGJOB_C_BATCH_ID))
		continuation->recheck =
			refuse_cycles(jobs, DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID)), all);
	bgjob_rel_close(jobs);
}

/*
 * bgjob_continuation_ask has a new job, or the first of many, searched for cycles once more at the commit, if there could be one, and
 * has the scheduler review it after the commit, if what
 * it awaits may be ended by another transaction meanwhile (store/release.c); of many new jobs, their targets instead.
 */
void
bgjob_continuation_ask(const BgjobContinuation *continuation, int64 job, bool many)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();

	if (continuation->recheck && notes != NULL)
		bgjob_dependant_note_cycle(notes, job);
	if (!continuation->any || !continuation->foreign || notes == NULL ||
		continuation->awaited != BGJOB_AWAITED_OPEN)
		return;
	if (!many)
		bgjob_dependant_note_review(notes, job);
	for (int i = 0; i < continuation->all.n && many; i++)
		bgjob_dependant_note_review(notes, continuation->all.targets[i]);
}
