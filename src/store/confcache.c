/*-------------------------------------------------------------------------
 *
 * confcache.c
 *	  Small tables of configuration that each process caches whole.
 *
 * For limits and weights: every claim of a job that has some needs them. A table is
 * read when a process first needs it, and again when it has changed. The server's
 * own message says so to the session that changes it at once, to others after the commit, and
 * repeats it at a rollback; and shared memory says so before the commit can be seen
 * (base/committing.h), since a worker may be at a job of the same commit.
 *
 * A row that was found stays valid until the transaction ends, whatever changes meanwhile.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "base/change.h"
#include "base/committing.h"
#include "miscadmin.h"
#include "store/confcache.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* The caches that have been used in this process. */
static BgjobConfCache *caches = NULL;

static void
invalidate(Datum arg, Oid relation)
{
	for (BgjobConfCache *cache = caches; cache != NULL; cache = cache->next)
		if (relation == InvalidOid || relation == cache->relation)
		{
			cache->valid = false;
			cache->invalidations++;
		}
}

/* Has a cache told of changes. The server has room for few callbacks, so one serves all. */
static void
enlist(BgjobConfCache *cache)
{
	if (cache->registered)
		return;
	if (caches == NULL)
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	cache->next = caches;
	caches = cache;
	cache->registered = true;
}

/* Reads all rows into a table in the current memory context; returns their number. */
static int
read_rows(const BgjobConfCache *cache, BgjobPatterns *rows)
{
	BgjobRel *rel = bgjob_rel_open_read(cache->table);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	int n = 0;

	for (; table_scan_getnextslot(scan, ForwardScanDirection, rel->slot); n++)
	{
		const char *name;
		const void *row;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(rel->slot);
		row = cache->read(rel->slot, &name);
		bgjob_patterns_add(rows, name, row);
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* Reads the table. What was read before stays until the transaction ends. */
static void
read_again(BgjobConfCache *cache)
{
	uint64 before = cache->invalidations;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bgjob configuration",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BgjobPatterns *rows = bgjob_patterns_create();
	int n = read_rows(cache, rows);

	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	if (cache->context != NULL)
		MemoryContextSetParent(cache->context, TopTransactionContext);
	cache->context = context;
	cache->rows = rows;
	cache->n = n;
	cache->valid = cache->invalidations == before;
}

static void
refresh(BgjobConfCache *cache)
{
	if (bgjob_registry != NULL && bgjob_cached_may_differ(cache->cached, &cache->seen))
		cache->valid = false;
	if (cache->valid)
		return;
	enlist(cache);
	cache->relation = bgjob_table_oid(cache->table);
	read_again(cache);
}

/* bgjob_confcache_find returns the row of a name, or of the longest pattern that fits it; NULL: there is none. */
const void *
bgjob_confcache_find(BgjobConfCache *cache, const char *name)
{
	refresh(cache);
	return cache->n == 0 ? NULL : bgjob_patterns_find(cache->rows, name);
}

/* bgjob_confcache_list returns all rows, in no order. */
List *
bgjob_confcache_list(BgjobConfCache *cache)
{
	refresh(cache);
	return bgjob_patterns_values(cache->rows);
}

/* bgjob_confcache_changed makes all processes read the table again, and has the gates looked at, when the change of its rows commits. */
void
bgjob_confcache_changed(const BgjobConfCache *cache, BgjobRel *rel)
{
	CacheInvalidateRelcache(rel->rel);
	bgjob_change_cached(cache->cached);
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_GATES);
}
