/*-------------------------------------------------------------------------
 *
 * job.c
 *	  A job: its row, and the one function that changes its state.
 *
 * THE ROW TELLS THE CURRENT ATTEMPT. A job that is enqueued, performed and
 * succeeds is inserted once and updated once, and no history is written at
 * all: since when it waited, when it was started and by whom, when it ended
 * and how are columns of the row, from which the view bgjob.job_states makes
 * the entries. Only when a job goes on from there (a retry, a requeue, a due
 * time) are these entries moved to bgjob_internal.state ("archived") before the row
 * takes new ones. bgjob_internal.job.states counts the archived ones.
 *
 * The entries that a row stands for, in this order:
 *	 waiting    if entered_at is set, or nothing has been archived yet (then
 *	            it is created_at): scheduled or awaiting if that is the
 *	            state, else enqueued; reason in entry_reason
 *	 processing if started_at is set
 *	 the end    if the state is succeeded, failed or deleted
 *
 * Runs in any process, inside a transaction. It names no column by a string
 * and calls nothing that a job could have replaced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "base/registry.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/call.h"
#include "store/history.h"
#include "store/job.h"
#include "store/option.h"
#include "store/queue.h"
#include "store/schedule.h"
#include "store/sequence.h"
#include "store/sidetables.h"
#include "store/unique.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Entries that a job may have in bgjob_internal.state. */
#define HISTORY_MAX 1000

BgjobJobFilters bgjob_job_filters = {NULL, NULL};
int64 bgjob_job_reserved = 0;

/* bgjob_job_check_reserved raises 55000 where a filter wants to change the job that it is called for. */
void
bgjob_job_check_reserved(int64 id)
{
	if (id == bgjob_job_reserved && id != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a filter cannot change the job that it is called for"),
						errdetail("Job " INT64_FORMAT " is being changed already.", id),
						errhint("Return what is to become of it.")));
}

/* bgjob_job_jsonb returns a jsonb column, NULL if it is null. */
Jsonb *
bgjob_job_jsonb(const BgjobJob *job, BgjobColumn column)
{
	return bgjob_job_is_null(job, column) ? NULL : DatumGetJsonbP(bgjob_job_datum(job, column));
}

static TimestampTz
get_time(const BgjobJob *job, BgjobColumn column)
{
	return DatumGetTimestampTz(bgjob_job_datum(job, column));
}

static void
set_time(BgjobJob *job, BgjobColumn column, TimestampTz at)
{
	bgjob_job_set(job, column, TimestampTzGetDatum(at));
}

static void
set_text(BgjobJob *job, BgjobColumn column, const char *text)
{
	if (text != NULL)
		bgjob_job_set(job, column, CStringGetTextDatum(text));
	else
		bgjob_job_set_null(job, column);
}

static void
set_jsonb(BgjobJob *job, BgjobColumn column, const Jsonb *value)
{
	if (value != NULL)
		bgjob_job_set(job, column, JsonbPGetDatum(value));
	else
		bgjob_job_set_null(job, column);
}

static const char *
get_text(const BgjobJob *job, BgjobColumn column)
{
	return bgjob_job_is_null(job, column) ? NULL
										  : TextDatumGetCString(bgjob_job_datum(job, column));
}

/* bgjob_job_set_call sets the columns of a job's row that say what it calls from its job and func. */
void
bgjob_job_set_call(BgjobJob *job)
{
	bgjob_job_set_null(job, BGJOB_C_CALL_ID);
	bgjob_job_set_null(job, BGJOB_C_JOB);
	if (job->func != NULL)
		bgjob_job_set(job, BGJOB_C_CALL_ID,
					  Int64GetDatum(bgjob_call_store(job->job, job->func)));
	else
		set_text(job, BGJOB_C_JOB, job->job);
}

/*
 * Sees to it that a row which was written by hand says something to call, as
 * those who perform, list and describe jobs expect: a name of nothing.
 */
static void
complete_call(BgjobJob *job)
{
	if (job->kind == BGJOB_KIND_FUNCTION && job->func == NULL)
		job->func = "";
	if (job->job == NULL)
		job->job = "";
}

/* Takes the row out of rel->slot and decodes the often used columns. A null number is 0 there. */
static void
decode(BgjobRel *rel, BgjobJob *job)
{
	bgjob_rel_take(rel, job->values, job->nulls, &job->external);
	job->tid = rel->slot->tts_tid;
	job->to_queue = false;
	job->id = DatumGetInt64(bgjob_job_datum(job, BGJOB_C_ID));
	job->pos = bgjob_job_is_null(job, BGJOB_C_POS)
				   ? job->id
				   : DatumGetInt64(bgjob_job_datum(job, BGJOB_C_POS));
	job->state = bgjob_state_by_letter(DatumGetChar(bgjob_job_datum(job, BGJOB_C_STATE)));
	job->kind = (BgjobKind) DatumGetChar(bgjob_job_datum(job, BGJOB_C_KIND));
	job->run_as = DatumGetObjectId(bgjob_job_datum(job, BGJOB_C_RUN_AS));
	job->priority = DatumGetInt16(bgjob_job_datum(job, BGJOB_C_PRIORITY));
	job->retries = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_RETRIES));
	job->max_retries = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_MAX_RETRIES));
	job->crashes = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_CRASHES));
	job->queue = get_text(job, BGJOB_C_QUEUE);
	job->job = get_text(job, BGJOB_C_JOB);
	job->func = NULL;
	if (!bgjob_job_is_null(job, BGJOB_C_CALL_ID))
		bgjob_call_read(rel->slot->tts_tableOid,
						DatumGetInt64(bgjob_job_datum(job, BGJOB_C_CALL_ID)), &job->job,
						&job->func);
	if (job->job == NULL || job->func == NULL)
		complete_call(job);
}

/* bgjob_job_load takes a job out of rel->slot, which holds its row. */
void
bgjob_job_load(BgjobRel *rel, BgjobJob *job)
{
	decode(rel, job);
	ExecClearTuple(rel->slot);
}

/* bgjob_job_read reads a job as it is at this moment. False if there is none of that id. */
bool
bgjob_job_read(BgjobRel *rel, int64 id, BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		bgjob_job_load(rel, job);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * bgjob_job_read_at reads the job that is at a tid as it is at this moment.
 * False if it is not there, because it has been updated for example.
 */
bool
bgjob_job_read_at(BgjobRel *rel, ItemPointer tid, int64 id, BgjobJob *job)
{
	bool isnull;
	bool found = bgjob_rel_fetch(rel, tid, SnapshotSelf) &&
				 DatumGetInt64(slot_getattr(rel->slot, BGJOB_C_ID, &isnull)) == id;

	if (found)
		decode(rel, job);
	ExecClearTuple(rel->slot);
	return found;
}

static TM_Result
lock_row(BgjobRel *rel, BgjobJob *job, LockWaitPolicy policy)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TM_FailureData failure;
	TM_Result result =
		table_tuple_lock(rel->rel, &job->tid, snapshot, rel->slot, GetCurrentCommandId(true),
						 LockTupleExclusive, policy, 0, &failure);

	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * bgjob_job_lock locks the row of a job that has just been read, waiting for
 * others who change it. False if it has been changed or removed meanwhile:
 * the caller reads again.
 */
bool
bgjob_job_lock(BgjobRel *rel, BgjobJob *job)
{
	return lock_row(rel, job, LockWaitBlock) == TM_Ok;
}

/* bgjob_job_try_lock does the same without waiting: false also if somebody has the row now. */
bool
bgjob_job_try_lock(BgjobRel *rel, BgjobJob *job)
{
	return lock_row(rel, job, LockWaitSkip) == TM_Ok;
}

/* bgjob_job_inserted_by_me tells whether the running transaction has itself inserted a job. */
bool
bgjob_job_inserted_by_me(BgjobRel *rel, int64 id)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool mine = false;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	if (bgjob_scan_next(scan))
	{
		bool isnull;
		Datum xmin = slot_getsysattr(rel->slot, MinTransactionIdAttributeNumber, &isnull);

		mine = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
		ExecClearTuple(rel->slot);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return mine;
}

/* ---- the entries of history that a row stands for ---- */

/* Writes an entry of the history, if there is room for it: what a job does for ever fills no disk. */
static void
archive_entry(BgjobJob *job, BgjobState state, TimestampTz at, const char *reason,
			  const Jsonb *data)
{
	int seq = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_STATES)) + 1;

	if (seq > HISTORY_MAX)
		return;
	bgjob_history_insert(job->id, seq, state, at, reason, data);
	bgjob_job_set(job, BGJOB_C_STATES, Int32GetDatum(seq));
}

/* Since when a job waits, or has waited; DT_NOBEGIN: the row does not stand for that. */
static TimestampTz
waiting_since(const BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_ENTERED_AT))
		return get_time(job, BGJOB_C_ENTERED_AT);
	return bgjob_job_is_null(job, BGJOB_C_STATES) ? get_time(job, BGJOB_C_CREATED_AT)
												  : DT_NOBEGIN;
}

/* Moves the entry of the waiting to bgjob_internal.state, if the row stands for one. */
static void
archive_waiting(BgjobJob *job)
{
	BgjobState state = job->state;
	TimestampTz since = waiting_since(job);

	if (since == DT_NOBEGIN)
		return;
	if (state != BGJOB_SCHEDULED && state != BGJOB_AWAITING)
		state = BGJOB_ENQUEUED;
	archive_entry(job, state, since, get_text(job, BGJOB_C_ENTRY_REASON),
				  state == BGJOB_SCHEDULED
					  ? bgjob_history_scheduled(get_time(job, BGJOB_C_RUN_AT))
				  : state == BGJOB_ENQUEUED ? bgjob_history_enqueued(job->queue)
											: NULL);
	bgjob_job_set_null(job, BGJOB_C_ENTERED_AT);
	bgjob_job_set_null(job, BGJOB_C_ENTRY_REASON);
}

/* Moves the entry of the processing to bgjob_internal.state, if the row stands for one. */
static void
archive_processing(BgjobJob *job)
{
	int pid;

	if (bgjob_job_is_null(job, BGJOB_C_STARTED_AT))
		return;
	pid = bgjob_job_is_null(job, BGJOB_C_WORKER_PID)
			  ? 0
			  : DatumGetInt32(bgjob_job_datum(job, BGJOB_C_WORKER_PID));
	archive_entry(job, BGJOB_PROCESSING, get_time(job, BGJOB_C_STARTED_AT), NULL,
				  bgjob_history_processing(pid, job->retries + 1));
	bgjob_job_set_null(job, BGJOB_C_STARTED_AT);
	bgjob_job_set_null(job, BGJOB_C_WORKER_PID);
}

/* Moves the entry of the end to bgjob_internal.state, if the row stands for one. */
static void
archive_end(BgjobJob *job, const Jsonb *succeeded_data)
{
	const Jsonb *data = NULL;

	if (!bgjob_state_is_final(job->state))
		return;
	if (job->state == BGJOB_FAILED)
		data = bgjob_job_jsonb(job, BGJOB_C_ERROR);
	else if (job->state == BGJOB_SUCCEEDED)
		data = succeeded_data;
	archive_entry(job, job->state, get_time(job, BGJOB_C_FINISHED_AT),
				  get_text(job, BGJOB_C_REASON), data);
}

/* Moves all that the row stands for to bgjob_internal.state. */
static void
archive(BgjobJob *job)
{
	const Jsonb *data = NULL;

	if (job->state == BGJOB_SUCCEEDED && waiting_since(job) != DT_NOBEGIN)
		data = bgjob_history_succeeded(waiting_since(job), get_time(job, BGJOB_C_STARTED_AT),
									   get_time(job, BGJOB_C_FINISHED_AT));
	archive_waiting(job);
	archive_processing(job);
	archive_end(job, data);
	bgjob_job_set_null(job, BGJOB_C_FINISHED_AT);
	bgjob_job_set_null(job, BGJOB_C_REASON);
}

/* ---- leaving and entering states ---- */

static void
leave(BgjobJob *job)
{
	if (job->state == BGJOB_FAILED)
		bgjob_failure_delete(job->id);
	else if (job->state == BGJOB_PROCESSING)
		bgjob_claim_delete(job->id);
}

static void
enter_waiting(BgjobJob *job, const BgjobCircumstances *what)
{
	if (bgjob_job_is_null(job, BGJOB_C_STATES) && what->at == get_time(job, BGJOB_C_CREATED_AT))
		bgjob_job_set_null(job, BGJOB_C_ENTERED_AT);
	else
		set_time(job, BGJOB_C_ENTERED_AT, what->at);
	set_text(job, BGJOB_C_ENTRY_REASON, bgjob_text_cut(what->reason, BGJOB_REASON_MAX));
}

static void
enter_enqueued(BgjobJob *job, const BgjobCircumstances *what, bool keep_place)
{
	enter_waiting(job, what);
	bgjob_job_set_null(job, BGJOB_C_RUN_AT);
	if (!keep_place)
	{
		job->pos = bgjob_next_id();
		bgjob_job_set(job, BGJOB_C_POS, Int64GetDatum(job->pos));
	}
	job->to_queue = !what->in_queue;
}

/* A job is due. It can run from its run_at on, however late that was noticed: its start_within counts from there. */
static void
enter_due(BgjobJob *job, const BgjobCircumstances *what)
{
	Datum run_at = bgjob_job_datum(job, BGJOB_C_RUN_AT);
	bool kept = !bgjob_job_is_null(job, BGJOB_C_START_WITHIN) &&
				!bgjob_job_is_null(job, BGJOB_C_RUN_AT);

	enter_enqueued(job, what, false);
	if (kept)
		bgjob_job_set(job, BGJOB_C_RUN_AT, run_at);
}

static void
enter_scheduled(BgjobJob *job, const BgjobCircumstances *what)
{
	enter_waiting(job, what);
	set_time(job, BGJOB_C_RUN_AT, what->run_at);
	bgjob_schedule_insert(job->run_as, what->run_at, job->id, job->queue);
}

/* Notes who performed the attempt that ends now, where the row does not say so yet. */
static void
note_attempt(BgjobJob *job, const BgjobCircumstances *what)
{
	if (!bgjob_job_is_null(job, BGJOB_C_STARTED_AT) || what->started_at == 0)
		return;
	set_time(job, BGJOB_C_STARTED_AT, what->started_at);
	if (what->worker_pid != 0)
		bgjob_job_set(job, BGJOB_C_WORKER_PID, Int32GetDatum(what->worker_pid));
	else
		bgjob_job_set_null(job, BGJOB_C_WORKER_PID);
}

static void
enter_end(BgjobJob *job, BgjobState state, const BgjobCircumstances *what)
{
	set_time(job, BGJOB_C_FINISHED_AT, what->at);
	set_text(job, BGJOB_C_REASON, bgjob_text_cut(what->reason, BGJOB_REASON_MAX));
	if (state == BGJOB_SUCCEEDED)
	{
		set_jsonb(job, BGJOB_C_RESULT, what->result);
		bgjob_job_set_null(job, BGJOB_C_ERROR);
	}
	if (state == BGJOB_FAILED || what->error != NULL)
		set_jsonb(job, BGJOB_C_ERROR, what->error);
	if (!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		bgjob_unique_leave(job);
	if (state == BGJOB_FAILED)
		bgjob_failure_insert(job->id, job->queue);
	bgjob_change_ended(job->id);
	if (!bgjob_job_is_null(job, BGJOB_C_RECURRING_NAME)) /* the next may wait for it */
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_ENDED);
}

static void
add_to(BgjobJob *job, BgjobColumn column)
{
	bgjob_job_set(job, column, Int32GetDatum(DatumGetInt32(bgjob_job_datum(job, column)) + 1));
}

/* A failed attempt that will be tried again: processing, failed, scheduled. */
static void
apply_retry(BgjobJob *job, const BgjobCircumstances *what)
{
	BgjobCircumstances scheduled = *what;
	char *message = bgjob_history_message(what->error);

	archive_waiting(job);
	archive_processing(job);
	archive_entry(job, BGJOB_FAILED, what->at, message, what->error);
	set_jsonb(job, BGJOB_C_ERROR, what->error);
	job->retries++;
	bgjob_job_set(job, BGJOB_C_RETRIES, Int32GetDatum(job->retries));
	if (what->reason == NULL)
		scheduled.reason = psprintf(BGJOB_RETRY_REASON "%d of %d: %s", job->retries,
									job->max_retries, message);
	enter_scheduled(job, &scheduled);
}

/* Makes a job do what another one says: all but its id, its owner, its key and what it has gone through. */
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

/* What running again means for a job that had ended, or is to do something else. */
static void
start_anew(BgjobJob *job, BgjobState from, const BgjobCircumstances *what)
{
	if (what->contents != NULL)
		take_over(job, what->contents);
	if (bgjob_state_is_final(from) || what->contents != NULL)
		set_retries(job, 0);
	if (bgjob_state_is_final(from))
		bgjob_unique_reenter(job);
}

/*
 * bgjob_job_apply has an event happen to a job: "what" are the circumstances.
 * Side tables and history are written, the row itself is changed in memory
 * only (bgjob_job_save). What may happen is in rules/state.c; anything else
 * is an internal error (XX000). Filters are asked before and told after it; they
 * may have another event happen.
 */
void
bgjob_job_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	if (bgjob_job_filters.apply == NULL || !bgjob_job_filters.apply(job, event, what))
		bgjob_job_apply_unfiltered(job, event, what);
}

/* The state that an event leads to; BGJOB_NONE: it cannot happen. */
static BgjobState
state_after(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	BgjobState to = bgjob_transition(job->state, event);

	/* An attempt in one transaction is claimed and ended at once. */
	if (to == BGJOB_NONE && job->state == BGJOB_ENQUEUED && what->started_at != 0)
		to = bgjob_transition(BGJOB_PROCESSING, event);
	return to;
}

/* bgjob_job_can tells whether an event can happen to a job. */
bool
bgjob_job_can(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	return state_after(job, event, what) != BGJOB_NONE;
}

static void
set_state(BgjobJob *job, BgjobState to)
{
	job->state = to;
	bgjob_job_set(job, BGJOB_C_STATE, CharGetDatum(bgjob_state_letter(to)));
}

static void
count_crash(BgjobJob *job)
{
	job->crashes++;
	add_to(job, BGJOB_C_CRASHES);
}

/* bgjob_job_apply_unfiltered does the same, and no filter learns of it. */
void
bgjob_job_apply_unfiltered(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	BgjobState from = job->state;
	BgjobState to = state_after(job, event, what);
	bool was_retry = from == BGJOB_SCHEDULED && job->retries > 0;

	if (to == BGJOB_NONE)
		elog(ERROR, "job " INT64_FORMAT " is %s: event %d cannot happen", job->id,
			 bgjob_state_name(from), (int) event);

	note_attempt(job, what);
	if (what->crashed)
		count_crash(job);
	leave(job);
	bgjob_job_set_null(job, BGJOB_C_PENDING);
	switch (event)
	{
		case BGJOB_EV_ENQUEUE:
			enter_waiting(job, what);
			job->to_queue = true;
			break;
		case BGJOB_EV_SCHEDULE:
			enter_scheduled(job, what);
			break;
		case BGJOB_EV_AWAIT:
			enter_waiting(job, what);
			break;
		case BGJOB_EV_DUE:
		case BGJOB_EV_RELEASE:
			archive(job);
			enter_due(job, what);
			break;
		case BGJOB_EV_START:
			bgjob_claim_insert(job->id, what->worker_pid, what->worker_since);
			break;
		case BGJOB_EV_SUCCEED:
		case BGJOB_EV_FAIL:
		case BGJOB_EV_DELETE:
			/* From these two the row can tell the whole attempt itself. */
			if (from != BGJOB_ENQUEUED && from != BGJOB_PROCESSING)
				archive(job);
			enter_end(job, to, what);
			break;
		case BGJOB_EV_RETRY:
			apply_retry(job, what);
			break;
		case BGJOB_EV_INTERRUPT:
			archive(job);
			add_to(job, BGJOB_C_INTERRUPTIONS);
			enter_enqueued(job, what, true);
			break;
		case BGJOB_EV_REQUEUE:
			archive(job);
			start_anew(job, from, what);
			enter_enqueued(job, what, false);
			break;
		case BGJOB_EV_RESCHEDULE:
			archive(job);
			start_anew(job, from, what);
			enter_scheduled(job, what);
			break;
	}
	set_state(job, to);
	bgjob_change_count(from, to, was_retry, to == BGJOB_SCHEDULED && job->retries > 0);
}

/*
 * bgjob_job_put_off leaves an event to a worker ("pending" says which): the job
 * is enqueued until one has settled it, though its history does not say so. The
 * caller has taken it from where it was, unless what->in_queue.
 */
void
bgjob_job_put_off(BgjobJob *job, const Jsonb *pending, const BgjobCircumstances *what)
{
	BgjobState from = job->state;

	if (what->contents != NULL)
	{
		take_over(job, what->contents);
		set_retries(job, 0);
	}
	if (what->crashed)
		count_crash(job);
	if (from != BGJOB_ENQUEUED)
	{
		bgjob_change_count(from, BGJOB_ENQUEUED, from == BGJOB_SCHEDULED && job->retries > 0,
						   false);
		leave(job);
		set_state(job, BGJOB_ENQUEUED);
	}
	set_jsonb(job, BGJOB_C_PENDING, pending);
	if (what->in_queue)
		return;
	job->pos = bgjob_next_id();
	bgjob_job_set(job, BGJOB_C_POS, Int64GetDatum(job->pos));
	job->to_queue = true;
}

/* bgjob_job_resume gives a job that was put off, and whose row in the queue the caller has, the state that it had. */
void
bgjob_job_resume(BgjobJob *job, BgjobState state)
{
	bgjob_job_set_null(job, BGJOB_C_PENDING);
	bgjob_change_count(BGJOB_ENQUEUED, state, false,
					   state == BGJOB_SCHEDULED && job->retries > 0);
	set_state(job, state);
}

/* bgjob_job_remove removes a job that has come to nothing before it was created: it has its row and maybe a key, no history. */
void
bgjob_job_remove(BgjobRel *rel, BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		bgjob_unique_leave(job);
	bgjob_rel_delete_locked(rel, &job->tid);
}

/*
 * bgjob_job_save writes a job's row: inserts a new one, updates one that was
 * read. The row in the queue comes after it, since it says where the job is.
 */
void
bgjob_job_save(BgjobRel *rel, BgjobJob *job)
{
	if (ItemPointerIsValid(&job->tid))
		bgjob_rel_update_taken(rel, &job->tid, job->values, job->nulls, job->external);
	else
		bgjob_rel_insert_taken(rel, job->values, job->nulls, &job->external);
	job->tid = rel->tid;
	if (job->to_queue)
		bgjob_queue_insert(job);
	job->to_queue = false;
}

/*
 * bgjob_job_enter enters a new job for its unique_key, if it has one. False:
 * another one has it, which job->id is then of. 23505 if an error was asked for.
 */
bool
bgjob_job_enter(BgjobRel *rel, BgjobJob *job, const BgjobCircumstances *what)
{
	int64 id = job->id;

	if (!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		job->id = bgjob_unique_enter(rel, job, what);
	return job->id == id;
}

/*
 * bgjob_job_put_in inserts a new job, which is to run at what->run_at if that is
 * later than what->at, else now. False if a filter did not want it: what->reason
 * says why. If another has its unique_key, job->id becomes the other's. Errors:
 * as bgjob_job_enter, and those of filters.
 */
bool
bgjob_job_put_in(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what)
{
	bool is_in;

	if (bgjob_job_filters.put_in != NULL && bgjob_job_filters.put_in(rel, job, what, &is_in))
		return is_in;
	if (!bgjob_job_enter(rel, job, what))
		return true;
	bgjob_job_apply_unfiltered(
		job, what->run_at > what->at ? BGJOB_EV_SCHEDULE : BGJOB_EV_ENQUEUE, what);
	bgjob_job_save(rel, job);
	return true;
}

/* bgjob_job_fail_new makes a job that is not yet there a failed one, which nobody performs before somebody acts. */
void
bgjob_job_fail_new(BgjobJob *job, const BgjobCircumstances *what)
{
	BgjobCircumstances entered = {.at = what->at};

	bgjob_job_apply_unfiltered(job, BGJOB_EV_ENQUEUE, &entered);
	bgjob_job_apply_unfiltered(job, BGJOB_EV_FAIL, what);
	job->to_queue = false;
}
