/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Who may use bgjob, and whose jobs.
 *
 * The one grant that a role needs is USAGE on schema bgjob: every function
 * asks for it here, although the functions live in a schema that may be open
 * to all. A role sees and controls the jobs of every role that it is a member
 * of; members of pg_monitor see all; superusers and members of the role that
 * owns the extension are administrators and control all. To be a member is
 * taken as the server takes it: to see and control needs the other role's
 * privileges (inherited, or after SET ROLE); to have a job run as it needs that
 * SET ROLE to it is allowed.
 *
 * What counts is the current user: in a SECURITY DEFINER function its owner,
 * after SET ROLE that role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "api/rights.h"
#include "base/compat.h"
#include "base/registry.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "run/authority.h"
#include "store/relation.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* bgjob_check_usage raises 42501 unless the current user has USAGE on schema bgjob. */
void
bgjob_check_usage(void)
{
	Oid schema = bgjob_schema_oid(false);
	AclResult result = bgjob_schema_aclcheck(schema, GetUserId(), ACL_USAGE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, "bgjob");
	bgjob_warn_if_not_preloaded();
}

/*
 * bgjob_check_writable raises 25006 in a read-only transaction, and so on a
 * standby: the storage layer writes below SQL, where nobody would ask.
 */
void
bgjob_check_writable(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/* bgjob_is_administrator tells whether the current user controls all of bgjob. */
bool
bgjob_is_administrator(void)
{
	return bgjob_role_is_administrator(GetUserId());
}

/*
 * bgjob_check_administrator raises an error unless the current user may do
 * with a function what only administrators may; "what" is that. 42501, 25006.
 */
void
bgjob_check_administrator(const char *function, const char *what)
{
	bgjob_check_usage();
	bgjob_check_writable(function);
	if (!bgjob_is_administrator())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be an administrator of bgjob to %s", what),
				 errdetail("Administrators are superusers and members of the role that owns "
						   "the extension."),
				 errhint("Ask one of them, or SET ROLE to one that you are a member of.")));
}

/* bgjob_may_control tells whether the current user controls the jobs of a role. */
bool
bgjob_may_control(Oid run_as)
{
	return run_as == GetUserId() || has_privs_of_role(GetUserId(), run_as) ||
		   bgjob_is_administrator();
}

/* bgjob_may_see tells whether the current user sees the jobs of a role. */
bool
bgjob_may_see(Oid run_as)
{
	return bgjob_may_control(run_as) || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* bgjob_check_control raises 42501 unless the current user controls a job. */
void
bgjob_check_control(int64 job, Oid run_as)
{
	if (!bgjob_may_control(run_as))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for job " INT64_FORMAT, job),
				 errdetail("It belongs to role \"%s\".", GetUserNameFromId(run_as, true))));
}

/*
 * bgjob_check_role_can_run raises an error unless a worker can be a role: 28000,
 * it may not log in; 42501, it may not connect to this database.
 */
void
bgjob_check_role_can_run(Oid role)
{
	if (!bgjob_role_can_log_in(role))
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("role \"%s\" is not permitted to log in",
							   GetUserNameFromId(role, false)),
						errdetail("A worker connects as the role of the job."),
						errhint("Give the role LOGIN, or name another one with run_as.")));
	if (bgjob_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not connect to database \"%s\"",
							   GetUserNameFromId(role, false), get_database_name(MyDatabaseId)),
						errdetail("A worker connects as the role of the job.")));
}

/*
 * bgjob_role_to_run_as returns the role that a job is to run as: the one of
 * that name, or the current user if it is NULL. 42704: there is none; 42501:
 * the current user is not a member of it, or it may not connect to this
 * database; 28000: it may not log in, so no worker can be it.
 */
Oid
bgjob_role_to_run_as(const char *name)
{
	Oid role = name == NULL ? GetUserId() : get_role_oid(name, false);

	if (role != GetUserId() && !bgjob_may_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of role \"%s\" to have a job run as it", name)));
	bgjob_check_role_can_run(role);
	return role;
}

/* bgjob_warn_if_not_preloaded says, once in a session, that nothing will be performed. */
void
bgjob_warn_if_not_preloaded(void)
{
	static bool warned = false;

	if (bgjob_registry != NULL || warned)
		return;
	warned = true;
	ereport(WARNING, (errmsg("jobs are stored, but not performed"),
					  errdetail("The library \"bgjob\" is not in shared_preload_libraries."),
					  errhint("Add it there and restart the server.")));
}
