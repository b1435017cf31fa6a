/*-------------------------------------------------------------------------
 *
 * policy.c
 *	  The policies of functions: what happens to failed jobs, the delays before retries, chunks.
 *
 * bgjob_configure() can set the delays before the retries of a function's jobs, the
 * errors after which they are retried, the state when no retry is left, and how many are
 * performed in one call, which is read when one is claimed (run/chunk.c). That is
 * one JSON object, stored with the captured settings (store/settings.h). A job
 * refers to it by its number: so the policy is in force as it was when the job was
 * enqueued, and costs a job eight bytes.
 *
 *	 {"retry_delays": [seconds, …], "retry_on": ["40", …], "no_retry_on": […],
 *	  "on_exhausted": "delete", "chunk_size": jobs, "chunk_wait": microseconds}
 *
 * A missing member has the default. The policy is written by the session that
 * configures, and read by workers and the scheduler when a job has failed.
 *
 * A job may have retry_delays of its own, in a column of its row. They are in force
 * instead of those of the policy; the rest of the policy stays in force. They are
 * not stored as a policy: each job may have others, and they end with its row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/interval.h"
#include "base/json.h"
#include "catalog/pg_type.h"
#include "run/policy.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* ---- making ---- */

/* Reads the elements of an array, returns their number; 22004 if an element is null. */
static int
elements(ArrayType *array, const char *name, Datum **values)
{
	bool *nulls;
	int n;

	deconstruct_array(array, ARR_ELEMTYPE(array),
					  ARR_ELEMTYPE(array) == INTERVALOID ? (int) sizeof(Interval) : -1, false,
					  ARR_ELEMTYPE(array) == INTERVALOID ? TYPALIGN_DOUBLE : TYPALIGN_INT,
					  values, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name),
					 errdetail("Element %d is null.", i + 1), errhint("Remove that element.")));
	return n;
}

/* Raises 22023 if a delay is negative or too long. */
static void
check_delay(const Interval *delay, int number)
{
	if (bgjob_interval_is_negative(delay))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("retry_delays must not be negative"),
						errdetail("Element %d is negative.", number),
						errhint("Use '0' to retry at once.")));
	if (bgjob_interval_is_too_long(delay))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("retry_delays are out of range"),
						errdetail("Element %d is out of range.", number),
						errhint("The longest delay is %d years.", BGJOB_LONGEST_YEARS)));
}

/*
 * bgjob_policy_check_delays checks retry_delays. 22023: an element is negative or too
 * long, there are too many, or the array has several dimensions; 22004: an
 * element is null.
 */
void
bgjob_policy_check_delays(ArrayType *delays)
{
	Datum *values;
	int n;

	if (ARR_NDIM(delays) > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("retry_delays must have one dimension"),
						errdetail("The array has %d dimensions.", ARR_NDIM(delays)),
						errhint("Write '{1 s,10 s,5 min}'.")));
	n = elements(delays, "retry_delays", &values);
	if (n > BGJOB_MOST_RETRY_DELAYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retry_delays must not have more than %d elements",
						BGJOB_MOST_RETRY_DELAYS),
				 errdetail("The array has %d elements.", n), errhint("The last one repeats.")));
	for (int i = 0; i < n; i++)
		check_delay(DatumGetIntervalP(values[i]), i + 1);
}

/* Adds the delays, which have been checked. 22023: there are none. */
static void
push_delays(JsonbParseState **state, ArrayType *delays)
{
	Datum *values;
	int n = elements(delays, "retry_delays", &values);

	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("retry_delays must not be empty"),
						errdetail("The array holds the delay before each retry."),
						errhint("Omit retry_delays for the default back-off.")));
	bgjob_json_string(state, WJB_KEY, "retry_delays");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		int64 delay = bgjob_interval_microseconds(DatumGetIntervalP(values[i]), DAYS_PER_MONTH);
		JsonbValue value = {.type = jbvNumeric};

		value.val.numeric = int64_div_fast_to_numeric(delay, 6);
		pushJsonbValue(state, WJB_ELEM, &value);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* Adds a number if it is not zero. */
static void
push_number(JsonbParseState **state, const char *name, int64 number)
{
	JsonbValue value = {.type = jbvNumeric};

	if (number == 0)
		return;
	value.val.numeric = int64_to_numeric(number);
	bgjob_json_string(state, WJB_KEY, name);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_codes(JsonbParseState **state, const char *name, ArrayType *codes)
{
	Datum *values;
	int n = elements(codes, name, &values);

	bgjob_json_string(state, WJB_KEY, name);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		char *code = TextDatumGetCString(values[i]);
		size_t length = strlen(code);

		if ((length != 2 && length != 5) ||
			strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != length)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid SQLSTATE in %s: \"%s\"", name, code),
					 errdetail("It must have five characters, or two for a whole class."),
					 errhint("Write '40001', or '40'.")));
		bgjob_json_string(state, WJB_ELEM, code);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* bgjob_policy_make makes a policy; NULL if it is empty. 22023, 22004: an element of an array is invalid. */
const Jsonb *
bgjob_policy_make(const BgjobPolicyParts *parts)
{
	JsonbParseState *state = NULL;

	if (parts->delays == NULL && parts->retry_on == NULL && parts->no_retry_on == NULL &&
		!parts->deletes && parts->chunk_size == 0)
		return NULL;
	bgjob_json_begin(&state);
	if (parts->delays != NULL)
		push_delays(&state, parts->delays);
	if (parts->retry_on != NULL)
		push_codes(&state, "retry_on", parts->retry_on);
	if (parts->no_retry_on != NULL)
		push_codes(&state, "no_retry_on", parts->no_retry_on);
	if (parts->deletes)
		bgjob_json_text(&state, "on_exhausted", "delete");
	push_number(&state, "chunk_size", parts->chunk_size);
	push_number(&state, "chunk_wait", parts->chunk_wait);
	return bgjob_json_end(&state);
}

/* ---- reading; policy is NULL where there is none ---- */

/* Finds the member of that name; false if there is none, or the policy is no object (it was written by hand). */
static bool
find_member(const Jsonb *policy, const char *name, JsonbValue *value)
{
	return policy != NULL && JB_ROOT_IS_OBJECT(policy) &&
		   getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &policy->root), name,
										(int) strlen(name), value) != NULL;
}

/* Returns the member of that name if it is an array, else NULL. */
static JsonbContainer *
member(const Jsonb *policy, const char *name, JsonbValue *value)
{
	if (!find_member(policy, name, value) || value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

/* Returns whether an error, or its class, is in a list of the policy. */
static bool
is_listed(JsonbContainer *list, const char *sqlstate)
{
	for (uint32 i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbValue *code = getIthJsonbValueFromContainer(list, i);

		if (code->type == jbvString &&
			strncmp(sqlstate, code->val.string.val, code->val.string.len) == 0)
			return true;
	}
	return false;
}

/* bgjob_policy_may_retry returns whether there may be a retry after an error. */
bool
bgjob_policy_may_retry(const Jsonb *policy, int sqlerrcode)
{
	const char *sqlstate = unpack_sql_state(sqlerrcode);
	JsonbValue value;
	JsonbContainer *list;

	list = member(policy, "no_retry_on", &value);
	if (list != NULL && is_listed(list, sqlstate))
		return false;
	list = member(policy, "retry_on", &value);
	return list == NULL || is_listed(list, sqlstate);
}

/* bgjob_policy_delay returns how long to wait before retry number "retry", in microseconds; -1: the default. */
int64
bgjob_policy_delay(const Jsonb *policy, int retry)
{
	JsonbValue value;
	JsonbContainer *list = member(policy, "retry_delays", &value);
	JsonbValue *delay;
	double us;

	if (list == NULL || JsonContainerSize(list) == 0)
		return -1;
	delay = getIthJsonbValueFromContainer(
		list, Min((uint32) Max(retry, 1), JsonContainerSize(list)) - 1);
	if (delay->type != jbvNumeric)
		return -1;
	us = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											NumericGetDatum(delay->val.numeric))) *
			 USECS_PER_SEC +
		 0.5;
	return us >= 0 && us < END_TIMESTAMP ? (int64) us : END_TIMESTAMP;
}

/* bgjob_policy_own_delay does the same for the retry_delays of a job. */
int64
bgjob_policy_own_delay(ArrayType *delays, int retry)
{
	Datum *values;
	bool *nulls;
	int n;
	int i;
	int64 us;

	deconstruct_array(delays, INTERVALOID, sizeof(Interval), false, TYPALIGN_DOUBLE, &values,
					  &nulls, &n);
	i = Min(Max(retry, 1), n) - 1;
	if (i < 0 || nulls[i])
		return -1;
	us = bgjob_interval_microseconds(DatumGetIntervalP(values[i]), DAYS_PER_MONTH);
	return Max(us, 0);
}

/* bgjob_policy_deletes returns whether a job without retries left is deleted, rather than failed. */
bool
bgjob_policy_deletes(const Jsonb *policy)
{
	JsonbValue value;

	return find_member(policy, "on_exhausted", &value);
}

/* Returns a number of the policy, 0 if there is none, or one that is out of range. */
static int64
number(const Jsonb *policy, const char *name)
{
	JsonbValue value;
	double found;

	if (!find_member(policy, name, &value) || value.type != jbvNumeric)
		return 0;
	found = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	return found > 0 && found < END_TIMESTAMP ? (int64) found : 0;
}

/* bgjob_policy_chunk_size returns how many jobs may be performed in one call; 0 or 1: each by itself. */
int
bgjob_policy_chunk_size(const Jsonb *policy)
{
	return (int) Min(number(policy, "chunk_size"), PG_INT32_MAX);
}

/* bgjob_policy_chunk_wait returns how long the first job of a chunk may wait for others, in microseconds. */
int64
bgjob_policy_chunk_wait(const Jsonb *policy)
{
	return number(policy, "chunk_wait");
}
