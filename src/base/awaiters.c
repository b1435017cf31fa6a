/*-------------------------------------------------------------------------
 *
 * awaiters.c
 *	  Sessions that wait for external jobs: those in bgjob_await().
 *
 * A session that waits is in a list (base/awaiterlist.c). The commit that makes n jobs ready takes at most n matching
 * sessions out of the list of those that wait, the one that waits longest first, and sets their latches. So a thousand
 * that wait for one job have one of them woken.
 *
 * WHY NO JOB IS LEFT WITH A SESSION ASLEEP. A session registers, then looks at the
 * lanes, then sleeps. A waker announces the job in its lane, then looks for sessions
 * that are registered. Both do so with a barrier in between, so the session finds the job, or the
 * waker the session.
 *
 * A session that was woken OWES: it is expected to fetch. Until it has (bgjob_awaiters_fetched), it is in the list
 * of those that owe. If it fails, exits, or fetches other jobs, the wake-up is passed on: another session is woken
 * if more jobs are known to be ready in the lanes that this one waited for than there are sessions that owe and would take them. That is
 * also done for a session that has not fetched BGJOB_DEBT_LIFE after it was woken: its timer calls the scheduler, since the client at
 * the other end of the connection may be gone unnoticed. The scheduler does it in each round as well (bgjob_awaiters_offer):
 * for lanes that it has discovered, queues that go on, and what all else has missed.
 *
 * The server sets latches, too: by alarms that it leaves set (of authentication_timeout, and to report statistics of a session that
 * has become idle), and to have a session catch up with invalidation messages, when half of their queue is full. A waiting session sleeps
 * again after one look at its own state. It does not catch up: the server would go on with the next one, until all are awake. So it signals one
 * for every 256 messages, until the queue is full; then it has all of them start with empty caches when they go on.
 *
 * A session that finds a job when it looks, and so does not sleep, owes nothing: whoever registered before the
 * job was ready has been woken for it, whoever came later sees it.
 *
 * What a look finds need not be there any more, or not for this session: it may find a lane that has to be scanned, and turns out to be
 * empty. An overflow of lanes (base/overflow.c) is reported to a session only if it has grown since it was last reported to it.
 * A session whose last fetch was refused, since its worker is paused, waits for no job, but for the end of the pause.
 *
 * Any process. Locks: those of base/lanegroup.h and base/awaiterlist.c. Nothing here throws, except bgjob_awaiters_prepare.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/awaiters.h"
#include "base/overflow.h"
#include "base/queues.h"
#include "base/waits.h"
#include "base/wake.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timeout.h"

static BgjobAwaiter *mine = NULL;
static TimeoutId debt_timeout;
static bool refused = false; /* the last fetch of this session was */
static uint64 reported = 0;  /* a hash of the overflows that it was told of last */

/*
 * bgjob_awaiters_wake wakes sessions for "count" jobs of a lane (without a queue: of any
 * lanes of its group), which have been announced there. Does not throw.
 */
void
bgjob_awaiters_wake(const BgjobLaneKey *key, int64 count)
{
	BgjobReady ready = {.database = key->group.database, .role = key->group.role};
	BgjobWoken woken;

	if (bgjob_awaiters_are_none(ready.database))
		return;
	if (key->queue[0] != '\0')
	{
		ready.queue = bgjob_awaiter_hash(key->queue, strlen(key->queue));
		if (bgjob_queues_get(ready.database, key->queue).paused)
			return;
	}
	do
	{
		woken.n = 0;
		bgjob_awaiters_choose(&ready, count, false, &woken);
		bgjob_awaiters_set_latches(&woken);
		count -= woken.n;
	} while (count > 0 && woken.n == BGJOB_WAKE_AT_ONCE);
}

/* ---- what is ready ---- */

/* A look at the lanes of external jobs. */
typedef struct Look
{
	const BgjobAwaiter *awaiter; /* for this session; NULL: for any */
	bool found;
	uint64 overflows; /* a hash of those that may have jobs */
	BgjobWoken woken;
} Look;

/* Calls a function for each lane of a group that has jobs for the session that looks, and whose queue is not paused. The lock of the group is held. */
static void
visit_lanes(BgjobLaneGroup *group, Look *look,
			void (*visit)(Look *look, const BgjobReady *ready, int64 known))
{
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
	{
		BgjobReady ready = {.database = group->key.database, .role = group->key.role};
		int64 known = bgjob_lane_known(lane);

		if (known == 0)
			continue;
		ready.queue = bgjob_awaiter_hash(lane->key.queue, strlen(lane->key.queue));
		if ((look->awaiter == NULL || bgjob_awaiter_has_queue(look->awaiter, ready.queue)) &&
			!bgjob_queues_get(ready.database, lane->key.queue).paused)
			visit(look, &ready, known);
	}
}

/* Returns whether the session that looks takes jobs of a group. */
static bool
looks_at(const Look *look, const BgjobLaneGroup *group)
{
	return group->key.kind == BGJOB_LANE_EXTERNAL &&
		   (look->awaiter == NULL || bgjob_awaiter_has_role(look->awaiter, group->key.role));
}

static void
note_found(Look *look, const BgjobReady *ready, int64 known)
{
	look->found = true;
}

/* Returns a hash of what a session knows of the overflow of a group when it has looked at it. */
static uint64
hash_of(const BgjobAwaiter *awaiter, const BgjobLaneGroup *group)
{
	uint64 hash = hash_combine64(group->key.role, group->noted);

	for (int i = 0; i < awaiter->nqueues; i++)
		hash = hash_combine64(hash, awaiter->queues[i]);
	return awaiter->rest ? ~hash : hash;
}

/* Adds what a group has to what a session finds. */
static void
look_at_group(BgjobLaneGroup *group, void *arg)
{
	Look *look = arg;

	if (!looks_at(look, group))
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	visit_lanes(group, look, note_found);
	if (!bgjob_overflow_is_empty(group))
		look->overflows += hash_of(look->awaiter, group) | 1;
	LWLockRelease(&group->lock);
}

/* Returns whether there may be jobs for a session. */
static bool
may_have_work(const BgjobAwaiter *awaiter)
{
	Look look = {.awaiter = awaiter};

	bgjob_lane_groups_visit(awaiter->database, look_at_group, &look);
	if (look.overflows != 0 && look.overflows != reported)
		look.found = true;
	if (look.found)
		reported = look.overflows;
	return look.found;
}

/* Wakes sessions for the jobs of a lane that no session which owes will take. */
static void
offer_lane(Look *look, const BgjobReady *ready, int64 known)
{
	bgjob_awaiters_choose(ready, known, true, &look->woken);
}

static void
offer_group(BgjobLaneGroup *group, void *arg)
{
	Look *look = arg;
	BgjobReady any = {.database = group->key.database, .role = group->key.role};

	if (!looks_at(look, group))
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	visit_lanes(group, look, offer_lane);
	if (look->awaiter == NULL && !bgjob_overflow_is_empty(group))
		offer_lane(look, &any, 1);
	LWLockRelease(&group->lock);
}

/* Wakes sessions for jobs that a session would take (NULL: any), where too few owe. */
static void
offer(Oid database, const BgjobAwaiter *awaiter)
{
	Look look = {.awaiter = awaiter};

	if (bgjob_awaiters_are_none(database))
		return;
	bgjob_lane_groups_visit(database, offer_group, &look);
	bgjob_awaiters_set_latches(&look.woken);
}

/* bgjob_awaiters_offer wakes sessions of a database for jobs that are ready and for which no session was woken, or one that has not fetched; by its scheduler. */
void
bgjob_awaiters_offer(Oid database)
{
	offer(database, NULL);
}

/* ---- the session ---- */

/* Pays what this session owes: passes it on if jobs are left that nobody else will take. */
static void
pay(void)
{
	if (mine->state != BGJOB_AWAITER_OWES) /* nobody else has it owe: it does not wait */
		return;
	disable_timeout(debt_timeout, false);
	(void) bgjob_awaiter_leave(mine, true);
	offer(mine->database, mine);
}

static void
leave(int code, Datum arg)
{
	bool owed;

	if (mine == NULL)
		return;
	owed = bgjob_awaiter_leave(mine, true) == BGJOB_AWAITER_OWES;
	if (owed)
		offer(mine->database, mine);
	mine = NULL;
}

/* Calls the scheduler, since this session has not fetched in time; a handler of a timeout. */
static void
at_debt_timeout(void)
{
	bgjob_notify_scheduler(MyDatabaseId, 0);
}

/* bgjob_awaiters_prepare prepares this process for bgjob_awaiters_sleep, where it may throw. */
void
bgjob_awaiters_prepare(void)
{
	(void) bgjob_wait_event(BGJOB_WAIT_EXTERNAL_JOB);
	if (mine != NULL)
		return;
	debt_timeout = RegisterTimeout(USER_TIMEOUT, at_debt_timeout);
	before_shmem_exit(leave, (Datum) 0);
	mine = bgjob_awaiter_mine();
	mine->database = MyDatabaseId;
	mine->latch = MyLatch;
}

/* Sets the queues that this session waits for. */
static void
set_queues(const char *list)
{
	mine->rest = false;
	mine->nqueues = 0;
	while (*(list += strspn(list, BGJOB_QUEUE_SEPARATORS)) != '\0')
	{
		size_t length = strcspn(list, BGJOB_QUEUE_SEPARATORS);

		if (length == 1 && *list == '*')
			mine->rest = true;
		else if (mine->nqueues < BGJOB_SERVER_QUEUES)
			mine->queues[mine->nqueues++] = bgjob_awaiter_hash(list, length);
		list += length;
	}
}

/* Says what this session waits for: nothing but the end of a pause, if its last fetch was refused. */
static void
set_awaited(const BgjobAwaited *awaited)
{
	mine->refused = refused;
	set_queues(refused ? "" : awaited->queues);
	mine->all_roles = awaited->all_roles;
	mine->nroles = awaited->all_roles ? 0 : awaited->nroles;
	memcpy(mine->roles, awaited->roles, mine->nroles * sizeof(Oid));
	refused = false;
}

/* Sleeps until this session is woken, the time is up, or there is an interrupt. Spurious wake-ups are ignored. */
static BgjobAwaitEnd
wait_in_list(int64 until)
{
	for (;;)
	{
		int64 rest = until - bgjob_steady_now();

		ResetLatch(MyLatch);
		if (*(volatile BgjobAwaiterState *) &mine->state != BGJOB_AWAITER_WAITS)
			return BGJOB_AWAIT_WORK;
		if (InterruptPending)
			return BGJOB_AWAIT_INTERRUPT;
		if (rest <= 0)
			return BGJOB_AWAIT_TIME;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) ((rest + 999) / 1000),
						 bgjob_wait_event(BGJOB_WAIT_EXTERNAL_JOB));
	}
}

/*
 * bgjob_awaiters_sleep returns when there may be work, when a time by the steady clock has come, or there
 * is an interrupt to be served. Needs no transaction. bgjob_awaiters_prepare has been called.
 */
BgjobAwaitEnd
bgjob_awaiters_sleep(const BgjobAwaited *awaited, int64 until)
{
	BgjobAwaitEnd end = BGJOB_AWAIT_WORK;

	pay();
	set_awaited(awaited);
	bgjob_awaiter_enter(mine);
	pg_memory_barrier();
	if (!may_have_work(mine))
		end = wait_in_list(until);
	if (bgjob_awaiter_leave(mine, false) == BGJOB_AWAITER_OWES)
	{
		end = BGJOB_AWAIT_WORK;
		enable_timeout_after(debt_timeout, BGJOB_DEBT_LIFE);
	}
	return end;
}

/*
 * bgjob_awaiters_fetched must be called when this session has fetched jobs: "taken" were taken out of their lanes. refused_it: none, since
 * the worker is paused.
 */
void
bgjob_awaiters_fetched(int taken, bool refused_it)
{
	refused = refused_it;
	if (taken > 0)
		reported = 0; /* there may be more */
	if (mine != NULL)
		pay();
}

/* bgjob_awaiters_decline passes on what this session owes: it will not fetch. */
void
bgjob_awaiters_decline(void)
{
	if (mine != NULL)
		pay();
}
