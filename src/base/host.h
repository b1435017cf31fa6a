/*-------------------------------------------------------------------------
 *
 * host.h
 *	  What machine the server runs on, and what its kernel has done.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_HOST_H
#define BGJOB_BASE_HOST_H

#include "postgres.h"

extern uint64 bgjob_host_name(void);
extern uint64 bgjob_host_boot(dev_t device);
extern int64 bgjob_host_oom_kills(void);

#endif /* BGJOB_BASE_HOST_H */
