/*-------------------------------------------------------------------------
 *
 * leasenotes.c
 *	  What the running transaction does with leases.
 *
 * A transaction notes which leases it has taken (bgjob_fetch) and which it ends. At its
 * commit the first are held, and the others are freed, with the places that they hold at
 * gates. When it, or a subtransaction, is rolled back, what was fetched there is
 * freed, and what was ended there is held as before. That happens before the jobs
 * are announced again (base/change.c): else a scan would leave them out.
 *
 * A transaction that has fetched cannot be prepared: nobody would know whether the jobs
 * are in flight. One that has only ended leases can: these stay held in memory until the
 * scheduler finds that their rows have gone (process/leases.c).
 *
 * The notes are an array in the order of the subtransactions, allocated before a job
 * is taken, since it is noted where nothing may throw.
 *
 * The backend that runs the transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "base/gate.h"
#include "base/lease.h"
#include "base/leasenotes.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct LeaseNote
{
	SubTransactionId subid;
	int index;
	uint64 serial;
	bool ended; /* else it was fetched */
} LeaseNote;

/* Room that is kept from one transaction to the next. */
#define KEEP 128

static LeaseNote *notes = NULL;
static int nnotes = 0;
static int room = 0;

/* bgjob_lease_notes_expect makes room for n more notes. May throw. */
void
bgjob_lease_notes_expect(int n)
{
	int wanted = Max(nnotes + n, KEEP);

	if (wanted <= room)
		return;
	wanted = Max(wanted, Min(2 * room, wanted + 1000000));
	if (notes == NULL)
		notes = MemoryContextAlloc(TopMemoryContext, wanted * sizeof(LeaseNote));
	else
		notes = repalloc_huge(notes, wanted * sizeof(LeaseNote));
	room = wanted;
}

static void
add(int index, uint64 serial, bool ended)
{
	notes[nnotes++] = (LeaseNote){GetCurrentSubTransactionId(), index, serial, ended};
}

/* bgjob_lease_note_fetched notes that a job was taken and named in a lease. There must be room. Does not throw. */
void
bgjob_lease_note_fetched(int index)
{
	add(index, bgjob_lease_serial(index), false);
}

/* bgjob_lease_note_ended notes that a lease has ended, if the running transaction commits. */
void
bgjob_lease_note_ended(int index, uint64 serial)
{
	bgjob_lease_notes_expect(1);
	add(index, serial, true);
}

/*
 * bgjob_lease_notes_ending returns one of the leases that the transaction ends: the first from
 * the note "from" on. Returns where to go on; -1: there is none.
 */
int
bgjob_lease_notes_ending(int from, int *index, uint64 *serial)
{
	while (from < nnotes && !notes[from].ended)
		from++;
	if (from >= nnotes)
		return -1;
	*index = notes[from].index;
	*serial = notes[from].serial;
	return from + 1;
}

/* bgjob_lease_notes_has returns whether the running transaction has taken a lease. */
bool
bgjob_lease_notes_has(const BgjobLease *lease)
{
	for (int i = nnotes - 1; i >= 0; i--)
		if (!notes[i].ended && notes[i].serial == lease->serial)
			return true;
	return false;
}

/* bgjob_lease_notes_ends returns whether the running transaction has ended a lease. */
bool
bgjob_lease_notes_ends(const BgjobLease *lease)
{
	for (int i = nnotes - 1; i >= 0; i--)
		if (notes[i].ended && notes[i].serial == lease->serial)
			return true;
	return false;
}

/* bgjob_lease_notes_freed returns how many places at a gate are free when the transaction has committed. */
int
bgjob_lease_notes_freed(int64 gate)
{
	int freed = 0;

	for (int i = 0; i < nnotes; i++)
	{
		BgjobGateNeed needs[BGJOB_GATES_MAX];
		int n =
			notes[i].ended ? bgjob_lease_get_gates(notes[i].index, notes[i].serial, needs) : 0;

		while (n > 0)
			freed += needs[--n].gate == gate;
	}
	return freed;
}

/* ---- a commit that need not be flushed ---- */

static XLogRecPtr fetched_at = InvalidXLogRecPtr; /* where the log was after the last fetch */
static int commit_before = -1; /* synchronous_commit; -1: it was not changed */

/* bgjob_lease_notes_only_fetched notes that the transaction has written nothing so far but a fetch. */
void
bgjob_lease_notes_only_fetched(void)
{
	fetched_at = XactLastRecEnd;
}

/* bgjob_lease_notes_begin_commit has the commit not wait for the disk if that is still so. */
void
bgjob_lease_notes_begin_commit(void)
{
	if (XLogRecPtrIsInvalid(fetched_at) || fetched_at != XactLastRecEnd ||
		synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		return;
	commit_before = synchronous_commit;
	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
}

static void
end_commit(void)
{
	fetched_at = InvalidXLogRecPtr;
	if (commit_before >= 0)
		synchronous_commit = commit_before;
	commit_before = -1;
}

/* bgjob_lease_notes_has_gates returns whether a lease that the transaction ends holds places at gates. */
bool
bgjob_lease_notes_has_gates(void)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];

	for (int i = 0; i < nnotes; i++)
		if (notes[i].ended && bgjob_lease_get_gates(notes[i].index, notes[i].serial, needs) > 0)
			return true;
	return false;
}

/* Frees a lease, and gives back its places at gates. "passed_on": others were let through in their place. */
static void
release(const LeaseNote *note, bool passed_on)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	TimestampTz since;
	int n = bgjob_lease_free(note->index, note->serial, needs, &since);

	if (n > 0)
		bgjob_gates_give_back(needs, n, since, passed_on);
}

/* Drops the notes from one on. */
static void
drop_from(int first)
{
	nnotes = first;
	if (first > 0 || room <= 1024)
		return;
	pfree(notes);
	notes = NULL;
	room = 0;
}

/* bgjob_lease_notes_commit: the transaction has committed. */
void
bgjob_lease_notes_commit(void)
{
	int64 first = PG_INT64_MAX;

	end_commit();
	for (int i = 0; i < nnotes; i++)
	{
		int64 ends_at;

		if (notes[i].ended || bgjob_lease_serial(notes[i].index) != notes[i].serial)
			continue;
		if (bgjob_lease_hold(notes[i].index, &ends_at))
			first = Min(first, ends_at);
		else
			release(&notes[i], false); /* the job could not be claimed */
	}
	for (int i = 0; i < nnotes; i++)
		if (notes[i].ended)
			release(&notes[i], true);
	drop_from(0);
	if (first != PG_INT64_MAX)
		bgjob_lease_announce_end(MyDatabaseId, first);
}

/* Frees what was fetched since the note "first", in the reverse order, and drops these notes. */
static void
abort_from(int first)
{
	for (int i = nnotes - 1; i >= first; i--)
		if (!notes[i].ended)
			release(&notes[i], false);
	drop_from(first);
}

/* bgjob_lease_notes_abort: the transaction was rolled back. */
void
bgjob_lease_notes_abort(void)
{
	end_commit();
	abort_from(0);
}

/* A subtransaction was rolled back. */
static void
abort_sub(SubTransactionId my)
{
	int first = nnotes;

	while (first > 0 && notes[first - 1].subid >= my)
		first--;
	if (first < nnotes)
		abort_from(first);
}

/* A subtransaction has become part of its parent. */
static void
commit_sub(SubTransactionId my, SubTransactionId parent)
{
	for (int i = nnotes - 1; i >= 0 && notes[i].subid >= my; i--)
		notes[i].subid = parent;
}

/* bgjob_lease_notes_end_sub: a subtransaction ends. */
void
bgjob_lease_notes_end_sub(SubXactEvent event, SubTransactionId my, SubTransactionId parent)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		abort_sub(my);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		commit_sub(my, parent);
}

/* bgjob_lease_notes_check_prepare raises 0A000 if the transaction, which is to be prepared, has fetched jobs. */
void
bgjob_lease_notes_check_prepare(void)
{
	for (int i = 0; i < nnotes; i++)
		if (!notes[i].ended)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot PREPARE a transaction that has fetched jobs"),
							errdetail("bgjob_fetch() has given jobs to an external worker."),
							errhint("Commit, and complete the jobs in another transaction.")));
}

/* bgjob_lease_notes_prepared: the transaction is prepared. What it ends is held until the scheduler finds otherwise. */
void
bgjob_lease_notes_prepared(void)
{
	drop_from(0);
}
