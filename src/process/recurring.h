/*-------------------------------------------------------------------------
 *
 * recurring.h
 *	  Enqueues the jobs of recurring jobs when they are due.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_RECURRING_H
#define BGJOB_PROCESS_RECURRING_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_recurring_begin(TimestampTz since);
extern void bgjob_recurring_clock_set(TimestampTz now, bool forward);
extern void bgjob_recurring_correct(int64 by);
extern TimestampTz bgjob_recurring_serve_correction(TimestampTz now, int64 *number);
extern void bgjob_recurring_rescan(void);
extern void bgjob_recurring_rescan_queued(void);
extern TimestampTz bgjob_recurring_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_RECURRING_H */
