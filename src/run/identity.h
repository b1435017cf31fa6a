/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  Being another role for a while.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_IDENTITY_H
#define BGJOB_RUN_IDENTITY_H

#include "postgres.h"

/* What to go back to. */
typedef struct BgjobIdentity
{
	Oid user;
	int security;
	int settings; /* nest level */
} BgjobIdentity;

extern bool bgjob_identity_is_own(Oid role);
extern void bgjob_identity_assume(BgjobIdentity *before, Oid role, bool restricted);
extern void bgjob_identity_resume(const BgjobIdentity *before);

#endif /* BGJOB_RUN_IDENTITY_H */
