/*-------------------------------------------------------------------------
 *
 * recurring.c
 *	  Adds and updates recurring jobs.
 *
 * A recurring job belongs to the role that adds it; its name is unique among the
 * owner's. bgjob_recurring() adds one, or updates the one of that name. A parameter
 * that is null is not given. A new row gets its default; a row that is updated keeps
 * what it has, so a deployment that repeats a call undoes nothing that was done since.
 *
 * The row has the value of every option, since the scheduler (process/recurring.c)
 * reads no configuration. Its column "given" names the options that callers gave.
 * These stay (api/recurringkept.c). The others get their default again at each update, which may come from
 * the configuration of the function: so they follow a change of it, or of the job.
 *
 * Schedule, zone and job are checked at each call, as when a job is enqueued. The
 * caller's settings are captured again.
 *
 * Runs in the calling session. If two sessions add the same name, the second
 * waits for the transaction of the first, then updates its row. The scheduler is
 * notified at commit. What else can be done to a recurring job is in
 * api/recurringcontrol.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/cron.h"
#include "api/recurring.h"
#include "api/recurringkept.h"
#include "api/rights.h"
#include "base/change.h"
#include "base/guc.h"
#include "base/registry.h"
#include "base/zone.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/occurrence.h"
#include "store/sequence.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Longest name of a recurring job, in bytes. */
#define LONGEST_NAME 200

/* The columns that parameters of the same meaning set. */
static const BgjobRecurringColumn parameters[] = {
	BGJOB_R_SCHEDULE, BGJOB_R_TIME_ZONE, BGJOB_R_ALL_DAYS, BGJOB_R_MISFIRE, BGJOB_R_OVERLAP,
	BGJOB_R_JITTER,   BGJOB_R_STARTS_AT, BGJOB_R_ENDS_AT,  BGJOB_R_ACTIVE};

/* ---- schedules ---- */

static BgjobDayMatch
day_match_of(const BgjobRecurring *row)
{
	return DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ALL_DAYS)) ? BGJOB_DAY_ALL
																	  : BGJOB_DAY_ANY;
}

static void
read_schedule(const BgjobRecurring *row, BgjobCron *cron)
{
	bgjob_read_schedule(bgjob_recurring_text(row, BGJOB_R_SCHEDULE), day_match_of(row),
						bgjob_recurring_text(row, BGJOB_R_NAME), cron);
}

/* Raises 22023 unless the schedule of a row is valid. */
static void
check_schedule(const BgjobRecurring *row)
{
	BgjobCron cron;

	read_schedule(row, &cron);
}

/*
 * bgjob_recurring_first returns the first occurrence of a row's schedule after now, within its
 * bounds; DT_NOEND: there is none. Raises 22023 if the schedule is invalid.
 */
TimestampTz
bgjob_recurring_first(const BgjobRecurring *row)
{
	check_schedule(row);
	return bgjob_occurrence_first(row, bgjob_now());
}

/*
 * Sets the next occurrence of a row. If its times did not change ("same"), it
 * keeps the occurrence that was computed, unless the clock was ahead then. A paused
 * one has none, and what waited for the end of its last job is dropped.
 */
static void
set_next(BgjobRecurring *row, bool same)
{
	TimestampTz next = DT_NOEND;

	check_schedule(row);
	if (!DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ACTIVE)))
		bgjob_recurring_set_null(row, BGJOB_R_QUEUED);
	else if (same)
		next = bgjob_occurrence_corrected(row, bgjob_now(), 0);
	else
		next = bgjob_recurring_first(row);
	bgjob_recurring_set_time(row, BGJOB_R_NEXT_AT, next);
	bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
}

/* An active job without a next occurrence may have a wrong schedule, such as the 31st of February. */
static void
notice_never(const BgjobRecurring *row)
{
	BgjobCron cron;

	if (!DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ACTIVE)) ||
		!bgjob_recurring_is_null(row, BGJOB_R_NEXT_AT))
		return;
	read_schedule(row, &cron);
	if (cron.kind != BGJOB_CRON_REBOOT)
		ereport(NOTICE,
				(errmsg("recurring job \"%s\" will not run",
						bgjob_recurring_text(row, BGJOB_R_NAME)),
				 errdetail("Its schedule has no future occurrence within its bounds.")));
}

/* Returns whether a restore inserted a row; it is inactive until bgjob_adopt(). */
static bool
is_restored(const BgjobRecurring *row)
{
	return !bgjob_recurring_is_null(row, BGJOB_R_NEXT_AT) &&
		   TIMESTAMP_NOT_FINITE(bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND));
}

/* Returns whether two rows have the same schedule, zone, bounds and active flag. */
static bool
same_times(const BgjobRecurring *a, const BgjobRecurring *b)
{
	return strcmp(bgjob_recurring_text(a, BGJOB_R_SCHEDULE),
				  bgjob_recurring_text(b, BGJOB_R_SCHEDULE)) == 0 &&
		   strcmp(bgjob_recurring_text(a, BGJOB_R_TIME_ZONE),
				  bgjob_recurring_text(b, BGJOB_R_TIME_ZONE)) == 0 &&
		   bgjob_recurring_datum(a, BGJOB_R_ALL_DAYS) ==
			   bgjob_recurring_datum(b, BGJOB_R_ALL_DAYS) &&
		   bgjob_recurring_datum(a, BGJOB_R_ACTIVE) ==
			   bgjob_recurring_datum(b, BGJOB_R_ACTIVE) &&
		   bgjob_recurring_time(a, BGJOB_R_STARTS_AT, DT_NOBEGIN) ==
			   bgjob_recurring_time(b, BGJOB_R_STARTS_AT, DT_NOBEGIN) &&
		   bgjob_recurring_time(a, BGJOB_R_ENDS_AT, DT_NOEND) ==
			   bgjob_recurring_time(b, BGJOB_R_ENDS_AT, DT_NOEND);
}

/* ---- checks ---- */

/* Raises 22023 unless the scheduler can load the zone (base/zone.c). NULL is the zone of the setting, which is checked. */
static void
check_zone(const char *name)
{
	if (name == NULL || bgjob_time_zone_exists(name))
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("time zone \"%s\" not recognized", name),
					errdetail("The server does not know a time zone of that name."),
					errhint("The view pg_timezone_names lists the names.")));
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > LONGEST_NAME)
		bgjob_invalid(psprintf("invalid name of a recurring job: \"%s\"", name),
					  "It must have 1 to 200 bytes.",
					  "Use a short name that says what the job does.");
}

/* Checks what the caller gives, apart from the schedule. */
static void
check_given(const BgjobRecurring *given)
{
	check_zone(bgjob_recurring_text(given, BGJOB_R_TIME_ZONE));
	if (!bgjob_recurring_is_null(given, BGJOB_R_JITTER))
		bgjob_check_interval(
			"jitter", DatumGetIntervalP(bgjob_recurring_datum(given, BGJOB_R_JITTER)),
			"Each job is enqueued up to this much later than its schedule says.",
			"Use '0' for none.");
	if (bgjob_recurring_time(given, BGJOB_R_STARTS_AT, DT_NOBEGIN) == DT_NOEND ||
		bgjob_recurring_time(given, BGJOB_R_ENDS_AT, DT_NOEND) == DT_NOBEGIN)
		bgjob_invalid(
			"starts_at and ends_at must be points in time",
			"One of them is infinite, so the recurring job would never run.",
			"A bound that does not apply is '-infinity' for starts_at, 'infinity' for "
			"ends_at.");
}

/* Checks the bounds of a row, of which the caller may have given one. */
static void
check_bounds(const BgjobRecurring *row)
{
	if (bgjob_recurring_time(row, BGJOB_R_STARTS_AT, DT_NOBEGIN) >=
		bgjob_recurring_time(row, BGJOB_R_ENDS_AT, DT_NOEND))
		bgjob_invalid(
			"ends_at must be later than starts_at", "The recurring job runs between the two.",
			"A bound that does not apply is '-infinity' for starts_at, 'infinity' for "
			"ends_at.");
}

static void
require(const void *value, const char *name)
{
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
				 errdetail("There is no recurring job of that name yet."),
				 errhint("Specify a value for %s.", name)));
}

/* ---- what stays ---- */

static const char *
kind_name(const BgjobRecurring *row)
{
	switch (DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_KIND)))
	{
		case BGJOB_KIND_SQL:
			return "sql";
		case BGJOB_KIND_EXTERNAL:
			return "external";
		default:
			return "function";
	}
}

/* Returns the name of the role that a recurring job runs as. Raises 42704 if it has been dropped. */
static const char *
role_name(const BgjobRecurring *row)
{
	Oid role = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS));
	const char *name = GetUserNameFromId(role, true);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the role that recurring job \"%s\" runs as does not exist",
							   bgjob_recurring_text(row, BGJOB_R_NAME)),
						errdetail("Role with OID %u was dropped.", role),
						errhint("Specify a role for run_as.")));
	return name;
}

/* Adds what the row has, of what the call does not give. *kind: an earlier call gave the kind. */
static void
keep(const BgjobRecurring *row, BgjobRecurringCall *call, BgjobOptionSet *kept, bool *kind)
{
	bgjob_kept_read(row, &call->options.set, kept, kind);
	if (call->options.kind == NULL && (call->options.job == NULL || *kind))
		call->options.kind = kind_name(row);
	if (call->options.job == NULL)
		call->options.job = bgjob_recurring_text(
			row, bgjob_recurring_is_null(row, BGJOB_R_FUNC) ? BGJOB_R_JOB : BGJOB_R_FUNC);
	if (!call->options.set.given[BGJOB_O_RUN_AS])
		bgjob_option_set(&call->options.set, BGJOB_O_RUN_AS,
						 CStringGetTextDatum(role_name(row)));
	if (call->args == NULL && !bgjob_recurring_is_null(row, BGJOB_R_ARGS))
		call->args = DatumGetJsonbP(bgjob_recurring_datum(row, BGJOB_R_ARGS));
}

/* ---- rows ---- */

/* Begins a new row, with the defaults. */
static void
begin_row(BgjobRecurring *row, Oid owner, const BgjobRecurringCall *call)
{
	require(bgjob_recurring_text(&call->columns, BGJOB_R_SCHEDULE), "schedule");
	require(call->options.job, "job");
	bgjob_recurring_clear(row);
	bgjob_recurring_set(row, BGJOB_R_ID, Int64GetDatum(bgjob_next_id()));
	bgjob_recurring_set(row, BGJOB_R_OWNER, ObjectIdGetDatum(owner));
	bgjob_recurring_set_text(row, BGJOB_R_NAME, call->name);
	bgjob_recurring_set_time(row, BGJOB_R_CREATED_AT, bgjob_now());
	bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
	bgjob_recurring_set_text(row, BGJOB_R_TIME_ZONE, bgjob_time_zone);
	bgjob_recurring_set(row, BGJOB_R_ALL_DAYS, BoolGetDatum(false));
	bgjob_recurring_set(row, BGJOB_R_MISFIRE, CharGetDatum(BGJOB_MISFIRE_ONCE));
	bgjob_recurring_set(row, BGJOB_R_OVERLAP, CharGetDatum(BGJOB_OVERLAP_ALLOW));
	bgjob_recurring_set(row, BGJOB_R_ACTIVE, BoolGetDatum(true));
}

/* Sets the columns that the call gives. A bound that is infinite is none. */
static void
set_columns(BgjobRecurring *row, const BgjobRecurring *given)
{
	for (int i = 0; i < lengthof(parameters); i++)
		if (!bgjob_recurring_is_null(given, parameters[i]))
			bgjob_recurring_set(row, parameters[i],
								bgjob_recurring_datum(given, parameters[i]));
	check_bounds(row);
	bgjob_recurring_set_time(row, BGJOB_R_STARTS_AT,
							 bgjob_recurring_time(row, BGJOB_R_STARTS_AT, DT_NOBEGIN));
	bgjob_recurring_set_time(row, BGJOB_R_ENDS_AT,
							 bgjob_recurring_time(row, BGJOB_R_ENDS_AT, DT_NOEND));
}

static void
copy_column(BgjobRecurring *row, BgjobRecurringColumn to, const BgjobJob *job, BgjobColumn from)
{
	if (bgjob_job_is_null(job, from))
		bgjob_recurring_set_null(row, to);
	else
		bgjob_recurring_set(row, to, bgjob_job_datum(job, from));
}

/* Copies the columns of a job, and what to do if an unfinished job has its unique_key. */
static void
copy_job(BgjobRecurring *row, const BgjobJob *job, BgjobDuplicate on_duplicate)
{
	copy_column(row, BGJOB_R_RUN_AS, job, BGJOB_C_RUN_AS);
	copy_column(row, BGJOB_R_SETTINGS_ID, job, BGJOB_C_SETTINGS_ID);
	copy_column(row, BGJOB_R_POLICY_ID, job, BGJOB_C_POLICY_ID);
	copy_column(row, BGJOB_R_KIND, job, BGJOB_C_KIND);
	copy_column(row, BGJOB_R_CUSTOM_SETTINGS, job, BGJOB_C_CUSTOM_SETTINGS);
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (bgjob_options[option].job != 0)
			copy_column(row, (BgjobRecurringColumn) bgjob_options[option].recurring, job,
						(BgjobColumn) bgjob_options[option].job);
	bgjob_recurring_set(row, BGJOB_R_ON_DUPLICATE, CharGetDatum(on_duplicate));
	bgjob_recurring_set_text(row, BGJOB_R_FUNC, job->func);
}

/* Says where the arguments come from that an error is about. */
static void
name_kept_arguments(void *arg)
{
	errcontext("arguments of recurring job \"%s\", which stay because none are given",
			   (const char *) arg);
}

/* Checks the job with all its options, and sets the columns of both. "found": the row is updated. */
static void
set_job(BgjobRecurring *row, bool found, const BgjobRecurringCall *call)
{
	BgjobRecurringCall full = *call;
	BgjobOptionSet kept = {0};
	ErrorContextCallback context = {.callback = name_kept_arguments,
									.arg = (void *) call->name};
	BgjobDuplicate on_duplicate;
	BgjobTemplate *template;
	const BgjobJob *job;
	bool kind = false;

	if (found)
		keep(row, &full, &kept, &kind);
	full.options.kept = &kept;
	context.previous = error_context_stack;
	if (full.args != call->args)
		error_context_stack = &context;
	template = bgjob_template_create(&full.options, full.args);
	job = bgjob_template_job(template, full.args, &on_duplicate);
	copy_job(row, job, on_duplicate);
	bgjob_template_free(template);
	error_context_stack = context.previous;
	if (call->options.job != NULL)
		bgjob_recurring_set_text(row, BGJOB_R_JOB, call->options.job);
	if (call->args != NULL)
		bgjob_recurring_set(row, BGJOB_R_ARGS, JsonbPGetDatum(call->args));
	bgjob_kept_write(row, &full.options.set, &kept, kind || call->options.kind != NULL);
}

/* bgjob_recurring_announce notifies the scheduler, at commit, that a recurring job was added or changed. */
void
bgjob_recurring_announce(void)
{
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RECURRING);
	CommandCounterIncrement();
}

/* Adds or updates a row. Returns false if another transaction has added that name meanwhile. */
static bool
try_add(BgjobRel *rel, Oid owner, const BgjobRecurringCall *call)
{
	BgjobRecurring before;
	BgjobRecurring row;
	bool found = bgjob_recurring_find_and_lock(rel, owner, call->name, &before);

	if (found)
		row = before;
	else
		begin_row(&row, owner, call);
	set_columns(&row, &call->columns);
	set_job(&row, found, call);
	bgjob_recurring_set_null(&row, BGJOB_R_ERROR);
	set_next(&row, found && same_times(&before, &row) && !is_restored(&row) &&
					   !DatumGetBool(bgjob_recurring_datum(&row, BGJOB_R_LOST)));
	if (found)
		bgjob_recurring_save(rel, &row);
	else if (!bgjob_recurring_insert(rel, &row))
		return false;
	notice_never(&row);
	bgjob_recurring_announce();
	return true;
}

/*
 * bgjob_recurring_add adds a recurring job of an owner, or updates the owner's
 * job of that name. Waits only for a transaction that has changed the same one.
 */
void
bgjob_recurring_add(Oid owner, const BgjobRecurringCall *call)
{
	BgjobRel *rel;

	check_name(call->name);
	check_given(&call->columns);
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	while (!try_add(rel, owner, call))
		CHECK_FOR_INTERRUPTS();
	bgjob_rel_close(rel);
}

/* ---- the SQL function ---- */

/* Parameters of bgjob_recurring(), in their order. The options are between the two lists. */
enum
{
	P_NAME,
	P_SCHEDULE,
	P_JOB,
	P_ARGS,
	P_KIND,
	P_OPTIONS
};

enum
{
	P_TIME_ZONE,
	P_MISFIRE,
	P_OVERLAP,
	P_JITTER,
	P_STARTS_AT,
	P_ENDS_AT,
	P_DAY_MATCH,
	P_ACTIVE
};

/* Sets a column to an argument, unless that is null. */
static void
read_column(FunctionCallInfo fcinfo, int arg, BgjobRecurring *columns,
			BgjobRecurringColumn column)
{
	if (!PG_ARGISNULL(arg))
		bgjob_recurring_set(columns, column, PG_GETARG_DATUM(arg));
}

/* The same for an argument that is one of a list of values, each of which is stored as a letter. */
static void
read_letter(FunctionCallInfo fcinfo, int arg, const char *name, const char *const *values,
			const char *letters, BgjobRecurring *columns, BgjobRecurringColumn column)
{
	if (!PG_ARGISNULL(arg))
		bgjob_recurring_set(
			columns, column,
			CharGetDatum(letters[bgjob_choice(name, bgjob_arg_text(fcinfo, arg), values)]));
}

/* Reads the parameters that are no options of jobs. "behind" is the first one after the options. */
static void
read_columns(FunctionCallInfo fcinfo, int behind, BgjobRecurring *columns)
{
	static const char *const misfires[] = {"once", "all", "skip", NULL};
	static const char *const overlaps[] = {"allow", "skip", "queue", "cancel", NULL};
	static const char *const matches[] = {"any", "all", NULL};

	bgjob_recurring_clear(columns);
	bgjob_recurring_set_text(columns, BGJOB_R_SCHEDULE, bgjob_arg_text(fcinfo, P_SCHEDULE));
	bgjob_recurring_set_text(columns, BGJOB_R_TIME_ZONE,
							 bgjob_arg_text(fcinfo, behind + P_TIME_ZONE));
	read_letter(fcinfo, behind + P_MISFIRE, "misfire", misfires, "oas", columns,
				BGJOB_R_MISFIRE);
	read_letter(fcinfo, behind + P_OVERLAP, "overlap", overlaps, "asqc", columns,
				BGJOB_R_OVERLAP);
	if (!PG_ARGISNULL(behind + P_DAY_MATCH))
		bgjob_recurring_set(
			columns, BGJOB_R_ALL_DAYS,
			BoolGetDatum(bgjob_choice("day_match", bgjob_arg_text(fcinfo, behind + P_DAY_MATCH),
									  matches) == 1));
	read_column(fcinfo, behind + P_JITTER, columns, BGJOB_R_JITTER);
	read_column(fcinfo, behind + P_STARTS_AT, columns, BGJOB_R_STARTS_AT);
	read_column(fcinfo, behind + P_ENDS_AT, columns, BGJOB_R_ENDS_AT);
	read_column(fcinfo, behind + P_ACTIVE, columns, BGJOB_R_ACTIVE);
}

/* Reads the job and its options. Returns the number of the first parameter after them. */
static int
read_options(FunctionCallInfo fcinfo, BgjobOptions *options)
{
	options->job = bgjob_arg_text(fcinfo, P_JOB);
	options->kind = bgjob_arg_text(fcinfo, P_KIND);
	options->plain_session = false;
	options->kept = NULL;
	return bgjob_args_options(fcinfo, P_OPTIONS, BGJOB_IN_RECURRING, &options->set);
}

PG_FUNCTION_INFO_V1(bgjob_recurring);

/*
 * bgjob_recurring adds a recurring job, or updates the caller's own of that
 * name, which keeps what is null. The manual lists parameters and defaults. Errors:
 * 22023 an invalid schedule, zone or value; 22004 a null name, or a null schedule or
 * job of a new one; and for the job those of bgjob_enqueue().
 */
Datum
bgjob_recurring(PG_FUNCTION_ARGS)
{
	BgjobRecurringCall call;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_recurring()");
	call.name =
		bgjob_arg_required_text(fcinfo, P_NAME, "name", "It identifies the recurring job.");
	read_columns(fcinfo, read_options(fcinfo, &call.options), &call.columns);
	call.args = PG_ARGISNULL(P_ARGS) ? NULL : PG_GETARG_JSONB_P(P_ARGS);
	bgjob_recurring_add(GetUserId(), &call);
	PG_RETURN_VOID();
}
