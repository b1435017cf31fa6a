/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Wakes the processes of bgjob: workers, schedulers, the launcher.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_WAKE_H
#define BGJOB_BASE_WAKE_H

#include "postgres.h"

#include "base/registry.h"

extern void bgjob_wake_slot(const BgjobSlot *slot);
extern bool bgjob_wake_worker(Oid database, Oid role, const BgjobServerSet *servers);
extern void bgjob_prewake_worker(Oid database, Oid role, const BgjobServerSet *servers);
extern bool bgjob_retire_if_idle(BgjobSlot *slot);
extern void bgjob_notify_launcher(bool rediscover);
extern void bgjob_notify_scheduler(Oid database, uint32 notices);

#endif /* BGJOB_BASE_WAKE_H */
