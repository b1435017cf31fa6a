/*-------------------------------------------------------------------------
 *
 * statshistory.c
 *	  What has happened in each queue, by hour and by day: bgjob.stats_history.
 *
 * bgjob_internal.stats_hour has a row for each hour, role and queue in which something was counted
 * (base/queuestats.c). The scheduler adds to the row of the hour once a second, while there is something
 * to add. When the hour is over it adds the row to that of the day, in bgjob_internal.stats_day, and notes
 * that (in_day), in one transaction. So a day is the sum of its row and of its hours that are not in it
 * yet, which is what the view reads. Hours and days are those of UTC.
 *
 * A row is found where it was written last. That is a hint: the row there is compared, and
 * looked up by the index if it is another one, such as after VACUUM FULL. Through the index alone, a row would
 * cost ever more while an old snapshot keeps its versions, one for each second. The page is pruned
 * first, which reading by an index would do, so that the versions that nobody sees any more make room.
 *
 * If the clock is set back, the row of an hour that is in its day gets more: then the day gets it, too.
 *
 * RETENTION. Hours are kept for HOURS_KEPT, days for DAYS_KEPT. The number of roles and queues is
 * bounded (base/queuestats.h), and so is the history. One look removes no more than the oldest day
 * of hours, or the oldest days of a week, so that a clock that is years ahead for some minutes does not
 * cost the history.
 *
 * By the scheduler, inside a transaction; nobody else writes these tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "base/queuestatstable.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store/relation.h"
#include "store/statshistory.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define DAY (USECS_PER_HOUR * 24)

#define HOURS_KEPT (35 * DAY)
#define DAYS_KEPT  (3 * 366 * DAY)

/* Columns of bgjob_internal.stats_hour and, but for the last one, of stats_day. */
enum
{
	S_AT = 1,
	S_ROLE,
	S_QUEUE,
	S_FLOWS, /* one for each BgjobFlow */
	S_CPU_TIME = S_FLOWS + BGJOB_NFLOWS,
	S_WAL_BYTES,
	S_RUNS,
	S_RUN_TIME,
	S_WAITS,
	S_WAIT_TIME,
	S_RUN_HISTOGRAM,
	S_WAIT_HISTOGRAM,
	S_IN_DAY
};

#define S_COUNT S_IN_DAY

/* One of the two tables. */
typedef struct Period
{
	BgjobTable table;
	const char *index;
	int64 length;
	int64 kept;
	int64 most_removed; /* in one look */
} Period;

static const Period hours = {BGJOB_TABLE_STATS_HOUR, "stats_hour_pkey", USECS_PER_HOUR,
							 HOURS_KEPT, DAY};
static const Period days = {BGJOB_TABLE_STATS_DAY, "stats_day_pkey", DAY, DAYS_KEPT, 7 * DAY};

#define OPEN_INDEX "stats_hour_open_idx"

/* A row: its key, and what it says. */
typedef struct Row
{
	TimestampTz at;
	Oid role;
	Datum queue;
	bool in_day;
	BgjobQueueSums sums;
	ItemPointerData tid;
} Row;

/* Returns when the hour or the day began that a moment is in. */
static TimestampTz
start_of(TimestampTz at, int64 length)
{
	int64 past = at % length;

	return at - (past < 0 ? past + length : past);
}

/* bgjob_statshistory_hour returns when the hour began that a moment is in. */
TimestampTz
bgjob_statshistory_hour(TimestampTz at)
{
	return start_of(at, USECS_PER_HOUR);
}

/* ---- a row and its values ---- */

/* The columns from S_FLOWS to S_WAIT_TIME, in their order. */
#define NNUMBERS (S_RUN_HISTOGRAM - S_FLOWS)

/* Lists where the numbers of a row are. */
static void
list_numbers(BgjobQueueSums *sums, int64 *numbers[NNUMBERS])
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		numbers[i] = &sums->flows[i];
	numbers[S_CPU_TIME - S_FLOWS] = &sums->cpu_time;
	numbers[S_WAL_BYTES - S_FLOWS] = &sums->wal_bytes;
	numbers[S_RUNS - S_FLOWS] = &sums->run_time.n;
	numbers[S_RUN_TIME - S_FLOWS] = &sums->run_time.sum;
	numbers[S_WAITS - S_FLOWS] = &sums->wait_time.n;
	numbers[S_WAIT_TIME - S_FLOWS] = &sums->wait_time.sum;
}

static void
read_histogram(BgjobHistogram *histogram, Datum packed)
{
	const bytea *bytes = DatumGetByteaPP(packed);

	(void) bgjob_histogram_merge_packed(histogram, (const uint8 *) VARDATA_ANY(bytes),
										(int) VARSIZE_ANY_EXHDR(bytes));
}

/* Adds what the row in a slot says. */
static void
add_row_in_slot(TupleTableSlot *slot, BgjobQueueSums *sums)
{
	int64 *numbers[NNUMBERS];
	BgjobQueueSums stored;

	slot_getallattrs(slot);
	memset(&stored, 0, sizeof(stored));
	read_histogram(&stored.run_time, slot->tts_values[S_RUN_HISTOGRAM - 1]);
	read_histogram(&stored.wait_time, slot->tts_values[S_WAIT_HISTOGRAM - 1]);
	list_numbers(&stored, numbers);
	for (int i = 0; i < NNUMBERS; i++)
		*numbers[i] = DatumGetInt64(slot->tts_values[S_FLOWS - 1 + i]);
	bgjob_queue_sums_add(sums, &stored);
}

static Datum
pack(const BgjobHistogram *histogram)
{
	bytea *packed = palloc(VARHDRSZ + BGJOB_HISTOGRAM_PACKED_MAX);
	int length = bgjob_histogram_pack(histogram, (uint8 *) VARDATA(packed));

	SET_VARSIZE(packed, VARHDRSZ + length);
	return PointerGetDatum(packed);
}

static void
fill_values(Row *row, Datum *values)
{
	int64 *numbers[NNUMBERS];

	values[S_AT - 1] = TimestampTzGetDatum(row->at);
	values[S_ROLE - 1] = ObjectIdGetDatum(row->role);
	values[S_QUEUE - 1] = row->queue;
	list_numbers(&row->sums, numbers);
	for (int i = 0; i < NNUMBERS; i++)
		values[S_FLOWS - 1 + i] = Int64GetDatum(*numbers[i]);
	values[S_RUN_HISTOGRAM - 1] = pack(&row->sums.run_time);
	values[S_WAIT_HISTOGRAM - 1] = pack(&row->sums.wait_time);
	values[S_IN_DAY - 1] = BoolGetDatum(row->in_day);
}

/* Writes a row: a new one, or, where there is one, over that. Sets row->tid. */
static void
write_row(BgjobRel *rel, Row *row, bool found)
{
	Datum values[S_COUNT];
	bool nulls[S_COUNT] = {false};

	fill_values(row, values);
	if (found)
		bgjob_rel_update(rel, &row->tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	row->tid = rel->tid;
	CommandCounterIncrement(); /* there may be more for this row */
	pfree(DatumGetPointer(values[S_RUN_HISTOGRAM - 1]));
	pfree(DatumGetPointer(values[S_WAIT_HISTOGRAM - 1]));
}

/* ---- finding a row ---- */

/* Removes from a page the versions of its rows that nobody sees any more, if it is nearly full. */
static void
prune(BgjobRel *rel, BlockNumber block)
{
	Buffer buffer;

	if (block >= RelationGetNumberOfBlocks(rel->rel))
		return;
	buffer = ReadBuffer(rel->rel, block);
	heap_page_prune_opt(rel->rel, buffer);
	ReleaseBuffer(buffer);
}

/* Returns whether the row in the slot is that of a key. */
static bool
is_row_of(TupleTableSlot *slot, const Row *row)
{
	slot_getallattrs(slot);
	return DatumGetTimestampTz(slot->tts_values[S_AT - 1]) == row->at &&
		   DatumGetObjectId(slot->tts_values[S_ROLE - 1]) == row->role &&
		   DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
												slot->tts_values[S_QUEUE - 1], row->queue));
}

static bool
find_by_index(BgjobRel *rel, const Period *period, const Row *row, Snapshot snapshot)
{
	ScanKeyData keys[3];
	BgjobScan *scan;
	bool found;

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ,
			  TimestampTzGetDatum(row->at));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(row->role));
	bgjob_key(&keys[2], 3, BTEqualStrategyNumber, F_TEXTEQ, row->queue);
	scan = bgjob_scan_begin(rel, period->index, snapshot, keys, lengthof(keys));
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	return found;
}

/*
 * Adds sums to the row of a key, which may be new, and writes it. row->tid is where it may be;
 * it becomes where it is. Returns whether it is in the row of its day.
 */
static bool
add_to_row(BgjobRel *rel, const Period *period, Row *row)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool found = false;

	if (ItemPointerIsValid(&row->tid))
	{
		prune(rel, ItemPointerGetBlockNumber(&row->tid));
		found = bgjob_rel_fetch(rel, &row->tid, snapshot) && is_row_of(rel->slot, row);
	}
	found = found || find_by_index(rel, period, row, snapshot);
	row->in_day = false;
	if (found)
	{
		add_row_in_slot(rel->slot, &row->sums);
		row->tid = rel->slot->tts_tid;
		row->in_day = period == &hours && DatumGetBool(rel->slot->tts_values[S_IN_DAY - 1]);
	}
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	write_row(rel, row, found);
	return row->in_day;
}

/* Adds sums to the row of the day that an hour belongs to. */
static void
add_to_day(BgjobRel *rel, TimestampTz hour, Oid role, Datum queue, const BgjobQueueSums *sums)
{
	Row row = {.at = start_of(hour, DAY), .role = role, .queue = queue, .sums = *sums};

	ItemPointerSetInvalid(&row.tid);
	(void) add_to_row(rel, &days, &row);
}

/* ---- writing ---- */

/*
 * bgjob_statshistory_write adds to the history what was pending, each to the hour in which
 * that was first counted, and notes in it where its row is now.
 */
void
bgjob_statshistory_write(BgjobQueuePending *pending, int n)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_STATS_HOUR);

	for (int i = 0; i < n; i++)
	{
		TimestampTz hour = bgjob_statshistory_hour(pending[i].since);
		Row row = {.at = hour, .role = pending[i].key.role, .sums = pending[i].sums};

		CHECK_FOR_INTERRUPTS();
		row.queue = CStringGetTextDatum(pending[i].key.queue);
		ItemPointerSetInvalid(&row.tid);
		if (pending[i].hour == hour)
			row.tid = pending[i].tid;
		if (add_to_row(rel, &hours, &row))
		{
			BgjobRel *of_days = bgjob_rel_open(BGJOB_TABLE_STATS_DAY);

			add_to_day(of_days, hour, row.role, row.queue, &pending[i].sums);
			bgjob_rel_close(of_days);
		}
		pending[i].hour = hour;
		pending[i].tid = row.tid;
		pfree(DatumGetPointer(row.queue));
	}
	bgjob_rel_close(rel);
}

/* Reads the rows of hours before a moment that are not in their days yet; returns their number. */
static int
read_open_rows(BgjobRel *rel, TimestampTz before, Row *rows, int room)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, 1, BTLessStrategyNumber, F_TIMESTAMPTZ_LT, TimestampTzGetDatum(before));
	scan = bgjob_scan_begin(rel, OPEN_INDEX, snapshot, &key, 1);
	while (n < room && bgjob_scan_next(scan))
	{
		Row *row = &rows[n++];

		memset(row, 0, sizeof(*row));
		add_row_in_slot(rel->slot, &row->sums);
		row->at = DatumGetTimestampTz(rel->slot->tts_values[S_AT - 1]);
		row->role = DatumGetObjectId(rel->slot->tts_values[S_ROLE - 1]);
		row->queue = PointerGetDatum(DatumGetTextPCopy(rel->slot->tts_values[S_QUEUE - 1]));
		row->tid = rel->slot->tts_tid;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

/*
 * bgjob_statshistory_sum_up adds rows of hours that were over before a moment to those of their
 * days, so many at most. Returns their number.
 */
int
bgjob_statshistory_sum_up(TimestampTz before, int limit)
{
	BgjobRel *of_hours = bgjob_rel_open(BGJOB_TABLE_STATS_HOUR);
	BgjobRel *of_days = bgjob_rel_open(BGJOB_TABLE_STATS_DAY);
	Row *rows = palloc_extended(limit * sizeof(Row), MCXT_ALLOC_HUGE);
	int n = read_open_rows(of_hours, before, rows, limit);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_to_day(of_days, rows[i].at, rows[i].role, rows[i].queue, &rows[i].sums);
		rows[i].in_day = true;
		write_row(of_hours, &rows[i], true);
	}
	pfree(rows);
	bgjob_rel_close(of_days);
	bgjob_rel_close(of_hours);
	return n;
}

/* ---- retention ---- */

/* Removes what is older than "now" minus the time that a table is kept, so many rows at most. Returns whether there is more. */
static bool
expire(const Period *period, TimestampTz now, int limit)
{
	BgjobRel *rel = bgjob_rel_open(period->table);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, period->index, snapshot, NULL, 0);
	TimestampTz before = now - period->kept;
	bool first = true;
	int n = 0;

	while (n < limit && bgjob_scan_next(scan))
	{
		TimestampTz at;
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		at = DatumGetTimestampTz(slot_getattr(rel->slot, S_AT, &isnull));
		if (first)
			before = Min(before, start_of(at, period->most_removed) + period->most_removed);
		first = false;
		if (at >= before)
			break;
		n += bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n == limit;
}

/* bgjob_statshistory_expire_hours removes some rows of hours that are kept no longer. Returns whether there are more. */
bool
bgjob_statshistory_expire_hours(TimestampTz now, int limit)
{
	return expire(&hours, now, limit);
}

/* bgjob_statshistory_expire_days does the same with those of days. */
bool
bgjob_statshistory_expire_days(TimestampTz now, int limit)
{
	return expire(&days, now, limit);
}
