/*-------------------------------------------------------------------------
 *
 * jobmap.h
 *	  A summary of the jobs in each range of ids, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_JOBMAP_H
#define BGJOB_BASE_JOBMAP_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Number of ids in a range. */
#define BGJOB_MAP_RANGE 256

/* Kinds of names that a summary knows. */
typedef enum BgjobMapKind
{
	BGJOB_MAP_QUEUE,
	BGJOB_MAP_CALL,
	BGJOB_MAP_ROLE,
	BGJOB_MAP_TAG
} BgjobMapKind;

/* A set of names: for each kind a Bloom filter, one after the other. */
#define BGJOB_MAP_WORDS 9

typedef struct BgjobMapNames
{
	uint64 words[BGJOB_MAP_WORDS];
} BgjobMapNames;

/* Flags beside the bits of the states (1 << BgjobState). */
#define BGJOB_MAP_UNKNOWN UINT64CONST(0x100) /* the range may contain anything */
#define BGJOB_MAP_TOUCHED                                                                      \
	UINT64CONST(0x200) /* jobs have changed or gone since the last round */
#define BGJOB_MAP_STALE   UINT64CONST(0x400)  /* they had before that */
#define BGJOB_MAP_CLEANED UINT64CONST(0x800)  /* the range has been summarized from the table */
#define BGJOB_MAP_DEAD    UINT64CONST(0x1000) /* without rows that only old snapshots see */

#define BGJOB_MAP_ALL_STATES UINT64CONST(0xff)

/* Jobs in a range: their states and flags, the names in their rows, the time of the youngest. */
typedef struct BgjobMapNote
{
	uint64 states;
	BgjobMapNames names;
	TimestampTz created_at;
	uint64 dead_to; /* BGJOB_MAP_DEAD: the snapshots that see none of these: base/jobmap.c */
} BgjobMapNote;

/* So many alternatives for a name can be looked for. */
#define BGJOB_MAP_ALTERNATIVES 16

typedef struct BgjobMapChoice
{
	int n; /* 0: any name will do */
	BgjobMapNames names[BGJOB_MAP_ALTERNATIVES];
} BgjobMapChoice;

/* The choices of a probe. */
typedef enum BgjobMapOf
{
	BGJOB_MAP_OF_CALLS,
	BGJOB_MAP_OF_ROLES, /* wanted */
	BGJOB_MAP_OF_ROLES_SEEN,
	BGJOB_MAP_OF_QUEUES,
	BGJOB_MAP_OF_BATCHES
} BgjobMapOf;

#define BGJOB_MAP_CHOICES (BGJOB_MAP_OF_BATCHES + 1)

/* What is looked for: ranges with one of the states, all the names, one of each choice, and a job created at "since" or later. */
typedef struct BgjobMapProbe
{
	uint64 states;
	BgjobMapNames names;
	BgjobMapChoice choices[BGJOB_MAP_CHOICES];
	TimestampTz since;
	uint64 xmin; /* of the snapshot of the reader, as full transaction ids */
	uint64 xmax;
	bool unclean; /* instead of all that: ranges that are to be summarized anew */
} BgjobMapProbe;

/* Adjacent ranges, by their numbers. */
typedef struct BgjobMapSpan
{
	int64 first;
	int64 last;
} BgjobMapSpan;

/* A span has at most so many ranges, unless all of them are missing in the map. */
#define BGJOB_MAP_SPAN 64

extern Size bgjob_jobmap_size(void);
extern void bgjob_jobmap_startup(void);
extern uint64 bgjob_jobmap_current(void);
extern bool bgjob_jobmap_begin(uint64 *born);
extern void bgjob_jobmap_settle(uint64 born, int64 highest);
extern void bgjob_jobmap_forget(Oid database);
extern void bgjob_jobmap_add_name(BgjobMapNames *names, BgjobMapKind kind, uint64 hash);
extern void bgjob_jobmap_add_any(BgjobMapNames *names, BgjobMapKind kind);
extern void bgjob_jobmap_note(int64 id, const BgjobMapNote *note);
extern void bgjob_jobmap_note_many(int64 first, int n, const BgjobMapNote *note);
extern bool bgjob_jobmap_next(int64 from, const BgjobMapProbe *probe, BgjobMapSpan *span);
extern bool bgjob_jobmap_may_clean(int64 range);
extern bool bgjob_jobmap_clean_begin(int64 range, bool wait);
extern void bgjob_jobmap_clean_end(const BgjobMapNote *found);
extern int64 bgjob_jobmap_unclean(void);
extern void bgjob_jobmap_end_round(void);

/* bgjob_jobmap_range_of returns the number of the range that an id is in. */
static inline int64
bgjob_jobmap_range_of(int64 id)
{
	return id / BGJOB_MAP_RANGE;
}

/* bgjob_jobmap_first_id and bgjob_jobmap_last_id return the lowest and the highest id of a range. */
static inline int64
bgjob_jobmap_first_id(int64 range)
{
	return range * BGJOB_MAP_RANGE;
}

static inline int64
bgjob_jobmap_last_id(int64 range)
{
	return range * BGJOB_MAP_RANGE + (BGJOB_MAP_RANGE - 1);
}

#endif /* BGJOB_BASE_JOBMAP_H */
