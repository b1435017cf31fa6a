/*-------------------------------------------------------------------------
 *
 * authority.c
 *	  By which right a job runs, asked for when it is about to.
 *
 * What a role was allowed when it enqueued a job may have been taken from it
 * since. So it is asked for again: where a job starts, and where a recurring
 * job comes due or is changed, whether the role that enqueued it may still have
 * jobs run as the other role; and in a worker, before each claim, whether its
 * role may still have a session like this one. A worker whose role may no
 * longer log in, or connect to this database, or is not a superuser any more,
 * leaves; the server lets the next one in, or does not.
 *
 * bgjob_internal.job.enqueued_by is null where a role has enqueued its own job, which
 * has nothing to ask for. The worker looks at its role only after the server has
 * notified it of a change of roles or databases.
 *
 * Any process, inside a transaction; nothing here evaluates what a role has
 * written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "base/compat.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "run/authority.h"
#include "store/relation.h"
#include "store/trust.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"

/* ---- roles ---- */

/* Returns the owner of schema bgjob, which is the owner of the extension. */
static Oid
extension_owner(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(bgjob_schema_oid(false)));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* bgjob_role_is_administrator returns whether a role is a superuser, or has the rights of the extension's owner. */
bool
bgjob_role_is_administrator(Oid role)
{
	return superuser_arg(role) || has_privs_of_role(role, extension_owner());
}

/* bgjob_role_can_log_in returns whether there is a role, and it may log in. */
bool
bgjob_role_can_log_in(Oid role)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool can = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return can;
}

/* bgjob_role_may_connect returns whether a role may connect to this database. */
bool
bgjob_role_may_connect(Oid role)
{
	return bgjob_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) == ACLCHECK_OK;
}

/* ---- a worker's session ---- */

static bool is_superuser = false; /* the session is one's */
static bool may_have_changed = true;
static bool lost = false;

static void
on_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	may_have_changed = true;
}

/* bgjob_authority_init prepares a worker that has just connected, whose current role is its session's; once. */
void
bgjob_authority_init(void)
{
	is_superuser = strcmp(GetConfigOption("is_superuser", false, false), "on") == 0;
	CacheRegisterSyscacheCallback(AUTHOID, on_invalidation, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, on_invalidation, (Datum) 0);
}

/*
 * bgjob_authority_of_session returns whether the role of this worker may still
 * have a session in this database. To be called where the transaction has just
 * begun, when the server has sent all invalidations. Once false, always false.
 */
bool
bgjob_authority_of_session(void)
{
	Oid role = GetSessionUserId();

	if (!may_have_changed)
		return !lost;
	may_have_changed = false; /* before asking: what changes meanwhile is asked again */
	if (!bgjob_role_can_log_in(role) || is_superuser != superuser_arg(role) ||
		!bgjob_role_may_connect(role))
		lost = true;
	return !lost;
}

/* bgjob_authority_is_lost returns whether bgjob_authority_of_session has found that this worker is to leave. */
bool
bgjob_authority_is_lost(void)
{
	return lost;
}

/* ---- jobs ---- */

/* bgjob_authority_denial_reason returns why a role cannot have a job run as another; NULL: it can. */
const char *
bgjob_authority_denial_reason(Oid enqueued_by, Oid run_as)
{
	const char *member;

	if (enqueued_by == run_as || bgjob_may_become(enqueued_by, run_as))
		return NULL;
	member = GetUserNameFromId(enqueued_by, true);
	if (member == NULL)
		return "the role that enqueued the job to run as another has been dropped";
	return psprintf(
		"role \"%s\" is no longer a member of role \"%s\", as which the job is to run", member,
		GetUserNameFromId(run_as, false));
}

/* bgjob_authority_check raises 42501 if a role cannot have a job run as another. */
void
bgjob_authority_check(Oid enqueued_by, Oid run_as)
{
	const char *reason = bgjob_authority_denial_reason(enqueued_by, run_as);

	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("%s", reason),
				 errhint("Grant the membership again, or have another role enqueue the job.")));
}

/* bgjob_authority_check_job raises 42501 if the role that enqueued a job cannot have it run as its role any more. */
void
bgjob_authority_check_job(const BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_ENQUEUED_BY))
		bgjob_authority_check(DatumGetObjectId(bgjob_job_datum(job, BGJOB_C_ENQUEUED_BY)),
							  job->run_as);
}

/*
 * bgjob_authority_may_exceed returns whether a job may have more than
 * bgjob.job_timeout allows: one of an administrator, or that one has enqueued.
 */
bool
bgjob_authority_may_exceed(const BgjobJob *job)
{
	if (!bgjob_job_is_null(job, BGJOB_C_ENQUEUED_BY) &&
		bgjob_role_is_administrator(
			DatumGetObjectId(bgjob_job_datum(job, BGJOB_C_ENQUEUED_BY))))
		return true;
	return bgjob_role_is_administrator(job->run_as);
}
