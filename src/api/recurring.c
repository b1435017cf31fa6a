/*-------------------------------------------------------------------------
 *
 * recurring.c
 *	  Adds and changes recurring jobs.
 *
 * A recurring job belongs to the role that adds it; its name is unique among the
 * owner's. Its schedule, its zone and its job are checked when it is added, like
 * a job that is enqueued. The scheduler runs it (process/recurring.c) and is
 * notified at commit.
 *
 * Runs in the calling session. If two sessions add the same name, the second
 * waits for the transaction of the first, then updates its row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "api/arguments.h"
#include "api/cron.h"
#include "api/recurring.h"
#include "api/rights.h"
#include "base/change.h"
#include "base/guc.h"
#include "base/registry.h"
#include "base/zone.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "run/function.h"
#include "run/occurrence.h"
#include "store/sequence.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Longest name of a recurring job, in bytes. */
#define LONGEST_NAME 200

/* ---- schedules ---- */

/* Returns the first occurrence of a row's schedule after now, within its bounds; DT_NOEND if there is none. */
static TimestampTz
first_occurrence(const BgjobRecurring *row)
{
	BgjobCron cron;

	bgjob_read_schedule(bgjob_recurring_text(row, BGJOB_R_SCHEDULE),
						DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ALL_DAYS))
							? BGJOB_DAY_ALL
							: BGJOB_DAY_ANY,
						bgjob_recurring_text(row, BGJOB_R_NAME), &cron);
	return bgjob_occurrence_first(row, bgjob_now());
}

/*
 * Sets the next occurrence of a row. If its times did not change ("same"), it
 * keeps the occurrence that was computed, unless the clock was ahead then.
 */
static void
set_next(BgjobRecurring *row, bool same)
{
	TimestampTz next;

	if (!DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ACTIVE)))
		next = DT_NOEND;
	else if (same)
		next = bgjob_occurrence_corrected(row, bgjob_now(), 0);
	else
		next = first_occurrence(row);
	bgjob_recurring_set_time(row, BGJOB_R_NEXT_AT, next);
	bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
}

/* ---- adding ---- */

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
check_recurring(const BgjobRecurringOptions *recurring)
{
	if (recurring->name[0] == '\0' || strlen(recurring->name) > LONGEST_NAME)
		bgjob_invalid(psprintf("invalid name of a recurring job: \"%s\"", recurring->name),
					  "It must have 1 to 200 bytes.",
					  "Use a short name that says what the job does.");
	check_zone(recurring->time_zone);
	if (recurring->jitter != NULL)
		bgjob_check_interval(
			"jitter", recurring->jitter,
			"Each job is enqueued up to this much later than its schedule says.",
			"Omit jitter for none.");
	if (recurring->starts_at == DT_NOEND || recurring->ends_at == DT_NOBEGIN)
		bgjob_invalid("starts_at and ends_at must be points in time",
					  "One of them is infinite, so the recurring job would never run.",
					  "Omit a bound that does not apply.");
	if (recurring->starts_at >= recurring->ends_at)
		bgjob_invalid("ends_at must be later than starts_at",
					  "The recurring job runs between the two.",
					  "Omit a bound that does not apply.");
}

static void
copy_column(BgjobRecurring *row, BgjobRecurringColumn to, const BgjobJob *job, BgjobColumn from)
{
	if (bgjob_job_is_null(job, from))
		bgjob_recurring_set_null(row, to);
	else
		bgjob_recurring_set(row, to, bgjob_job_datum(job, from));
}

/* Copies the options of a job, and what to do if an unfinished job has its unique_key. */
static void
fill_options(BgjobRecurring *row, const BgjobJob *job, BgjobDuplicate on_duplicate)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (bgjob_options[option].job != 0)
			copy_column(row, (BgjobRecurringColumn) bgjob_options[option].recurring, job,
						(BgjobColumn) bgjob_options[option].job);
	bgjob_recurring_set(row, BGJOB_R_ON_DUPLICATE, CharGetDatum(on_duplicate));
}

static void
fill_job(BgjobRecurring *row, const BgjobJob *job, BgjobDuplicate on_duplicate,
		 const Jsonb *args)
{
	copy_column(row, BGJOB_R_RUN_AS, job, BGJOB_C_RUN_AS);
	copy_column(row, BGJOB_R_SETTINGS_ID, job, BGJOB_C_SETTINGS_ID);
	copy_column(row, BGJOB_R_POLICY_ID, job, BGJOB_C_POLICY_ID);
	copy_column(row, BGJOB_R_KIND, job, BGJOB_C_KIND);
	copy_column(row, BGJOB_R_CUSTOM_SETTINGS, job, BGJOB_C_CUSTOM_SETTINGS);
	fill_options(row, job, on_duplicate);
	bgjob_recurring_set_text(row, BGJOB_R_JOB, job->job);
	bgjob_recurring_set_text(row, BGJOB_R_FUNC, job->func);
	if (args != NULL)
		bgjob_recurring_set(row, BGJOB_R_ARGS, JsonbPGetDatum(args));
	else
		bgjob_recurring_set_null(row, BGJOB_R_ARGS);
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

static void
fill_times(BgjobRecurring *row, const BgjobRecurringOptions *recurring)
{
	bgjob_recurring_set_text(row, BGJOB_R_SCHEDULE, recurring->schedule);
	bgjob_recurring_set_text(row, BGJOB_R_TIME_ZONE,
							 recurring->time_zone != NULL ? recurring->time_zone
														  : bgjob_time_zone);
	bgjob_recurring_set(row, BGJOB_R_ALL_DAYS,
						BoolGetDatum(recurring->day_match == BGJOB_DAY_ALL));
	bgjob_recurring_set(row, BGJOB_R_MISFIRE, CharGetDatum(recurring->misfire));
	bgjob_recurring_set(row, BGJOB_R_OVERLAP, CharGetDatum(recurring->overlap));
	if (recurring->jitter != NULL)
		bgjob_recurring_set(row, BGJOB_R_JITTER, IntervalPGetDatum(recurring->jitter));
	else
		bgjob_recurring_set_null(row, BGJOB_R_JITTER);
	bgjob_recurring_set_time(row, BGJOB_R_STARTS_AT, recurring->starts_at);
	bgjob_recurring_set_time(row, BGJOB_R_ENDS_AT, recurring->ends_at);
	bgjob_recurring_set(row, BGJOB_R_ACTIVE, BoolGetDatum(recurring->active));
}

/* Returns whether a restore inserted a row; it is inactive until bgjob_adopt(). */
static bool
is_restored(const BgjobRecurring *row)
{
	return !bgjob_recurring_is_null(row, BGJOB_R_NEXT_AT) &&
		   TIMESTAMP_NOT_FINITE(bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND));
}

/* Reads a row by its name and locks it. Retries if another session changes it meanwhile. */
static bool
find_and_lock(BgjobRel *rel, Oid owner, const char *name, BgjobRecurring *row)
{
	while (bgjob_recurring_find(rel, owner, name, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (bgjob_recurring_lock(rel, row, true))
			return true;
	}
	return false;
}

static void
announce_change(void)
{
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RECURRING);
	CommandCounterIncrement();
}

static void
save(BgjobRel *rel, BgjobRecurring *row)
{
	bgjob_recurring_save(rel, row);
	announce_change();
}

static void
fill_new(BgjobRecurring *row, Oid owner, const char *name)
{
	memset(row, 0, sizeof(*row));
	memset(row->nulls, true, sizeof(row->nulls));
	ItemPointerSetInvalid(&row->tid);
	bgjob_recurring_set(row, BGJOB_R_ID, Int64GetDatum(bgjob_next_id()));
	bgjob_recurring_set(row, BGJOB_R_OWNER, ObjectIdGetDatum(owner));
	bgjob_recurring_set_text(row, BGJOB_R_NAME, name);
	bgjob_recurring_set_time(row, BGJOB_R_CREATED_AT, bgjob_now());
	bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
}

/* Adds or updates a row. Returns false if another transaction has added that name meanwhile. */
static bool
try_add(BgjobRel *rel, Oid owner, const BgjobRecurringOptions *recurring,
		BgjobTemplate *template, const Jsonb *args)
{
	BgjobDuplicate on_duplicate;
	BgjobRecurring before;
	BgjobRecurring row;
	const BgjobJob *job;
	bool found = find_and_lock(rel, owner, recurring->name, &before);

	if (found)
		row = before;
	else
		fill_new(&row, owner, recurring->name);
	fill_times(&row, recurring);
	job = bgjob_template_job(template, args, &on_duplicate);
	fill_job(&row, job, on_duplicate, args);
	bgjob_recurring_set_null(&row, BGJOB_R_ERROR);
	set_next(&row, found && same_times(&before, &row) && !is_restored(&row) &&
					   !DatumGetBool(bgjob_recurring_datum(&row, BGJOB_R_LOST)));
	if (found)
		bgjob_recurring_save(rel, &row);
	else if (!bgjob_recurring_insert(rel, &row))
		return false;
	announce_change();
	return true;
}

/*
 * bgjob_recurring_add adds a recurring job of an owner, or updates the owner's
 * job of that name. Waits only for a transaction that has changed the same one.
 */
void
bgjob_recurring_add(Oid owner, const BgjobRecurringOptions *recurring,
					const BgjobOptions *options, const Jsonb *args)
{
	BgjobTemplate *template;
	BgjobRel *rel;

	check_recurring(recurring);
	template = bgjob_template_create(options, args);
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	while (!try_add(rel, owner, recurring, template, args))
		CHECK_FOR_INTERRUPTS();
	bgjob_rel_close(rel);
	bgjob_template_free(template);
}

/* bgjob_recurring_adopt activates the recurring jobs that a restore has inserted; for bgjob_adopt(). */
void
bgjob_recurring_adopt(void)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	int64 id = 0;

	while (bgjob_recurring_read_restored(rel, id, &id))
	{
		BgjobRecurring row;
		bool active;

		CHECK_FOR_INTERRUPTS();
		if (!bgjob_recurring_read(rel, id, &row) || !bgjob_recurring_lock(rel, &row, true))
			continue;
		active = DatumGetBool(bgjob_recurring_datum(&row, BGJOB_R_ACTIVE));
		bgjob_recurring_set_time(&row, BGJOB_R_NEXT_AT,
								 active ? first_occurrence(&row) : DT_NOEND);
		save(rel, &row);
	}
	bgjob_rel_close(rel);
}

/* ---- the SQL functions ---- */

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

static const char *
required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	return bgjob_arg_required_text(fcinfo, arg, name, "It determines what runs, or when.");
}

/* Returns the letter that is stored for a value of a fixed list. */
static char
choice(FunctionCallInfo fcinfo, int arg, const char *name, const char *const *values,
	   const char *letters)
{
	return letters[bgjob_choice(name, required(fcinfo, arg, name), values)];
}

/* Reads the parameters that are no options of jobs. "behind" is the first one after the options. */
static void
read_recurring(FunctionCallInfo fcinfo, int behind, BgjobRecurringOptions *recurring)
{
	static const char *const misfires[] = {"once", "all", "skip", NULL};
	static const char *const overlaps[] = {"allow", "skip", "queue", "cancel", NULL};
	static const char *const matches[] = {"any", "all", NULL};

	recurring->name = required(fcinfo, P_NAME, "name");
	recurring->schedule = required(fcinfo, P_SCHEDULE, "schedule");
	recurring->time_zone = bgjob_arg_text(fcinfo, behind + P_TIME_ZONE);
	recurring->misfire =
		(BgjobMisfire) choice(fcinfo, behind + P_MISFIRE, "misfire", misfires, "oas");
	recurring->overlap =
		(BgjobOverlap) choice(fcinfo, behind + P_OVERLAP, "overlap", overlaps, "asqc");
	recurring->day_match =
		choice(fcinfo, behind + P_DAY_MATCH, "day_match", matches, "yl") == 'l' ? BGJOB_DAY_ALL
																				: BGJOB_DAY_ANY;
	recurring->jitter =
		PG_ARGISNULL(behind + P_JITTER) ? NULL : PG_GETARG_INTERVAL_P(behind + P_JITTER);
	recurring->starts_at = PG_ARGISNULL(behind + P_STARTS_AT)
							   ? DT_NOBEGIN
							   : PG_GETARG_TIMESTAMPTZ(behind + P_STARTS_AT);
	recurring->ends_at =
		PG_ARGISNULL(behind + P_ENDS_AT) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(behind + P_ENDS_AT);
	bgjob_arg_require(fcinfo, behind + P_ACTIVE, "active",
					  "It determines whether the recurring job runs.");
	recurring->active = PG_GETARG_BOOL(behind + P_ACTIVE);
}

/* Reads the job and its options. Returns the number of the first parameter after them. */
static int
read_options(FunctionCallInfo fcinfo, BgjobOptions *options)
{
	options->job = required(fcinfo, P_JOB, "job");
	options->kind = bgjob_arg_text(fcinfo, P_KIND);
	options->plain_session = false;
	return bgjob_args_options(fcinfo, P_OPTIONS, BGJOB_IN_RECURRING, &options->set);
}

PG_FUNCTION_INFO_V1(bgjob_recurring);

/*
 * bgjob_recurring adds a recurring job, or updates the caller's own of that
 * name. The manual lists parameters and defaults. Errors: 22023 an invalid
 * schedule, zone or value; 22004 null for a required parameter; and for the job
 * those of bgjob_enqueue().
 */
Datum
bgjob_recurring(PG_FUNCTION_ARGS)
{
	BgjobRecurringOptions recurring;
	BgjobOptions options;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_recurring()");
	read_recurring(fcinfo, read_options(fcinfo, &options), &recurring);
	bgjob_recurring_add(GetUserId(), &recurring, &options,
						PG_ARGISNULL(P_ARGS) ? NULL : PG_GETARG_JSONB_P(P_ARGS));
	PG_RETURN_VOID();
}

/* Returns the owner of the recurring job of that name that the caller controls. Raises 42725 if there are several. */
static Oid
find_others(BgjobRel *rel, const char *name)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	Oid owner = InvalidOid;

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		bool isnull;
		Oid candidate = DatumGetObjectId(slot_getattr(rel->slot, BGJOB_R_OWNER, &isnull));
		text *its_name = DatumGetTextPP(slot_getattr(rel->slot, BGJOB_R_NAME, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (VARSIZE_ANY_EXHDR(its_name) != strlen(name) ||
			memcmp(VARDATA_ANY(its_name), name, strlen(name)) != 0 ||
			!bgjob_may_control(candidate))
			continue;
		if (OidIsValid(owner))
			ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_FUNCTION),
							errmsg("the name \"%s\" of a recurring job is not unique", name),
							errdetail("Several roles have a recurring job of that name."),
							errhint("Use SET ROLE to choose the owner.")));
		owner = candidate;
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return owner;
}

/* Finds and locks a recurring job by its name: the caller's own, else one that the caller controls. */
static bool
find_to_change(BgjobRel *rel, const char *name, BgjobRecurring *row)
{
	Oid owner;

	if (find_and_lock(rel, GetUserId(), name, row))
		return true;
	owner = find_others(rel, name);
	return OidIsValid(owner) && find_and_lock(rel, owner, name, row);
}

/* Checks rights, then finds and locks the recurring job to change. If there is none, raises a notice and returns NULL. */
static BgjobRel *
begin_change(FunctionCallInfo fcinfo, const char *function, BgjobRecurring *row)
{
	BgjobRel *rel;
	char *name;

	bgjob_check_usage();
	bgjob_check_writable(function);
	if (PG_ARGISNULL(0))
		return NULL;
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	if (find_to_change(rel, name, row))
		return rel;
	bgjob_rel_close(rel);
	ereport(NOTICE, (errmsg("there is no recurring job \"%s\"", name)));
	return NULL;
}

/* Raises 42501 unless the owner of a recurring job may still run jobs as its role. */
static void
check_authority(const BgjobRecurring *row)
{
	bgjob_authority_check(DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_OWNER)),
						  DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS)));
}

/* Checks also what the scheduler checks at each occurrence: 28000, 42883, 42501, 42809, 22023. */
static void
check_rights(const BgjobRecurring *row)
{
	Oid role = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS));

	check_authority(row);
	bgjob_check_role_can_run(role);
	if (!bgjob_recurring_is_null(row, BGJOB_R_FUNC))
		bgjob_function_check(bgjob_function_find(bgjob_recurring_text(row, BGJOB_R_FUNC)),
							 role);
}

PG_FUNCTION_INFO_V1(bgjob_recurring_remove);

/* bgjob_recurring_remove(name) removes a recurring job, not the jobs that it has enqueued. Returns false if there is none. */
Datum
bgjob_recurring_remove(PG_FUNCTION_ARGS)
{
	BgjobRecurring row;
	BgjobRel *rel = begin_change(fcinfo, "bgjob_recurring_remove()", &row);

	if (rel == NULL)
		PG_RETURN_BOOL(false);
	bgjob_recurring_delete(rel, &row);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	PG_RETURN_BOOL(true);
}

/* Pauses or resumes a recurring job. Returns whether that was a change. */
static bool
set_active(FunctionCallInfo fcinfo, const char *function, bool active)
{
	BgjobRecurring row;
	BgjobRel *rel = begin_change(fcinfo, function, &row);

	if (rel == NULL)
		return false;
	if (DatumGetBool(bgjob_recurring_datum(&row, BGJOB_R_ACTIVE)) == active)
	{
		bgjob_rel_close(rel);
		return false;
	}
	if (active)
		check_rights(&row);
	else
		check_authority(&row);
	bgjob_recurring_set(&row, BGJOB_R_ACTIVE, BoolGetDatum(active));
	bgjob_recurring_set(&row, BGJOB_R_LOST, BoolGetDatum(false));
	bgjob_recurring_set_time(&row, BGJOB_R_NEXT_AT, active ? first_occurrence(&row) : DT_NOEND);
	if (!active)
		bgjob_recurring_set_null(&row, BGJOB_R_QUEUED);
	save(rel, &row);
	bgjob_rel_close(rel);
	return true;
}

PG_FUNCTION_INFO_V1(bgjob_recurring_pause);

/* bgjob_recurring_pause(name) pauses a recurring job. Returns false if there is none, or it was paused. */
Datum
bgjob_recurring_pause(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(set_active(fcinfo, "bgjob_recurring_pause()", false));
}

PG_FUNCTION_INFO_V1(bgjob_recurring_resume);

/* bgjob_recurring_resume(name) resumes it with its next occurrence. Returns false if there is none, or it was not paused. */
Datum
bgjob_recurring_resume(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(set_active(fcinfo, "bgjob_recurring_resume()", true));
}

PG_FUNCTION_INFO_V1(bgjob_recurring_trigger);

/*
 * bgjob_recurring_trigger(name) enqueues the job of a recurring job now, also if
 * it is paused; its next occurrence stays. Returns the id, null if there is none
 * of that name. Errors include: 42883 the function no longer exists; 42501 the
 * role may not call it, or the owner is no longer a member of the role; 28000 the
 * role may not log in.
 */
Datum
bgjob_recurring_trigger(PG_FUNCTION_ARGS)
{
	BgjobRecurring row;
	BgjobRel *rel = begin_change(fcinfo, "bgjob_recurring_trigger()", &row);
	TimestampTz now = bgjob_now();
	BgjobRel *jobs;
	int64 id;

	if (rel == NULL)
		PG_RETURN_NULL();
	check_rights(&row);
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	id = bgjob_recurring_enqueue(jobs, &row, now, now, now, true);
	bgjob_rel_close(jobs);
	save(rel, &row);
	bgjob_rel_close(rel);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
