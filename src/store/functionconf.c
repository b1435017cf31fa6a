/*-------------------------------------------------------------------------
 *
 * functionconf.c
 *	  The configuration of functions, by their owners or administrators.
 *
 * bgjob_internal.function_conf has a row for each configured function, by its
 * signature. Every enqueue needs it, so each backend caches the rows of the
 * functions that it read last, and also that a function has none. It does not
 * cache all rows: the owner of a function configures it, so there may be very
 * many rows, and large ones. A change sends a relcache invalidation of the table
 * when it commits, and every backend that receives it empties its cache. Where
 * nothing is configured, a look-up costs a comparison.
 *
 * Any process, inside a transaction. Two sessions that configure the same
 * function at the same time wait for each other at its row or at the index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "base/registry.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/functionconf.h"
#include "store/relation.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define EXTERNAL_PREFIX "external:"

/* Number of functions cached. */
#define REMEMBERED 64

/* A cached configuration of a function. */
typedef struct Known
{
	uint32 hash;           /* of the signature; 0: none */
	MemoryContext context; /* of func and conf */
	const char *func;
	const BgjobFunctionConf *conf; /* NULL: the function has none */
} Known;

/* The cache; valid if the table has not been invalidated since. */
static struct
{
	bool valid;
	uint64 invalidations;
	Oid table;
	bool any; /* the table has rows */
	int next; /* the oldest */
	Known known[REMEMBERED];
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

/* Returns a copy of a column, which is not null and has been read, that outlives the slot. */
static Datum
copy(TupleTableSlot *slot, BgjobFunctionColumn column)
{
	Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, column - 1);
	Datum value = slot->tts_values[column - 1];

	if (attribute->attlen == -1)
		return PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	return datumCopy(value, attribute->attbyval, attribute->attlen);
}

static void
read_row(TupleTableSlot *slot, BgjobFunctionConf *conf)
{
	slot_getallattrs(slot);
	memset(conf, 0, sizeof(*conf));
	conf->func = TextDatumGetCString(slot->tts_values[BGJOB_F_FUNC - 1]);
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		AttrNumber column = bgjob_options[option].function;

		if (column != 0 && !slot->tts_isnull[column - 1])
			bgjob_option_set(&conf->options, (BgjobOption) option,
							 copy(slot, (BgjobFunctionColumn) column));
	}
	if (!slot->tts_isnull[BGJOB_F_POLICY - 1])
		conf->policy = DatumGetJsonbP(copy(slot, BGJOB_F_POLICY));
}

/* Begins a scan of the row of a function, or of all if that is NULL. */
static BgjobScan *
begin_scan(BgjobRel *rel, Snapshot snapshot, const char *func)
{
	ScanKeyData key;

	if (func == NULL)
		return bgjob_scan_begin(rel, "function_conf_pkey", snapshot, NULL, 0);
	bgjob_key(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(func));
	return bgjob_scan_begin(rel, "function_conf_pkey", snapshot, &key, 1);
}

/* Reads the row of a function, or the first one if that is NULL, into the current context; NULL: there is none. */
static const BgjobFunctionConf *
read_conf(const char *func)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FUNCTION_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = begin_scan(rel, snapshot, func);
	BgjobFunctionConf *conf = NULL;

	if (bgjob_scan_next(scan))
	{
		conf = palloc(sizeof(BgjobFunctionConf));
		read_row(rel->slot, conf);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return conf;
}

/* Removes an entry from the cache. A caller may use its memory until the transaction ends. */
static void
forget(Known *known)
{
	if (known->hash != 0)
		MemoryContextSetParent(known->context, TopTransactionContext);
	known->hash = 0;
}

/* Empties the cache after an invalidation, and checks whether any function is configured. */
static void
refresh(void)
{
	static bool registered = false;
	MemoryContext context;
	MemoryContext old;
	uint64 before;

	if (cache.valid)
		return;
	if (!registered)
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	registered = true;
	for (int i = 0; i < REMEMBERED; i++)
		forget(&cache.known[i]);
	cache.table = bgjob_table_oid(BGJOB_TABLE_FUNCTION_CONF);
	before = cache.invalidations;
	context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob functions", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	cache.any = read_conf(NULL) != NULL;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	cache.valid = cache.invalidations == before;
}

/* Reads the configuration of a function into the cache, and evicts the oldest entry. */
static const BgjobFunctionConf *
remember(const char *func, uint32 hash)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob function", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Known known = {hash, context, pstrdup(func), read_conf(func)};

	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	forget(&cache.known[cache.next]);
	cache.known[cache.next] = known;
	cache.next = (cache.next + 1) % REMEMBERED;
	return known.conf;
}

/* bgjob_functionconf_external returns what stands for the signature of a job for external workers. No signature begins like that. */
char *
bgjob_functionconf_external(const char *job)
{
	return psprintf(EXTERNAL_PREFIX "%s", job);
}

/* bgjob_functionconf_is_external returns whether what stands for a signature is of a job for external workers. */
bool
bgjob_functionconf_is_external(const char *signature)
{
	return strncmp(signature, EXTERNAL_PREFIX, strlen(EXTERNAL_PREFIX)) == 0;
}

/* bgjob_functionconf_find returns the configuration of a function, valid in this transaction; NULL: there is none. */
const BgjobFunctionConf *
bgjob_functionconf_find(const char *func)
{
	uint32 hash;

	refresh();
	if (!cache.any)
		return NULL;
	hash = hash_bytes((const unsigned char *) func, (int) strlen(func)) | 1;
	for (int i = 0; i < REMEMBERED; i++)
		if (cache.known[i].hash == hash && strcmp(cache.known[i].func, func) == 0)
			return cache.known[i].conf;
	return remember(func, hash);
}

/*
 * bgjob_functionconf_shortest returns the shortest retention that is configured
 * of any function, as intervals are ordered; false if none is.
 */
bool
bgjob_functionconf_shortest(Interval *retention)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FUNCTION_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, "function_conf_retention_idx", snapshot, NULL, 0);
	bool isnull = true;

	if (bgjob_scan_next(scan)) /* nulls come last */
	{
		Datum first = slot_getattr(rel->slot, BGJOB_F_RETENTION, &isnull);

		if (!isnull)
			*retention = *DatumGetIntervalP(first);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return !isnull;
}

/*
 * bgjob_functionconf_list reads the signatures that follow "after" in the order
 * of the index (NULL: the first ones), at most "max"; returns their number.
 */
int
bgjob_functionconf_list(const char *after, const char **signatures, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_FUNCTION_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	if (after != NULL)
		bgjob_key(&key, 1, BTGreaterStrategyNumber, F_TEXT_GT, CStringGetTextDatum(after));
	scan = bgjob_scan_begin(rel, "function_conf_pkey", snapshot, &key, after != NULL);
	while (n < max && bgjob_scan_next(scan))
	{
		bool isnull;

		signatures[n++] = TextDatumGetCString(slot_getattr(rel->slot, BGJOB_F_FUNC, &isnull));
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_functionconf_drop removes the configuration of a function, unless another transaction is changing it; never waits. */
void
bgjob_functionconf_drop(const char *func)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FUNCTION_CONF);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = begin_scan(rel, snapshot, func);

	if (bgjob_scan_next(scan) && bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL))
		CacheInvalidateRelcache(rel->rel);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
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
	Datum values[BGJOB_F_COUNT] = {CStringGetTextDatum(conf->func)};
	bool nulls[BGJOB_F_COUNT] = {false};

	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		AttrNumber column = bgjob_options[option].function;

		if (column == 0)
			continue;
		nulls[column - 1] = !conf->options.given[option];
		values[column - 1] = conf->options.values[option];
	}
	nulls[BGJOB_F_POLICY - 1] = conf->policy == NULL;
	values[BGJOB_F_POLICY - 1] = JsonbPGetDatum(conf->policy);
	bgjob_rel_insert(rel, values, nulls);
}

/* bgjob_functionconf_set replaces the configuration of a function. */
void
bgjob_functionconf_set(const BgjobFunctionConf *conf)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_FUNCTION_CONF);

	(void) delete_row(rel, conf->func);
	insert_row(rel, conf);
	CacheInvalidateRelcache(rel->rel);
	if (conf->options
			.given[BGJOB_O_RETENTION]) /* jobs may expire earlier than retention expects */
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_FUNCTIONS);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

/* bgjob_functionconf_remove removes the configuration of a function. False: there is none. */
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
