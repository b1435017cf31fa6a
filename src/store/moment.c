/*-------------------------------------------------------------------------
 *
 * moment.c
 *	  A snapshot of the jobs, and the moves that it shows.
 *
 * The base of a count is what a snapshot shows, less the moves at that moment. Both
 * must cover exactly the same transactions. A transaction adds its moves a little
 * after it becomes visible, and names itself in bgjob_registry->movers from before
 * until after that. So a process reads the moves, and then takes the snapshot. If
 * moves were added meanwhile, or the snapshot shows a named transaction, it tries
 * again. One moment serves the sums of the database and all tallies.
 *
 * Where there are many tallies, reading their moves takes so long that under load
 * some transaction always comes in between. Then the process closes the gate:
 * transactions that are about to commit wait there, those behind it end, and
 * nothing moves. It is open again after GATE_TRIES attempts, some 20 milliseconds, at
 * the latest. The gate is no lock: a transaction may pass it unnoticed, and is noticed
 * by what it adds.
 *
 * Any process. Locks: bgjob_registry->gate, exclusively, while the gate is closed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/database.h"
#include "miscadmin.h"
#include "store/moment.h"
#include "utils/snapmgr.h"

/* Number of attempts with the gate open, and with it closed, and the pause after each, in microseconds. */
#define OPEN_TRIES 20
#define GATE_TRIES 400
#define PAUSE      50

/* Number of times that the gate is closed. */
#define GATES 3

/* Returns whether a snapshot shows a transaction, or may show it. */
static bool
may_show(Snapshot snapshot, TransactionId xid)
{
#ifdef BGJOB_FAST_MOVERS
	return !XidInMVCCSnapshot(xid, snapshot);
#else
	return true;
#endif
}

/* Returns whether a transaction that a snapshot shows has not added its moves yet. */
static bool
has_mover(Snapshot snapshot)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		TransactionId xid = *(volatile TransactionId *) &bgjob_registry->movers[i];

		if (TransactionIdIsValid(xid) && may_show(snapshot, xid))
			return true;
	}
	return false;
}

/* Reads the moves and takes the snapshot. Returns whether both cover the same transactions. */
static bool
try_moment(BgjobMoment *moment, BgjobRel *rel, BgjobDatabase *entry)
{
	uint64 movers = pg_atomic_read_u64(&entry->movers);
	bool complete;
	bool exact;

	pg_memory_barrier();
	for (int state = 0; state < BGJOB_NSTATES; state++)
		moment->moves[state] = (int64) pg_atomic_read_u64(&entry->moves[state]);
	moment->ntallies = bgjob_tallies_moves(moment->tallies, moment->room);
	complete = moment->ntallies <= moment->room;
	pg_memory_barrier();
	moment->snapshot = bgjob_rel_snapshot(rel);
	exact = complete && !has_mover(moment->snapshot);
	pg_memory_barrier();
	return exact && pg_atomic_read_u64(&entry->movers) == movers;
}

/* Tries several times; the snapshot of the last attempt is kept. Allocates nothing but snapshots. */
static bool
try_moments(BgjobMoment *moment, BgjobRel *rel, BgjobDatabase *entry, int tries)
{
	while (!try_moment(moment, rel, entry))
	{
		if (--tries == 0)
			return false;
		UnregisterSnapshot(moment->snapshot);
		pg_usleep(PAUSE);
	}
	return true;
}

/* Makes room for all tallies that there are, and some that may be added meanwhile. */
static void
make_room(BgjobMoment *moment)
{
	int n = bgjob_tallies_moves(NULL, 0);

	if (n + 16 <= moment->room)
		return;
	moment->room = n + n / 8 + 64;
	if (moment->tallies != NULL)
		pfree(moment->tallies);
	moment->tallies = palloc_extended(moment->room * sizeof(BgjobTallyMoves), MCXT_ALLOC_HUGE);
}

/* Tries with the gate closed. */
static bool
try_behind_gate(BgjobMoment *moment, BgjobRel *rel, BgjobDatabase *entry)
{
	volatile bool exact = false;

	LWLockAcquire(&bgjob_registry->gate, LW_EXCLUSIVE);
	pg_atomic_write_u32(&bgjob_registry->gated, 1);
	PG_TRY();
	{
		exact = try_moments(moment, rel, entry, GATE_TRIES);
	}
	PG_FINALLY();
	{
		pg_atomic_write_u32(&bgjob_registry->gated, 0);
	}
	PG_END_TRY();
	LWLockRelease(&bgjob_registry->gate);
	return exact;
}

/*
 * bgjob_moment_take takes a snapshot, and the moves of exactly the transactions that
 * it shows. moment->exact: whether such a moment was found; if not, there is a
 * snapshot nevertheless. The caller unregisters it.
 */
void
bgjob_moment_take(BgjobMoment *moment, BgjobRel *rel, BgjobDatabase *entry)
{
	memset(moment, 0, sizeof(*moment));
	moment->doubts = pg_atomic_read_u32(&entry->doubts);
	pg_memory_barrier();
	make_room(moment);
	moment->exact = try_moments(moment, rel, entry, OPEN_TRIES);
	for (int i = 0; i < GATES && !moment->exact; i++)
	{
		UnregisterSnapshot(moment->snapshot);
		CHECK_FOR_INTERRUPTS();
		make_room(moment);
		moment->exact = try_behind_gate(moment, rel, entry);
	}
}
