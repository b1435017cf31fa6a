/*-------------------------------------------------------------------------
 *
 * statsflush.h
 *	  Writing what was counted in queues into the history.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_STATSFLUSH_H
#define BGJOB_PROCESS_STATSFLUSH_H

#include "datatype/timestamp.h"

extern void bgjob_statsflush_begin(void);
extern TimestampTz bgjob_statsflush_serve(TimestampTz now);
extern void bgjob_statsflush_clock_set(void);
extern void bgjob_statsflush_end(void *arg);

#endif /* BGJOB_PROCESS_STATSFLUSH_H */
