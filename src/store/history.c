/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Entries of a job's history that its row no longer tells.
 *
 * bgjob_internal.state is append-only: an entry is written when the row of the job is
 * about to stand for something else (store/job.c), and removed only together
 * with the job. The view bgjob.job_states adds what the row itself tells; the
 * "data" of an entry is made in the same shape here and there.
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
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* bgjob_history_insert writes one entry. */
void
bgjob_history_insert(int64 job, int seq, BgjobState state, TimestampTz at, const char *reason,
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

/* ---- what an entry says ---- */

/* Milliseconds with three decimals, from microseconds. */
static Numeric
milliseconds(int64 microseconds)
{
	return int64_div_fast_to_numeric(microseconds, 3);
}

/* bgjob_history_enqueued is the data of an entry "enqueued". */
Jsonb *
bgjob_history_enqueued(const char *queue)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "queue", queue);
	return bgjob_json_end(&state);
}

/* bgjob_history_time is a point in time as the data of an entry, in UTC: {"name": …}. */
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

/* bgjob_history_scheduled is the data of an entry "scheduled". */
Jsonb *
bgjob_history_scheduled(TimestampTz run_at)
{
	return bgjob_history_time("run_at", run_at);
}

/* bgjob_history_processing is the data of an entry "processing"; worker_pid 0: it is not known. */
Jsonb *
bgjob_history_processing(int worker_pid, int attempt)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "server", BGJOB_DEFAULT_SERVER);
	if (worker_pid != 0)
		bgjob_json_number(&state, "worker_pid", int64_to_numeric(worker_pid));
	else
		bgjob_json_text(&state, "worker_pid", NULL);
	bgjob_json_number(&state, "attempt", int64_to_numeric(attempt));
	return bgjob_json_end(&state);
}

/* bgjob_history_succeeded is the data of an entry "succeeded". */
Jsonb *
bgjob_history_succeeded(TimestampTz entered_at, TimestampTz started_at, TimestampTz finished_at)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_number(&state, "duration_ms", milliseconds(finished_at - started_at));
	bgjob_json_number(&state, "latency_ms", milliseconds(started_at - entered_at));
	return bgjob_json_end(&state);
}

/* bgjob_history_message returns the message out of an error, as it is stored with a job. */
char *
bgjob_history_message(const Jsonb *error)
{
	JsonbValue message;

	if (error == NULL || !JB_ROOT_IS_OBJECT(error) ||
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &error->root), "message", 7,
									 &message) == NULL ||
		message.type != jbvString)
		return pstrdup("");
	return pnstrdup(message.val.string.val, message.val.string.len);
}
