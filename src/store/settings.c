/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Settings that many jobs share, each combination stored once.
 *
 * Jobs of one application carry the same few settings, so bgjob_internal.job has a
 * number and bgjob_internal.settings the content; likewise the policies of functions
 * (run/policy.h), and calls (store/call.h). A backend remembers the
 * last few combinations that it stored or found; a worker those that it read.
 * Two sessions that store a new combination at the same time each store a row:
 * waiting for the other's transaction would be worse.
 *
 * What a backend remembers is dropped when a transaction or subtransaction
 * aborts, since the row may have gone with it, when the table is no longer the
 * same (DROP and CREATE EXTENSION), and when a pass begins that removes rows.
 *
 * Rows are never changed. Those that nothing refers to any more are removed by
 * the scheduler (store/unused.c). A session that gets a number here must be known to
 * the scheduler until its transaction, and so its reference, is committed or
 * rolled back. So it first locks the table (RowExclusiveLock, kept to the end of
 * the transaction), and only then reads its cache.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "base/database.h"
#include "base/registry.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/settings.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Number of combinations cached of each kind; the oldest is replaced. */
#define REMEMBERED 8

/* Combinations that were stored or found, and ones that were read; in TopMemoryContext. */
typedef struct Remembered
{
	Jsonb *settings; /* NULL: none */
	int64 id;
} Remembered;

static Remembered stored[REMEMBERED];
static Remembered read_last[REMEMBERED];
static int next_stored = 0;
static int next_read = 0;
static Oid table = InvalidOid; /* where they are from */
static uint64 forgotten = 0;   /* how often the cache of stored rows was cleared */
static uint32 known_pass = 0;  /* bgjob_registry->settings_passes, when they were stored */
static bool locked = false;    /* the table, by this transaction */

static void
forget(Remembered *all)
{
	for (int i = 0; i < REMEMBERED; i++)
	{
		if (all[i].settings != NULL)
			pfree(all[i].settings);
		all[i].settings = NULL;
	}
}

static void
forget_stored(void)
{
	forget(stored);
	forgotten++;
}

/* Caches a combination, and evicts the oldest. */
static const Jsonb *
remember(Remembered *all, int *next, const Jsonb *settings, int64 id)
{
	Jsonb *copy = MemoryContextAlloc(TopMemoryContext, VARSIZE(settings));
	Remembered *one = &all[*next];

	memcpy(copy, settings, VARSIZE(settings));
	if (one->settings != NULL)
		pfree(one->settings);
	*one = (Remembered){copy, id};
	*next = (*next + 1) % REMEMBERED;
	return copy;
}

/* Handles the end of a transaction. A prepared transaction may still be rolled back. */
static void
at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_stored();
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE || event == XACT_EVENT_COMMIT)
		locked = false;
}

static void
at_subabort(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	forget_stored();
	locked = false; /* it may have been this one that has locked it */
}

/* Empties the caches if the table has been replaced. */
static void
check_table(void)
{
	Oid now = bgjob_table_oid(BGJOB_TABLE_SETTINGS);

	if (table == now)
		return;
	forget_stored();
	forget(read_last);
	table = now;
	locked = false;
}

/* Locks the table, so that no pass removes rows that this transaction is about to refer to. */
static void
lock_table(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(at_end, NULL);
		RegisterSubXactCallback(at_subabort, NULL);
		registered = true;
	}
	bgjob_table_lock(BGJOB_TABLE_SETTINGS);
	locked = true;
}

/*
 * bgjob_settings_forgotten prepares for using the numbers of rows that were
 * stored: it locks the table and forgets rows that a pass may remove. Returns a
 * number that changes when the cache was cleared: then the caller must clear its own.
 */
uint64
bgjob_settings_forgotten(void)
{
	check_table();
	if (!locked)
		lock_table();
	if (bgjob_registry != NULL) /* not before the lock is held */
	{
		uint32 pass = pg_atomic_read_u32(&bgjob_registry->settings_passes);

		if (pass != known_pass)
			forget_stored();
		known_pass = pass;
	}
	return forgotten;
}

/* Rows with lower numbers than this are not to be used any more: a pass may remove them. */
static int64
lowest_usable(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	return entry == NULL ? 0 : (int64) pg_atomic_read_u64(&entry->settings_floor);
}

static bool
same(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * Finds a stored row of the same content that may be used; returns 0 if there is
 * none. Not with an MVCC snapshot: rows are never changed, and a serializable
 * transaction must not conflict with others about them.
 */
static int64
find(BgjobRel *rel, int64 hash, const Jsonb *settings)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel); /* for settings that are stored out of line */
	int64 lowest = lowest_usable();
	ScanKeyData key;
	BgjobScan *scan;
	int64 id = 0;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(hash));
	scan = bgjob_scan_begin(rel, "settings_hash_idx", SnapshotSelf, &key, 1);
	while (id == 0 && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		if (DatumGetInt64(rel->slot->tts_values[0]) >= lowest &&
			same(DatumGetJsonbP(rel->slot->tts_values[2]), settings))
			id = DatumGetInt64(rel->slot->tts_values[0]);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return id;
}

/* bgjob_settings_store returns the number of a combination of settings, storing it if it is new. */
int64
bgjob_settings_store(const Jsonb *settings)
{
	BgjobRel *rel;
	int64 hash;
	int64 id;

	(void) bgjob_settings_forgotten();
	for (int i = 0; i < REMEMBERED; i++)
		if (stored[i].settings != NULL && same(stored[i].settings, settings))
			return stored[i].id;
	hash = (int64) hash_bytes_extended((const unsigned char *) settings, VARSIZE(settings), 0);
	rel = bgjob_rel_open(BGJOB_TABLE_SETTINGS);
	id = find(rel, hash, settings);
	if (id == 0)
	{
		Datum values[3];
		bool nulls[3] = {false};

		id = bgjob_next_settings_id();
		values[0] = Int64GetDatum(id);
		values[1] = Int64GetDatum(hash);
		values[2] = JsonbPGetDatum(settings);
		bgjob_rel_insert(rel, values, nulls);
	}
	bgjob_rel_close(rel);
	(void) remember(stored, &next_stored, settings, id);
	return id;
}

/* bgjob_settings_read returns a combination by its number; it stays for the next few calls. NULL: it is not there. */
const Jsonb *
bgjob_settings_read(int64 id)
{
	BgjobRel *rel;
	Snapshot snapshot;
	ScanKeyData key;
	BgjobScan *scan;
	const Jsonb *settings = NULL;

	check_table();
	for (int i = 0; i < REMEMBERED; i++)
		if (read_last[i].settings != NULL && read_last[i].id == id)
			return read_last[i].settings;

	rel = bgjob_rel_open_read(BGJOB_TABLE_SETTINGS);
	snapshot = bgjob_rel_snapshot(rel);
	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "settings_pkey", snapshot, &key, 1);
	if (bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		settings =
			remember(read_last, &next_read, DatumGetJsonbP(rel->slot->tts_values[2]), id);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return settings;
}
