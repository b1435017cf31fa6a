/*-------------------------------------------------------------------------
 *
 * mapchunks.h
 *	  The memory of the maps of jobs; for base/jobmap.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_MAPCHUNKS_H
#define BGJOB_BASE_MAPCHUNKS_H

#include "postgres.h"

#include "base/jobmap.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

/* Number of ranges in a chunk; test/unit/map_model.c has fewer. */
#ifndef BGJOB_MAP_RANGES
#define BGJOB_MAP_RANGES 1024
#endif

typedef struct BgjobMapSummary
{
	pg_atomic_uint64 names[BGJOB_MAP_WORDS];
	pg_atomic_uint64 created_at; /* a TimestampTz */
	pg_atomic_uint64 dead_to;
} BgjobMapSummary;

typedef struct BgjobMapChunk
{
	/* apart from the rest: most ranges are passed over by these alone */
	pg_atomic_uint64 states[BGJOB_MAP_RANGES];
	BgjobMapSummary summaries[BGJOB_MAP_RANGES];
} BgjobMapChunk;

/* The map of a database. */
typedef struct BgjobMap
{
	/* under the lock of the maps */
	Oid database; /* InvalidOid: none */
	uint64 born;  /* distinguishes a map from those before it */
	int nchunks;
	int64 settled;      /* the highest id at the beginning; PG_INT64_MAX: not read yet */
	int64 lost;         /* the highest id whose note had no room */
	BgjobMapNote since; /* notes of the range that is being cleaned */

	/* written under the lock of the maps, read without it */
	pg_atomic_uint64 floor;    /* the higher of settled and lost */
	pg_atomic_uint64 cleaning; /* number of the range plus one; 0: none */

	LWLock cleaner;
} BgjobMap;

extern void bgjob_map_lock(LWLockMode mode);
extern void bgjob_map_unlock(void);
extern BgjobMap *bgjob_map_own(void);
extern bool bgjob_map_is_own(const BgjobMap *map);
extern int64 bgjob_map_floor(BgjobMap *map);
extern int64 bgjob_map_unknown_up_to(BgjobMap *map);
extern bool bgjob_map_is_unknown(BgjobMap *map, int64 range);
extern void bgjob_map_lose(BgjobMap *map, int64 range);
extern BgjobMapChunk *bgjob_map_find(const BgjobMap *map, int64 number);
extern BgjobMapChunk *bgjob_map_search(const BgjobMap *map, int64 number);
extern BgjobMapChunk *bgjob_map_add(BgjobMap *map, int64 number);
extern int64 bgjob_map_next_below(const BgjobMap *map, int64 number);

#endif /* BGJOB_BASE_MAPCHUNKS_H */
