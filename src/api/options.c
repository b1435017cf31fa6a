/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The options of bgjob_enqueue(), as given, and what of them is allowed.
 *
 * The same options come from several sides: from calls, from the arguments of
 * triggers (as texts), from bgjob_recurring() and bgjob_configure(), and from
 * filters that change a job. Whatever is wrong with one by itself is found out
 * here, with the same error for all.
 *
 * Runs in the session that calls; and in the scheduler, for what filters
 * change there. Reads no table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/options.h"
#include "base/interval.h"
#include "catalog/pg_type.h"
#include "store/queue.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

/* bgjob_invalid raises 22023. */
void
bgjob_invalid(const char *message, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
					errdetail("%s", detail), errhint("%s", hint)));
}

/*
 * bgjob_choice returns which one of a fixed list of values, NULL-terminated, an
 * option has. The first is the default. 22023: none of them.
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

/* bgjob_check_queue_name raises 22023 unless a name is one of a queue: ^[a-z0-9_-]{1,63}$. */
void
bgjob_check_queue_name(const char *queue)
{
	size_t length = strlen(queue);

	if (length < 1 || length > BGJOB_QUEUE_NAME_MAX ||
		strspn(queue, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a queue: \"%s\"", queue),
						errdetail("It must have 1 to %d characters.", BGJOB_QUEUE_NAME_MAX),
						errhint("Use lower-case letters, digits, \"_\" and \"-\".")));
}

/* bgjob_duplicate_by_name returns what on_duplicate says; NULL is the default. 22023: that is nothing. */
BgjobDuplicate
bgjob_duplicate_by_name(const char *name)
{
	static const char *const names[] = {"skip", "replace", "reschedule", "error", NULL};
	static const BgjobDuplicate values[] = {BGJOB_DUPLICATE_SKIP, BGJOB_DUPLICATE_REPLACE,
											BGJOB_DUPLICATE_RESCHEDULE, BGJOB_DUPLICATE_ERROR};

	return name == NULL ? values[0] : values[bgjob_choice("on_duplicate", name, names)];
}

/* bgjob_check_unique_key raises 22023 unless a text can be a unique_key. */
void
bgjob_check_unique_key(const char *key)
{
	if (key[0] == '\0' || strlen(key) > BGJOB_UNIQUE_KEY_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid unique_key: it has %zu bytes", strlen(key)),
						errdetail("It must have 1 to %d bytes.", BGJOB_UNIQUE_KEY_MAX),
						errhint("Leave it out for a job that need not be the only one; use a "
								"hash, such as md5(), for a longer key.")));
}

static void
check_priority(const BgjobOptions *options)
{
	if (options->priority < PG_INT16_MIN || options->priority > PG_INT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("priority %d is out of range", options->priority),
						errdetail("It must be from %d to %d.", PG_INT16_MIN, PG_INT16_MAX),
						errhint("Jobs of higher priority run first; the default is 0.")));
}

static void
check_max_retries(const BgjobOptions *options)
{
	if (options->max_retries < 0)
		bgjob_invalid("max_retries must not be negative",
					  "It is how often a failed job is tried again.", "Use 0 for no retry.");
}

/*
 * bgjob_check_interval raises 22023 if an interval, the value of an option, is
 * negative or longer than any may be. "meaning" is the detail of the error.
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
						errhint("The longest is %d years.", BGJOB_LONGEST_YEARS)));
}

/* bgjob_check_retention raises 22023 if a retention is negative or too long. */
void
bgjob_check_retention(const Interval *retention)
{
	bgjob_check_interval("retention", retention, "It is how long finished jobs are kept.",
						 "Use '0' to have them removed at once.");
}

/* bgjob_delayed returns the time that a delay from "now" means. 22023: the delay is negative or too long. */
TimestampTz
bgjob_delayed(TimestampTz now, const Interval *delay)
{
	bgjob_check_interval("delay", delay, "It is counted from now.",
						 "Leave it out to have the job run at once.");
	return bgjob_time_plus(now, delay);
}

/*
 * bgjob_options_time returns when a job is to run: *run_at, if that is in the
 * future and the answer true; else now. 22023: delay and run_at are both given,
 * or one of them cannot be.
 */
bool
bgjob_options_time(const BgjobOptions *options, TimestampTz now, TimestampTz *run_at)
{
	*run_at = options->run_at;
	if (options->delay != NULL && options->has_run_at)
		bgjob_invalid("delay and run_at cannot both be given",
					  "Each says when the job is to run.", "Give one of the two.");
	if (options->delay != NULL)
		*run_at = bgjob_delayed(now, options->delay);
	else if (!options->has_run_at)
		return false;
	if (TIMESTAMP_NOT_FINITE(*run_at))
		bgjob_invalid("run_at must be a point in time", "It is infinite.",
					  "Give a time, or leave it out to have the job run at once.");
	return *run_at > now;
}

/* bgjob_options_check raises 22023 if an option by itself has a value that is not allowed. */
void
bgjob_options_check(const BgjobOptions *options)
{
	if (options->queue != NULL)
		bgjob_check_queue_name(options->queue);
	check_priority(options);
	check_max_retries(options);
	if (options->unique_key != NULL)
		bgjob_check_unique_key(options->unique_key);
	(void) bgjob_duplicate_by_name(options->on_duplicate);
	if (options->timeout != NULL)
		bgjob_check_interval("timeout", options->timeout,
							 "It is the time that one attempt may take.",
							 "Use 0 for no limit.");
	if (options->parameters != NULL && !JB_ROOT_IS_OBJECT(options->parameters))
		bgjob_invalid("parameters must be a JSON object",
					  "They are pairs of a name and a value.", "Write {\"name\": \"value\"}.");
}

/*
 * bgjob_options_change has the options that are given take the place of those
 * of a job that is about to be put in. They are checked like those of
 * bgjob_enqueue(), with the same errors.
 */
void
bgjob_options_change(const BgjobOptions *options, BgjobJob *job, BgjobCircumstances *what)
{
	TimestampTz run_at;
	bool scheduled;

	bgjob_options_check(options);
	scheduled = bgjob_options_time(options, what->at, &run_at);
	if (options->delay != NULL || options->has_run_at)
		what->run_at = scheduled ? run_at : 0;
	if (options->queue != NULL)
	{
		job->queue = options->queue;
		bgjob_job_set(job, BGJOB_C_QUEUE, CStringGetTextDatum(job->queue));
	}
	if (options->has_priority)
	{
		job->priority = options->priority;
		bgjob_job_set(job, BGJOB_C_PRIORITY, Int16GetDatum(job->priority));
	}
	if (options->has_max_retries)
	{
		job->max_retries = options->max_retries;
		bgjob_job_set(job, BGJOB_C_MAX_RETRIES, Int32GetDatum(job->max_retries));
	}
	if (options->timeout != NULL)
		bgjob_job_set(job, BGJOB_C_TIMEOUT, IntervalPGetDatum(options->timeout));
	if (options->tags != (Datum) 0)
		bgjob_job_set(job, BGJOB_C_TAGS, options->tags);
	if (options->parameters != NULL)
		bgjob_job_set(job, BGJOB_C_PARAMETERS, JsonbPGetDatum(options->parameters));
}

/* bgjob_option_refuse raises 0A000 for an option that a later version brings. */
void
bgjob_option_refuse(const char *option)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("option %s is not supported by this version", option),
					errdetail("A later version brings it."), errhint("Leave the option out.")));
}

/* ---- by name, for triggers ---- */

static Datum
input(PGFunction function, const char *value, Oid type)
{
	return DirectFunctionCall3(function, CStringGetDatum(value), ObjectIdGetDatum(type),
							   Int32GetDatum(-1));
}

/*
 * bgjob_option_by_name sets an option of bgjob_enqueue() from its text.
 * 22023: there is no such option; the type's own error: the value is wrong.
 */
void
bgjob_option_by_name(BgjobOptions *options, const char *name, const char *value)
{
	if (strcmp(name, "kind") == 0)
		options->kind = value;
	else if (strcmp(name, "queue") == 0)
		options->queue = value;
	else if (strcmp(name, "priority") == 0)
	{
		options->has_priority = true;
		options->priority = pg_strtoint32(value);
	}
	else if (strcmp(name, "delay") == 0)
		options->delay = DatumGetIntervalP(input(interval_in, value, INTERVALOID));
	else if (strcmp(name, "run_at") == 0)
	{
		options->has_run_at = true;
		options->run_at = DatumGetTimestampTz(input(timestamptz_in, value, TIMESTAMPTZOID));
	}
	else if (strcmp(name, "max_retries") == 0)
	{
		options->has_max_retries = true;
		options->max_retries = pg_strtoint32(value);
	}
	else if (strcmp(name, "timeout") == 0)
		options->timeout = DatumGetIntervalP(input(interval_in, value, INTERVALOID));
	else if (strcmp(name, "run_as") == 0)
		options->run_as = value;
	else if (strcmp(name, "tags") == 0)
		options->tags = OidFunctionCall3(F_ARRAY_IN, CStringGetDatum(value),
										 ObjectIdGetDatum(TEXTOID), Int32GetDatum(-1));
	else if (strcmp(name, "parameters") == 0)
		options->parameters =
			DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	else if (strcmp(name, "unique_key") == 0)
		options->unique_key = value;
	else if (strcmp(name, "on_duplicate") == 0)
		options->on_duplicate = value;
	else if (strcmp(name, "sequence_key") == 0 || strcmp(name, "limits") == 0 ||
			 strcmp(name, "after") == 0 || strcmp(name, "after_batch") == 0 ||
			 strcmp(name, "condition") == 0 || strcmp(name, "batch") == 0)
		bgjob_option_refuse(name);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no option \"%s\"", name),
						errdetail("It is named by an argument of bgjob_enqueue_trigger()."),
						errhint("The options are the parameters of bgjob_enqueue(), and "
								"\"columns\".")));
}
