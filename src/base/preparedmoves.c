/*-------------------------------------------------------------------------
 *
 * preparedmoves.c
 *	  What prepared transactions move, for the counts of jobs.
 *
 * The moves of a transaction are added to the counts by the session that commits it
 * (base/change.c). A prepared transaction is committed by another one, so its moves
 * are kept in shared memory until then. COMMIT PREPARED then puts nothing in doubt,
 * and nobody can keep the counts unknown by preparing transactions all day.
 *
 * After a restart the moves are not known; COMMIT PREPARED of a transaction from
 * before has all jobs counted anew. So has one that changed bgjob's tables by SQL, or
 * the jobs of more than BGJOB_PREPARED_QUEUES roles. If a role has more queues in it than
 * there is room for, the role is noted alone, and its queues are counted from the
 * tables from then on, as if it had no room for tallies (base/tally.c).
 *
 * The session that prepares, and the one that commits or rolls back. A transaction
 * is found by its identifier, which the commands name. A subscription with two_phase
 * prepares and ends transactions without a command; the scheduler finds that
 * (process/unannounced.c), and has the jobs counted anew. Locks: control->lock, for
 * copying.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "base/database.h"
#include "base/preparedmoves.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

typedef struct PreparedControl
{
	LWLock lock;
	BgjobPreparedMoves moves[FLEXIBLE_ARRAY_MEMBER];
} PreparedControl;

static PreparedControl *control = NULL;

/* What this session is about to prepare. Without a name: it is not known how it will be called. */
static BgjobPreparedMoves draft;

/* bgjob_prepared_moves_size returns the bytes of shared memory that this takes. */
Size
bgjob_prepared_moves_size(void)
{
	return add_size(offsetof(PreparedControl, moves),
					mul_size(max_prepared_xacts, sizeof(BgjobPreparedMoves)));
}

/* bgjob_prepared_moves_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_prepared_moves_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob prepared moves", bgjob_prepared_moves_size(), &found);
	if (!found)
	{
		memset(control, 0, bgjob_prepared_moves_size());
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobPreparedMoves");
}

/* bgjob_prepared_moves_name says what PREPARE TRANSACTION is going to call the running transaction. */
void
bgjob_prepared_moves_name(const char *gid)
{
	strlcpy(draft.gid, gid, sizeof(draft.gid));
	draft.database = InvalidOid; /* what a PREPARE that failed has noted */
}

/*
 * bgjob_prepared_moves_begin begins with the moves of the running transaction, which
 * is being prepared. It has been marked (base/prepared.c).
 */
void
bgjob_prepared_moves_begin(TransactionId xid)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	draft.database = MyDatabaseId;
	draft.xid = xid;
	draft.doubtful = false;
	memset(draft.counts, 0, sizeof(draft.counts));
	draft.n = 0;
	if (draft.gid[0] == '\0' && entry != NULL)
	{
		entry->strangers = true;
		pg_atomic_fetch_add_u32(&entry->unnamed, 1);
	}
}

/* bgjob_prepared_moves_add adds moves to the sums of states. */
void
bgjob_prepared_moves_add(const int64 *counts, bool doubtful)
{
	for (int state = 0; state < BGJOB_NSTATES; state++)
		draft.counts[state] += counts[state];
	draft.doubtful |= doubtful;
}

/* Notes a role alone, instead of all its queues. NULL: there is no room for it. */
static BgjobPreparedQueue *
add_lost(Oid role)
{
	BgjobPreparedQueue lost;
	int n = 0;

	memset(&lost, 0, sizeof(lost));
	lost.tally.role = role;
	lost.tally.lost = true;
	for (int i = 0; i < draft.n; i++)
		if (draft.items[i].tally.role != role)
			draft.items[n++] = draft.items[i];
		else
			for (int flow = 0; flow < BGJOB_NFLOWS; flow++)
				lost.flows[flow] += draft.items[i].flows[flow];
	draft.n = n;
	if (n == BGJOB_PREPARED_QUEUES)
		return NULL;
	draft.items[n] = lost;
	return &draft.items[draft.n++];
}

/* Finds the item of a role and a queue, or adds it. NULL: there is no room for it. */
static BgjobPreparedQueue *
find_item(Oid role, const char *queue)
{
	BgjobPreparedQueue *item;

	for (int i = 0; i < draft.n; i++)
		if (draft.items[i].tally.role == role &&
			(draft.items[i].tally.lost || strcmp(draft.items[i].tally.queue, queue) == 0))
			return &draft.items[i];
	if (draft.n == BGJOB_PREPARED_QUEUES)
		return add_lost(role);
	item = &draft.items[draft.n++];
	memset(item, 0, sizeof(*item));
	item->tally.role = role;
	strlcpy(item->tally.queue, queue, sizeof(item->tally.queue));
	return item;
}

/* bgjob_prepared_moves_add_tally adds the moves of a role in a queue; a BgjobTallyVisit. */
void
bgjob_prepared_moves_add_tally(Oid role, const char *queue, const BgjobTallyNote *note,
							   void *arg)
{
	BgjobPreparedQueue *item = find_item(role, queue);

	if (item == NULL)
	{
		draft.doubtful = true;
		return;
	}
	for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		item->tally.counts[kind] += note->counts[kind];
	for (int flow = 0; flow < BGJOB_NFLOWS; flow++)
		item->flows[flow] += note->flows[flow];
}

/* Returns what is kept of a transaction of this database, NULL: nothing. The lock is held. */
static BgjobPreparedMoves *
find(const char *gid)
{
	for (int i = 0; i < max_prepared_xacts; i++)
		if (control->moves[i].database == MyDatabaseId &&
			strcmp(control->moves[i].gid, gid) == 0)
			return &control->moves[i];
	return NULL;
}

static BgjobPreparedMoves *
find_unused(void)
{
	for (int i = 0; i < max_prepared_xacts; i++)
		if (!OidIsValid(control->moves[i].database))
			return &control->moves[i];
	return NULL;
}

/* bgjob_prepared_moves_keep keeps the moves of the transaction that has just been prepared. Does not throw. */
void
bgjob_prepared_moves_keep(void)
{
	BgjobPreparedMoves *to;

	if (OidIsValid(draft.database) && draft.gid[0] != '\0')
	{
		LWLockAcquire(&control->lock, LW_EXCLUSIVE);
		to = find(draft.gid); /* of a transaction that had the same name */
		if (to == NULL)
			to = find_unused();
		if (to != NULL)
			*to = draft;
		LWLockRelease(&control->lock);
	}
	draft.database = InvalidOid;
	draft.gid[0] = '\0';
}

/* bgjob_prepared_moves_find copies what is kept of a transaction of this database; false: nothing is. */
bool
bgjob_prepared_moves_find(const char *gid, BgjobPreparedMoves *moves)
{
	const BgjobPreparedMoves *kept;

	LWLockAcquire(&control->lock, LW_SHARED);
	kept = find(gid);
	if (kept != NULL)
		*moves = *kept;
	LWLockRelease(&control->lock);
	return kept != NULL;
}

/* Counts what has happened in a queue; of a role whose queues had no room, in its "*". */
static void
commit_flows(const BgjobPreparedQueue *item)
{
	BgjobQueueStatsRef stats = {.entry = -1};

	if (!bgjob_queue_stats_open(&stats, item->tally.role,
								item->tally.lost ? BGJOB_OTHER_QUEUES : item->tally.queue))
		return;
	bgjob_queue_stats_add_flows(item->flows);
	bgjob_queue_stats_close();
}

/* Adds the moves of a queue to its tally. */
static void
commit_tally(const BgjobTallyRow *item)
{
	uint64 generation;
	BgjobTally *tally =
		item->lost ? NULL : bgjob_tally_get(item->role, item->queue, &generation);

	if (item->lost)
		bgjob_tallies_lose(item->role);
	for (int kind = 0; tally != NULL && kind < BGJOB_NTALLIED; kind++)
		pg_atomic_fetch_add_u64(&tally->moves[kind], item->counts[kind]);
}

/*
 * bgjob_prepared_moves_commit adds the moves of a prepared transaction that has just
 * been committed. The process is named among the movers, as that transaction.
 */
void
bgjob_prepared_moves_commit(const BgjobPreparedMoves *moves)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	if (entry == NULL)
		return;
	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_fetch_add_u64(&entry->moves[state], moves->counts[state]);
	for (int i = 0; i < moves->n; i++)
	{
		commit_tally(&moves->items[i].tally);
		commit_flows(&moves->items[i]);
	}
	pg_atomic_fetch_add_u64(&entry->movers, 1);
}

/* bgjob_prepared_moves_forget forgets a transaction that has ended. */
void
bgjob_prepared_moves_forget(const BgjobPreparedMoves *moves)
{
	BgjobPreparedMoves *kept;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	kept = find(moves->gid);
	if (kept != NULL && kept->xid == moves->xid)
		kept->database = InvalidOid;
	LWLockRelease(&control->lock);
}
