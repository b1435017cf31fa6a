/*-------------------------------------------------------------------------
 *
 * recurringlist.c
 *	  How all recurring jobs stand.
 *
 * For bgjob.metrics: each row of bgjob_internal.recurring, with the few columns that say when it
 * runs. Arguments and other large values are not fetched, so the cost is
 * that of one pass over the table.
 *
 * Runs in the session that reads the view. Locks nothing but the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "store/recurring.h"
#include "store/recurringlist.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Returns a column of the row; *isnull, if it is null. */
static Datum
column(BgjobRel *rel, BgjobRecurringColumn number, bool *isnull)
{
	return slot_getattr(rel->slot, number, isnull);
}

/* Returns a time; 0 if it is null or infinite. */
static TimestampTz
time_of(BgjobRel *rel, BgjobRecurringColumn number)
{
	bool isnull;
	Datum at = column(rel, number, &isnull);

	return isnull || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(at)) ? 0
																   : DatumGetTimestampTz(at);
}

static void
read_state(BgjobRel *rel, BgjobRecurringState *state)
{
	bool isnull;
	bool no_error;
	bool lost = DatumGetBool(column(rel, BGJOB_R_LOST, &isnull));
	Datum next = column(rel, BGJOB_R_NEXT_AT, &isnull);
	bool restored = !isnull && !lost && TIMESTAMP_IS_NOEND(DatumGetTimestampTz(next));

	(void) column(rel, BGJOB_R_ERROR, &no_error);
	state->id = DatumGetInt64(column(rel, BGJOB_R_ID, &isnull));
	state->owner = DatumGetObjectId(column(rel, BGJOB_R_OWNER, &isnull));
	state->name = TextDatumGetCString(column(rel, BGJOB_R_NAME, &isnull));
	state->active = DatumGetBool(column(rel, BGJOB_R_ACTIVE, &isnull));
	state->failing = !no_error || restored;
	state->next_at = lost || !state->active ? 0 : time_of(rel, BGJOB_R_NEXT_AT);
	state->last_run_at = time_of(rel, BGJOB_R_LAST_RUN_AT);
}

/* bgjob_recurring_visit calls a function for each recurring job, of all roles, in no order. */
void
bgjob_recurring_visit(BgjobRecurringVisit visit, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_RECURRING);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob recurring", ALLOCSET_SMALL_SIZES);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		MemoryContext old = MemoryContextSwitchTo(per_row);
		BgjobRecurringState state;

		CHECK_FOR_INTERRUPTS();
		read_state(rel, &state);
		MemoryContextSwitchTo(old);
		visit(&state, arg);
		MemoryContextReset(per_row);
	}
	MemoryContextDelete(per_row);
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}
