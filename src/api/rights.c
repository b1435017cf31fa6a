/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Checks which roles may use bgjob, and which jobs they see and control.
 *
 * The only grant that a role needs is USAGE on schema bgjob. Every function
 * checks it here, since the functions live in a schema that may be open to all
 * roles. pg_monitor has USAGE for the views: its members may see, not use.
 * Administrative functions also need EXECUTE, which PUBLIC does not have.
 *
 * A role sees and controls the jobs of every role that it is a member of.
 * Members of pg_monitor see all jobs. Superusers and members of the role that
 * owns the extension are administrators, who control all jobs. Membership follows
 * the server's rules: to see and control jobs needs the other role's privileges
 * (inherited, or after SET ROLE); to run a job as another role needs the right
 * to SET ROLE to it.
 *
 * Checks use the current user: the owner within a SECURITY DEFINER function, the
 * role set by SET ROLE.
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
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "run/authority.h"
#include "store/relation.h"
#include "store/trust.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* Returns whether an ACL grants the current user a right, ignoring entries for role "besides" (0: PUBLIC). */
static bool
is_granted_besides(const Acl *acl, AclMode right, Oid besides)
{
	const AclItem *items = ACL_DAT(acl);

	for (int i = 0; i < ACL_NUM(acl); i++)
		if (items[i].ai_grantee != besides && (ACLITEM_GET_PRIVS(items[i]) & right) != 0 &&
			(items[i].ai_grantee == ACL_ID_PUBLIC ||
			 has_privs_of_role(GetUserId(), items[i].ai_grantee)))
			return true;
	return false;
}

/* Returns whether the ACL of a catalog row, found by its OID, does so. */
static bool
is_granted_in(int cache, Oid object, AttrNumber column, AclMode right, Oid besides)
{
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	bool granted = false;
	bool isnull;
	Datum acl;

	if (!HeapTupleIsValid(tuple))
		return false;
	acl = SysCacheGetAttr(cache, tuple, column, &isnull);
	if (!isnull)
		granted = is_granted_besides(DatumGetAclPCopy(acl), right, besides);
	ReleaseSysCache(tuple);
	return granted;
}

/* bgjob_check_sight raises 42501 unless the current user has USAGE on schema bgjob. */
void
bgjob_check_sight(void)
{
	Oid schema = bgjob_schema_oid(false);
	AclResult result = bgjob_schema_aclcheck(schema, GetUserId(), ACL_USAGE);

	if (result != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for schema bgjob"),
						errdetail("Only roles with USAGE on the schema use bgjob."),
						errhint("Have an administrator GRANT USAGE ON SCHEMA bgjob TO %s.",
								quote_identifier(GetUserNameFromId(GetUserId(), false)))));
	bgjob_warn_if_not_preloaded();
}

/*
 * bgjob_check_usage raises 42501 unless the current user has USAGE on schema
 * bgjob, and not only as a member of pg_monitor, which has it for the views.
 */
void
bgjob_check_usage(void)
{
	bgjob_check_sight();
	if (!superuser() && has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) &&
		!is_granted_in(NAMESPACEOID, bgjob_schema_oid(false), Anum_pg_namespace_nspacl,
					   ACL_USAGE, ROLE_PG_MONITOR))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema bgjob"),
				 errdetail("Members of pg_monitor may see all jobs, but not change them."),
				 errhint("Grant USAGE on schema bgjob to the role itself.")));
}

/*
 * bgjob_check_writable raises 25006 in a read-only transaction, and so on a
 * standby. The storage layer writes below SQL, where the server does not check.
 */
void
bgjob_check_writable(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/* bgjob_is_administrator returns whether the current user is an administrator. */
bool
bgjob_is_administrator(void)
{
	return bgjob_role_is_administrator(GetUserId());
}

/*
 * bgjob_check_granted raises 42501 or 25006 unless the current user may call an
 * administrative function. The server has checked EXECUTE already.
 */
void
bgjob_check_granted(const char *function)
{
	bgjob_check_usage();
	bgjob_check_writable(function);
}

/*
 * bgjob_is_granted_by_name returns whether the current user has EXECUTE on a
 * function by a grant to a role, not only to PUBLIC, or is an administrator.
 */
bool
bgjob_is_granted_by_name(Oid func)
{
	return bgjob_is_administrator() ||
		   is_granted_in(PROCOID, func, Anum_pg_proc_proacl, ACL_EXECUTE, ACL_ID_PUBLIC);
}

/* bgjob_may_control returns whether the current user controls the jobs of a role. */
bool
bgjob_may_control(Oid run_as)
{
	return run_as == GetUserId() || has_privs_of_role(GetUserId(), run_as) ||
		   bgjob_is_administrator();
}

/* bgjob_may_see returns whether the current user sees the jobs of a role. */
bool
bgjob_may_see(Oid run_as)
{
	return bgjob_may_control(run_as) || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* Adds the roles that a role is a member of to others; false if there are more than "max" then. */
static bool
add_memberships(Oid member, Oid *roles, int *n, int max)
{
	CatCList *list = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(member));
	bool room = true;

	for (int i = 0; room && i < list->n_members; i++)
	{
		Oid role = ((Form_pg_auth_members) GETSTRUCT(&list->members[i]->tuple))->roleid;
		int known = 0;

		while (known < *n && roles[known] != role)
			known++;
		if (known < *n)
			continue;
		room = *n < max;
		if (room)
			roles[(*n)++] = role;
	}
	ReleaseSysCacheList(list);
	return room;
}

/* bgjob_sees_all returns whether the current user sees the jobs of all roles. */
bool
bgjob_sees_all(void)
{
	return bgjob_is_administrator() || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/*
 * bgjob_roles_seen returns the number of roles, which "roles" gets, of which the current
 * user may see jobs: no other role's. 0: all roles, or more than "max".
 */
int
bgjob_roles_seen(Oid *roles, int max)
{
	int n = 1;

	if (bgjob_sees_all())
		return 0;
	roles[0] = GetUserId();
	for (int i = 0; i < n; i++)
		if (!add_memberships(roles[i], roles, &n, max))
			return 0;
	return n;
}

/*
 * bgjob_roles_controlled returns the number of roles, which "roles" gets, whose jobs the
 * current user controls; at most "max", the nearest ones. Not for administrators.
 */
int
bgjob_roles_controlled(Oid *roles, int max)
{
	int n = 1;
	int kept = 0;

	roles[0] = GetUserId();
	for (int i = 0; i < n; i++)
		if (!add_memberships(roles[i], roles, &n, max))
			break;
	for (int i = 0; i < n; i++)
		if (bgjob_may_control(roles[i]))
			roles[kept++] = roles[i];
	return kept;
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
 * bgjob_check_role_can_run raises an error unless a worker can connect as a role:
 * 28000 without LOGIN, 42501 without CONNECT on this database.
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
	if (!bgjob_role_may_connect(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not connect to database \"%s\"",
							   GetUserNameFromId(role, false), get_database_name(MyDatabaseId)),
						errdetail("A worker connects as the role of the job.")));
}

/*
 * bgjob_role_to_run_as returns the role that a job is to run as: the named role,
 * or the current user if the name is NULL; "connects": a worker of the server connects as
 * that role. Errors: 42704 no such role; 42501 the current user is not a member of it, or
 * it lacks CONNECT on this database; 28000 it lacks LOGIN.
 */
Oid
bgjob_role_to_run_as(const char *name, bool connects)
{
	Oid role = name == NULL ? GetUserId() : get_role_oid(name, false);

	if (role != GetUserId() && !bgjob_may_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be a member of role \"%s\" to have a job run as it", name)));
	if (connects)
		bgjob_check_role_can_run(role);
	return role;
}

/* bgjob_warn_if_not_preloaded warns, once in a session, that no job will run. */
void
bgjob_warn_if_not_preloaded(void)
{
	static bool warned = false;

	if (bgjob_registry != NULL || warned)
		return;
	warned = true;
	ereport(WARNING, (errmsg("jobs are stored but will not run"),
					  errdetail("The library \"bgjob\" is not in shared_preload_libraries."),
					  errhint("Add it there and restart the server.")));
}

/* bgjob_check_preloaded raises 55000 if the library is not in shared_preload_libraries: nothing can be given to workers. */
void
bgjob_check_preloaded(void)
{
	if (bgjob_registry == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("bgjob must be loaded via shared_preload_libraries"),
						errhint("Add it there and restart the server.")));
}
