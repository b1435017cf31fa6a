/*-------------------------------------------------------------------------
 *
 * sharing.h
 *	  Making room for roles, servers and databases that have too few workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_SHARING_H
#define BGJOB_PROCESS_SHARING_H

#include "postgres.h"

#include "process/demand.h"

/* In microseconds: the wait of a role without a worker for one of another role's; the minimal stay of a role's only worker. */
#define BGJOB_PATIENCE 300000
#define BGJOB_TENURE   500000

extern bool bgjob_sharing_has_long_job(void);
extern void bgjob_sharing_give_up(BgjobBalance *balance, bool yielding);

#endif /* BGJOB_PROCESS_SHARING_H */
