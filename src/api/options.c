/*-------------------------------------------------------------------------
 *
 * options.c
 *	  Checks the options of jobs.
 *
 * The same options have several sources: calls, the arguments of triggers (as
 * texts), bgjob_recurring(), bgjob_configure(), and filters that change a job.
 * Each option is checked here by itself, with the same error for all sources.
 * store/optionlist.h names the check of each option.
 *
 * Runs in the calling session, and in the scheduler when a filter changes a job
 * there. Reads no table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/options.h"
#include "base/interval.h"
#include "base/queues.h"
#include "catalog/pg_type.h"
#include "run/policy.h"
#include "mb/pg_wchar.h"
#include "store/limitconf.h"
#include "store/prerequisite.h"
#include "store/signalrow.h"
#include "store/unique.h"
#include "store/weightconf.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* bgjob_invalid raises 22023 with the given texts. */
void
bgjob_invalid(const char *message, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
					errdetail("%s", detail), errhint("%s", hint)));
}

/*
 * bgjob_choice returns the index of a value in a NULL-terminated list. The first
 * value of the list is the default. Raises 22023 if the value is not in the list.
 */
int
bgjob_choice(const char *name, const char *value, const char *const *values)
{
	StringInfoData all;

	for (int i = 0; values[i] != NULL; i++)
		if (strcmp(values[i], value) == 0)
			return i;
	initStringInfo(&all);
	for (int i = 0; values[i] != NULL; i++)
		appendStringInfo(&all, "%s'%s'",
						 i == 0                  ? ""
						 : values[i + 1] == NULL ? " or "
												 : ", ",
						 values[i]);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for %s: '%s'", name, value),
					errdetail("It must be %s.", all.data),
					errhint("The default is '%s'.", values[0])));
	return 0; /* keep the compiler quiet */
}

/* bgjob_check_queue_name raises 22023 unless a name can be a queue's: ^[a-z0-9_-]{1,63}$. */
void
bgjob_check_queue_name(const char *queue)
{
	size_t length = strlen(queue);
	size_t allowed = strspn(queue, BGJOB_QUEUE_CHARACTERS);

	if (length < 1 || length > BGJOB_QUEUE_NAME_MAX || allowed != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a queue: \"%s\"", queue),
				 allowed != length
					 ? errdetail("It must not have the character \"%.*s\".",
								 pg_mblen(queue + allowed), queue + allowed)
					 : errdetail("It must have 1 to %d characters.", BGJOB_QUEUE_NAME_MAX),
				 errhint("Use lower-case letters, digits, \"_\" and \"-\".")));
}

/* bgjob_check_unique_key raises 22023 unless a text can be a unique_key. */
void
bgjob_check_unique_key(const char *key)
{
	if (key[0] == '\0' || strlen(key) > BGJOB_UNIQUE_KEY_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid unique_key: it has %zu bytes", strlen(key)),
						errdetail("It must have 1 to %d bytes.", BGJOB_UNIQUE_KEY_MAX),
						errhint("Omit unique_key if the job need not be unique. For a longer "
								"key, use a hash such as md5().")));
}

/* bgjob_check_key raises 22023 unless a text can be a sequence_key or a fairness_key. */
void
bgjob_check_key(const char *name, const char *key)
{
	if (key[0] == '\0' || strlen(key) > BGJOB_FAIRNESS_KEY_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid %s: it has %zu bytes", name, strlen(key)),
						errdetail("It must have 1 to %d bytes.", BGJOB_FAIRNESS_KEY_MAX),
						errhint("For a longer key, use a hash such as md5().")));
}

/* bgjob_check_limits raises 22023 unless a text[] can be the limits of a job, as far as can be seen without its arguments. */
void
bgjob_check_limits(Datum limits)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(limits), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n > BGJOB_LIMITS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("too many limits: %d", n),
				 errdetail("A job can be under %d limits.", BGJOB_LIMITS_MAX),
				 errhint("Combine several limits into one.")));
	for (int i = 0; i < n; i++)
		if (nulls[i])
			bgjob_invalid("limits must not contain null", "Each element names a limit.",
						  "Omit the element.");
}

/* bgjob_check_signal_name raises 22023 unless a text can be the name of a signal. */
void
bgjob_check_signal_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > BGJOB_SIGNAL_NAME_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a signal: it has %zu bytes", strlen(name)),
						errdetail("It must have 1 to %d bytes.", BGJOB_SIGNAL_NAME_MAX),
						errhint("Use a name such as approved:17.")));
}

/*
 * bgjob_check_interval raises 22023 if an interval is negative or too long.
 * "meaning" becomes the error's detail, "hint" the hint for a negative interval.
 */
void
bgjob_check_interval(const char *name, const Interval *interval, const char *meaning,
					 const char *hint)
{
	if (bgjob_interval_is_negative(interval))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be negative", name), errdetail("%s", meaning),
						errhint("%s", hint)));
	if (bgjob_interval_is_too_long(interval))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is out of range", name), errdetail("%s", meaning),
						errhint("The longest value is %d years.", BGJOB_LONGEST_YEARS)));
}

/* bgjob_check_retention raises 22023 if a retention is negative or too long. */
void
bgjob_check_retention(const Interval *retention)
{
	bgjob_check_interval("retention", retention, "It is how long finished jobs are kept.",
						 "Use '0' to remove them at once.");
}

/* bgjob_delayed returns now plus a delay. Raises 22023 if the delay is negative or too long. */
TimestampTz
bgjob_delayed(TimestampTz now, const Interval *delay)
{
	bgjob_check_interval("delay", delay, "It is counted from now.",
						 "Omit delay to run the job at once.");
	return bgjob_time_plus(now, delay);
}

/*
 * bgjob_options_time sets *run_at to the time that delay or run_at gives, 0 if
 * neither is given. Returns whether that time is in the future. Raises 22023 if
 * both are given, or one is invalid.
 */
bool
bgjob_options_time(const BgjobOptionSet *set, TimestampTz now, TimestampTz *run_at)
{
	*run_at = 0;
	if (set->given[BGJOB_O_DELAY] && set->given[BGJOB_O_RUN_AT])
		bgjob_invalid("delay and run_at cannot both be given",
					  "Each determines when the job runs.",
					  "Use run_at for a point in time, delay for an interval from now.");
	if (set->given[BGJOB_O_DELAY])
		*run_at = bgjob_delayed(now, DatumGetIntervalP(set->values[BGJOB_O_DELAY]));
	else if (set->given[BGJOB_O_RUN_AT])
		*run_at = DatumGetTimestampTz(set->values[BGJOB_O_RUN_AT]);
	else
		return false;
	if (TIMESTAMP_NOT_FINITE(*run_at))
		bgjob_invalid("run_at must be finite", "The value is infinite.",
					  "Omit run_at to run the job at once.");
	return *run_at > now;
}

/* ---- checks, named by store/optionlist.h; each returns the value to store ---- */

static Datum
check_queue(const char *name, Datum value)
{
	bgjob_check_queue_name(TextDatumGetCString(value));
	return value;
}

static Datum
check_priority(const char *name, Datum value)
{
	int priority = DatumGetInt32(value);

	if (priority < PG_INT16_MIN || priority > PG_INT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("priority %d is out of range", priority),
						errdetail("It must be from %d to %d.", PG_INT16_MIN, PG_INT16_MAX),
						errhint("Jobs of higher priority run first; the default is 0.")));
	return Int16GetDatum(priority);
}

static Datum
check_max_retries(const char *name, Datum value)
{
	if (DatumGetInt32(value) < 0)
		bgjob_invalid("max_retries must not be negative",
					  "It is how often a failed job is retried.", "Use 0 for no retries.");
	return value;
}

static Datum
check_retry_delays(const char *name, Datum value)
{
	bgjob_policy_check_delays(DatumGetArrayTypeP(value));
	return value;
}

static Datum
check_timeout(const char *name, Datum value)
{
	bgjob_check_interval(name, DatumGetIntervalP(value),
						 "It is the longest time that an attempt may take.",
						 "Use 0 for no limit.");
	return value;
}

static Datum
check_unique_key(const char *name, Datum value)
{
	bgjob_check_unique_key(TextDatumGetCString(value));
	return value;
}

static Datum
check_on_duplicate(const char *name, Datum value)
{
	static const char *const names[] = {"skip",  "replace",   "reschedule",
										"error", "supersede", NULL};
	static const BgjobDuplicate values[] = {BGJOB_DUPLICATE_SKIP, BGJOB_DUPLICATE_REPLACE,
											BGJOB_DUPLICATE_RESCHEDULE, BGJOB_DUPLICATE_ERROR,
											BGJOB_DUPLICATE_SUPERSEDE};

	return CharGetDatum(values[bgjob_choice(name, TextDatumGetCString(value), names)]);
}

/* Raises 22023 unless an interval is a limit: positive, and not too long. */
static Datum
check_limit(const char *name, Datum value, const char *meaning)
{
	const Interval *limit = DatumGetIntervalP(value);
	const char *hint = psprintf("Omit %s for no limit.", name);

	bgjob_check_interval(name, limit, meaning, hint);
	if (bgjob_interval_microseconds(limit, DAYS_PER_MONTH) <= 0)
		bgjob_invalid(psprintf("%s must be positive", name), meaning, hint);
	return value;
}

static Datum
check_start_within(const char *name, Datum value)
{
	return check_limit(
		name, value,
		"A job that has not started within this time after it could first run is deleted.");
}

static Datum
check_parameters(const char *name, Datum value)
{
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(value)))
		bgjob_invalid("parameters must be a JSON object",
					  "They are pairs of a name and a value.", "Write {\"name\": \"value\"}.");
	return value;
}

/* Returns whether the value is 'delete'. */
static Datum
check_on_exhausted(const char *name, Datum value)
{
	static const char *const values[] = {"fail", "delete", NULL};

	return BoolGetDatum(bgjob_choice(name, TextDatumGetCString(value), values) == 1);
}

static Datum
check_retention(const char *name, Datum value)
{
	bgjob_check_retention(DatumGetIntervalP(value));
	return value;
}

static Datum
check_chunk_size(const char *name, Datum value)
{
	int size = DatumGetInt32(value);

	if (size < 1 || size > BGJOB_GROUP_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("chunk_size %d is out of range", size),
				 errdetail("It is the largest number of jobs that are performed in one call."),
				 errhint("Use a value from 1 to %d.", BGJOB_GROUP_MAX)));
	return value;
}

static Datum
check_chunk_wait(const char *name, Datum value)
{
	bgjob_check_interval(name, DatumGetIntervalP(value),
						 "It is the longest time that a job waits for others.",
						 "Omit chunk_wait to have jobs start at once.");
	return value;
}

static Datum
check_key(const char *name, Datum value)
{
	bgjob_check_key(name, TextDatumGetCString(value));
	return value;
}

static Datum
check_limits(const char *name, Datum value)
{
	bgjob_check_limits(value);
	return value;
}

static Datum
check_condition(const char *name, Datum value)
{
	static const char *const names[] = {"succeeded", "finished", "failed",
										"deleted",   "any",      NULL};
	static const BgjobCondition values[] = {BGJOB_IF_SUCCEEDED, BGJOB_IF_FINISHED,
											BGJOB_IF_FAILED, BGJOB_IF_DELETED, BGJOB_IF_ANY};

	return CharGetDatum((char) values[bgjob_choice(name, TextDatumGetCString(value), names)]);
}

static Datum
check_await_timeout(const char *name, Datum value)
{
	return check_limit(name, value,
					   "A job that has not been released within this time is deleted.");
}

static Datum (*const checks[BGJOB_NOPTIONS])(const char *name, Datum value) = {
#define BGJOB_OPTION(symbol, name, type, check, ...) [BGJOB_O_##symbol] = check,
#include "store/optionlist.h"
};

/*
 * bgjob_options_check raises 22023 if an option has an invalid value. Converts the
 * values to those stored, so a set can be checked only once.
 */
void
bgjob_options_check(BgjobOptionSet *set)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (set->given[option] && checks[option] != NULL)
			set->values[option] =
				checks[option](bgjob_options[option].name, set->values[option]);
}

/*
 * bgjob_options_change checks options like those of bgjob_enqueue(), with the
 * same errors, and overwrites those of a job that is about to be inserted.
 */
void
bgjob_options_change(BgjobOptionSet *set, BgjobJob *job, BgjobCircumstances *what)
{
	TimestampTz run_at;
	bool scheduled;

	bgjob_options_check(set);
	scheduled = bgjob_options_time(set, what->at, &run_at);
	if (set->given[BGJOB_O_DELAY] || set->given[BGJOB_O_RUN_AT])
		what->run_at = scheduled ? run_at : 0;
	bgjob_options_to_job(set, job);
}

/* ---- from texts ---- */

static Datum
input(Oid function, const char *value, Oid type)
{
	return OidFunctionCall3(function, CStringGetDatum(value), ObjectIdGetDatum(type),
							Int32GetDatum(-1));
}

/* bgjob_option_from_text sets an option from a text. Raises the error of its type if the text is invalid. */
void
bgjob_option_from_text(BgjobOptionSet *set, BgjobOption option, const char *value)
{
	Datum datum = (Datum) 0;

	switch (bgjob_options[option].type)
	{
		case TEXTOID:
			datum = CStringGetTextDatum(value);
			break;
		case INT4OID:
			datum = Int32GetDatum(pg_strtoint32(value));
			break;
		case INT8OID:
			datum = Int64GetDatum(pg_strtoint64(value));
			break;
		case INTERVALOID:
			datum = input(F_INTERVAL_IN, value, InvalidOid);
			break;
		case TIMESTAMPTZOID:
			datum = input(F_TIMESTAMPTZ_IN, value, InvalidOid);
			break;
		case JSONBOID:
			datum = input(F_JSONB_IN, value, InvalidOid);
			break;
		default:
			datum = input(F_ARRAY_IN, value, get_element_type(bgjob_options[option].type));
			break;
	}
	bgjob_option_set(set, option, datum);
}
