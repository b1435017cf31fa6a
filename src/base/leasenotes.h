/*-------------------------------------------------------------------------
 *
 * leasenotes.h
 *	  What the running transaction does with leases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LEASENOTES_H
#define BGJOB_BASE_LEASENOTES_H

#include "postgres.h"

#include "access/xact.h"
#include "base/leasetable.h"

extern void bgjob_lease_notes_expect(int n);
extern void bgjob_lease_note_fetched(int index);
extern void bgjob_lease_note_ended(int index, uint64 serial);
extern bool bgjob_lease_notes_has(const BgjobLease *lease);
extern bool bgjob_lease_notes_ends(const BgjobLease *lease);
extern bool bgjob_lease_notes_has_gates(void);
extern int bgjob_lease_notes_freed(int64 gate);
extern void bgjob_lease_notes_only_fetched(void);
extern void bgjob_lease_notes_begin_commit(void);
extern int bgjob_lease_notes_ending(int from, int *index, uint64 *serial);

/* of base/change.c */
extern void bgjob_lease_notes_check_prepare(void);
extern void bgjob_lease_notes_prepared(void);
extern void bgjob_lease_notes_commit(void);
extern void bgjob_lease_notes_abort(void);
extern void
bgjob_lease_notes_end_sub(SubXactEvent event, SubTransactionId my, SubTransactionId parent);

#endif /* BGJOB_BASE_LEASENOTES_H */
