/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  A process of bgjob, and the job that it is at.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SLOT_H
#define BGJOB_BASE_SLOT_H

#include "postgres.h"

#include "base/registry.h"

/* This process's slot, NULL if it has none. */
extern BgjobSlot *bgjob_my_slot;

extern int bgjob_slot_index(const BgjobSlot *slot);
extern int bgjob_slots_used(void);
extern int bgjob_count_workers(Oid database, Oid role);
extern int bgjob_count_workers_of(Oid database, Oid role, const BgjobServerSet *servers);
extern BgjobSlot *bgjob_slot_create(BgjobProcessKind kind, Oid database, Oid role, int most);
extern void bgjob_slot_free(BgjobSlot *slot);
extern bool bgjob_slot_attach(int index, uint64 generation);
extern bool bgjob_slot_give_up_start(BgjobSlot *slot);
extern void bgjob_slot_begin(int64 job, int64 pos);
extern bool bgjob_slot_claim_failed(uint32 failure);
extern void bgjob_slot_claims_again(void);
extern void bgjob_slot_claimed(void);
extern void bgjob_slot_start_clock(TimestampTz now);
extern bool bgjob_slot_finish(void);
extern BgjobRequest bgjob_slot_give_up(TimestampTz *run_at);
extern int64 bgjob_slot_answer(void);
extern void bgjob_slot_count_done(int jobs);
extern void bgjob_slot_end(bool done);
extern bool bgjob_slot_lives(pid_t pid, TimestampTz started_at);
extern int64 *bgjob_slots_in_flight(Oid database, int *n);

#endif /* BGJOB_BASE_SLOT_H */
