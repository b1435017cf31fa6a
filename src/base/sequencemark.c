/*-------------------------------------------------------------------------
 *
 * sequencemark.c
 *	  From where on the sequences have jobs, in shared memory.
 *
 * A job may run only if none with a lower id stands in its sequence. Those that have stood there are deleted rows, which cannot be
 * removed while some session holds an old snapshot, and each job would go along all of them. So the entry of a sequence's gate
 * has a low-water mark: no job with a lower id stands there. Unlike that of a line (base/gatemark.c), on which only
 * depends when a job goes on, this one must hold: the order depends on it.
 *
 * A reader takes the mark, then its snapshot, and looks for a job with a lower id from there on. Where it finds the first one,
 * or at its own job, the mark may be from then on. What makes an earlier row visible lowers the mark right after that: the
 * commit of a transaction in which jobs have entered the sequence, and the rollback of one in which jobs have left it. A job that is looked
 * at in between starts as if it had been the moment before. Lowering changes the moment of the entry, and an advance with an older moment
 * is refused.
 *
 * EPOCHS. The marks of a database are of its epoch; a new one makes all of them void. So does a transaction that concerns too many sequences to
 * list. Nobody is told when a prepared transaction ends. So there is no epoch while there is one that concerns sequences: it ends the epoch when it
 * is prepared, and the scheduler begins another only when no transaction of bgjob's is prepared. An epoch is begun in two steps: it is
 * pending, then it is looked whether one is prepared. A transaction that is prepared takes its lock (base/prepared.c) before it ends the
 * epoch: either the lock is seen, or the pending epoch is ended.
 *
 * LOCKS. That of the entry's partition, for a microsecond. From callbacks of transactions nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/gatemark.h"
#include "base/gatetable.h"
#include "base/prepared.h"
#include "base/registry.h"
#include "base/sequencemark.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* A transaction notes so many sequences. */
#define FEW 64

#define PENDING (UINT64CONST(1) << 63)

/* ---- epochs ---- */

/* Returns the epoch of this database; 0: there is none, and so there are no marks. */
static uint64
epoch_of(BgjobDatabase *database)
{
	uint64 epoch = database == NULL ? 0 : pg_atomic_read_u64(&database->sequence_epoch);

	return epoch & PENDING ? 0 : epoch;
}

/* Makes all marks of this database void. A new epoch that another process has begun meanwhile does that, too. */
static void
begin_next(void)
{
	BgjobDatabase *database = bgjob_database_find(MyDatabaseId);
	uint64 epoch = epoch_of(database);

	if (epoch != 0)
		(void) pg_atomic_compare_exchange_u64(&database->sequence_epoch, &epoch,
											  bgjob_gate_new_epoch());
}

/* bgjob_sequence_marks_renew begins an epoch if there is none, and no transaction is prepared that it could not trust. By the scheduler. */
void
bgjob_sequence_marks_renew(void)
{
	BgjobDatabase *database = bgjob_database_find(MyDatabaseId);
	uint64 epoch;
	uint64 pending;

	if (database == NULL || pg_atomic_read_u64(&database->sequence_epoch) != 0)
		return;
	epoch = bgjob_gate_new_epoch();
	pending = epoch | PENDING;
	pg_atomic_write_u64(&database->sequence_epoch, pending);
	pg_memory_barrier();
	(void) pg_atomic_compare_exchange_u64(&database->sequence_epoch, &pending,
										  bgjob_prepared_all() == 0 ? epoch : 0);
}

/* ---- marks ---- */

/* bgjob_sequence_mark reads the mark of a sequence. The caller takes its snapshot after that. */
BgjobSequenceMark
bgjob_sequence_mark(int64 gate)
{
	BgjobSequenceMark mark = {.job = PG_INT64_MIN};
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;

	if (bgjob_registry == NULL)
		return mark;
	mark.epoch = epoch_of(bgjob_database_find(MyDatabaseId));
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_SHARED);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL)
		mark.moment = entry->moment;
	if (entry != NULL && mark.epoch != 0 && entry->epoch == mark.epoch)
		mark.job = entry->mark;
	LWLockRelease(&partition->lock);
	return mark;
}

/*
 * bgjob_sequence_mark_advance says that a reader, who had read the mark before it took its snapshot, has found no job with
 * a lower id than "first". If the epoch ends at this moment, the mark is of the one that has ended.
 */
void
bgjob_sequence_mark_advance(int64 gate, const BgjobSequenceMark *read, int64 first)
{
	BgjobGatePartition *partition;
	BgjobGateEntry *entry;

	if (read->epoch == 0 || first == read->job)
		return;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL && entry->moment == read->moment)
	{
		entry->mark = first;
		entry->epoch = read->epoch;
	}
	LWLockRelease(&partition->lock);
}

/* ---- what a transaction has done ---- */

/* Finds or adds the note of a sequence; NULL: there are too many. */
static BgjobSequenceNote *
note_of(BgjobSequenceNotes *notes, int64 gate)
{
	for (int i = 0; i < notes->n; i++)
		if (notes->notes[i].gate == gate)
			return &notes->notes[i];
	notes->many = notes->many || notes->n == FEW;
	if (notes->many)
		return NULL;
	if (notes->notes == NULL)
		notes->notes =
			MemoryContextAlloc(TopTransactionContext, FEW * sizeof(BgjobSequenceNote));
	notes->notes[notes->n] = (BgjobSequenceNote){gate, PG_INT64_MAX, PG_INT64_MAX};
	return &notes->notes[notes->n++];
}

/* bgjob_sequence_note_entered notes that a job has entered a sequence. */
void
bgjob_sequence_note_entered(BgjobSequenceNotes *notes, int64 gate, int64 job)
{
	BgjobSequenceNote *note = note_of(notes, gate);

	if (note != NULL)
		note->entered = Min(note->entered, job);
}

/* bgjob_sequence_note_left notes that a job has left a sequence. */
void
bgjob_sequence_note_left(BgjobSequenceNotes *notes, int64 gate, int64 job)
{
	BgjobSequenceNote *note = note_of(notes, gate);

	if (note != NULL)
		note->left = Min(note->left, job);
}

/* bgjob_sequence_notes_merge adds the notes of a committed subtransaction to those of its parent, and frees them. */
void
bgjob_sequence_notes_merge(BgjobSequenceNotes *inner, BgjobSequenceNotes *outer)
{
	for (int i = 0; i < inner->n; i++)
	{
		bgjob_sequence_note_entered(outer, inner->notes[i].gate, inner->notes[i].entered);
		bgjob_sequence_note_left(outer, inner->notes[i].gate, inner->notes[i].left);
	}
	outer->many = outer->many || inner->many;
	bgjob_sequence_notes_free(inner);
}

/* bgjob_sequence_notes_free frees the notes of a subtransaction. */
void
bgjob_sequence_notes_free(BgjobSequenceNotes *notes)
{
	if (notes->notes != NULL)
		pfree(notes->notes);
	*notes = (BgjobSequenceNotes){0};
}

/* bgjob_sequence_notes_commit tells that jobs stand in their sequences. From the commit callback. */
void
bgjob_sequence_notes_commit(const BgjobSequenceNotes *notes)
{
	if (notes->many)
		begin_next();
	for (int i = 0; i < notes->n && !notes->many; i++)
		if (notes->notes[i].entered != PG_INT64_MAX)
			bgjob_gate_mark_lower(notes->notes[i].gate, notes->notes[i].entered);
}

/* bgjob_sequence_notes_abort tells that jobs stand in their sequences again. From the callback. */
void
bgjob_sequence_notes_abort(const BgjobSequenceNotes *notes)
{
	if (notes->many)
		begin_next();
	for (int i = 0; i < notes->n && !notes->many; i++)
		if (notes->notes[i].left != PG_INT64_MAX)
			bgjob_gate_mark_lower(notes->notes[i].gate, notes->notes[i].left);
}

/* bgjob_sequence_notes_prepare ends the epoch: nobody tells when the transaction that is being prepared ends. Its lock is taken. */
void
bgjob_sequence_notes_prepare(const BgjobSequenceNotes *notes)
{
	BgjobDatabase *database = bgjob_database_find(MyDatabaseId);

	if (database != NULL && (notes->n > 0 || notes->many))
		pg_atomic_write_u64(&database->sequence_epoch, 0);
}
