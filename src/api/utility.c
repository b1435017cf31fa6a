/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  Hooks for commands on databases and on the extension.
 *
 * bgjob's processes must not block DROP DATABASE, ALTER DATABASE RENAME / SET
 * TABLESPACE, CREATE DATABASE ... TEMPLATE and DROP EXTENSION, which need
 * exclusive use of a database or its tables. During such a command its database
 * is blocked: the scheduler stops its workers (their jobs return to the head of
 * their queue), exits, and is not started again before the command ends or fails.
 * This is done only for a user who may run the command. For any other user the
 * command fails by itself and disturbs nothing.
 *
 * Also handles PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED: if the
 * prepared transaction concerned bgjob, all queues are scanned, since its changes
 * were not announced (base/prepared.c). CREATE EXTENSION is announced by the
 * install script (bgjob_installed), DROP EXTENSION by an object access hook.
 *
 * Runs in the session that runs the command.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/transam.h"
#include "access/xact.h"
#include "api/refused.h"
#include "api/utility.h"
#include "base/announce.h"
#include "base/change.h"
#include "base/compat.h"
#include "base/database.h"
#include "base/jobmap.h"
#include "base/prepared.h"
#include "base/preparedmoves.h"
#include "base/registry.h"
#include "base/slot.h"
#include "base/queuestatstable.h"
#include "base/tally.h"
#include "base/waits.h"
#include "base/wake.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "catalog/namespace.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "store/relation.h"
#include "store/trust.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/*
 * LEAVE_TIMEOUT is how long a command waits for bgjob's processes to exit,
 * PATIENCE when it terminates the scheduler; both in milliseconds.
 */
#define LEAVE_TIMEOUT 30000
#define PATIENCE      1000

static ProcessUtility_hook_type next_utility = NULL;
static object_access_hook_type next_object_access = NULL;

/* ---- blocking a database ---- */

/* Counts the processes in a database, including starting ones. A slot may outlive its process. */
static int
count_processes(Oid database)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->database == database && slot->stage != BGJOB_STAGE_LEFT)
			n++;
	}
	return n;
}

/* Blocks a database for this backend. Returns false if it is blocked already, or not known. */
static bool
try_block(Oid database)
{
	BgjobDatabase *entry;
	bool blocked;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	blocked = entry != NULL && entry->blocked_by == 0;
	if (blocked)
		entry->blocked_by = MyProcPid;
	LWLockRelease(&bgjob_registry->lock);
	return blocked;
}

/* Unblocks a database; also called if this backend exits during the command. */
static void
unblock(int code, Datum database)
{
	BgjobDatabase *entry;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(DatumGetObjectId(database));
	if (entry != NULL && entry->blocked_by == MyProcPid)
		entry->blocked_by = 0;
	LWLockRelease(&bgjob_registry->lock);
	bgjob_notify_launcher(false);
}

/*
 * Terminates the scheduler of a database, which may wait for a lock. If there is
 * no scheduler, for example after a failure, terminates the workers instead.
 */
static void
terminate(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	int scheduler = entry == NULL ? -1 : entry->scheduler;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		pid_t pid = slot->pid;

		if (slot->in_use && slot->database == database && pid != 0 &&
			(scheduler < 0 || i == scheduler))
			kill(pid, SIGTERM);
	}
}

/*
 * Blocks a database and waits until bgjob's processes have left it. If another
 * command has blocked it, waits for that command first.
 */
static void
block(Oid database)
{
	int64 begin = bgjob_steady_now();
	bool mine = false;
	bool terminated = false;

	while (bgjob_steady_now() - begin < LEAVE_TIMEOUT * (int64) 1000)
	{
		mine = mine || try_block(database);
		/* The launcher forgets a database that another session has dropped. */
		if ((mine || bgjob_database_find(database) == NULL) && count_processes(database) == 0)
			break;
		if (!terminated && bgjob_steady_now() - begin > PATIENCE * (int64) 1000)
		{
			terminate(database);
			terminated = true;
		}
		bgjob_notify_scheduler(database, 0);
		bgjob_notify_launcher(false);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 bgjob_wait_event(BGJOB_WAIT_DATABASE_FREE));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- which command needs which database ---- */

static bool
owns(Oid database)
{
	return bgjob_database_owner(database, GetUserId());
}

static bool
is_template(Oid database)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool template =
		HeapTupleIsValid(tuple) && ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return template;
}

/* Returns whether the user has CREATEDB. The server's own check is not public in all minor versions. */
static bool
may_create_databases(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool may = superuser() ||
			   (HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

/* Returns the template of CREATE DATABASE if the user may copy it. */
static Oid
template_of(CreatedbStmt *stmt)
{
	const char *name = "template1";
	ListCell *cell;
	Oid database;

	foreach (cell, stmt->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			name = defGetString(option);
	}
	database = get_database_oid(name, true);
	if (database != InvalidOid && may_create_databases() &&
		(owns(database) || is_template(database)))
		return database;
	return InvalidOid;
}

static bool
sets_tablespace(AlterDatabaseStmt *stmt)
{
	ListCell *cell;

	foreach (cell, stmt->options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	return false;
}

/* Returns whether DROP EXTENSION, or DROP SCHEMA of the extension's schema, drops bgjob. */
static bool
drops_bgjob(DropStmt *stmt, Oid extension)
{
	const char *schema = get_namespace_name(bgjob_trust_schema(extension));
	ListCell *cell;

	if (stmt->removeType == OBJECT_EXTENSION)
	{
		foreach (cell, stmt->objects)
			if (strcmp(strVal(lfirst(cell)), "bgjob") == 0)
				return bgjob_extension_owner(extension, GetUserId());
		return false;
	}
	if (stmt->removeType != OBJECT_SCHEMA || stmt->behavior != DROP_CASCADE || schema == NULL)
		return false;
	foreach (cell, stmt->objects)
		if (strcmp(strVal(lfirst(cell)), schema) == 0)
			return bgjob_schema_owner(get_namespace_oid(schema, false), GetUserId());
	return false;
}

/* Returns whether DROP OWNED drops bgjob. */
static bool
drops_owner(DropOwnedStmt *stmt, Oid extension)
{
	Oid owner = bgjob_trust_owner(extension);
	ListCell *cell;

	foreach (cell, stmt->roles)
		if (get_rolespec_oid(lfirst(cell), true) == owner &&
			has_privs_of_role(GetUserId(), owner))
			return true;
	return false;
}

static Oid
owned_database(const char *name)
{
	Oid database = get_database_oid(name, true);

	return database != InvalidOid && owns(database) ? database : InvalidOid;
}

/* Returns the database of which a command needs exclusive use, if the user may run the command. */
static Oid
needed_database(Node *stmt)
{
	Oid extension;

	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return owned_database(castNode(DropdbStmt, stmt)->dbname);
		case T_RenameStmt:
			if (castNode(RenameStmt, stmt)->renameType == OBJECT_DATABASE)
				return owned_database(castNode(RenameStmt, stmt)->subname);
			return InvalidOid;
		case T_AlterDatabaseStmt:
			if (sets_tablespace(castNode(AlterDatabaseStmt, stmt)))
				return owned_database(castNode(AlterDatabaseStmt, stmt)->dbname);
			return InvalidOid;
		case T_CreatedbStmt:
			return template_of(castNode(CreatedbStmt, stmt));
		case T_DropStmt:
			extension = get_extension_oid("bgjob", true);
			return OidIsValid(extension) && drops_bgjob(castNode(DropStmt, stmt), extension)
					   ? MyDatabaseId
					   : InvalidOid;
		case T_DropOwnedStmt:
			extension = get_extension_oid("bgjob", true);
			return OidIsValid(extension) &&
						   drops_owner(castNode(DropOwnedStmt, stmt), extension)
					   ? MyDatabaseId
					   : InvalidOid;
		default:
			return InvalidOid;
	}
}

/* ---- the hooks ---- */

static void
call_next(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
		  ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		  QueryCompletion *completion)
{
	if (next_utility)
		next_utility(pstmt, query, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params, environment, dest,
								completion);
}

/* What to announce after a command. */
typedef enum Aftermath
{
	NOTHING_TO_ANNOUNCE,
	COMMITTED_PREPARED, /* a prepared transaction that concerned bgjob */
	ABORTED_PREPARED,   /* likewise */
	OTHER_DATABASES,    /* the list of databases may have changed */
	UPDATED_EXTENSION   /* bgjob may support its new version */
} Aftermath;

/* Examines a command before it is executed; afterwards its parse tree may be freed. */
static Aftermath
examine_command(Node *stmt)
{
	TransactionStmt *transaction;

	if (IsA(stmt, CreatedbStmt) ||
		(IsA(stmt, RenameStmt) && castNode(RenameStmt, stmt)->renameType == OBJECT_DATABASE))
		return OTHER_DATABASES;
	if (IsA(stmt, AlterExtensionStmt) &&
		strcmp(castNode(AlterExtensionStmt, stmt)->extname, "bgjob") == 0)
		return UPDATED_EXTENSION;
	if (!IsA(stmt, TransactionStmt))
		return NOTHING_TO_ANNOUNCE;
	transaction = castNode(TransactionStmt, stmt);
	switch (transaction->kind)
	{
		case TRANS_STMT_PREPARE:
			bgjob_prepared_name(transaction->gid);
			return NOTHING_TO_ANNOUNCE;
		case TRANS_STMT_COMMIT_PREPARED:
			return bgjob_prepared_is_marked(transaction->gid) ? COMMITTED_PREPARED
															  : NOTHING_TO_ANNOUNCE;
		case TRANS_STMT_ROLLBACK_PREPARED:
			return bgjob_prepared_is_marked(transaction->gid) ? ABORTED_PREPARED
															  : NOTHING_TO_ANNOUNCE;
		default:
			return NOTHING_TO_ANNOUNCE;
	}
}

static void
after_command(Aftermath aftermath, bool counted)
{
	switch (aftermath)
	{
		case NOTHING_TO_ANNOUNCE:
			break;
		case COMMITTED_PREPARED:
			if (OidIsValid(
					get_extension_oid("bgjob", true))) /* perhaps the transaction created it */
				bgjob_notify_launcher(bgjob_database_want(MyDatabaseId) == NULL);
			bgjob_announce_unknown(true, counted);
			break;
		case ABORTED_PREPARED:
			bgjob_announce_unknown(false, false);
			break;
		case OTHER_DATABASES:
			bgjob_notify_launcher(true);
			break;
		case UPDATED_EXTENSION:
			bgjob_change_want(MyDatabaseId);
			break;
	}
}

/* Databases that this backend keeps blocked until its transaction ends; in TopMemoryContext. */
static List *kept_blocked = NIL;

static void
at_xact_event(XactEvent event, void *arg)
{
	ListCell *cell;

	if (kept_blocked == NIL || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
								event != XACT_EVENT_PREPARE))
		return;
	foreach (cell, kept_blocked)
		unblock(0, ObjectIdGetDatum(lfirst_oid(cell)));
	list_free(kept_blocked);
	kept_blocked = NIL;
}

/* Keeps a database blocked until the transaction ends, when other sessions see the command's effect. */
static void
keep_blocked(Oid database)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (!registered)
		RegisterXactCallback(at_xact_event, NULL);
	registered = true;
	kept_blocked = lappend_oid(kept_blocked, database);
	MemoryContextSwitchTo(old);
}

/* Returns whether a command that blocks this session's database drops the extension. */
static bool
drops_extension(const Node *stmt)
{
	return IsA(stmt, DropStmt) || IsA(stmt, DropOwnedStmt);
}

/* Executes a command while its database is blocked. Not inlined: see -Wclobbered. */
static pg_noinline void
call_next_blocked(Oid database, PlannedStmt *pstmt, const char *query, bool read_only,
				  ProcessUtilityContext context, ParamListInfo params,
				  QueryEnvironment *environment, DestReceiver *dest,
				  QueryCompletion *completion)
{
	PG_ENSURE_ERROR_CLEANUP(unblock, ObjectIdGetDatum(database));
	{
		block(database);
		if (drops_extension(pstmt->utilityStmt))
			bgjob_tables_lock_for_drop();
		call_next(pstmt, query, read_only, context, params, environment, dest, completion);
	}
	PG_END_ENSURE_ERROR_CLEANUP(unblock, ObjectIdGetDatum(database));
	if (IsTransactionState())
		keep_blocked(database);
	else
		unblock(0, ObjectIdGetDatum(database));
}

/* Executes COMMIT PREPARED or ROLLBACK PREPARED, and adds what the transaction moved to the counts. Returns whether that was known. */
static pg_noinline bool
call_next_prepared(bool commit, PlannedStmt *pstmt, const char *query, bool read_only,
				   ProcessUtilityContext context, ParamListInfo params,
				   QueryEnvironment *environment, DestReceiver *dest,
				   QueryCompletion *completion)
{
	const char *gid = castNode(TransactionStmt, pstmt->utilityStmt)->gid;
	BgjobPreparedMoves *moves = palloc0(sizeof(BgjobPreparedMoves));
	bool known = bgjob_prepared_moves_find(gid, moves);

	PG_TRY();
	{
		bgjob_database_moving(moves->xid);
		call_next(pstmt, query, read_only, context, params, environment, dest, completion);
	}
	PG_CATCH();
	{
		bgjob_database_moving(InvalidTransactionId);
		if (known && commit && TransactionIdDidCommit(moves->xid))
			bgjob_database_recount(MyDatabaseId);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (known && commit)
		bgjob_prepared_moves_commit(moves);
	bgjob_database_moving(InvalidTransactionId);
	bgjob_prepared_moves_forget(moves);
	return known && !moves->doubtful;
}

/*
 * Returns whether this backend has blocked a database. Raises 55006 in a worker
 * of that database: its job would interrupt itself and be restarted for ever.
 */
static bool
blocked_here(Oid database)
{
	BgjobDatabase *entry;

	if (bgjob_my_slot != NULL && bgjob_my_slot->database == database)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a job cannot run a command that ends its own worker"),
				 errdetail("The command requires that no job runs in the database."),
				 errhint("Run it in another session, or in a job of another database.")));
	entry = bgjob_database_find(database);
	return entry != NULL && entry->blocked_by == MyProcPid;
}

static void
utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *completion)
{
	Node *stmt = pstmt->utilityStmt;
	Oid database = IsTransactionState() ? needed_database(stmt) : InvalidOid;
	Oid dropped = IsA(stmt, DropdbStmt) ? database : InvalidOid;
	Aftermath aftermath = examine_command(stmt);
	bool counted = false;

	if (IsTransactionState())
		bgjob_refuse_command(stmt);

	/*
	 * A part of a command, such as ALTER … within CREATE SCHEMA, blocks
	 * nothing, nor does a command within one that has blocked the database.
	 */
	if (aftermath == COMMITTED_PREPARED || aftermath == ABORTED_PREPARED)
		counted = call_next_prepared(aftermath == COMMITTED_PREPARED, pstmt, query, read_only,
									 context, params, environment, dest, completion);
	else if (database == InvalidOid || bgjob_database_find(database) == NULL ||
			 context == PROCESS_UTILITY_SUBCOMMAND || blocked_here(database))
		call_next(pstmt, query, read_only, context, params, environment, dest, completion);
	else
		call_next_blocked(database, pstmt, query, read_only, context, params, environment, dest,
						  completion);
	if (OidIsValid(dropped)) /* another database may get its OID */
	{
		bgjob_jobmap_forget(dropped);
		bgjob_tallies_forget(dropped);
		bgjob_queue_stats_forget(dropped);
	}
	after_command(aftermath, counted);
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (next_object_access)
		next_object_access(access, class, object, sub, arg);
	if (access == OAT_DROP && class == ExtensionRelationId &&
		bgjob_database_find(MyDatabaseId) != NULL && object == get_extension_oid("bgjob", true))
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_EXTENSION);
}

/* bgjob_utility_install hooks the commands; by _PG_init in the postmaster. */
void
bgjob_utility_install(void)
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	next_object_access = object_access_hook;
	object_access_hook = object_access;
}

PG_FUNCTION_INFO_V1(bgjob_installed);

/* bgjob_internal.installed() announces, at commit, that this database has the extension; only for the install script. */
Datum
bgjob_installed(PG_FUNCTION_ARGS)
{
	if (!creating_extension)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this function can be called only by CREATE EXTENSION")));
	bgjob_change_want(MyDatabaseId);
	bgjob_change_recount(); /* the known counts may belong to a dropped extension */
	bgjob_queue_stats_forget(MyDatabaseId);
	PG_RETURN_VOID();
}
