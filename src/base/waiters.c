/*-------------------------------------------------------------------------
 *
 * waiters.c
 *	  Sessions that wait for a job to end.
 *
 * A session that calls bgjob_wait() sleeps on one of a fixed number of
 * condition variables in shared memory, chosen by the job's id; the
 * transaction that ends a job wakes those after it has committed
 * (base/change.c). Two jobs may share a variable, so a sleeper reads the
 * job again after each wake-up. Without waiters, waking costs the read of a
 * counter.
 *
 * The order that makes it safe: prepare, then read the job, then sleep. A
 * job that ends between the two has woken the prepared
 * session already.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/registry.h"
#include "base/waiters.h"
#include "base/waits.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"

#define BUCKETS 512

typedef struct WaitBucket
{
	pg_atomic_uint32 waiters;
	ConditionVariable ended;
} WaitBucket;

static WaitBucket *buckets = NULL;
static WaitBucket *waiting_in = NULL;

/* bgjob_waiters_size returns the bytes of shared memory that the waiters take. */
Size
bgjob_waiters_size(void)
{
	return BUCKETS * sizeof(WaitBucket);
}

/* bgjob_waiters_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_waiters_startup(void)
{
	bool found;

	buckets = ShmemInitStruct("bgjob waiters", bgjob_waiters_size(), &found);
	for (int i = 0; i < BUCKETS && !found; i++)
	{
		pg_atomic_init_u32(&buckets[i].waiters, 0);
		ConditionVariableInit(&buckets[i].ended);
	}
}

static WaitBucket *
bucket_of(int64 job)
{
	return &buckets[(uint64) job % BUCKETS];
}

/* bgjob_waiters_prepare enters this session among those that wait for a job. */
void
bgjob_waiters_prepare(int64 job)
{
	WaitBucket *bucket = bucket_of(job);

	pg_atomic_fetch_add_u32(&bucket->waiters, 1);
	waiting_in = bucket;
	ConditionVariablePrepareToSleep(&bucket->ended);
}

/*
 * bgjob_waiters_sleep sleeps until something has ended or the time is up; a
 * negative time means for ever. Returns true if the time is up. Interrupts
 * are served.
 */
bool
bgjob_waiters_sleep(int64 job, long timeout_ms)
{
	return ConditionVariableTimedSleep(&bucket_of(job)->ended, timeout_ms,
									   bgjob_wait_event(BGJOB_WAIT_JOB_END));
}

/* bgjob_waiters_leave ends what bgjob_waiters_prepare began; also after an error. */
void
bgjob_waiters_leave(void)
{
	ConditionVariableCancelSleep();
	if (waiting_in != NULL)
		pg_atomic_fetch_sub_u32(&waiting_in->waiters, 1);
	waiting_in = NULL;
}

/* bgjob_waiters_wake wakes the sessions that wait for a job. Must not throw. */
void
bgjob_waiters_wake(int64 job)
{
	WaitBucket *bucket = bucket_of(job);

	pg_memory_barrier();
	if (pg_atomic_read_u32(&bucket->waiters) != 0)
		ConditionVariableBroadcast(&bucket->ended);
}

/* bgjob_waiters_wake_all wakes all sessions that wait for a job. Must not throw. */
void
bgjob_waiters_wake_all(void)
{
	for (int job = 0; job < BUCKETS; job++)
		bgjob_waiters_wake(job);
}
