/*-------------------------------------------------------------------------
 *
 * sequence.c
 *	  Numbers: of jobs and positions in the queue, and of captured settings.
 *
 * A job's id and its position are from one sequence, so that a job that comes back
 * goes behind those that were there. Many jobs at a time draw many numbers at a
 * time: the server has no function for that, and a call of nextval() for each
 * would add a tenth to the cost of an insertion in bulk. So bgjob_next_ids() changes
 * the sequence's one row as nextval() does, with a larger step: in place, under the
 * lock of its buffer, and with the server's own WAL record for sequences, which holds
 * the whole row. If the server is newer than the tested versions, or its sequences
 * have another form, nextval() is called (BGJOB_FAST_SEQUENCE in base/compat.h).
 *
 * Any process, inside a transaction. Drawn numbers are used up, even if the
 * transaction is rolled back. Locks: RowExclusiveLock on the sequence, kept to
 * the end of the transaction, as nextval().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xloginsert.h"
#include "base/compat.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define IDS      "job_id_seq"
#define SETTINGS "settings_id_seq"

/* bgjob_next_id draws from the sequence of ids and positions. */
int64
bgjob_next_id(void)
{
	return nextval_internal(bgjob_sequence_lock(IDS), false);
}

/* bgjob_next_settings_id draws from the sequence of settings. */
int64
bgjob_next_settings_id(void)
{
	return nextval_internal(bgjob_sequence_lock(SETTINGS), false);
}

/* bgjob_ids_reach has the ids that are drawn from now on be higher than one that came from elsewhere. */
void
bgjob_ids_reach(int64 id)
{
	int64 last = bgjob_next_id();

	while (last < id)
	{
		int n = (int) Min(id - last, PG_INT32_MAX);

		last = bgjob_next_ids(n, &n) - 1;
		last += n;
	}
}

/*
 * bgjob_last_settings_id returns the number that was drawn last; 0: none has
 * been. So it is in a logical replica of another database's jobs, and in one
 * that is being restored. Reads the sequence as a SELECT does.
 */
int64
bgjob_last_settings_id(void)
{
	Relation sequence = relation_open(bgjob_sequence_lock(SETTINGS), NoLock);
	Snapshot snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(sequence)));
	TupleTableSlot *slot = table_slot_create(sequence, NULL);
	TableScanDesc scan = table_beginscan(sequence, snapshot, 0, NULL);
	int64 last = 0;
	bool isnull;

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot) &&
		DatumGetBool(slot_getattr(slot, SEQ_COL_CALLED, &isnull)))
		last = DatumGetInt64(slot_getattr(slot, SEQ_COL_LASTVAL, &isnull));
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	relation_close(sequence, NoLock);
	return last;
}

/* Draws numbers one by one, at most n, as long as they follow each other; one that does not is lost. */
static int64
draw_one_by_one(int n, int *drawn)
{
	Oid sequence = bgjob_sequence_lock(IDS);
	int64 first = nextval_internal(sequence, false);

	for (*drawn = 1; *drawn < n && nextval_internal(sequence, false) == first + *drawn;
		 (*drawn)++)
		CHECK_FOR_INTERRUPTS();
	return first;
}

#ifdef BGJOB_FAST_SEQUENCE

/* The magic number at the end of the page of a sequence (the server's sequence.c). */
#define SEQUENCE_MAGIC 0x1717

/* Returns whether a sequence is one page with one row of three columns, marked as the server marks it. */
static bool
looks_familiar(Page page)
{
	ItemId item = PageGetItemId(page, FirstOffsetNumber);
	HeapTupleHeader row;

	if (PageGetMaxOffsetNumber(page) != FirstOffsetNumber || !ItemIdIsNormal(item) ||
		PageGetSpecialSize(page) != MAXALIGN(sizeof(uint32)) ||
		*(uint32 *) PageGetSpecialPointer(page) != SEQUENCE_MAGIC)
		return false;
	row = (HeapTupleHeader) PageGetItem(page, item);
	return HeapTupleHeaderGetNatts(row) == SEQ_COL_LASTCOL &&
		   ItemIdGetLength(item) ==
			   row->t_hoff + offsetof(FormData_pg_sequence_data, is_called) + sizeof(bool);
}

/* Returns the one row of a sequence, in its locked buffer. */
static HeapTupleData
sequence_row(Page page)
{
	ItemId item = PageGetItemId(page, FirstOffsetNumber);
	HeapTupleData tuple = {.t_len = ItemIdGetLength(item)};

	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	return tuple;
}

/* Writes the row of a sequence, which has been changed, to the WAL; in the critical section that changed it. */
static void
log_row(Relation sequence, Buffer buffer, HeapTuple row)
{
	xl_seq_rec record;
	XLogRecPtr at;

	bgjob_sequence_record_init(&record, sequence);
	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(record));
	XLogRegisterData((char *) row->t_data, row->t_len);
	at = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(BufferGetPage(buffer), at);
}

/* Draws n numbers from the sequence in a locked buffer. */
static int64
advance(Relation sequence, Buffer buffer, int n)
{
	HeapTupleData row = sequence_row(BufferGetPage(buffer));
	Form_pg_sequence_data data = (Form_pg_sequence_data) GETSTRUCT(&row);
	int64 first = data->is_called ? data->last_value : data->last_value - 1;

	if (first > PG_INT64_MAX - n)
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("reached maximum value of the sequence of job ids")));
	first++;

	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	data->last_value = first + n - 1;
	data->is_called = true;
	data->log_cnt =
		0; /* the WAL knows of no more than are drawn: the next nextval() writes to it */
	if (RelationNeedsWAL(sequence))
		log_row(sequence, buffer, &row);
	END_CRIT_SECTION();
	return first;
}

/* Draws n numbers at a time; 0: the sequence does not look as one should, and none was drawn. */
static int64
draw_at_a_time(int n)
{
	Relation sequence = relation_open(bgjob_sequence_lock(IDS), NoLock);
	Buffer buffer = ReadBuffer(sequence, 0);
	int64 first = 0;

	/* So that the commit waits for the record to be on the disk, as with nextval(). */
	(void) GetTopTransactionId();
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (looks_familiar(BufferGetPage(buffer)))
		first = advance(sequence, buffer, n);
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, NoLock);
	return first;
}

#else

static int64
draw_at_a_time(int n)
{
	return 0;
}

#endif

/*
 * bgjob_next_ids draws numbers that follow each other from the sequence of ids
 * and positions: n, at least one, or, where they are drawn one by one, maybe fewer.
 * Returns the first; *drawn is their number. 2200H: the sequence has reached its end.
 */
int64
bgjob_next_ids(int n, int *drawn)
{
	int64 first = draw_at_a_time(n);

	if (first == 0)
		return draw_one_by_one(n, drawn);
	*drawn = n;
	return first;
}
