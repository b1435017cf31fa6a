/*-------------------------------------------------------------------------
 *
 * duejobs.h
 *	  Moving jobs that are due into the queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_DUEJOBS_H
#define BGJOB_PROCESS_DUEJOBS_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_duejobs_begin(void);
extern void bgjob_duejobs_rescan(void);
extern void bgjob_duejobs_clock_set(TimestampTz now);
extern TimestampTz bgjob_duejobs_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_DUEJOBS_H */
