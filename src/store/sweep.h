/*-------------------------------------------------------------------------
 *
 * sweep.h
 *	  Finding jobs in the queue that have not been announced.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SWEEP_H
#define BGJOB_STORE_SWEEP_H

#include "postgres.h"

extern void bgjob_discover_anew(void);
extern bool bgjob_discover_is_done(void);
extern bool bgjob_discover_has_missed(void);
extern bool bgjob_discover(void);
extern bool bgjob_sweep(void);
extern bool bgjob_scan_unknown_lanes(Oid database);

#endif /* BGJOB_STORE_SWEEP_H */
