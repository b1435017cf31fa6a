/*-------------------------------------------------------------------------
 *
 * limituse.c
 *	  What was spent of rates, kept over a restart: bgjob_internal.limit_use.
 *
 * A row has what shared memory had (BgjobUse) as an array of numbers, after those of the rate. A row of another
 * length is of another version of the library, and is ignored. Rows that no longer count are
 * removed at the next start.
 *
 * By the scheduler, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/limituse.h"
#include "store/relation.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define USE_INDEX "limit_use_pkey"

/* Columns of bgjob_internal.limit_use. */
enum
{
	U_GATE = 1,
	U_USE
};

#define U_COUNT U_USE

/* The numbers of a row: those of the rate, and those that the use has room for. */
#define RATE_NUMBERS 3
#define NUMBERS      (RATE_NUMBERS + sizeof(BgjobUse) / sizeof(int64))

StaticAssertDecl(sizeof(BgjobUse) % sizeof(int64) == 0, "a use is an array of numbers");

static Datum
pack(const BgjobGateUse *use)
{
	int64 numbers[NUMBERS] = {use->rate.algorithm, use->rate.units, use->rate.per};
	Datum values[NUMBERS];

	memcpy(numbers + RATE_NUMBERS, &use->use, sizeof(BgjobUse));
	for (int i = 0; i < NUMBERS; i++)
		values[i] = Int64GetDatum(numbers[i]);
	return PointerGetDatum(
		construct_array(values, NUMBERS, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Reads the row in a slot; false: it is not of this version. */
static bool
unpack(TupleTableSlot *slot, BgjobGateUse *use)
{
	const ArrayType *array;
	const int64 *numbers;

	slot_getallattrs(slot);
	array = DatumGetArrayTypeP(slot->tts_values[U_USE - 1]);
	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != NUMBERS || ARR_HASNULL(array))
		return false;
	numbers = (const int64 *) ARR_DATA_PTR(array);
	use->gate = DatumGetInt64(slot->tts_values[U_GATE - 1]);
	use->rate = (BgjobRate){(BgjobRateAlgorithm) numbers[0], (int) numbers[1], numbers[2]};
	memcpy(&use->use, numbers + RATE_NUMBERS, sizeof(BgjobUse));
	return use->rate.algorithm > BGJOB_RATE_NONE &&
		   use->rate.algorithm <= BGJOB_RATE_TOKEN_BUCKET && use->rate.units > 0 &&
		   use->rate.per > 0 && use->use.count >= 0 && use->use.count <= BGJOB_RATE_ENTRIES &&
		   use->use.oldest >= 0 && use->use.oldest < BGJOB_RATE_ENTRIES;
}

/* bgjob_limituse_save saves what was spent of the rate of a gate. */
void
bgjob_limituse_save(const BgjobGateUse *use)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LIMIT_USE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	Datum values[U_COUNT] = {Int64GetDatum(use->gate), pack(use)};
	bool nulls[U_COUNT] = {false};
	ItemPointerData tid;
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, U_GATE, BTEqualStrategyNumber, F_INT8EQ, values[0]);
	scan = bgjob_scan_begin(rel, USE_INDEX, snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		tid = rel->slot->tts_tid;
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	if (found)
		bgjob_rel_update(rel, &tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* bgjob_limituse_load has what was saved count again, and removes what no longer counts. */
void
bgjob_limituse_load(TimestampTz now)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LIMIT_USE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, USE_INDEX, snapshot, NULL, 0);

	while (bgjob_scan_next(scan))
	{
		ItemPointerData tid = rel->slot->tts_tid;
		BgjobGateUse use;

		CHECK_FOR_INTERRUPTS();
		if (unpack(rel->slot, &use) && !bgjob_rate_is_clear(&use.use, &use.rate, now))
			bgjob_gate_restore_use(&use);
		else
			(void) bgjob_rel_delete(rel, &tid, NULL);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}
