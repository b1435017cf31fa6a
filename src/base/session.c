/*-------------------------------------------------------------------------
 *
 * session.c
 *	  What one job leaves behind in a worker's session, and its removal.
 *
 * A worker is one session that runs many jobs of one role. Between two jobs
 * this file does what DISCARD ALL would do (which is refused inside functions
 * and discards plans, which no job can see), in two halves:
 *
 *	 bgjob_session_clean				outside of any transaction, at once
 *	 bgjob_session_clean_in_transaction	first thing in the next transaction
 *
 * The first half has all that needs neither catalogs nor a resource owner:
 * held cursors, role and session authorization, settings, prepared statements,
 * session-level advisory locks, sequences' currval, the seed of random(), the
 * replication origin and temporary replication slots. Settings are reset outside of a transaction on
 * purpose: then nothing remembers the old values and no abort can bring them
 * back. The assign hooks that run there must be able to run in an abort, so
 * they do not read catalogs. The second half has temporary objects, and
 * LISTEN; if its transaction aborts, the next one does it again.
 *
 * Neither half is expected to throw. If one does, the worker must not take
 * another job: the error ends the process, or the transaction of the claim, and
 * the process when that has happened several times (run/attempt.c).
 *
 * What the worker has pinned (bgjob_session_pin) is the value that a reset
 * goes back to. Not undone, since the server has no means to: loaded libraries,
 * the global variables of procedural languages, connections of dblink and
 * postgres_fdw, and that a custom setting once existed (it reads as '').
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/session.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "common/pg_prng.h"
#include "libpq/be-fsstubs.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

/*
 * Whether there may be objects in the temporary schema. The schema stays once it
 * was created, and scanning it costs several microseconds.
 */
static bool temporary_objects = true;

/* Maximal number of temporary tables dropped in one transaction. */
#define DROPPED_AT_ONCE 100

/* Whether this transaction has dropped them. */
static bool temporary_dropped = false;

/*
 * Notes, at the end of every transaction, also those of procedures, whether there can
 * be temporary objects now. Objects that an aborted transaction dropped are there
 * again; those that it created are not.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
	{
		if (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE)
			temporary_objects = true;
		else if (temporary_dropped)
			temporary_objects = false;
		temporary_dropped = false;
	}
	else if (event == XACT_EVENT_ABORT)
		temporary_dropped = false;
}

/* Makes a value the process's own: RESET goes back to it. Older servers lack some settings. */
static void
pin(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * bgjob_session_pin sets what a role's or database's own settings must not
 * decide in a worker: time-outs that end the process while it waits or does
 * its bookkeeping, that an error ends it before it is recorded, and the current
 * role, which is the one that it is connected as even if ALTER ROLE … SET role
 * says otherwise. A job may still set them for itself. Called once by a worker, after it has connected and outside of a
 * transaction.
 */
void
bgjob_session_pin(void)
{
	pin("role", "none");
	pin("exit_on_error", "off");
	pin("transaction_timeout", "0");
	pin("idle_in_transaction_session_timeout", "0");
	pin("idle_session_timeout", "0");
	RegisterXactCallback(at_transaction_end, NULL);
}

/*
 * bgjob_session_pin_all does the same for a process that runs no code of
 * users: settings of ALTER ROLE or ALTER DATABASE must not change the meaning of its
 * statements, or stop them. synchronous_commit stays as the administrator sets it.
 *
 * A process that connects without a role, that is, as the bootstrap superuser, gets
 * its identity from ALTER DATABASE … SET session_authorization.
 */
void
bgjob_session_pin_all(void)
{
	SetSessionAuthorization(GetAuthenticatedUserId(), true);
	bgjob_session_pin();
	if (GetUserId() != GetAuthenticatedUserId())
		elog(FATAL, "could not return to the role of the process");
	pin("search_path", "pg_catalog, pg_temp");
	pin("statement_timeout", "0");
	pin("lock_timeout", "0");
	pin("default_transaction_isolation", "read committed");
	pin("default_transaction_read_only", "off");
	pin("default_transaction_deferrable", "off");
	pin("session_replication_role", "origin");
	pin("row_security", "off");
	pin("DateStyle", "ISO, MDY");
	pin("IntervalStyle", "postgres");
	pin("extra_float_digits", "1");
	pin("bytea_output", "hex");
	pin("standard_conforming_strings", "on");
	pin("transform_null_equals", "off");
}

/*
 * bgjob_session_wait_for_no_standby makes the commits of this process wait for the
 * local disk, if the administrator wants that, but for no standby: a standby may be
 * gone, and other processes wait for this one. Nothing is lost by that. WAL is replayed
 * in order, so a standby that has received a job's end has everything that was written
 * before it. Called again after a reload.
 */
void
bgjob_session_wait_for_no_standby(void)
{
	SetConfigOption("synchronous_commit", NULL, PGC_SUSET,
					PGC_S_SESSION); /* may have been changed */
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_SESSION);
}

/* Resets a setting to the value of the connection, or the pinned one; reads no catalogs. */
static void
reset(const char *name)
{
	(void) set_config_option(name, NULL, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET, true, 0,
							 false);
}

/* Ends SET ROLE and SET SESSION AUTHORIZATION. */
static void
restore_identity(void)
{
	if (OidIsValid(GetCurrentRoleId()))
		reset("role");
	if (GetSessionUserId() != GetAuthenticatedUserId())
		reset("session_authorization");
	if (GetUserId() != GetAuthenticatedUserId())
		elog(FATAL, "could not return to the role of the process");
}

/* Undoes what setseed() did, by a random seed. */
static void
reseed_random(void)
{
	float8 seed = 2.0 * pg_prng_double(&pg_global_prng_state) - 1.0;

	(void) DirectFunctionCall1(setseed, Float8GetDatumFast(seed));
}

/* Ends pg_replication_origin_session_setup(). */
static void
reset_replication_origin(void)
{
	if (replorigin_session_origin == InvalidRepOriginId)
		return;
	replorigin_session_reset();
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/*
 * bgjob_session_release_slot lets go of a replication slot that an error has
 * left in use, as the server's own loop does. Outside of any transaction.
 */
void
bgjob_session_release_slot(void)
{
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
}

/*
 * bgjob_session_clean removes all that the last job has left in the session
 * but for temporary objects and LISTEN. Called by a worker right after the
 * job's transaction has ended, outside of any.
 */
void
bgjob_session_clean(void)
{
	Assert(!IsTransactionOrTransactionBlock());

	PortalHashTableDeleteAll();
	restore_identity();
	bgjob_reset_settings();
	DropAllPreparedStatements();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetSequenceCaches();
	reseed_random();
	reset_replication_origin();
	bgjob_session_release_slot();
	bgjob_replication_slot_cleanup(); /* temporary ones */
}

/*
 * bgjob_session_clean_between removes what a job has left behind when another
 * is to follow in the same transaction; its settings, and with them its role,
 * are the caller's to undo, by a level of their own, and its deferred triggers
 * have been fired. False if there is more than can be removed before the
 * transaction has ended: temporary objects.
 * Locks that a job holds to the end of its transaction stay, and must.
 */
bool
bgjob_session_clean_between(void)
{
	PortalHashTableDeleteAll();
	if (GetUserId() != GetAuthenticatedUserId())
		elog(FATAL, "could not return to the role of the process");
	DropAllPreparedStatements();
	LockReleaseSession(USER_LOCKMETHOD);
	ResetSequenceCaches();
	reseed_random();
	reset_replication_origin();
	bgjob_session_release_slot();
	bgjob_replication_slot_cleanup();
	AtEOXact_LargeObject(true); /* open descriptors */
	AfterTriggerEndXact(true);  /* SET CONSTRAINTS */
	AfterTriggerBeginXact();
	return (MyXactFlags & XACT_FLAGS_ACCESSEDTEMPNAMESPACE) == 0;
}

static int
compare_newest_first(const ListCell *a, const ListCell *b)
{
	return lfirst_oid(a) < lfirst_oid(b) ? 1 : lfirst_oid(a) > lfirst_oid(b) ? -1 : 0;
}

/* Returns the tables and views in a schema, partitions before their parents. */
static List *
tables_of(Oid schema)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	List *tables = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(NamespaceRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		char kind;

		CHECK_FOR_INTERRUPTS();
		if (row->classid != RelationRelationId)
			continue;
		kind = get_rel_relkind(row->objid);
		if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			kind == RELKIND_VIEW)
			tables = lappend_oid(tables, row->objid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	list_sort(tables, compare_newest_first);
	return tables;
}

/*
 * Drops some of the tables in the temporary schema if there are more than one
 * transaction may drop: each is locked, and the whole server shares the lock table.
 * False if there are not more.
 */
static bool
drop_some(Oid schema)
{
	List *tables = tables_of(schema);
	ObjectAddresses *objects;

	if (list_length(tables) <= DROPPED_AT_ONCE)
		return false;
	objects = new_object_addresses();
	for (int i = 0; i < DROPPED_AT_ONCE; i++)
	{
		ObjectAddress table;

		ObjectAddressSet(table, RelationRelationId, list_nth_oid(tables, i));
		add_exact_object_address(&table, objects);
	}
	performMultipleDeletions(objects, DROP_CASCADE,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY |
								 PERFORM_DELETION_SKIP_EXTENSIONS);
	free_object_addresses(objects);
	return true;
}

/*
 * bgjob_session_clean_in_transaction removes the rest: temporary objects, and
 * LISTEN. (The server refuses LISTEN in background workers, so that can only
 * come from C; it ends with this transaction's commit.) Called by a worker
 * first thing in the transaction after the job's. False: only some of
 * very many tables were dropped; it must be called again in the next transaction.
 */
bool
bgjob_session_clean_in_transaction(void)
{
	Oid temp;
	Oid temp_toast;
	bool all = true;

	Async_UnlistenAll();
	if (!temporary_objects)
		return true;
	GetTempNamespaceState(&temp, &temp_toast);
	if (OidIsValid(temp))
	{
		/* TOAST tables may be read; nothing else needs the snapshot */
		PushActiveSnapshot(GetTransactionSnapshot());
		all = !drop_some(temp);
		if (all)
			ResetTempTableNamespace();
		PopActiveSnapshot();
	}
	temporary_dropped = all;
	return all;
}
