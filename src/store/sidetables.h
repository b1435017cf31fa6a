/*-------------------------------------------------------------------------
 *
 * sidetables.h
 *	  The small tables beside bgjob_internal.job: what has failed, what is claimed,
 *	  what has been removed, and whose tables these are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SIDETABLES_H
#define BGJOB_STORE_SIDETABLES_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "utils/snapshot.h"

extern void bgjob_failure_insert(int64 job, Oid role, const char *queue);
extern void bgjob_failure_delete(int64 job);
extern bool bgjob_failure_has(int64 job);

/* A claim that has been committed, and the process that made it. */
typedef struct BgjobClaim
{
	int64 job;
	int pid;
	TimestampTz started_at;
} BgjobClaim;

extern void bgjob_claim_insert(int64 job, int pid, TimestampTz started_at);
extern void bgjob_claim_delete(int64 job);
extern bool bgjob_claim_is_there(int64 job);
extern bool bgjob_claim_is_held(int64 job);
extern int bgjob_claims(BgjobClaim *claims, int max);

extern void bgjob_total_add_up(void);
extern void bgjob_total_add(BgjobState state, int64 jobs);
extern bool bgjob_installed_here(void);
extern void bgjob_install_here(void);
extern bool bgjob_restored_here(void);
extern bool bgjob_restored_at(Snapshot snapshot);
extern void bgjob_note_restored(void);
extern void bgjob_forget_restored(void);

#endif /* BGJOB_STORE_SIDETABLES_H */
