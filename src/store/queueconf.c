/*-------------------------------------------------------------------------
 *
 * queueconf.c
 *	  The configuration of queues by administrators.
 *
 * bgjob_internal.queue_conf has a row for each configured queue; all others have
 * the defaults. A change draws a new version while it has locked the row, so
 * versions grow in the order of the commits, and updates shared memory when it
 * commits (base/queues.h, base/change.c).
 *
 * Any process, inside a transaction. A row is locked by its update, as any
 * row is; two sessions that configure the same new queue at the same time
 * meet at the unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "base/queues.h"
#include "miscadmin.h"
#include "store/queueconf.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.queue_conf. */
enum
{
	C_QUEUE,
	C_VERSION,
	C_PAUSED,
	C_GROUP_SIZE,
	C_RETENTION,
	C_MAX_RUNNING,
	C_MAX_LENGTH,
	C_COUNT
};

/* Reads a column that is the largest number of something; null: any number. */
static int
read_most(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? -1 : Max(DatumGetInt32(slot->tts_values[column]), -1);
}

static void
read_row(TupleTableSlot *slot, BgjobQueueRow *row)
{
	slot_getallattrs(slot);
	row->version = DatumGetInt64(slot->tts_values[C_VERSION]);
	row->has_paused = true;
	row->paused = DatumGetBool(slot->tts_values[C_PAUSED]);
	/* Workers have no room for more, even if the row was written by hand. */
	row->group_size =
		Min(Max(DatumGetInt32(slot->tts_values[C_GROUP_SIZE]), 1), BGJOB_GROUP_MAX);
	row->retention = NULL;
	if (!slot->tts_isnull[C_RETENTION])
		row->retention = DatumGetIntervalP(
			datumCopy(slot->tts_values[C_RETENTION], false, sizeof(Interval)));
	row->has_max_running = row->has_max_length = true;
	row->max_running = read_most(slot, C_MAX_RUNNING);
	row->max_length = read_most(slot, C_MAX_LENGTH);
}

/* Reads the row of a queue and locks it; rel->tid is its tid. False: there is none. */
static bool
find_and_lock(BgjobRel *rel, const char *queue, BgjobQueueRow *row)
{
	bool found = bgjob_rel_find_locked(rel, "queue_conf_pkey", queue);

	if (found)
		read_row(rel->slot, row);
	ExecClearTuple(rel->slot);
	return found;
}

/* bgjob_queueconf_get reads the configuration of a queue; false if there is none. */
bool
bgjob_queueconf_get(const char *queue, BgjobQueueRow *row)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(queue));
	scan = bgjob_scan_begin(rel, "queue_conf_pkey", snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		read_row(rel->slot, row);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return found;
}

static BgjobQueueConf
conf_of(const BgjobQueueRow *row)
{
	BgjobQueueConf conf = {.version = row->version,
						   .paused = row->paused,
						   .group_size = row->group_size,
						   .max_running = row->max_running,
						   .max_length = row->max_length};

	return conf;
}

/* Sets the fields that a change gives. */
static void
merge(BgjobQueueRow *row, const BgjobQueueRow *change)
{
	if (change->has_paused)
		row->paused = change->paused;
	if (change->group_size != 0)
		row->group_size = change->group_size;
	if (change->retention != NULL)
		row->retention = change->retention;
	if (change->has_max_running)
		row->max_running = change->max_running;
	if (change->has_max_length)
		row->max_length = change->max_length;
}

static void
fill(const char *queue, const BgjobQueueRow *row, Datum *values, bool *nulls)
{
	values[C_QUEUE] = CStringGetTextDatum(queue);
	values[C_VERSION] = Int64GetDatum(row->version);
	values[C_PAUSED] = BoolGetDatum(row->paused);
	values[C_GROUP_SIZE] = Int32GetDatum(row->group_size);
	values[C_RETENTION] = IntervalPGetDatum(row->retention);
	nulls[C_RETENTION] = row->retention == NULL;
	values[C_MAX_RUNNING] = Int32GetDatum(row->max_running);
	nulls[C_MAX_RUNNING] = row->max_running < 0;
	values[C_MAX_LENGTH] = Int32GetDatum(row->max_length);
	nulls[C_MAX_LENGTH] = row->max_length < 0;
}

/* bgjob_queueconf_change configures a queue: sets the fields that the change gives, and keeps the rest. */
void
bgjob_queueconf_change(const char *queue, const BgjobQueueRow *change)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE_CONF);
	BgjobQueueRow row = {.group_size = 1, .max_running = -1, .max_length = -1};
	BgjobQueueConf conf;
	bool found = find_and_lock(rel, queue, &row);
	ItemPointerData tid = rel->tid;
	Datum values[C_COUNT];
	bool nulls[C_COUNT] = {false};

	row.version = bgjob_next_id();
	merge(&row, change);
	fill(queue, &row, values, nulls);
	if (found)
		bgjob_rel_update(rel, &tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	conf = conf_of(&row);
	bgjob_change_queue(queue, &conf);
}

/* bgjob_queueconf_remove resets a queue to the defaults. False if it had no configuration. */
bool
bgjob_queueconf_remove(const char *queue)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE_CONF);
	BgjobQueueRow row;
	BgjobQueueConf conf = {.group_size = 0};
	bool found = find_and_lock(rel, queue, &row);

	if (found)
	{
		bgjob_rel_delete_locked(rel, &rel->tid);
		conf.version = bgjob_next_id();
		bgjob_change_queue(queue, &conf);
	}
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	return found;
}

/* bgjob_queueconf_visit calls a function for each configured queue; the row is valid during the call only. */
void
bgjob_queueconf_visit(BgjobQueueVisitor visitor, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobQueueRow row;

		CHECK_FOR_INTERRUPTS();
		read_row(rel->slot, &row);
		visitor(TextDatumGetCString(rel->slot->tts_values[C_QUEUE]), &row, arg);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

static void
tell_shared_memory(const char *queue, const BgjobQueueRow *row, void *arg)
{
	BgjobQueueConf conf = conf_of(row);

	bgjob_queues_set(MyDatabaseId, queue, &conf);
}

/* bgjob_queueconf_load copies the configuration of all queues to shared memory; by the scheduler. */
void
bgjob_queueconf_load(void)
{
	bgjob_queueconf_visit(tell_shared_memory, NULL);
}

static void
add_if_paused(const char *queue, const BgjobQueueRow *row, void *arg)
{
	BgjobPausedQueues *paused = arg;

	if (!row->paused)
		return;
	if (paused->n == paused->room)
	{
		paused->room *= 2;
		paused->names = repalloc(paused->names, paused->room * sizeof(char *));
	}
	paused->names[paused->n++] = pstrdup(queue);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * bgjob_queueconf_paused reads which queues are paused, in the current memory
 * context. Shared memory may not say it: no scheduler has copied it there on a
 * standby, or where bgjob.enabled has been off since the start.
 */
BgjobPausedQueues *
bgjob_queueconf_paused(void)
{
	BgjobPausedQueues *paused = palloc0(sizeof(BgjobPausedQueues));

	paused->room = 16;
	paused->names = palloc(paused->room * sizeof(char *));
	bgjob_queueconf_visit(add_if_paused, paused);
	qsort(paused->names, paused->n, sizeof(char *), compare_names);
	return paused;
}

/* bgjob_queue_is_paused returns whether a queue is among the paused ones. */
bool
bgjob_queue_is_paused(const BgjobPausedQueues *paused, const char *queue)
{
	return bsearch(&queue, paused->names, paused->n, sizeof(char *), compare_names) != NULL;
}
