/*-------------------------------------------------------------------------
 *
 * unannounced.h
 *	  Finding jobs that were not announced.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_UNANNOUNCED_H
#define BGJOB_PROCESS_UNANNOUNCED_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Seconds between two polls. */
#define BGJOB_SLOW_POLL 10

extern void bgjob_unannounced_begin(void);
extern void bgjob_unannounced_rescan(void);
extern void bgjob_unannounced_clock_set(TimestampTz now);
extern TimestampTz bgjob_unannounced_discover(TimestampTz now);
extern TimestampTz bgjob_unannounced_sweep(TimestampTz now);
extern TimestampTz bgjob_unannounced_scan_unknown(TimestampTz now);
extern TimestampTz bgjob_unannounced_poll(TimestampTz now);

#endif /* BGJOB_PROCESS_UNANNOUNCED_H */
