/*-------------------------------------------------------------------------
 *
 * retention.h
 *	  Removing finished jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RETENTION_H
#define BGJOB_STORE_RETENTION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"

/* The notes of a sweep about a range of ids. */
typedef struct BgjobRange
{
	int64 number;
	TimestampTz next_visit;
	int empty_visits; /* visits without anything to remove */
	bool rows;        /* some are left there */
} BgjobRange;

/* How far a sweep has come; begun by bgjob_retention_restart. */
typedef struct BgjobSweep
{
	int64 frontier; /* no visit has been to this id, nor beyond */
	TimestampTz frontier_at;
	BgjobRange *ranges; /* before the frontier; in any order */
	int64 nranges;
	int64 room;
} BgjobSweep;

extern void bgjob_retention_restart(BgjobSweep *sweep);
extern void bgjob_retention_advance(BgjobSweep *sweep);
extern TimestampTz bgjob_retention_sweep(BgjobSweep *sweep, TimestampTz now, int max);
extern int64 bgjob_retention_purge(BgjobState state, TimestampTz finished_before, Oid role);

#endif /* BGJOB_STORE_RETENTION_H */
