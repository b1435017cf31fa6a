/*-------------------------------------------------------------------------
 *
 * renewal.c
 *	  Processes that follow the settings of their database.
 *
 * A process gets the settings of its database (ALTER DATABASE … SET) from the
 * server when it connects, and the server has no means to take them back later.
 * So when the settings of bgjob in pg_db_role_setting have changed, the
 * processes of the database are replaced: the scheduler leaves, and another one
 * is started at once. It gets the new settings with its connection, by
 * the server's own rules of precedence. Workers leave after their jobs.
 *
 * A step of the scheduler's round (process/scheduler.c) checks this after a
 * reload, and once in BGJOB_SLOW_POLL if any transaction has written meanwhile.
 * While databases wait for a scheduler, the check is put off: schedulers take
 * turns then, and begin each turn with a new connection.
 *
 * What keeps a process from going on with old settings: the registry has a
 * hash of the settings of which a scheduler has learned, and a number that
 * grows with each change of the hash. A scheduler compares the hash after it has
 * connected; so the settings of its own connection are at least as new as the
 * hash that the scheduler before has left there. A worker reads the number before it
 * connects, and leaves when it has grown.
 *
 * By the scheduler. Locks nothing but the catalog it reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/compat.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/process.h"
#include "base/wake.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "process/renewal.h"
#include "process/unannounced.h"
#include "process/workers.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define PREFIX "bgjob."

static bool due = false;              /* this process has old settings */
static TimestampTz next_check = 0;    /* none before */
static uint64 checked_at = 0;         /* number of transactions at the last check */
static bool check_in_any_case = true; /* even if it is the same */

/* Adds the settings of bgjob in an array like {bgjob.workers=3,work_mem=4MB} to a hash. */
static uint64
add_items(ArrayType *array, uint64 hash)
{
	Datum *items;
	bool *nulls;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text *item;

		if (nulls[i])
			continue;
		item = DatumGetTextPP(items[i]);
		if (VARSIZE_ANY_EXHDR(item) > strlen(PREFIX) &&
			pg_strncasecmp(VARDATA_ANY(item), PREFIX, strlen(PREFIX)) == 0)
			hash = hash_combine64(hash,
								  hash_bytes_extended((const unsigned char *) VARDATA_ANY(item),
													  (int) VARSIZE_ANY_EXHDR(item), 0));
	}
	return hash;
}

/* Adds what is set for all roles in a database (InvalidOid: in all) to a hash. */
static uint64
add_settings(Relation rel, Oid database, uint64 hash)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	Datum items;
	bool is_null;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(InvalidOid));
	scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, lengthof(keys),
							  keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		items = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(rel),
							 &is_null);
		if (!is_null)
			hash = add_items(DatumGetArrayTypeP(items), hash);
	}
	systable_endscan(scan);
	return hash;
}

/* Returns a hash of the settings of bgjob that hold for this database; 0: there are none. */
static uint64
hash_settings(void)
{
	Relation rel;
	uint64 hash;

	bgjob_begin();
	PushActiveSnapshot(GetTransactionSnapshot()); /* values may be stored out of line */
	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	hash = add_settings(rel, InvalidOid, 0);
	hash = add_settings(rel, MyDatabaseId, hash);
	table_close(rel, AccessShareLock);
	PopActiveSnapshot();
	bgjob_commit();
	return hash;
}

/* Has the workers that have connected so far leave, each after its job. */
static void
renew_workers(BgjobDatabase *entry)
{
	pg_atomic_fetch_add_u32(&entry->renewals, 1);
	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_worker_is_mine(&bgjob_registry->slots[i]))
			bgjob_wake_slot(&bgjob_registry->slots[i]);
}

/* bgjob_renewal_begin compares the settings of this process's connection with what is known; by a scheduler, before it serves. */
void
bgjob_renewal_begin(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	uint64 completed = bgjob_completed_transactions(); /* before the catalog is read */
	uint64 hash = hash_settings();

	checked_at = completed;
	check_in_any_case = false;
	due = hash != entry->own_settings;
	if (due)
	{
		entry->own_settings = hash;
		renew_workers(entry);
	}
	else
		entry->workers = bgjob_workers;
}

/* bgjob_renewal_anew has the settings compared in the next round: the files were read again. */
void
bgjob_renewal_anew(void)
{
	next_check = 0;
	check_in_any_case = true;
}

/* bgjob_renewal_serve compares the settings again if it is time. Returns when to do so next. */
TimestampTz
bgjob_renewal_serve(TimestampTz now)
{
	if (now < next_check)
		return next_check;
	if (pg_atomic_read_u32(&bgjob_registry->schedulers_wanted) == 0 &&
		(check_in_any_case || bgjob_completed_transactions() != checked_at))
		bgjob_renewal_begin();
	next_check = now + BGJOB_SLOW_POLL * USECS_PER_SEC;
	return next_check;
}

/* bgjob_renewal_is_due returns whether this process has old settings, and must leave. */
bool
bgjob_renewal_is_due(void)
{
	return due;
}

/*
 * bgjob_renewal_leave has the launcher start the next scheduler as soon as
 * this one has left. For the launcher the database rests until now, so this is no failure,
 * and no occurrence of a recurring job counts as missed. "serving_since" is 0 if this process has not served.
 */
void
bgjob_renewal_leave(BgjobDatabase *entry, TimestampTz serving_since, const char *database)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry->status = BGJOB_DATABASE_RESTING;
	entry->rest_until = 0;
	if (serving_since != 0)
		entry->serving_since = serving_since;
	LWLockRelease(&bgjob_registry->lock);
	ereport(entry->announced ? LOG : DEBUG1,
			(errmsg("the settings of bgjob for database \"%s\" have changed", database)));
}
