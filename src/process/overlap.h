/*-------------------------------------------------------------------------
 *
 * overlap.h
 *	  Inserts the job of an occurrence, as the job before it allows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_OVERLAP_H
#define BGJOB_PROCESS_OVERLAP_H

#include "postgres.h"

#include "store/recurring.h"

/* Inserts the job of an occurrence, or does what the option "overlap" says instead. */
extern void
bgjob_overlap_run(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now);

/* Inserts the job of the first occurrence that waits, if the last job has ended; returns whether it did. */
extern bool bgjob_overlap_run_queued(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now);

#endif /* BGJOB_PROCESS_OVERLAP_H */
