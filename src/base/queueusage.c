/*-------------------------------------------------------------------------
 *
 * queueusage.c
 *	  The CPU time and the WAL that a worker uses for each queue.
 *
 * Reading the clock of the process costs a system call, more than all else that the
 * statistics do for a job. So it is not read for each: what a worker uses belongs to the queue
 * of the job that it has claimed last, and is added to the statistics of that queue (base/queuestats.c)
 * when the next job is of another one, or PERIOD has passed, or the worker has nothing to do or leaves. A
 * job that takes long is added when it has ended. What a worker uses
 * before it has claimed a job, to start or to look for one, belongs to the queue of that job.
 *
 * Parallel workers are processes of their own: their WAL is added to that of the worker by the server,
 * their CPU time is not.
 *
 * By workers, with no transaction needed. Does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/queuestats.h"
#include "base/queueusage.h"
#include "executor/instrument.h"

/* After so long what was used is added at the next job, in microseconds. */
#define PERIOD 100000

/* The queue that what is used belongs to. */
static struct
{
	Oid role;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	BgjobQueueStatsRef stats;
	bool active; /* false: what is used belongs to the queue of the next job */
} current;

/* What had been used when it was added to the statistics last. */
static int64 cpu_time = 0;
static uint64 wal_bytes = 0;
static TimestampTz added_at = 0;

/* Returns the CPU time of this process in microseconds. */
static int64
read_cpu_time(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0)
		return cpu_time;
	return (int64) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Adds to the statistics of the queue what was used since the last time. */
static void
add_usage(void)
{
	int64 cpu_time_now = read_cpu_time();
	uint64 wal_bytes_now = pgWalUsage.wal_bytes;

	if (bgjob_queue_stats_open(&current.stats, current.role, current.queue))
	{
		bgjob_queue_stats_add_usage(cpu_time_now - cpu_time,
									(int64) (wal_bytes_now - wal_bytes));
		bgjob_queue_stats_close();
	}
	cpu_time = cpu_time_now;
	wal_bytes = wal_bytes_now;
}

/*
 * bgjob_queue_usage_begin has what this process uses from now on belong to a queue of a role: it has
 * claimed a job there, at "now" or a little later.
 */
void
bgjob_queue_usage_begin(Oid role, const char *queue, TimestampTz now)
{
	bool same = current.role == role && strcmp(current.queue, queue) == 0;

	if (same && current.active && now - added_at < PERIOD && now >= added_at)
		return;
	if (current.active)
		add_usage();
	current.active = true;
	added_at = now;
	if (same)
		return;
	current.role = role;
	strlcpy(current.queue, queue, sizeof(current.queue));
	current.stats.entry = -1;
}

/* bgjob_queue_usage_end adds what was used until now: the worker has nothing to do, or leaves. */
void
bgjob_queue_usage_end(void)
{
	if (current.active)
		add_usage();
	current.active = false;
}
