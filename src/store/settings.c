/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The captured settings of jobs, each combination stored once.
 *
 * Jobs of one application carry the same few settings, so bgjob.job has a
 * number and bgjob.settings the content. A backend remembers the last
 * combination that it stored or found; a worker remembers the last that it
 * read. Two sessions that store a new combination at the same time each
 * store a row: waiting for the other's transaction would be worse.
 *
 * What a backend remembers is dropped when a transaction or subtransaction
 * aborts, since the row may have gone with it, and when the table is no longer
 * the same (DROP and CREATE EXTENSION).
 *
 * Any process, inside a transaction. Rows are never changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/settings.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* The last combination stored or found, and the last read; NULL: none. In TopMemoryContext. */
static Jsonb *stored = NULL;
static int64 stored_id;
static Jsonb *read_last = NULL;
static int64 read_id;
static Oid table = InvalidOid; /* where they are from */

static void
forget_stored(void)
{
	if (stored != NULL)
		pfree(stored);
	stored = NULL;
}

static void
forget_read(void)
{
	if (read_last != NULL)
		pfree(read_last);
	read_last = NULL;
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
	forget_read();
	table = now;
}

static bool
same(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

static Jsonb *
remember(const Jsonb *settings)
{
	Jsonb *copy = MemoryContextAlloc(TopMemoryContext, VARSIZE(settings));

	memcpy(copy, settings, VARSIZE(settings));
	return copy;
}

/*
 * Looks for a stored row of the same content; 0 if there is none. Not with an
 * MVCC snapshot: rows are only ever inserted, and a serializable transaction
 * must not conflict with others about them.
 */
static int64
find(BgjobRel *rel, int64 hash, const Jsonb *settings)
{
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
	return id;
}

/* bgjob_settings_store returns the number of a combination of settings, storing it if it is new. */
int64
bgjob_settings_store(const Jsonb *settings)
{
	static bool registered = false;
	BgjobRel *rel;
	int64 hash;

	check_table();
	if (stored != NULL && same(stored, settings))
		return stored_id;
	if (!registered)
	{
		RegisterXactCallback(at_abort, NULL);
		RegisterSubXactCallback(at_subabort, NULL);
		registered = true;
	}

	hash = (int64) hash_bytes_extended((const unsigned char *) settings, VARSIZE(settings), 0);
	rel = bgjob_rel_open(BGJOB_TABLE_SETTINGS);
	forget_stored();
	stored_id = find(rel, hash, settings);
	if (stored_id == 0)
	{
		Datum values[3];
		bool nulls[3] = {false};

		stored_id = bgjob_next_settings_id();
		values[0] = Int64GetDatum(stored_id);
		values[1] = Int64GetDatum(hash);
		values[2] = JsonbPGetDatum(settings);
		bgjob_rel_insert(rel, values, nulls);
	}
	bgjob_rel_close(rel);
	stored = remember(settings);
	return stored_id;
}

/* bgjob_settings_read returns a combination by its number; it stays until the next call. NULL: it is not there. */
const Jsonb *
bgjob_settings_read(int64 id)
{
	BgjobRel *rel;
	Snapshot snapshot;
	ScanKeyData key;
	BgjobScan *scan;

	check_table();
	if (read_last != NULL && read_id == id)
		return read_last;
	forget_read();

	rel = bgjob_rel_open(BGJOB_TABLE_SETTINGS);
	snapshot = bgjob_rel_snapshot(rel);
	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "settings_pkey", snapshot, &key, 1);
	if (bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		read_last = remember(DatumGetJsonbP(rel->slot->tts_values[2]));
		read_id = id;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return read_last;
}
