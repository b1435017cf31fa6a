/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The worker as a whole: see worker.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_WORKER_H
#define BGJOB_WORKER_WORKER_H

#include "worker/slot.h"

typedef enum WorkerMode
{
	WORKER_RUNNING,
	WORKER_QUIET,    /* fetches no more */
	WORKER_STOPPING, /* and leaves when its jobs are over */
	WORKER_ENDING    /* or at once */
} WorkerMode;

/* Buckets of the durations of jobs; the last one is for all that take longer. */
#define WORKER_BUCKETS 12
extern const double worker_bucket_limits[WORKER_BUCKETS];

/*
 * A job that takes less is quick; how long answers of quick jobs are waited for. The latter is longer than
 * a tick of the kernel, which is 4 ms as a rule: for a shorter wait the kernel sets the timer of the
 * processor, which costs more than the rest of the call, above all in a virtual machine.
 */
#define WORKER_QUICK  (LOOP_MS / 2)
#define WORKER_GATHER (5 * LOOP_MS)

/* What has happened since the start. */
typedef struct WorkerCounts
{
	int64_t fetched;
	int64_t succeeded;
	int64_t failed;
	int64_t released;
	int64_t unknown;
	int64_t lost;
	int64_t canceled;
	int64_t timed_out;
	int64_t handlers;
	int64_t connections;
	int64_t buckets[WORKER_BUCKETS + 1];
	int64_t durations; /* microseconds */
} WorkerCounts;

typedef struct Worker
{
	Slot *slots;
	int busy;               /* slots that have a job */
	int64_t usual_duration; /* of jobs; see worker_observe */
	int64_t taken;          /* jobs that were begun */
	WorkerMode mode;
	bool paused;  /* by an administrator */
	bool changed; /* a slot became free */
	bool over;    /* the loop is left */
	int exit_code;
	WorkerCounts counts;
} Worker;

extern Worker worker;

extern void worker_open(void);
extern void worker_turn(void);
extern void worker_signal(int signal);
extern void worker_stop(const char *why);
extern void worker_fail(int exit_code);
extern int worker_wanted(void);
extern void worker_take(Job *job);
extern Slot *worker_find(int64_t job);
extern void worker_lose_all(void);
extern bool worker_expects_answers(void);
extern void worker_observe(const Job *job);
extern void worker_warn_unknown(const Job *job);
extern void worker_wake_at(int64_t at);
extern void worker_close(void);

#endif
