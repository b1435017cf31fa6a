/*-------------------------------------------------------------------------
 *
 * cron.c
 *	  SQL functions that compute and describe the times of a schedule.
 *
 * Thin functions over rules/cron.h: users try a schedule with them before they
 * pass it to bgjob_recurring(), or use the times elsewhere. Stores nothing.
 * bgjob.recurring_jobs describes its schedules here, too.
 *
 * Runs in the calling session, also in parallel workers and on standbys.
 * A null schedule or time returns null (or no rows).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/cron.h"
#include "api/rights.h"
#include "base/guc.h"
#include "base/zone.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rules/cron.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* The number of bytes of a schedule that an error shows. */
#define SHOWN_MAX 120

/* Returns the argument day_match. Raises 22004 if it is null, 22023 if it is unknown. */
static BgjobDayMatch
day_match_argument(FunctionCallInfo fcinfo, int number)
{
	const char *name = bgjob_arg_text(fcinfo, number);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("day_match must not be null"),
				 errdetail("It determines how day of month and day of week are combined."),
				 errhint("Use 'any' or 'all'.")));
	if (strcmp(name, "any") == 0)
		return BGJOB_DAY_ANY;
	if (strcmp(name, "all") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("day_match \"%s\" is not known", name),
				 errdetail("It determines how day of month and day of week are combined."),
				 errhint("Use 'any' (a day that matches one of them) or 'all' (both).")));
	return BGJOB_DAY_ALL;
}

/*
 * bgjob_read_schedule parses a schedule. Raises 22023 if it is invalid. H in the
 * schedule is a hash of the name; a NULL name is the same as an empty one.
 */
void
bgjob_read_schedule(const char *schedule, BgjobDayMatch day_match, const char *name,
					BgjobCron *cron)
{
	BgjobCronError error;
	int length = (int) strlen(schedule);
	int shown = pg_mbcliplen(schedule, length, SHOWN_MAX);

	if (!bgjob_cron_parse(schedule, day_match, name, cron, &error))
	{
		bool whole = strcmp(error.field, "schedule") == 0;

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid %s%s \"%.*s%s\"", error.field, whole ? "" : " in schedule",
						shown, schedule, shown < length ? "..." : ""),
				 errdetail_internal("%s", error.message), errhint("%s", error.hint)));
	}
}

/* Returns a time argument. Raises 22023 if it is infinite. */
static TimestampTz
time_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	TimestampTz time = PG_GETARG_TIMESTAMPTZ(number);

	if (TIMESTAMP_NOT_FINITE(time))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be finite", name),
				 errdetail("The value is infinite."), errhint("Use a finite timestamp.")));
	return time;
}

/* Opens the time zone that an argument names. */
static void
open_zone(FunctionCallInfo fcinfo, int number, BgjobTimeZone *zone)
{
	bgjob_time_zone_open(zone, bgjob_arg_text(fcinfo, number), bgjob_time_zone);
}

PG_FUNCTION_INFO_V1(bgjob_cron_next_sql);

/*
 * bgjob_cron_next(schedule, after, time_zone, day_match, name) returns the
 * first occurrence after a time, null if there is none. Raises 22023 if the
 * schedule, the zone or day_match is invalid, 22004 if day_match is null.
 */
Datum
bgjob_cron_next_sql(PG_FUNCTION_ARGS)
{
	BgjobCron cron;
	BgjobTimeZone zone;
	TimestampTz next;

	bgjob_check_sight();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	bgjob_read_schedule(bgjob_arg_text(fcinfo, 0), day_match_argument(fcinfo, 3),
						bgjob_arg_text(fcinfo, 4), &cron);
	open_zone(fcinfo, 2, &zone);
	next = bgjob_cron_next(&cron, &zone.zone, time_argument(fcinfo, 1, "after"));
	if (next == BGJOB_CRON_NEVER)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/* The state of a call of bgjob_cron_occurrences(). */
typedef struct Occurrences
{
	BgjobCron cron;
	BgjobTimeZone zone;
	int64 after;
	TimestampTz until;
} Occurrences;

/* Reads the arguments of bgjob_cron_occurrences(). */
static Occurrences *
occurrences_begin(FunctionCallInfo fcinfo, FuncCallContext *context)
{
	MemoryContext old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
	Occurrences *occurrences = palloc0(sizeof(Occurrences));

	bgjob_read_schedule(bgjob_arg_text(fcinfo, 0), day_match_argument(fcinfo, 4),
						bgjob_arg_text(fcinfo, 5), &occurrences->cron);
	open_zone(fcinfo, 3, &occurrences->zone);
	occurrences->after = time_argument(fcinfo, 1, "since") - 1; /* "since" itself counts */
	occurrences->until = time_argument(fcinfo, 2, "until");
	MemoryContextSwitchTo(old);
	return occurrences;
}

PG_FUNCTION_INFO_V1(bgjob_cron_occurrences);

/*
 * bgjob_cron_occurrences(schedule, since, until, time_zone, day_match, name)
 * returns the occurrences from "since" to "until", both included, in order.
 * Each call computes one, so LIMIT and a cancel take effect at once. Errors as
 * bgjob_cron_next().
 */
Datum
bgjob_cron_occurrences(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	Occurrences *occurrences;
	TimestampTz next;

	if (SRF_IS_FIRSTCALL())
	{
		bgjob_check_sight();
		context = SRF_FIRSTCALL_INIT();
		if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && !PG_ARGISNULL(2))
			context->user_fctx = occurrences_begin(fcinfo, context);
	}
	context = SRF_PERCALL_SETUP();
	occurrences = context->user_fctx;
	if (occurrences == NULL)
		SRF_RETURN_DONE(context);

	CHECK_FOR_INTERRUPTS();
	next = bgjob_cron_next(&occurrences->cron, &occurrences->zone.zone, occurrences->after);
	if (next == BGJOB_CRON_NEVER || next > occurrences->until)
		SRF_RETURN_DONE(context);
	occurrences->after = next;
	SRF_RETURN_NEXT(context, TimestampTzGetDatum(next));
}

PG_FUNCTION_INFO_V1(bgjob_cron_describe_sql);

/*
 * bgjob_cron_describe(schedule, day_match, name) describes a schedule in
 * English. Raises 22023 if the schedule or day_match is invalid, 22004 if
 * day_match is null.
 */
Datum
bgjob_cron_describe_sql(PG_FUNCTION_ARGS)
{
	BgjobCron cron;
	char description[BGJOB_CRON_DESCRIPTION_SIZE];

	bgjob_check_sight();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	bgjob_read_schedule(bgjob_arg_text(fcinfo, 0), day_match_argument(fcinfo, 1),
						bgjob_arg_text(fcinfo, 2), &cron);
	bgjob_cron_describe(&cron, description, sizeof(description));
	PG_RETURN_TEXT_P(cstring_to_text(description));
}

/* ---- for the view ---- */

/* So many descriptions are kept while a statement runs. */
#define KEPT_MAX 256

/* A description, and what it was made of. */
typedef struct Description
{
	const char *schedule; /* NULL: none */
	bool all_days;
	const char *name; /* NULL: the schedule does not depend on it */
	const char *text; /* NULL: the schedule is invalid */
} Description;

static const char *
keep(MemoryContext context, const char *string)
{
	return string != NULL ? MemoryContextStrdup(context, string) : NULL;
}

/* Returns where the description of a schedule is kept in a statement. */
static Description *
place_of(FmgrInfo *call, const char *schedule, bool all_days)
{
	uint32 hash = hash_bytes((const unsigned char *) schedule, (int) strlen(schedule));

	if (call->fn_extra == NULL)
		call->fn_extra = MemoryContextAllocZero(call->fn_mcxt, KEPT_MAX * sizeof(Description));
	return (Description *) call->fn_extra + (hash + all_days) % KEPT_MAX;
}

static bool
is_of(const Description *kept, const char *schedule, bool all_days, const char *name)
{
	return kept->schedule != NULL && kept->all_days == all_days &&
		   strcmp(kept->schedule, schedule) == 0 &&
		   (kept->name == NULL || strcmp(kept->name, name) == 0);
}

static void
forget(Description *kept)
{
	const void *strings[] = {kept->schedule, kept->name, kept->text};

	for (int i = 0; i < lengthof(strings); i++)
		if (strings[i] != NULL)
			pfree((void *) strings[i]);
	memset(kept, 0, sizeof(*kept));
}

/* Describes a schedule, and keeps the description instead of another one. */
static void
describe(Description *kept, MemoryContext context, const char *schedule, bool all_days,
		 const char *name)
{
	BgjobCron cron;
	BgjobCronError error;
	char text[BGJOB_CRON_DESCRIPTION_SIZE];
	bool valid = bgjob_cron_parse(schedule, all_days ? BGJOB_DAY_ALL : BGJOB_DAY_ANY, name,
								  &cron, &error);

	if (valid)
		bgjob_cron_describe(&cron, text, sizeof(text));
	forget(kept);
	kept->all_days = all_days;
	kept->name = keep(context, valid && !cron.hashed ? NULL : name);
	kept->text = keep(context, valid ? text : NULL);
	kept->schedule = keep(context, schedule);
}

PG_FUNCTION_INFO_V1(bgjob_schedule_description);

/*
 * bgjob_internal.schedule_description(schedule, all_days, name) describes a stored
 * schedule; null if it is invalid. Many recurring jobs have the same schedule: it
 * is parsed once in a statement.
 */
Datum
bgjob_schedule_description(PG_FUNCTION_ARGS)
{
	const char *schedule = bgjob_arg_text(fcinfo, 0);
	bool all_days = PG_GETARG_BOOL(1);
	const char *name = bgjob_arg_text(fcinfo, 2);
	Description *kept = place_of(fcinfo->flinfo, schedule, all_days);

	if (!is_of(kept, schedule, all_days, name))
		describe(kept, fcinfo->flinfo->fn_mcxt, schedule, all_days, name);
	if (kept->text == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(kept->text));
}
