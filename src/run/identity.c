/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Being another role for a while.
 *
 * Code that a role has written runs as that role: filters as their owners,
 * and the input functions of types, which may be those of domains with checks,
 * as the role that the job is to run as. Code that it leaves behind would run
 * as a later current user, at commit for example: deferred
 * triggers (before version 18), cursors WITH HOLD, temporary objects that
 * shadow others. So wherever the session is not that role's own, the code runs
 * as a security-restricted operation, which refuses these. Settings that it
 * changes are those of a nest level, and go with it. Neither the role nor the
 * session authorization can be changed within.
 *
 * The other settings stay the caller's. A caller that may have code run as a role
 * could be that role, so it gains nothing by them; and arguments are to be converted
 * under the settings that the job will have, search_path among them.
 *
 * After an error, identity and settings are taken back by the abort of the
 * transaction or subtransaction.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "run/identity.h"
#include "utils/guc.h"

/* bgjob_identity_is_own returns whether the session is a role's own, and that role the current user. */
bool
bgjob_identity_is_own(Oid role)
{
	return role == GetUserId() && role == GetSessionUserId();
}

/*
 * bgjob_identity_assume makes a role the current user; "restricted": in a
 * security-restricted operation also where the session is that role's own.
 */
void
bgjob_identity_assume(BgjobIdentity *before, Oid role, bool restricted)
{
	int security;

	GetUserIdAndSecContext(&before->user, &before->security);
	before->settings = NewGUCNestLevel();
	security = before->security | SECURITY_LOCAL_USERID_CHANGE;
	if (restricted || !bgjob_identity_is_own(role))
		security |= SECURITY_RESTRICTED_OPERATION;
	SetUserIdAndSecContext(role, security);
}

/* bgjob_identity_resume restores identity and settings as they were before. */
void
bgjob_identity_resume(const BgjobIdentity *before)
{
	AtEOXact_GUC(false, before->settings);
	SetUserIdAndSecContext(before->user, before->security);
}
