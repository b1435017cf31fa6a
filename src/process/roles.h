/*-------------------------------------------------------------------------
 *
 * roles.h
 *	  What the scheduler knows of the roles that have jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_ROLES_H
#define BGJOB_PROCESS_ROLES_H

#include "postgres.h"

#include "base/registry.h"

typedef struct BgjobRoleState
{
	Oid role;           /* must be first */
	int failures;       /* of its workers to start or to take jobs, one after the other */
	uint32 failure;     /* the SQLSTATE that they could not take jobs for; 0: they could */
	int64 paused_until; /* after these */
} BgjobRoleState;

extern void bgjob_roles_init(void);
extern BgjobRoleState *bgjob_role_state(Oid role);
extern bool bgjob_role_exists(Oid role);
extern void bgjob_role_failed_start(Oid role);
extern void bgjob_role_failed_claims(const BgjobSlot *slot);
extern void bgjob_role_serves(const BgjobSlot *slot);
extern bool bgjob_role_is_failing(Oid role);
extern bool bgjob_role_is_paused(Oid role, int64 now, int64 *wake);
extern void bgjob_role_forget(Oid role);

#endif /* BGJOB_PROCESS_ROLES_H */
