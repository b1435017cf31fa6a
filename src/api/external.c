/*-------------------------------------------------------------------------
 *
 * external.c
 *	  bgjob_complete(), bgjob_fail(), bgjob_release(): an external worker ends an attempt.
 *
 * An answer counts only if the worker has the lease at that moment: the same name, a role
 * that the caller controls, and neither the lease nor the time limit of the attempt is
 * over. The transaction that deletes the row of the lease ends the attempt. If another
 * one is about to do so, this one waits for it.
 *
 * An answer that does not count is false, whatever the reason: unless the caller controls the
 * job, it does not learn whether there is such a job.
 *
 * The session of the worker, in its transaction: what the worker writes there has its effect
 * if and only if the job has succeeded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/external.h"
#include "api/externalargs.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/externalworkers.h"
#include "base/interval.h"
#include "base/json.h"
#include "base/lateanswers.h"
#include "base/leasenotes.h"
#include "base/text.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/external.h"
#include "run/filter.h"
#include "storage/lmgr.h"
#include "store/acquire.h"
#include "store/leased.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/*
 * bgjob_external_holds returns whether a worker of the caller has a lease of a job, which is not
 * over, and copies it.
 */
bool
bgjob_external_holds(int64 id, const char *worker, BgjobLease *lease)
{
	bgjob_leases_ensure();
	return bgjob_lease_find(MyDatabaseId, id, lease) &&
		   (lease->phase == BGJOB_LEASE_HELD || bgjob_lease_notes_has(lease)) &&
		   strcmp(lease->worker, worker) == 0 && bgjob_may_control(lease->owner) &&
		   bgjob_may_control(lease->role) && !bgjob_lease_is_over(lease) &&
		   !bgjob_lease_notes_ends(lease);
}

/*
 * Takes the lease of a job for the running transaction, and reads the job. False: the answer
 * does not count.
 */
static bool
take(BgjobRel *jobs, int64 id, const char *worker, BgjobLease *lease, BgjobJob *job)
{
	TransactionId holder;

	CommandCounterIncrement(); /* the lease may be this transaction's own */
	while (bgjob_external_holds(id, worker, lease))
	{
		switch (bgjob_lease_take(lease, &holder))
		{
			case BGJOB_TAKEN:
				return bgjob_leased_read(jobs, lease, job);
			case BGJOB_NOT_THERE:
				return false;
			case BGJOB_BUSY:
				bgjob_job_wait_for_holder(id, holder);
				break;
		}
	}
	return false;
}

/* Notes an answer that does not count, if it is of a job that the caller controls. */
static void
note_late(BgjobRel *jobs, int64 id, const char *worker)
{
	bool isnull;
	Oid role;

	if (!bgjob_job_peek(jobs, id, NULL))
		return;
	role = DatumGetObjectId(slot_getattr(jobs->slot, BGJOB_C_RUN_AS, &isnull));
	if (bgjob_may_control(role))
		bgjob_external_answer_late(id, worker);
}

/* What a worker says of a job. */
typedef struct Answer
{
	const char *function; /* the SQL function, for messages */
	bool counts;          /* it says what became of the attempt: one that is late is noted */
	const Jsonb *result;
	const BgjobExternalFailure *failure; /* NULL: none */
	bool release;
	TimestampTz run_at; /* of a release; 0: at once */
} Answer;

static void
apply(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job, const Answer *answer)
{
	bgjob_filter_refresh();
	if (answer->release)
		bgjob_external_release(jobs, lease, job, answer->run_at);
	else if (answer->failure != NULL)
		bgjob_external_fail(jobs, lease, job, answer->failure);
	else
		bgjob_external_succeed(jobs, lease, job, answer->result);
}

/* Ends an attempt as its worker says. Returns whether that counts. */
static bool
end_attempt(FunctionCallInfo fcinfo, const Answer *answer)
{
	const char *worker = bgjob_external_worker_name(fcinfo, 1);
	int64 id = PG_GETARG_INT64(0);
	BgjobRel *jobs;
	BgjobLease lease;
	BgjobJob job;
	bool taken;

	bgjob_check_preloaded();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	taken = take(jobs, id, worker, &lease, &job);
	if (taken)
		apply(jobs, &lease, &job, answer);
	else if (answer->counts)
		note_late(jobs, id, worker);
	bgjob_rel_close(jobs);
	bgjob_external_worker_answers(GetUserId(), worker, !taken);
	return taken;
}

static void
check(const char *function)
{
	bgjob_check_usage();
	bgjob_check_writable(function);
}

PG_FUNCTION_INFO_V1(bgjob_complete);

/*
 * bgjob_complete(id, worker, result) records that a worker has performed a job. False: it did not
 * have the job any more, and the result does not count. Errors: those of filters; 22023 the
 * name of the worker is invalid; 42501 no USAGE; 25006 the transaction is read-only.
 */
Datum
bgjob_complete(PG_FUNCTION_ARGS)
{
	Answer answer = {.function = "bgjob_complete()", .counts = true};

	check(answer.function);
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	if (!PG_ARGISNULL(2))
		answer.result = PG_GETARG_JSONB_P(2);
	PG_RETURN_BOOL(end_attempt(fcinfo, &answer));
}

/* ---- failures ---- */

/* Parameters of bgjob_fail. */
enum
{
	P_ID,
	P_WORKER,
	P_ERROR,
	P_DETAIL,
	P_RETRY
};

/* What of an error the detail may say, in the order in which it is stored. */
static const char *const known_keys[] = {"sqlstate", "detail", "hint", "context"};

/* Returns a member of the detail; NULL: it has none, or no text. */
static char *
member(const Jsonb *detail, const char *key)
{
	JsonbValue value;

	if (detail == NULL || !JB_ROOT_IS_OBJECT(detail) ||
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &detail->root), key,
									 (int) strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* Returns whether the detail has nothing but texts with known names. */
static bool
is_known(const Jsonb *detail)
{
	int known = 0;

	for (int i = 0; i < lengthof(known_keys); i++)
		known += member(detail, known_keys[i]) != NULL;
	return JB_ROOT_IS_OBJECT(detail) && JB_ROOT_COUNT(detail) == known;
}

/* Returns the SQLSTATE of a failure. Raises 22023 if there is one that cannot be. */
static int
sqlstate_of(const char *text)
{
	if (text == NULL)
		return ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
	if (strlen(text) != 5 || strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid SQLSTATE in the detail of an error"),
						errdetail("It must have five digits or upper-case letters."),
						errhint("Leave sqlstate out if there is none.")));
	return MAKE_SQLSTATE(text[0], text[1], text[2], text[3], text[4]);
}

/* Returns an error as it is stored with a job. */
static Jsonb *
error_json(const char *message, int sqlstate, const Jsonb *detail)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "sqlstate", unpack_sql_state(sqlstate));
	bgjob_json_text(&state, "message", bgjob_text_cut(message, BGJOB_REASON_MAX));
	for (int i = 1; i < lengthof(known_keys); i++)
		bgjob_json_text(&state, known_keys[i],
						bgjob_text_cut(member(detail, known_keys[i]), BGJOB_REASON_MAX));
	if (detail != NULL && !is_known(detail))
		bgjob_json_member(&state, "data", detail);
	return bgjob_json_end(&state);
}

PG_FUNCTION_INFO_V1(bgjob_fail);

/*
 * bgjob_fail(id, worker, error, detail, retry) records that an attempt has failed. False: the worker
 * did not have the job any more. Errors as bgjob_complete(), and 22023: error is null, or the
 * SQLSTATE in the detail is none.
 */
Datum
bgjob_fail(PG_FUNCTION_ARGS)
{
	Jsonb *detail = PG_ARGISNULL(P_DETAIL) ? NULL : PG_GETARG_JSONB_P(P_DETAIL);
	BgjobExternalFailure failure = {.retry = PG_ARGISNULL(P_RETRY) || PG_GETARG_BOOL(P_RETRY)};
	Answer answer = {.function = "bgjob_fail()", .counts = true, .failure = &failure};

	check(answer.function);
	if (PG_ARGISNULL(P_ERROR))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("error must not be null"),
				 errdetail("It is the message that is kept with the job."),
				 errhint("Give a text.")));
	failure.message = text_to_cstring(PG_GETARG_TEXT_PP(P_ERROR));
	failure.sqlstate = sqlstate_of(member(detail, "sqlstate"));
	failure.error = error_json(failure.message, failure.sqlstate, detail);
	PG_RETURN_BOOL(!PG_ARGISNULL(P_ID) && end_attempt(fcinfo, &answer));
}

PG_FUNCTION_INFO_V1(bgjob_release);

/*
 * bgjob_release(id, worker, delay) gives a job back: to the head of its queue, or for a time from
 * now on. No retry is used. False: the worker did not have it any more. Errors as bgjob_complete(), and
 * 22023: the delay is infinite or too long.
 */
Datum
bgjob_release(PG_FUNCTION_ARGS)
{
	Answer answer = {.function = "bgjob_release()", .release = true};
	TimestampTz now = bgjob_now();

	check(answer.function);
	if (!PG_ARGISNULL(2))
		answer.run_at = bgjob_delayed(now, PG_GETARG_INTERVAL_P(2));
	if (answer.run_at <= now)
		answer.run_at = 0;
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && end_attempt(fcinfo, &answer));
}

PG_FUNCTION_INFO_V1(bgjob_external_deadline);

/* bgjob_external_deadline(id, worker) returns when an attempt is out of time. Errors: 22023 the name of the worker is invalid; 42501 no USAGE. */
Datum
bgjob_external_deadline(PG_FUNCTION_ARGS)
{
	BgjobLease lease;
	const char *worker;

	bgjob_check_usage();
	worker = bgjob_external_worker_name(fcinfo, 1);
	bgjob_check_preloaded();
	if (PG_ARGISNULL(0) || !bgjob_external_holds(PG_GETARG_INT64(0), worker, &lease) ||
		lease.time_limit == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(bgjob_time_later(lease.started_at, lease.time_limit * 1000));
}

PG_FUNCTION_INFO_V1(bgjob_protocol);

/* bgjob_protocol() returns the version of the protocol of external workers. */
Datum
bgjob_protocol(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(1);
}
