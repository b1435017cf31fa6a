/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Entries of a job's history that its row no longer tells.
 *
 * bgjob.state is append-only: an entry is written when the row of the job is
 * about to stand for something else (store/job.c), and removed only together
 * with the job. The view bgjob.job_states adds what the row itself tells; the
 * "data" of an entry is made in the same shape here and there.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "store/history.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
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
		values[4] = CStringGetTextDatum(reason);
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
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_STATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, "state_pkey", snapshot, &key, 1);
	while (bgjob_scan_next(scan))
		(void) bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* ---- what an entry says ---- */

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_string(JsonbParseState **state, const char *key, const char *string)
{
	JsonbValue value = {.type = jbvString};

	push_key(state, key);
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_number(JsonbParseState **state, const char *key, Numeric number)
{
	JsonbValue value = {.type = jbvNumeric};

	push_key(state, key);
	value.val.numeric = number;
	pushJsonbValue(state, WJB_VALUE, &value);
}

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

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "queue", queue);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* bgjob_history_scheduled is the data of an entry "scheduled"; the time is in UTC. */
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
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, name, text);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* bgjob_history_scheduled: {"run_at": …}. */
Jsonb *
bgjob_history_scheduled(TimestampTz run_at)
{
	return bgjob_history_time("run_at", run_at);
}

/* bgjob_history_processing is the data of an entry "processing". */
Jsonb *
bgjob_history_processing(int worker_pid, int attempt)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "server", BGJOB_DEFAULT_SERVER);
	push_number(&state, "worker_pid", int64_to_numeric(worker_pid));
	push_number(&state, "attempt", int64_to_numeric(attempt));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* bgjob_history_succeeded is the data of an entry "succeeded". */
Jsonb *
bgjob_history_succeeded(TimestampTz entered_at, TimestampTz started_at, TimestampTz finished_at)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_number(&state, "duration_ms", milliseconds(finished_at - started_at));
	push_number(&state, "latency_ms", milliseconds(started_at - entered_at));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
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
