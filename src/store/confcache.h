/*-------------------------------------------------------------------------
 *
 * confcache.h
 *	  Small tables of configuration that each process caches whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_CONFCACHE_H
#define BGJOB_STORE_CONFCACHE_H

#include "postgres.h"

#include "base/patterns.h"
#include "base/registry.h"
#include "executor/tuptable.h"
#include "store/relation.h"

/* Copies a row, with all its columns read, into the current memory context; *name is what it is found by. */
typedef const void *(*BgjobConfRead)(const TupleTableSlot *slot, const char **name);

/* The cache of a table; the first members are set by the file that has it, the rest is zero. */
typedef struct BgjobConfCache
{
	BgjobTable table;
	BgjobCached cached; /* who tells of changes */
	BgjobConfRead read;

	struct BgjobConfCache *next;
	bool registered;
	bool valid;
	uint64 invalidations;
	uint32 seen;
	Oid relation;
	int n; /* rows */
	MemoryContext context;
	BgjobPatterns *rows;
} BgjobConfCache;

extern const void *bgjob_confcache_find(BgjobConfCache *cache, const char *name);
extern List *bgjob_confcache_list(BgjobConfCache *cache);
extern void bgjob_confcache_changed(const BgjobConfCache *cache, BgjobRel *rel);

#endif /* BGJOB_STORE_CONFCACHE_H */
