/*-------------------------------------------------------------------------
 *
 * totals.h
 *	  Totals of a database since the start of the server, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_TOTALS_H
#define BGJOB_BASE_TOTALS_H

#include "postgres.h"

#include "port/atomics.h"

/* Why an occurrence of a recurring job has enqueued no job when it was due. */
typedef enum BgjobMissed
{
	BGJOB_MISSED_NOT_SERVED, /* no scheduler, or the clock was set forward; all of an interruption count once */
	BGJOB_MISSED_OVERLAP, /* the job before it had not ended */
	BGJOB_MISSED_REFUSED  /* the job could not be enqueued */
} BgjobMissed;

#define BGJOB_NMISSED (BGJOB_MISSED_REFUSED + 1)

/*
 * Durations are counted by buckets whose bounds are powers of 4, in microseconds: 1.024 ms, 4.096 ms … 4.8 hours. The last
 * bucket is for longer ones.
 */
#define BGJOB_DURATION_BOUNDS     13
#define BGJOB_DURATION_BUCKETS    (BGJOB_DURATION_BOUNDS + 1)
#define BGJOB_DURATION_DOUBLES(i) (10 + 2 * (i)) /* the bound is 2 to the power of that */
#define BGJOB_DURATION_BOUND(i)   (INT64CONST(1) << BGJOB_DURATION_DOUBLES(i))

/* What is counted of a database. Read and added to without a lock. */
typedef struct BgjobTotals
{
	pg_atomic_uint64 missed[BGJOB_NMISSED];
	pg_atomic_uint64
		late[BGJOB_DURATION_BUCKETS]; /* what was due, by how late it was enqueued */
	pg_atomic_uint64 late_sum;        /* in microseconds */
} BgjobTotals;

extern void bgjob_totals_init(BgjobTotals *totals);
extern void bgjob_totals_reset(BgjobTotals *totals);

#endif /* BGJOB_BASE_TOTALS_H */
