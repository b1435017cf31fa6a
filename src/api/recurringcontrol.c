/*-------------------------------------------------------------------------
 *
 * recurringcontrol.c
 *	  Removes, pauses, resumes, triggers and adopts recurring jobs.
 *
 * A name means the caller's own recurring job, else the one of a role that the caller
 * is a member of. The row is locked, changed and written, and the scheduler
 * (process/recurring.c) is notified at commit. Adding and updating is
 * api/recurring.c.
 *
 * Runs in the calling session. Waits only for a transaction that has changed the
 * same recurring job.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "api/recurring.h"
#include "api/rights.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "run/function.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static void
save(BgjobRel *rel, BgjobRecurring *row)
{
	bgjob_recurring_save(rel, row);
	bgjob_recurring_announce();
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
								 active ? bgjob_recurring_first(&row) : DT_NOEND);
		save(rel, &row);
	}
	bgjob_rel_close(rel);
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

	if (bgjob_recurring_find_and_lock(rel, GetUserId(), name, row))
		return true;
	owner = find_others(rel, name);
	return OidIsValid(owner) && bgjob_recurring_find_and_lock(rel, owner, name, row);
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
	if (DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_KIND)) != BGJOB_KIND_EXTERNAL)
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
	bgjob_recurring_set_time(&row, BGJOB_R_NEXT_AT,
							 active ? bgjob_recurring_first(&row) : DT_NOEND);
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
