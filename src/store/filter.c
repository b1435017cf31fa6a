/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The table of filters.
 *
 * bgjob_internal.filter has a row for each filter. Every backend keeps a copy of
 * the table (run/filter.c). So each change of a row sends a relcache
 * invalidation of the table. It reaches this session at once, and the others
 * when the transaction commits; a rollback repeats it here. A change by SQL, as
 * in a restore, sends it by a trigger (api/filters.c).
 *
 * Any process, inside a transaction. A row is locked by its update, as any
 * row is; two sessions that add a filter of one name at the same time meet at
 * the unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "rules/clock.h"
#include "store/filter.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.filter. */
enum
{
	C_NAME,
	C_EVENT,
	C_FUNC,
	C_JOBS,
	C_ORDERING,
	C_CREATED_AT,
	C_OWNER,
	C_EVERYWHERE,
	C_COUNT
};

static const char *const event_names[BGJOB_NFILTER_EVENTS] = {
	[BGJOB_CREATING] = "creating",     [BGJOB_CREATED] = "created",
	[BGJOB_PERFORMING] = "performing", [BGJOB_PERFORMED] = "performed",
	[BGJOB_ELECTING] = "electing",     [BGJOB_APPLIED] = "applied",
	[BGJOB_UNAPPLIED] = "unapplied",
};

/* bgjob_filter_event_name returns the name of an event. */
const char *
bgjob_filter_event_name(BgjobFilterEvent event)
{
	return event_names[event];
}

/* bgjob_filter_event_by_name finds an event by its name; false if there is none. */
bool
bgjob_filter_event_by_name(const char *name, BgjobFilterEvent *event)
{
	for (int i = 0; i < BGJOB_NFILTER_EVENTS; i++)
		if (strcmp(event_names[i], name) == 0)
		{
			*event = (BgjobFilterEvent) i;
			return true;
		}
	return false;
}

/* Returns a copy of the filter in a slot; NULL if its event is unknown: the row was written by hand. */
static BgjobFilter *
copy_filter(TupleTableSlot *slot)
{
	BgjobFilter *filter = palloc(sizeof(BgjobFilter));

	slot_getallattrs(slot);
	if (!bgjob_filter_event_by_name(TextDatumGetCString(slot->tts_values[C_EVENT]),
									&filter->event))
		return NULL;
	filter->name = TextDatumGetCString(slot->tts_values[C_NAME]);
	filter->func = TextDatumGetCString(slot->tts_values[C_FUNC]);
	filter->jobs = TextDatumGetCString(slot->tts_values[C_JOBS]);
	filter->ordering = DatumGetInt32(slot->tts_values[C_ORDERING]);
	filter->owner = DatumGetObjectId(slot->tts_values[C_OWNER]);
	filter->everywhere = DatumGetBool(slot->tts_values[C_EVERYWHERE]);
	return filter;
}

/*
 * bgjob_filters_read returns all filters, in no order, in the current memory
 * context; *table is the OID of the table that they are in.
 */
List *
bgjob_filters_read(Oid *table)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FILTER);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	List *filters = NIL;

	*table = RelationGetRelid(rel->rel);
	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobFilter *filter = copy_filter(rel->slot);

		if (filter != NULL)
			filters = lappend(filters, filter);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return filters;
}

static bool
find_and_lock(BgjobRel *rel, const char *name)
{
	return bgjob_rel_find_locked(rel, "filter_pkey", name);
}

/* Makes a change visible to this transaction, and invalidates the copies of all backends. */
static void
end_change(BgjobRel *rel)
{
	CacheInvalidateRelcache(rel->rel);
	bgjob_change_cached(BGJOB_CACHED_FILTERS);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

/* bgjob_filter_put adds a filter, or replaces the one of its name. */
void
bgjob_filter_put(const BgjobFilter *filter)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FILTER);
	bool found = find_and_lock(rel, filter->name);
	ItemPointerData tid = rel->tid;
	Datum values[C_COUNT];
	bool nulls[C_COUNT] = {false};

	values[C_NAME] = CStringGetTextDatum(filter->name);
	values[C_EVENT] = CStringGetTextDatum(bgjob_filter_event_name(filter->event));
	values[C_FUNC] = CStringGetTextDatum(filter->func);
	values[C_JOBS] = CStringGetTextDatum(filter->jobs);
	values[C_ORDERING] = Int32GetDatum(filter->ordering);
	values[C_OWNER] = ObjectIdGetDatum(filter->owner);
	values[C_EVERYWHERE] = BoolGetDatum(filter->everywhere);
	values[C_CREATED_AT] = found
							   ? slot_getattr(rel->slot, C_CREATED_AT + 1, &nulls[C_CREATED_AT])
							   : TimestampTzGetDatum(bgjob_now());
	if (found)
		bgjob_rel_update(rel, &tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	end_change(rel);
}

/* bgjob_filter_find reads the filter of a name, and locks its row; false if there is none. */
bool
bgjob_filter_find(const char *name, BgjobFilter *filter)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FILTER);
	BgjobFilter *copy = find_and_lock(rel, name) ? copy_filter(rel->slot) : NULL;

	ExecClearTuple(rel->slot);
	bgjob_rel_close(rel);
	if (copy != NULL)
		*filter = *copy;
	return copy != NULL;
}

/* bgjob_filter_delete removes a filter; false if there is none of that name. */
bool
bgjob_filter_delete(const char *name)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FILTER);
	bool found = find_and_lock(rel, name);

	if (found)
		bgjob_rel_delete_locked(rel, &rel->tid);
	end_change(rel);
	return found;
}
