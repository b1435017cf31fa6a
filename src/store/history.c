/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Entries of a job's history that its row no longer holds.
 *
 * bgjob_internal.state is append-only: an entry is written ("archived") when the
 * row of the job is about to stand for something else (the opening of store/job.c
 * says which entries a row stands for), and removed only together with the job.
 * The view bgjob.job_states adds the entries that the row itself stands for. The
 * "data" of an entry has the same shape in both. Besides, there are notes, which are
 * about the job and change nothing of it (bgjob_history_note).
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "base/registry.h"
#include "base/text.h"
#include "miscadmin.h"
#include "store/history.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Maximal number of entries of a job in bgjob_internal.state. */
#define HISTORY_MAX 1000

/* Maximal number of its notes there. */
#define NOTES_MAX 100

/* Writes one entry. */
static void
insert_entry(int64 job, int seq, BgjobState state, TimestampTz at, const char *reason,
			 const Jsonb *data)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_STATE);
	Datum values[6] = {Int64GetDatum(job), Int32GetDatum(seq),
					   CharGetDatum(bgjob_state_letter(state)), TimestampTzGetDatum(at)};
	bool nulls[6] = {false};

	nulls[4] = reason == NULL;
	if (reason != NULL)
		values[4] = CStringGetTextDatum(bgjob_text_cut(reason, BGJOB_REASON_MAX));
	nulls[5] = data == NULL;
	if (data != NULL)
		values[5] = JsonbPGetDatum(data);
	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
}

/* bgjob_history_delete removes a job's entries. */
void
bgjob_history_delete(int64 job)
{
	(void) bgjob_rel_delete_of(BGJOB_TABLE_STATE, "state_pkey", job);
}

/* ---- notes ---- */

/* Returns the lowest number of a job's notes, which are negative; 0: it has none. *known: one of them has this reason. */
static int
lowest_note(int64 job, const char *reason, bool *known)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_STATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;
	int lowest = 0;

	*known = false;
	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	bgjob_key(&keys[1], 2, BTLessStrategyNumber, F_INT4LT, Int32GetDatum(0));
	scan = bgjob_scan_begin(rel, "state_pkey", snapshot, keys, lengthof(keys));
	while (bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		lowest = Min(lowest, DatumGetInt32(rel->slot->tts_values[1]));
		if (!rel->slot->tts_isnull[4] &&
			strcmp(TextDatumGetCString(rel->slot->tts_values[4]), reason) == 0)
			*known = true;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return lowest;
}

/*
 * bgjob_history_note writes an entry of something that did not change the job: the row of the job is not
 * touched, and need not be locked. Such notes have negative numbers, and are shown behind the other entries of this table. False: the
 * job has a note with that reason, or NOTES_MAX of them. By the scheduler alone.
 */
bool
bgjob_history_note(int64 job, BgjobState state, TimestampTz at, const char *reason)
{
	bool known;
	int lowest = lowest_note(job, reason, &known);

	if (known || lowest <= -NOTES_MAX)
		return false;
	insert_entry(job, lowest - 1, state, at, reason, NULL);
	return true;
}

/* ---- the contents of an entry ---- */

/* Converts microseconds to milliseconds with three decimals. */
static Numeric
milliseconds(int64 microseconds)
{
	return int64_div_fast_to_numeric(microseconds, 3);
}

/* Returns the data of an entry "enqueued". */
static Jsonb *
enqueued_data(const char *queue)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "queue", queue);
	return bgjob_json_end(&state);
}

/* bgjob_history_time returns a point in time as the data of an entry, in UTC: {"name": …}. */
Jsonb *
bgjob_history_time(const char *name, TimestampTz run_at)
{
	JsonbParseState *state = NULL;
	char text[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(run_at, NULL, &tm, &fsec, NULL, NULL) != 0)
		strlcpy(text, run_at > 0 ? "infinity" : "-infinity", sizeof(text));
	else
	{
		tm.tm_isdst = 0; /* otherwise the zone is left out */
		EncodeDateTime(&tm, fsec, true, 0, NULL, USE_XSD_DATES, text);
	}
	bgjob_json_begin(&state);
	bgjob_json_text(&state, name, text);
	return bgjob_json_end(&state);
}

/* Returns the data of an entry "processing"; worker_pid 0: it is not known; server NULL: "default". */
static Jsonb *
processing_data(const char *server, int worker_pid, int attempt)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "server", server != NULL ? server : BGJOB_DEFAULT_SERVER);
	if (worker_pid != 0)
		bgjob_json_number(&state, "worker_pid", int64_to_numeric(worker_pid));
	else
		bgjob_json_text(&state, "worker_pid", NULL);
	bgjob_json_number(&state, "attempt", int64_to_numeric(attempt));
	return bgjob_json_end(&state);
}

/* Returns the data of an entry "succeeded". */
static Jsonb *
succeeded_data(TimestampTz entered_at, TimestampTz started_at, TimestampTz finished_at)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_number(&state, "duration_ms", milliseconds(finished_at - started_at));
	bgjob_json_number(&state, "latency_ms", milliseconds(started_at - entered_at));
	return bgjob_json_end(&state);
}

/* Returns a text of an error that is stored with a job; an empty one if there is none. */
static char *
error_text(const Jsonb *error, const char *key)
{
	JsonbValue text;

	if (error == NULL || !JB_ROOT_IS_OBJECT(error) ||
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &error->root), key,
									 (int) strlen(key), &text) == NULL ||
		text.type != jbvString)
		return pstrdup("");
	return pnstrdup(text.val.string.val, text.val.string.len);
}

/* bgjob_history_message returns the message of an error that is stored with a job. */
char *
bgjob_history_message(const Jsonb *error)
{
	return error_text(error, "message");
}

/* bgjob_history_sqlstate returns its SQLSTATE. */
char *
bgjob_history_sqlstate(const Jsonb *error)
{
	return error_text(error, "sqlstate");
}

/* ---- the entries that a row stands for ---- */

/* Writes an entry of the history, up to HISTORY_MAX: a job that is retried for ever must not fill the disk. */
static void
archive_entry(BgjobJob *job, BgjobState state, TimestampTz at, const char *reason,
			  const Jsonb *data)
{
	int seq = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_STATES)) + 1;

	if (seq > HISTORY_MAX)
		return;
	insert_entry(job->id, seq, state, at, reason, data);
	bgjob_job_set(job, BGJOB_C_STATES, Int32GetDatum(seq));
}

/* bgjob_history_waiting_since returns the time from which a job waits, or waited; DT_NOBEGIN: its row does not have it. */
TimestampTz
bgjob_history_waiting_since(const BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_ENTERED_AT))
		return bgjob_job_time(job, BGJOB_C_ENTERED_AT);
	return bgjob_job_is_null(job, BGJOB_C_STATES) ? bgjob_job_time(job, BGJOB_C_CREATED_AT)
												  : DT_NOBEGIN;
}

/* bgjob_history_is_first returns whether a job is still in the state in which it was created, by its row. */
bool
bgjob_history_is_first(const BgjobJob *job)
{
	return bgjob_job_is_null(job, BGJOB_C_STATES) && bgjob_job_is_null(job, BGJOB_C_ENTERED_AT);
}

/* Returns whether the row of a job that was released stands for its awaiting, too. */
static bool
tells_awaiting(const BgjobJob *job)
{
	return bgjob_job_is_null(job, BGJOB_C_STATES) &&
		   !bgjob_job_is_null(job, BGJOB_C_ENTERED_AT) && bgjob_has_prerequisites(job);
}

/* Moves the entry of the waiting to bgjob_internal.state, if the row stands for one. */
static void
archive_waiting(BgjobJob *job)
{
	BgjobState state = job->state;
	TimestampTz since = bgjob_history_waiting_since(job);

	if (since == DT_NOBEGIN)
		return;
	if (tells_awaiting(job))
		archive_entry(job, BGJOB_AWAITING, bgjob_job_time(job, BGJOB_C_CREATED_AT), NULL, NULL);
	if (state != BGJOB_SCHEDULED && state != BGJOB_AWAITING)
		state = BGJOB_ENQUEUED;
	archive_entry(job, state, since, bgjob_job_text(job, BGJOB_C_ENTRY_REASON),
				  state == BGJOB_SCHEDULED
					  ? bgjob_history_time("run_at", bgjob_job_time(job, BGJOB_C_RUN_AT))
				  : state == BGJOB_ENQUEUED ? enqueued_data(job->queue)
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
	archive_entry(job, BGJOB_PROCESSING, bgjob_job_time(job, BGJOB_C_STARTED_AT), NULL,
				  processing_data(bgjob_job_text(job, BGJOB_C_SERVER), pid, job->retries + 1));
	bgjob_job_set_null(job, BGJOB_C_STARTED_AT);
	bgjob_job_set_null(job, BGJOB_C_WORKER_PID);
	bgjob_job_set_null(job, BGJOB_C_SERVER);
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
	archive_entry(job, job->state, bgjob_job_time(job, BGJOB_C_FINISHED_AT),
				  bgjob_job_text(job, BGJOB_C_REASON), data);
}

/* bgjob_history_archive moves all entries that a row stands for to bgjob_internal.state. */
void
bgjob_history_archive(BgjobJob *job)
{
	const Jsonb *data = NULL;

	if (job->state == BGJOB_SUCCEEDED && bgjob_history_waiting_since(job) != DT_NOBEGIN)
		data = succeeded_data(bgjob_history_waiting_since(job),
							  bgjob_job_time(job, BGJOB_C_STARTED_AT),
							  bgjob_job_time(job, BGJOB_C_FINISHED_AT));
	archive_waiting(job);
	archive_processing(job);
	archive_end(job, data);
	bgjob_job_set_null(job, BGJOB_C_FINISHED_AT);
	bgjob_job_set_null(job, BGJOB_C_REASON);
}

/*
 * bgjob_history_archive_failure moves the entries that a row stands for to
 * bgjob_internal.state, followed by the failure of an attempt that will be retried.
 */
void
bgjob_history_archive_failure(BgjobJob *job, TimestampTz at, const char *message,
							  const Jsonb *error)
{
	archive_waiting(job);
	archive_processing(job);
	archive_entry(job, BGJOB_FAILED, at, message, error);
}
