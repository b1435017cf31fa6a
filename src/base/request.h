/*-------------------------------------------------------------------------
 *
 * request.h
 *	  What others ask of a worker about its job, and how one is ended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_REQUEST_H
#define BGJOB_BASE_REQUEST_H

#include "postgres.h"

#include "base/registry.h"

extern BgjobRequestResult bgjob_slot_request(Oid database, int64 job, BgjobRequest request,
											 TimestampTz run_at, const char *author);
extern BgjobRequestResult bgjob_slot_supersede(Oid database, int64 job, int64 successor);
extern BgjobRequest bgjob_slot_request_seen(void);
extern void bgjob_slot_interrupt(BgjobSlot *slot, BgjobInterruption why);
extern void bgjob_slot_timed_out(int64 now);
extern bool bgjob_slot_force(BgjobSlot *slot, int64 now, int64 *wake);
extern void bgjob_slot_terminate(BgjobSlot *slot);
extern uint64 bgjob_leavers(Oid role, int n);
extern bool bgjob_slot_may_leave(void);

#endif /* BGJOB_BASE_REQUEST_H */
