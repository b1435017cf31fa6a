/*-------------------------------------------------------------------------
 *
 * rights.h
 *	  Checks which roles may use bgjob, and which jobs they see and control.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_RIGHTS_H
#define BGJOB_API_RIGHTS_H

#include "postgres.h"

extern void bgjob_check_usage(void);
extern void bgjob_check_writable(const char *function);
extern bool bgjob_is_administrator(void);
extern void bgjob_check_sight(void);
extern void bgjob_check_granted(const char *function);
extern bool bgjob_is_granted_by_name(Oid func);
extern bool bgjob_may_see(Oid run_as);
extern bool bgjob_sees_all(void);
extern int bgjob_roles_seen(Oid *roles, int max);
extern int bgjob_roles_controlled(Oid *roles, int max);
extern bool bgjob_may_control(Oid run_as);
extern void bgjob_check_control(int64 job, Oid run_as);
extern void bgjob_check_role_can_run(Oid role);
extern Oid bgjob_role_to_run_as(const char *name, bool connects);
extern void bgjob_warn_if_not_preloaded(void);
extern void bgjob_check_preloaded(void);

#endif /* BGJOB_API_RIGHTS_H */
