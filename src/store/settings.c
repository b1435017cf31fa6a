/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  What many jobs have in common, each combination stored once.
 *
 * Jobs of one application carry the same few settings, so bgjob.job has a
 * number and bgjob.settings the content; likewise the policies of functions
 * (run/policy.h), and what is called (store/call.h). A backend remembers the
 * last few combinations that it stored or found; a worker those that it read.
 * Two sessions that store a new combination at the same time each store a row:
 * waiting for the other's transaction would be worse.
 *
 * What a backend remembers is dropped when a transaction or subtransaction
 * aborts, since the row may have gone with it, and when the table is no longer
 * the same (DROP and CREATE EXTENSION).
 *
 * Any process, inside a transaction. Rows are never changed, nor removed: there
 * are as many as there are functions, and combinations of the settings. Whether
 * one is still used only the jobs know, those of open transactions included;
 * an unused one is small, and its number is no loss: they are bigint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/settings.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* So many combinations are remembered, of any kind, by turns. */
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
static uint64 forgotten = 0;   /* how often what was stored has been forgotten */

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

/* Remembers one, in place of the oldest. */
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

static void
at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_stored();
}

static void
at_subabort(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_stored();
}

/* Forgets what is of a table that has gone. */
static void
check_table(void)
{
	Oid now = bgjob_table_oid(BGJOB_TABLE_SETTINGS);

	if (table == now)
		return;
	forget_stored();
	forget(read_last);
	table = now;
}

/* bgjob_settings_forgotten returns a number that is another one when numbers that were returned before may be no longer there. */
uint64
bgjob_settings_forgotten(void)
{
	check_table();
	return forgotten;
}

static bool
same(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * Looks for a stored row of the same content; 0 if there is none. Not with an
 * MVCC snapshot: rows are only ever inserted, and a serializable transaction
 * must not conflict with others about them.
 */
static int64
find(BgjobRel *rel, int64 hash, const Jsonb *settings)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel); /* for settings that are stored out of line */
	ScanKeyData key;
	BgjobScan *scan;
	int64 id = 0;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(hash));
	scan = bgjob_scan_begin(rel, "settings_hash_idx", SnapshotSelf, &key, 1);
	while (id == 0 && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		if (same(DatumGetJsonbP(rel->slot->tts_values[2]), settings))
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
	static bool registered = false;
	BgjobRel *rel;
	int64 hash;
	int64 id;

	check_table();
	for (int i = 0; i < REMEMBERED; i++)
		if (stored[i].settings != NULL && same(stored[i].settings, settings))
			return stored[i].id;
	if (!registered)
	{
		RegisterXactCallback(at_abort, NULL);
		RegisterSubXactCallback(at_subabort, NULL);
		registered = true;
	}

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
