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

/* How far a round of retention has come; zero-filled: at its beginning. */
typedef struct BgjobSweep
{
	int64 next_id;
	TimestampTz earliest; /* when the first of those passed by will expire */
} BgjobSweep;

extern bool bgjob_retention_sweep(BgjobSweep *sweep, TimestampTz now, int max);
extern int64 bgjob_retention_purge(BgjobState state, TimestampTz finished_before, Oid role);

#endif /* BGJOB_STORE_RETENTION_H */
