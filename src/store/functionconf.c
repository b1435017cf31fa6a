/*-------------------------------------------------------------------------
 *
 * functionconf.c
 *	  What administrators have configured of functions.
 *
 * bgjob.function_conf has a row for each function of which anything has been
 * configured, by its signature. Every enqueue asks, so each backend keeps all
 * rows in memory, in the order of the signatures. A change sends an
 * invalidation of the table's entry in the relation cache when it commits, as
 * changes of the table itself would, and every backend that receives it reads
 * the rows anew; where nothing is configured, asking costs a comparison.
 *
 * Any process, inside a transaction. Two sessions that configure the same
 * function at the same time wait for each other at its row, or at the index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "store/functionconf.h"
#include "store/relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of bgjob.function_conf. */
enum
{
	C_FUNC,
	C_QUEUE,
	C_PRIORITY,
	C_MAX_RETRIES,
	C_TIMEOUT,
	C_UNIQUE_KEY,
	C_ON_DUPLICATE,
	C_TAGS,
	C_PARAMETERS,
	C_POLICY,
	C_RETENTION,
	C_COUNT
};

/* All rows, by their signatures; valid if nothing has been invalidated since they were read. */
static struct
{
	MemoryContext context; /* of what follows; NULL: nothing was read yet */
	bool valid;
	uint64 invalidations;
	Oid table;
	int n;
	BgjobFunctionConf *confs;
} cache;

static void
invalidate(Datum arg, Oid relation)
{
	if (relation == InvalidOid || relation == cache.table)
	{
		cache.valid = false;
		cache.invalidations++;
	}
}

static Datum
copy(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column]
			   ? (Datum) 0
			   : datumCopy(slot->tts_values[column], false,
						   TupleDescAttr(slot->tts_tupleDescriptor, column)->attlen);
}

static char *
get_text(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? NULL : TextDatumGetCString(slot->tts_values[column]);
}

static void
read_row(TupleTableSlot *slot, BgjobFunctionConf *conf)
{
	Datum timeout;
	Datum retention;

	slot_getallattrs(slot);
	timeout = copy(slot, C_TIMEOUT);
	retention = copy(slot, C_RETENTION);
	*conf = (BgjobFunctionConf){
		.func = get_text(slot, C_FUNC),
		.queue = get_text(slot, C_QUEUE),
		.has_priority = !slot->tts_isnull[C_PRIORITY],
		.priority = DatumGetInt16(slot->tts_values[C_PRIORITY]),
		.has_max_retries = !slot->tts_isnull[C_MAX_RETRIES],
		.max_retries = DatumGetInt32(slot->tts_values[C_MAX_RETRIES]),
		.timeout = DatumGetIntervalP(timeout),
		.unique_key = get_text(slot, C_UNIQUE_KEY),
		.on_duplicate = (BgjobDuplicate) DatumGetChar(slot->tts_values[C_ON_DUPLICATE]),
		.retention = DatumGetIntervalP(retention)};
	if (!slot->tts_isnull[C_TAGS])
		conf->tags = PointerGetDatum(DatumGetArrayTypePCopy(slot->tts_values[C_TAGS]));
	if (!slot->tts_isnull[C_PARAMETERS])
		conf->parameters = DatumGetJsonbPCopy(slot->tts_values[C_PARAMETERS]);
	if (!slot->tts_isnull[C_POLICY])
		conf->policy = DatumGetJsonbPCopy(slot->tts_values[C_POLICY]);
}

/* Reads all rows, in the order of the index, into a context. */
static BgjobFunctionConf *
read_rows(MemoryContext context, int *n)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FUNCTION_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, "function_conf_pkey", snapshot, NULL, 0);
	BgjobFunctionConf *confs = NULL;
	int room = 0;

	*n = 0;
	while (bgjob_scan_next(scan))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		if (*n == room)
		{
			room = Max(16, room * 2);
			confs = confs == NULL ? palloc(room * sizeof(BgjobFunctionConf))
								  : repalloc(confs, room * sizeof(BgjobFunctionConf));
		}
		read_row(rel->slot, &confs[(*n)++]);
		MemoryContextSwitchTo(old);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return confs;
}

/* Has the cache hold all rows. What is invalidated while they are read is read again the next time. */
static void
refresh(void)
{
	static bool registered = false;
	MemoryContext context;
	BgjobFunctionConf *confs;
	uint64 before;
	int n;

	if (cache.valid)
		return;
	if (!registered)
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	registered = true;
	cache.table = bgjob_table_oid(BGJOB_TABLE_FUNCTION_CONF);
	before = cache.invalidations;
	context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob functions", ALLOCSET_SMALL_SIZES);
	confs = read_rows(context, &n);
	MemoryContextSetParent(context, CacheMemoryContext);
	if (cache.context != NULL) /* somebody may be using it */
		MemoryContextSetParent(cache.context, TopTransactionContext);
	cache.context = context;
	cache.confs = confs;
	cache.n = n;
	cache.valid = cache.invalidations == before;
}

/* bgjob_functionconf_find returns what is configured of a function, NULL: nothing. It is good for this transaction. */
const BgjobFunctionConf *
bgjob_functionconf_find(const char *func)
{
	int low = 0;
	int high;

	refresh();
	for (high = cache.n; low < high;)
	{
		int middle = (low + high) / 2;
		int order = strcmp(func, cache.confs[middle].func);

		if (order == 0)
			return &cache.confs[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/*
 * bgjob_functionconf_visit calls a function for each that is configured. The
 * rows are read anew: the scheduler calls this when it has been told of a
 * change, and transactions tell it before they send invalidations.
 */
void
bgjob_functionconf_visit(BgjobFunctionVisitor visitor, void *arg)
{
	cache.valid = false;
	refresh();
	for (int i = 0; i < cache.n; i++)
		visitor(&cache.confs[i], arg);
}

/* Deletes the row of a function; false if there is none. */
static bool
delete_row(BgjobRel *rel, const char *func)
{
	bool found = bgjob_rel_find_locked(rel, "function_conf_pkey", func);

	if (found)
		bgjob_rel_delete_locked(rel, &rel->tid);
	ExecClearTuple(rel->slot);
	return found;
}

static void
insert_row(BgjobRel *rel, const BgjobFunctionConf *conf)
{
	Datum values[C_COUNT] = {CStringGetTextDatum(conf->func)};
	bool nulls[C_COUNT] = {false};

	nulls[C_QUEUE] = conf->queue == NULL;
	if (conf->queue != NULL)
		values[C_QUEUE] = CStringGetTextDatum(conf->queue);
	nulls[C_PRIORITY] = !conf->has_priority;
	values[C_PRIORITY] = Int16GetDatum(conf->priority);
	nulls[C_MAX_RETRIES] = !conf->has_max_retries;
	values[C_MAX_RETRIES] = Int32GetDatum(conf->max_retries);
	nulls[C_TIMEOUT] = conf->timeout == NULL;
	values[C_TIMEOUT] = IntervalPGetDatum(conf->timeout);
	nulls[C_UNIQUE_KEY] = conf->unique_key == NULL;
	if (conf->unique_key != NULL)
		values[C_UNIQUE_KEY] = CStringGetTextDatum(conf->unique_key);
	values[C_ON_DUPLICATE] = CharGetDatum(conf->on_duplicate);
	nulls[C_TAGS] = conf->tags == (Datum) 0;
	values[C_TAGS] = conf->tags;
	nulls[C_PARAMETERS] = conf->parameters == NULL;
	values[C_PARAMETERS] = JsonbPGetDatum(conf->parameters);
	nulls[C_POLICY] = conf->policy == NULL;
	values[C_POLICY] = JsonbPGetDatum(conf->policy);
	nulls[C_RETENTION] = conf->retention == NULL;
	values[C_RETENTION] = IntervalPGetDatum(conf->retention);
	bgjob_rel_insert(rel, values, nulls);
}

/* bgjob_functionconf_set configures a function, in place of what has been configured of it. */
void
bgjob_functionconf_set(const BgjobFunctionConf *conf)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FUNCTION_CONF);

	(void) delete_row(rel, conf->func);
	insert_row(rel, conf);
	CacheInvalidateRelcache(rel->rel);
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_QUEUES); /* what expires when has changed */
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

/* bgjob_functionconf_remove removes what is configured of a function. False: nothing was. */
bool
bgjob_functionconf_remove(const char *func)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FUNCTION_CONF);
	bool found = delete_row(rel, func);

	if (found)
		CacheInvalidateRelcache(rel->rel);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
	return found;
}
