/*-------------------------------------------------------------------------
 *
 * gateline.c
 *	  Jobs that wait at gates: bgjob_internal.gate.
 *
 * A job that has no room at one of its gates has a row here instead of in the queue, in the line of that
 * gate. A line is in the order of priorities (the higher first), then first come, first served;
 * that of a sequence in the order of ids. The row is the lock of the job: the
 * transaction that deletes it has the job.
 *
 * Any process, inside a transaction. Nothing here waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/gatechange.h"
#include "base/sequencemark.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define LINE_INDEX "gate_pkey"

/* The priority is in the highest bits of a place, the position in the others. */
#define POS_BITS 48

/* Columns of bgjob_internal.gate. */
enum
{
	L_GATE = 1,
	L_PLACE,
	L_JOB,
	L_JOB_TID
};

#define L_COUNT L_JOB_TID

/* bgjob_line_place returns the place of a job in the line of a gate; "sequence" is the gate of its sequence. */
int64
bgjob_line_place(const BgjobJob *job, int64 gate, int64 sequence)
{
	if (gate == sequence)
		return job->id;
	return (int64) (((uint64) (int64) (-1 - job->priority) << POS_BITS) |
					((uint64) job->pos & ((UINT64CONST(1) << POS_BITS) - 1)));
}

/* bgjob_line_insert puts a job, whose row has been written, into a line. */
void
bgjob_line_insert(int64 gate, int64 place, const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_GATE);
	ItemPointerData tid = job->tid;
	Datum values[L_COUNT] = {Int64GetDatum(gate), Int64GetDatum(place), Int64GetDatum(job->id),
							 PointerGetDatum(&tid)};
	bool nulls[L_COUNT] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	bgjob_change_gate_placed(gate, place);
}

static void
place_keys(ScanKey keys, int64 gate, StrategyNumber strategy, RegProcedure compare, int64 place)
{
	bgjob_key(&keys[0], L_GATE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(gate));
	bgjob_key(&keys[1], L_PLACE, strategy, compare, Int64GetDatum(place));
}

/* bgjob_line_take takes a job out of a line; never waits. The result and *holder are as those of bgjob_queue_take. */
BgjobTaken
bgjob_line_take(int64 gate, int64 place, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_GATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[2];
	BgjobScan *scan;

	place_keys(keys, gate, BTEqualStrategyNumber, F_INT8EQ, place);
	scan = bgjob_scan_begin(rel, LINE_INDEX, snapshot, keys, 2);
	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	if (taken == BGJOB_TAKEN)
		bgjob_change_gate_displaced(gate, place);
	return taken;
}

/* bgjob_line_has returns whether there is a row at a place at this moment. */
bool
bgjob_line_has(int64 gate, int64 place)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_GATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;
	bool found;

	place_keys(keys, gate, BTEqualStrategyNumber, F_INT8EQ, place);
	scan = bgjob_scan_begin(rel, LINE_INDEX, snapshot, keys, 2);
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return found;
}

/* ---- along a line ---- */

/* bgjob_line_begin begins a look at a line, as it is at this moment. */
void
bgjob_line_begin(BgjobLineScan *line, int64 gate, BgjobLineFrom from)
{
	ScanKeyData keys[2];

	line->gate = gate;
	line->at_head = bgjob_gate_kind(gate) != BGJOB_GATE_SEQUENCE;
	if (line->at_head)
		line->mark =
			bgjob_gate_mark(gate, from == BGJOB_LINE_NEW_MARK); /* before the snapshot */
	else /* who waits there stands in the sequence, which has its own mark */
	{
		BgjobSequenceMark mark = bgjob_sequence_mark(gate);

		line->mark = (BgjobGateMark){.place = mark.job, .moment = mark.moment};
	}
	line->rel = bgjob_rel_open(BGJOB_TABLE_GATE);
	line->snapshot = bgjob_rel_snapshot(line->rel);
	place_keys(keys, gate, BTGreaterEqualStrategyNumber, F_INT8GE,
			   from == BGJOB_LINE_HEAD ? PG_INT64_MIN : line->mark.place);
	line->scan = bgjob_scan_begin(line->rel, LINE_INDEX, line->snapshot, keys, 2);
}

/* bgjob_line_next reads the next row; false at the end. */
bool
bgjob_line_next(BgjobLineScan *line, BgjobLineRow *row)
{
	TupleTableSlot *slot = line->rel->slot;

	if (!bgjob_scan_next(line->scan))
	{
		if (line->at_head)
			bgjob_gate_mark_empty(line->gate, &line->mark);
		return false;
	}
	slot_getallattrs(slot);
	row->place = DatumGetInt64(slot->tts_values[L_PLACE - 1]);
	row->job = DatumGetInt64(slot->tts_values[L_JOB - 1]);
	row->job_tid = *(ItemPointer) DatumGetPointer(slot->tts_values[L_JOB_TID - 1]);
	row->tid = slot->tts_tid;
	if (line->at_head)
		bgjob_gate_mark_advance(line->gate, &line->mark, row->place);
	line->at_head = false;
	return true;
}

/* bgjob_line_take_row takes the job of a row that was just read out of the line. False: another transaction has it. */
bool
bgjob_line_take_row(BgjobLineScan *line, BgjobLineRow *row)
{
	if (!bgjob_rel_delete(line->rel, &row->tid, NULL))
		return false;
	bgjob_change_gate_displaced(line->gate, row->place);
	return true;
}

/* bgjob_line_end ends a look. */
void
bgjob_line_end(BgjobLineScan *line)
{
	ExecClearTuple(line->rel->slot);
	bgjob_scan_end(line->scan);
	UnregisterSnapshot(line->snapshot);
	bgjob_rel_close(line->rel);
}

/* bgjob_line_first reads the best place in a line; false: nobody waits there. */
bool
bgjob_line_first(int64 gate, int64 *place)
{
	BgjobLineScan line;
	BgjobLineRow row;
	bool found;

	bgjob_line_begin(&line, gate, BGJOB_LINE_MARK);
	found = bgjob_line_next(&line, &row);
	if (found)
		*place = row.place;
	bgjob_line_end(&line);
	return found;
}

/* bgjob_lines_after reads at most "max" gates that have a line, in their order, after one (first: from the first on); their number. */
int
bgjob_lines_after(int64 after, bool first, int64 *gates, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_GATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool found = true;
	int n = 0;

	while (n < max && found)
	{
		ScanKeyData key;
		BgjobScan *scan;
		bool isnull;

		bgjob_key(&key, L_GATE, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
		scan = bgjob_scan_begin(rel, LINE_INDEX, snapshot, &key, first ? 0 : 1);
		found = bgjob_scan_next(scan);
		if (found)
			gates[n++] = after = DatumGetInt64(slot_getattr(rel->slot, L_GATE, &isnull));
		ExecClearTuple(rel->slot);
		bgjob_scan_end(scan);
		first = false;
	}
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/*
 * bgjob_line_count counts the jobs in the line of a limit, queue or key, up to "most". It begins at the low-water
 * mark: the dead rows before it, of which a held snapshot keeps many, are not read.
 */
int64
bgjob_line_count(int64 gate, int64 most)
{
	BgjobGateMark mark = bgjob_gate_mark(gate, false); /* before the snapshot */
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_GATE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;
	int64 n = 0;

	place_keys(keys, gate, BTGreaterEqualStrategyNumber, F_INT8GE, mark.place);
	scan = bgjob_scan_begin(rel, LINE_INDEX, snapshot, keys, 2);
	while (n < most && bgjob_scan_next(scan))
		n++;
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_line_jobs reads at most "max" jobs at the head of a line; returns their number. */
int
bgjob_line_jobs(int64 gate, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_GATE);
	ScanKeyData key;
	int n;

	bgjob_key(&key, L_GATE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(gate));
	n = bgjob_rel_read_ids(rel, LINE_INDEX, &key, L_JOB, jobs, max);
	bgjob_rel_close(rel);
	return n;
}
