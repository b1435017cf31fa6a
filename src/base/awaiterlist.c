/*-------------------------------------------------------------------------
 *
 * awaiterlist.c
 *	  The lists of sessions that wait for external jobs, in shared memory.
 *
 * Each session of the server has an entry, which says the jobs of which roles and queues it waits for. While it waits, the
 * entry is in a list, the one that waits longest first. Exactly one process takes it out, to wake it: from then on the entry is in the list of
 * those that owe, until the session has fetched (base/awaiters.c). So each of two wakers wakes another session.
 *
 * Any process. A bucket of lists, shared by some databases, has one LWLock: held for a search through the sessions that wait there, in
 * general for the first of them. It may be taken with the lock of a lane group held; no lock is taken under it, but latches are
 * set after it was released. Where nobody waits, a waker pays the read of a counter. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/awaiterlist.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "rules/clock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

/* Databases share so many lists. */
#define BUCKETS 16

typedef struct Bucket
{
	LWLock lock;
	pg_atomic_uint32 nwaiting; /* length of "waiting"; changed under the lock */
	dlist_head waiting;        /* the longest first */
	dlist_head owing;
} Bucket;

typedef struct AwaiterControl
{
	Bucket buckets[BUCKETS];
	/* by the number of the process, which is below MaxBackends */
	BgjobAwaiter awaiters[FLEXIBLE_ARRAY_MEMBER];
} AwaiterControl;

static AwaiterControl *control = NULL;

/* bgjob_awaiters_size returns the bytes of shared memory that this takes. */
Size
bgjob_awaiters_size(void)
{
	return add_size(offsetof(AwaiterControl, awaiters),
					mul_size(MaxBackends, sizeof(BgjobAwaiter)));
}

/* bgjob_awaiters_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_awaiters_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob awaiters", bgjob_awaiters_size(), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		for (int i = 0; i < BUCKETS; i++)
		{
			LWLockInitialize(&control->buckets[i].lock, tranche);
			pg_atomic_init_u32(&control->buckets[i].nwaiting, 0);
			dlist_init(&control->buckets[i].waiting);
			dlist_init(&control->buckets[i].owing);
		}
		for (int i = 0; i < MaxBackends; i++)
			control->awaiters[i].state = BGJOB_AWAITER_AWAY;
	}
	LWLockRegisterTranche(control->buckets[0].lock.tranche, "BgjobAwaiters");
}

/* bgjob_awaiter_mine returns the entry of this session. */
BgjobAwaiter *
bgjob_awaiter_mine(void)
{
	return &control->awaiters[MyProc - ProcGlobal->allProcs];
}

static Bucket *
bucket_of(Oid database)
{
	return &control->buckets[database % BUCKETS];
}

/* bgjob_awaiters_are_none returns whether no session waits. The caller has announced what it has before. */
bool
bgjob_awaiters_are_none(Oid database)
{
	pg_memory_barrier();
	return pg_atomic_read_u32(&bucket_of(database)->nwaiting) == 0;
}

/* ---- what a session waits for ---- */

/* bgjob_awaiter_hash returns what stands for the name of a queue; not 0. */
uint64
bgjob_awaiter_hash(const char *queue, size_t length)
{
	return hash_bytes_extended((const unsigned char *) queue, (int) length, 0) | 1;
}

/* bgjob_awaiter_has_role returns whether a session waits for the jobs of a role. */
bool
bgjob_awaiter_has_role(const BgjobAwaiter *awaiter, Oid role)
{
	for (int i = 0; i < awaiter->nroles; i++)
		if (awaiter->roles[i] == role)
			return true;
	return awaiter->all_roles;
}

/* bgjob_awaiter_has_queue returns whether a session waits for the jobs of a queue; 0: of any. */
bool
bgjob_awaiter_has_queue(const BgjobAwaiter *awaiter, uint64 queue)
{
	if (awaiter->rest || (queue == 0 && awaiter->nqueues > 0))
		return true;
	for (int i = 0; i < awaiter->nqueues; i++)
		if (awaiter->queues[i] == queue)
			return true;
	return false;
}

/* Returns whether a session would take jobs. The lock of the bucket is held. */
static bool
would_take(const BgjobAwaiter *awaiter, const BgjobReady *ready)
{
	return awaiter->database == ready->database &&
		   bgjob_awaiter_has_queue(awaiter, ready->queue) &&
		   bgjob_awaiter_has_role(awaiter, ready->role);
}

/* ---- entering and leaving ---- */

/* Takes a session out of the list that it is in. The lock is held. */
static void
unlink_awaiter(Bucket *bucket, BgjobAwaiter *awaiter)
{
	dlist_delete(&awaiter->node);
	if (awaiter->state == BGJOB_AWAITER_WAITS)
		pg_atomic_fetch_sub_u32(&bucket->nwaiting, 1);
	awaiter->state = BGJOB_AWAITER_AWAY;
}

/* bgjob_awaiter_enter enters this session, which is in no list, among those that wait. */
void
bgjob_awaiter_enter(BgjobAwaiter *awaiter)
{
	Bucket *bucket = bucket_of(awaiter->database);

	LWLockAcquire(&bucket->lock, LW_EXCLUSIVE);
	dlist_push_tail(&bucket->waiting, &awaiter->node);
	awaiter->state = BGJOB_AWAITER_WAITS;
	pg_atomic_fetch_add_u32(&bucket->nwaiting, 1);
	LWLockRelease(&bucket->lock);
}

/* bgjob_awaiter_leave takes this session out of the list of those that wait, and (owing) of those that owe. Returns the state that it was in. */
BgjobAwaiterState
bgjob_awaiter_leave(BgjobAwaiter *awaiter, bool owing)
{
	Bucket *bucket = bucket_of(awaiter->database);
	BgjobAwaiterState state;

	LWLockAcquire(&bucket->lock, LW_EXCLUSIVE);
	state = awaiter->state;
	if (state == BGJOB_AWAITER_WAITS || (owing && state == BGJOB_AWAITER_OWES))
		unlink_awaiter(bucket, awaiter);
	LWLockRelease(&bucket->lock);
	return state;
}

/* ---- waking ---- */

static void
owe(Bucket *bucket, BgjobAwaiter *awaiter, BgjobWoken *woken)
{
	unlink_awaiter(bucket, awaiter);
	awaiter->state = BGJOB_AWAITER_OWES;
	awaiter->woken_at = bgjob_steady_now();
	dlist_push_tail(&bucket->owing, &awaiter->node);
	woken->latches[woken->n++] = awaiter->latch;
}

/* Counts the sessions that owe, and are still expected to fetch, and would take jobs. The lock is held. */
static int64
count_owing(Bucket *bucket, const BgjobReady *ready)
{
	int64 since = bgjob_steady_now() - BGJOB_DEBT_LIFE * INT64CONST(1000);
	dlist_iter iter;
	int64 n = 0;

	dlist_foreach (iter, &bucket->owing)
	{
		const BgjobAwaiter *awaiter = dlist_container(BgjobAwaiter, node, iter.cur);

		n += awaiter->woken_at > since && would_take(awaiter, ready);
	}
	return n;
}

/*
 * bgjob_awaiters_choose adds sessions that wait and would take jobs, at most "count" of them (but_owing: and of those that owe already), to those
 * that are being woken, as far as there is room. The caller sets their latches.
 */
void
bgjob_awaiters_choose(const BgjobReady *ready, int64 count, bool but_owing, BgjobWoken *woken)
{
	Bucket *bucket = bucket_of(ready->database);
	dlist_mutable_iter iter;

	LWLockAcquire(&bucket->lock, LW_EXCLUSIVE);
	if (but_owing)
		count -= count_owing(bucket, ready);
	dlist_foreach_modify(iter, &bucket->waiting)
	{
		BgjobAwaiter *awaiter = dlist_container(BgjobAwaiter, node, iter.cur);

		if (count <= 0 || woken->n == BGJOB_WAKE_AT_ONCE)
			break;
		if (!would_take(awaiter, ready))
			continue;
		owe(bucket, awaiter, woken);
		count--;
	}
	LWLockRelease(&bucket->lock);
}

/* bgjob_awaiters_set_latches wakes the sessions that were chosen. */
void
bgjob_awaiters_set_latches(const BgjobWoken *woken)
{
	for (int i = 0; i < woken->n; i++)
		SetLatch(woken->latches[i]);
}

/* bgjob_awaiters_wake_refused wakes the sessions of a database that wait for the end of a pause. */
void
bgjob_awaiters_wake_refused(Oid database)
{
	Bucket *bucket;
	dlist_mutable_iter iter;

	if (control == NULL || bgjob_awaiters_are_none(database))
		return;
	bucket = bucket_of(database);
	LWLockAcquire(&bucket->lock, LW_EXCLUSIVE);
	dlist_foreach_modify(iter, &bucket->waiting)
	{
		BgjobAwaiter *awaiter = dlist_container(BgjobAwaiter, node, iter.cur);

		if (!awaiter->refused || awaiter->database != database)
			continue;
		unlink_awaiter(bucket, awaiter);
		SetLatch(awaiter->latch);
	}
	LWLockRelease(&bucket->lock);
}
