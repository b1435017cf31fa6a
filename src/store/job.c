/*-------------------------------------------------------------------------
 *
 * job.c
 *	  A job's state: the one function that changes it, and writing the row.
 *
 * THE ROW TELLS THE CURRENT ATTEMPT. A job that is enqueued, performed and
 * succeeds is inserted once and updated once, and no history is written. The
 * times of its waiting, start and end, its worker and its outcome are columns of
 * the row, from which the view bgjob.job_states makes the entries. Only when a
 * job goes on (a retry, a requeue, a due time), its entries are moved to
 * bgjob_internal.state ("archived") before the row takes new ones.
 * bgjob_internal.job.states counts the archived entries.
 *
 * The entries that a row stands for, in this order:
 *	 awaiting   if nothing has been archived yet, entered_at is set, and it
 *	            has awaited something: from created_at to entered_at
 *	 waiting    if entered_at is set, or nothing has been archived yet (then
 *	            it is created_at): scheduled or awaiting if that is the
 *	            state, else enqueued; reason in entry_reason
 *	 processing if started_at is set
 *	 the end    if the state is succeeded, failed or deleted
 *
 * Runs in any process, inside a transaction. It names no column by a string,
 * and calls no function that a job could have replaced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/dependants.h"
#include "base/slot.h"
#include "base/text.h"
#include "store/attemptstats.h"
#include "store/batch.h"
#include "store/edge.h"
#include "store/gating.h"
#include "store/history.h"
#include "store/job.h"
#include "store/option.h"
#include "store/place.h"
#include "store/prerequisite.h"
#include "store/sequence.h"
#include "store/summary.h"
#include "store/unique.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

BgjobJobFilters bgjob_job_filters = {NULL, NULL};

/* ---- leaving and entering states ---- */

/* Removes a job from its place. Where the row there is the lock, taking the job has deleted it. */
static void
job_leave(const BgjobJob *job)
{
	if (!job->to_place)
		bgjob_place_leave(bgjob_place_of(job), job->id);
}

static void
job_enter_waiting(BgjobJob *job, const BgjobCircumstances *what)
{
	if (bgjob_job_is_null(job, BGJOB_C_STATES) &&
		what->at == bgjob_job_time(job, BGJOB_C_CREATED_AT))
		bgjob_job_set_null(job, BGJOB_C_ENTERED_AT);
	else
		bgjob_job_set_time(job, BGJOB_C_ENTERED_AT, what->at);
	bgjob_job_set_text(job, BGJOB_C_ENTRY_REASON,
					   bgjob_text_cut(what->reason, BGJOB_REASON_MAX));
}

/* Enters the queue. A run_at that the job has stays: it is compared with started_at, and start_within counts from it. */
static void
job_enter_enqueued(BgjobJob *job, const BgjobCircumstances *what, bool keep_place)
{
	job_enter_waiting(job, what);
	if (!keep_place)
	{
		job->pos = bgjob_next_id();
		bgjob_job_set(job, BGJOB_C_POS, Int64GetDatum(job->pos));
	}
}

static void
job_enter_scheduled(BgjobJob *job, const BgjobCircumstances *what)
{
	job_enter_waiting(job, what);
	bgjob_job_set_time(job, BGJOB_C_RUN_AT, what->run_at);
}

/* Notes worker and start of the attempt that ends now, unless the row has them already. */
static void
job_note_attempt(BgjobJob *job, const BgjobCircumstances *what)
{
	if (!bgjob_job_is_null(job, BGJOB_C_STARTED_AT) || what->started_at == 0)
		return;
	bgjob_job_set_time(job, BGJOB_C_STARTED_AT, what->started_at);
	if (what->worker_pid != 0)
		bgjob_job_set(job, BGJOB_C_WORKER_PID, Int32GetDatum(what->worker_pid));
	else
		bgjob_job_set_null(job, BGJOB_C_WORKER_PID);
	bgjob_job_set_text(job, BGJOB_C_SERVER,
					   what->server != NULL && strcmp(what->server, BGJOB_DEFAULT_SERVER) != 0
						   ? what->server
						   : NULL);
}

/* Returns whether a job is deleted because it could not run: it may be revived, and then awaits again what it has awaited. */
static bool
is_hopeless(const BgjobJob *job, BgjobState state)
{
	const char *reason = bgjob_job_text(job, BGJOB_C_REASON);

	return state == BGJOB_DELETED && bgjob_is_hopeless_reason(reason);
}

static void
job_enter_end(BgjobJob *job, BgjobState state, const BgjobCircumstances *what)
{
	bgjob_job_set_time(job, BGJOB_C_FINISHED_AT, what->at);
	bgjob_job_set_text(job, BGJOB_C_REASON, bgjob_text_cut(what->reason, BGJOB_REASON_MAX));
	if (state == BGJOB_SUCCEEDED)
	{
		bgjob_job_set_jsonb(job, BGJOB_C_RESULT, what->result);
		bgjob_job_set_null(job, BGJOB_C_ERROR);
	}
	if (state == BGJOB_FAILED || what->error != NULL)
		bgjob_job_set_jsonb(job, BGJOB_C_ERROR, what->error);
	if (!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		bgjob_unique_leave(job);
	if (state != BGJOB_FAILED && !bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY))
		bgjob_gating_leave_sequence(job);
	if (state != BGJOB_FAILED && bgjob_has_prerequisites(job) && !is_hopeless(job, state))
		bgjob_edges_delete(job);
}

static void
add_to(BgjobJob *job, BgjobColumn column)
{
	bgjob_job_set(job, column, Int32GetDatum(DatumGetInt32(bgjob_job_datum(job, column)) + 1));
}

/* Applies a failed attempt that will be retried: processing, failed, scheduled. */
static void
apply_retry(BgjobJob *job, const BgjobCircumstances *what)
{
	BgjobCircumstances scheduled = *what;
	char *message = bgjob_history_message(what->error);

	bgjob_history_archive_failure(job, what->at, message, what->error);
	bgjob_job_set_jsonb(job, BGJOB_C_ERROR, what->error);
	job->retries++;
	bgjob_job_set(job, BGJOB_C_RETRIES, Int32GetDatum(job->retries));
	if (what->reason == NULL)
		scheduled.reason = psprintf(BGJOB_RETRY_REASON "%d of %d: %s", job->retries,
									job->max_retries, message);
	job_enter_scheduled(job, &scheduled);
}

/* Returns whether two jobs have the same sequence_key, or none. */
static bool
same_sequence(const BgjobJob *a, const BgjobJob *b)
{
	const char *left = bgjob_job_text(a, BGJOB_C_SEQUENCE_KEY);
	const char *right = bgjob_job_text(b, BGJOB_C_SEQUENCE_KEY);

	return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

/* Copies the contents of another job: all but its id, owner, key and history. It leaves its sequence if it gets another one. */
static void
take_over(BgjobJob *job, const BgjobJob *contents)
{
	static const BgjobColumn columns[] = {BGJOB_C_SETTINGS_ID,
										  BGJOB_C_POLICY_ID,
										  BGJOB_C_KIND,
										  BGJOB_C_JOB,
										  BGJOB_C_CALL_ID,
										  BGJOB_C_ARGS,
										  BGJOB_C_CUSTOM_SETTINGS,
										  BGJOB_C_ENQUEUED_BY};

	if (!bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY) && !same_sequence(job, contents))
		bgjob_gating_leave_sequence(job);
	for (int i = 0; i < lengthof(columns); i++)
	{
		job->values[columns[i] - 1] = contents->values[columns[i] - 1];
		job->nulls[columns[i] - 1] = contents->nulls[columns[i] - 1];
	}
	bgjob_options_take_over(job, contents);
	job->kind = contents->kind;
	job->job = contents->job;
	job->func = contents->func;
}

static void
set_retries(BgjobJob *job, int retries)
{
	job->retries = retries;
	bgjob_job_set(job, BGJOB_C_RETRIES, Int32GetDatum(retries));
}

/* Resets a job that runs again after its end, or with other contents. */
static void
start_anew(BgjobJob *job, BgjobState from, const BgjobCircumstances *what)
{
	if (what->contents != NULL)
		take_over(job, what->contents);
	if (bgjob_state_is_final(from) || what->contents != NULL)
		set_retries(job, 0);
	if (bgjob_state_is_final(from))
		bgjob_unique_reenter(job);
	if (from == BGJOB_SUCCEEDED || from == BGJOB_DELETED)
		bgjob_edges_restore(job);
}

/*
 * bgjob_job_apply applies an event to a job, under the circumstances "what". It
 * writes the history and changes the row in memory only; the job is in no place
 * (store/place.h) until bgjob_job_save. rules/state.c has the transitions; any
 * other is an internal error (XX000). Filters are called before and after the
 * event; they may replace it by another.
 */
void
bgjob_job_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	if (bgjob_job_filters.apply == NULL || !bgjob_job_filters.apply(job, event, what))
		bgjob_job_apply_unfiltered(job, event, what);
}

/* Returns the state that an event leads to; BGJOB_NONE: the event cannot happen. */
static BgjobState
job_state_after(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	BgjobState to = bgjob_transition(job->state, event);

	/* An attempt in one transaction goes from enqueued to its end in one step. */
	if (to == BGJOB_NONE && job->state == BGJOB_ENQUEUED && what->started_at != 0)
		to = bgjob_transition(BGJOB_PROCESSING, event);
	return to;
}

/* bgjob_job_can returns whether an event can happen to a job. */
bool
bgjob_job_can(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	return job_state_after(job, event, what) != BGJOB_NONE;
}

static void
job_set_state(BgjobJob *job, BgjobState to)
{
	job->state = to;
	bgjob_job_set(job, BGJOB_C_STATE, CharGetDatum(bgjob_state_letter(to)));
}

static void
job_count_crash(BgjobJob *job)
{
	job->crashes++;
	add_to(job, BGJOB_C_CRASHES);
}

/* Returns whether a change of state ends an attempt. */
static bool
job_ends_attempt(BgjobState from, BgjobState to, const BgjobCircumstances *what)
{
	return to != BGJOB_PROCESSING &&
		   (from == BGJOB_PROCESSING || (from == BGJOB_ENQUEUED && what->started_at != 0));
}

/*
 * Returns whether a job leaves its batch when the transaction is settled, and so together with
 * the others of its group: it has succeeded, in a worker, where nobody can look before that.
 */
static bool
leaves_batch_later(const BgjobJob *job)
{
	return job->state == BGJOB_SUCCEEDED && bgjob_my_slot != NULL;
}

/* Notes the end of a job or of an attempt (NULL: there was none), for store/settle.c and the statistics. */
static void
job_note_over(const BgjobJob *job, const BgjobAttempt *attempt)
{
	BgjobOver over = {.job = job->id,
					  .state = job->state,
					  .recurring = !bgjob_job_is_null(job, BGJOB_C_RECURRING_NAME)};

	if (!bgjob_job_is_null(job, BGJOB_C_BATCH_ID))
	{
		over.batch = DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID));
		over.member = leaves_batch_later(job);
	}
	if (bgjob_state_is_final(job->state) || attempt != NULL)
		bgjob_change_over(&over, job->run_as, job->queue, attempt);
}

/* Returns as what a job is counted. Its queue stays where it is in memory if the job gets another one. */
static BgjobCounted
counted_as(const BgjobJob *job)
{
	BgjobCounted counted = {job->run_as, job->queue, job->state,
							job->state == BGJOB_SCHEDULED && job->retries > 0};

	return counted;
}

/* Notes that a job is counted as something else than before, and if it goes on again that others await. */
static void
count_change(const BgjobCounted *was, const BgjobJob *job)
{
	BgjobCounted is = counted_as(job);

	bgjob_change_count(was, &is);
	if (bgjob_state_is_final(was->state) && !bgjob_state_is_final(job->state) &&
		bgjob_change_dependants() != NULL && bgjob_dependants_count(job->id) > 0)
		bgjob_change_dependants()->reopened = true;
}

/* bgjob_job_apply_unfiltered does the same without calling filters. */
void
bgjob_job_apply_unfiltered(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	BgjobState from = job->state;
	BgjobState to = job_state_after(job, event, what);
	bool ends_attempt = job_ends_attempt(from, to, what);
	BgjobCounted was = counted_as(job);
	BgjobAttempt attempt;

	if (to == BGJOB_NONE)
		elog(ERROR, "job " INT64_FORMAT " is %s: event %d cannot happen", job->id,
			 bgjob_state_name(from), (int) event);

	job_note_attempt(job, what);
	if (ends_attempt) /* while the row has its times */
		bgjob_attemptstats_describe(job, event, to, what, &attempt);
	if (what->crashed)
		job_count_crash(job);
	job_leave(job);
	bgjob_job_set_null(job, BGJOB_C_PENDING);
	switch (event)
	{
		case BGJOB_EV_ENQUEUE:
		case BGJOB_EV_AWAIT:
			job_enter_waiting(job, what);
			break;
		case BGJOB_EV_SCHEDULE:
			job_enter_scheduled(job, what);
			break;
		case BGJOB_EV_DUE:
			bgjob_history_archive(job);
			job_enter_enqueued(job, what, false);
			break;
		case BGJOB_EV_RELEASE:
			if (!bgjob_history_is_first(job)) /* else the row tells that it has awaited */
				bgjob_history_archive(job);
			job_enter_enqueued(job, what, false);
			bgjob_job_set_time(job, BGJOB_C_ENTERED_AT, what->at);
			break;
		case BGJOB_EV_START:
			break;
		case BGJOB_EV_SUCCEED:
		case BGJOB_EV_FAIL:
		case BGJOB_EV_DELETE:
			/* From these two states on, the row itself holds the whole attempt. */
			if (from != BGJOB_ENQUEUED && from != BGJOB_PROCESSING)
				bgjob_history_archive(job);
			job_enter_end(job, to, what);
			break;
		case BGJOB_EV_RETRY:
			apply_retry(job, what);
			break;
		case BGJOB_EV_INTERRUPT:
			bgjob_history_archive(job);
			add_to(job, BGJOB_C_INTERRUPTIONS);
			job_enter_enqueued(job, what, true);
			break;
		case BGJOB_EV_REQUEUE:
			bgjob_history_archive(job);
			start_anew(job, from, what);
			bgjob_job_set_null(job, BGJOB_C_RUN_AT);
			job_enter_enqueued(job, what, false);
			break;
		case BGJOB_EV_RESCHEDULE:
			bgjob_history_archive(job);
			start_anew(job, from, what);
			job_enter_scheduled(job, what);
			break;
		case BGJOB_EV_REVIVE:
			bgjob_history_archive(job);
			start_anew(job, from, what);
			job_enter_waiting(job, what);
			break;
	}
	job_set_state(job, to);
	job->to_place = !what->in_queue;
	job_note_over(job, ends_attempt ? &attempt : NULL);
	bgjob_attemptstats_note_flows(job, from, event, what, ends_attempt);
	count_change(&was, job);
	if (ItemPointerIsValid(&job->tid) && /* else bgjob_job_save enters it into its batch */
		!leaves_batch_later(job))
		bgjob_batch_flip(job, from);
}

/*
 * bgjob_job_put_off leaves an event, described by "pending", to a worker. The job
 * is enqueued until a worker has applied the event; its history does not show
 * that. The caller has locked the job, unless what->in_queue.
 */
void
bgjob_job_put_off(BgjobJob *job, const Jsonb *pending, const BgjobCircumstances *what)
{
	BgjobCounted was = counted_as(job);

	if (what->contents != NULL)
	{
		take_over(job, what->contents);
		set_retries(job, 0);
	}
	if (what->crashed)
		job_count_crash(job);
	if (was.state != BGJOB_ENQUEUED)
	{
		job_leave(job);
		job_set_state(job, BGJOB_ENQUEUED);
	}
	count_change(&was, job);
	bgjob_batch_flip(job, was.state);
	bgjob_job_set_jsonb(job, BGJOB_C_PENDING, pending);
	if (what->in_queue)
		return;
	job->pos = bgjob_next_id();
	bgjob_job_set(job, BGJOB_C_POS, Int64GetDatum(job->pos));
	bgjob_job_set_null(job, BGJOB_C_GATE);
	job->to_place = true;
}

/* bgjob_job_resume restores the state of a job that was put off; the caller has taken its row in the queue. */
void
bgjob_job_resume(BgjobJob *job, BgjobState state)
{
	BgjobCounted was = counted_as(job);

	bgjob_job_set_null(job, BGJOB_C_PENDING);
	job_set_state(job, state);
	count_change(&was, job);
	bgjob_batch_flip(job, was.state);
}

/*
 * bgjob_job_move gives a waiting job a queue and a priority. Its state and its
 * position stay, and its history does not show the change. "there": the caller has
 * taken the job out of its place, and bgjob_job_save() puts it into the new one.
 */
void
bgjob_job_move(BgjobJob *job, const char *queue, int priority, bool there)
{
	BgjobCounted was = counted_as(job);

	job->queue = pstrdup(queue);
	job->priority = priority;
	bgjob_job_set_text(job, BGJOB_C_QUEUE, queue);
	bgjob_job_set(job, BGJOB_C_PRIORITY, Int16GetDatum(priority));
	count_change(&was, job);
	job->behind_batch = true; /* it may be: then it is searched for cycles */
	job->to_place = there;
}

/* bgjob_job_remove removes a job whose creation was put off and then refused: it may have a key, but no history. */
void
bgjob_job_remove(BgjobRel *rel, BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		bgjob_unique_leave(job);
	bgjob_rel_delete_locked(rel, &job->tid);
	bgjob_summary_removed(job->id);
}

/*
 * bgjob_job_join connects n new jobs, which differ only in their ids, consecutive from
 * "first" on, with what they await, and with their batch.
 */
void
bgjob_job_join(const BgjobJob *job, int64 first, int n)
{
	if (bgjob_has_prerequisites(job))
		bgjob_edges_insert_many(job, first, n);
	if (!bgjob_job_is_null(job, BGJOB_C_BATCH_ID))
		bgjob_batch_join(job, first, n);
}

/*
 * bgjob_job_save writes a job's row: inserts a new one, updates one that was
 * read. The row in its place is inserted after that, since the queue stores the
 * tid of the job's row.
 */
void
bgjob_job_save(BgjobRel *rel, BgjobJob *job)
{
	bool updated = ItemPointerIsValid(&job->tid);

	if (job->to_place && job->state == BGJOB_ENQUEUED && !bgjob_job_is_pending(job))
		bgjob_gating_file(job);
	if (updated)
		bgjob_rel_update_taken(rel, &job->tid, job->values, job->nulls, job->external);
	else
		bgjob_rel_insert_taken(rel, job->values, job->nulls, &job->external);
	job->tid = rel->tid;
	bgjob_summary_written(job, updated);
	if (!updated)
		bgjob_job_join(job, job->id, 1);
	if (job->to_place)
		bgjob_place_put(job);
	job->to_place = false;
}
