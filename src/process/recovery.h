/*-------------------------------------------------------------------------
 *
 * recovery.h
 *	  Jobs that lost their worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_RECOVERY_H
#define BGJOB_PROCESS_RECOVERY_H

#include "postgres.h"

#include "base/registry.h"

extern bool bgjob_recover_inflight(void);
extern bool bgjob_recover_claims(void);
extern void bgjob_recover_lost(BgjobSlot *slot);
extern bool bgjob_recover_put_off(void);
extern bool bgjob_fail_jobs_of_role(Oid role);

#endif /* BGJOB_PROCESS_RECOVERY_H */
