/*-------------------------------------------------------------------------
 *
 * refused.c
 *	  Commands that would do harm, or nothing, and are refused.
 *
 * Called by the hook of commands (api/utility.c) before a command is executed, in
 * the session that runs it, in its transaction. Locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/refused.h"
#include "base/guc.h"
#include "catalog/namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "store/trust.h"

/*
 * Raises an error for a trigger on one of bgjob's tables. Rows are written below
 * SQL and fire no triggers, so a tool that relies on them, such as pg_repack,
 * would lose jobs.
 */
static void
refuse_trigger(Node *stmt)
{
	RangeVar *table;
	Oid relation;

	if (!IsA(stmt, CreateTrigStmt) || creating_extension || IsBinaryUpgrade)
		return;
	table = castNode(CreateTrigStmt, stmt)->relation;
	relation = RangeVarGetRelid(table, NoLock, true);
	if (OidIsValid(relation) && bgjob_trust_table("bgjob", relation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot create a trigger on \"%s\"", table->relname),
				 errdetail("bgjob writes its tables without firing triggers."),
				 errhint("To follow what happens to jobs, use bgjob_filter(). To compact the "
						 "table, use VACUUM FULL.")));
}

/*
 * Raises an error for a setting of a whole database in ALTER ROLE … SET: sessions and
 * jobs of the role would not take it (base/guc.c), and get a warning each.
 */
static void
refuse_setting(Node *stmt)
{
	AlterRoleSetStmt *alter;

	if (!IsA(stmt, AlterRoleSetStmt))
		return;
	alter = castNode(AlterRoleSetStmt, stmt);
	if (alter->role == NULL || alter->setstmt->name == NULL ||
		(alter->setstmt->kind != VAR_SET_VALUE && alter->setstmt->kind != VAR_SET_CURRENT) ||
		!bgjob_setting_is_database_wide(alter->setstmt->name))
		return;
	ereport(ERROR, (errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM),
					errmsg("parameter \"%s\" cannot be set for a role", alter->setstmt->name),
					errdetail("It holds for a whole database."),
					errhint("Use ALTER DATABASE ... SET, or ALTER SYSTEM.")));
}

/* bgjob_refuse_command raises an error for a command that is refused. */
void
bgjob_refuse_command(Node *stmt)
{
	refuse_trigger(stmt);
	refuse_setting(stmt);
}
