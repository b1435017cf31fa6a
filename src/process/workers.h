/*-------------------------------------------------------------------------
 *
 * workers.h
 *	  The processes of a database's workers: starting, reaping and ending them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_WORKERS_H
#define BGJOB_PROCESS_WORKERS_H

#include "postgres.h"

#include "base/registry.h"
#include "base/slots.h"
#include "datatype/timestamp.h"

extern void bgjob_workers_init(void);
extern bool bgjob_worker_is_mine(const BgjobSlot *slot);
extern bool bgjob_worker_start(Oid role, const BgjobServer *server, BgjobNeed need);
extern int64 bgjob_workers_no_slot_until(void);
extern TimestampTz bgjob_workers_reap(TimestampTz now);
extern void bgjob_workers_take_back(void);
extern void bgjob_workers_end_terminated(void);
extern void bgjob_workers_check_terminated(void);
extern TimestampTz bgjob_workers_end_unresponsive(const char *database, TimestampTz now);
extern void bgjob_workers_drain(const char *database, int grace_ms, BgjobInterruption why);
extern TimestampTz bgjob_by_clock(int64 steady, TimestampTz now);

#endif /* BGJOB_PROCESS_WORKERS_H */
