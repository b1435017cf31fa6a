/*-------------------------------------------------------------------------
 *
 * job.h
 *	  A job: its row, and the one function that changes its state.
 *
 * bgjob_job_apply() is the only function that changes a job's state. It reads
 * the table of transitions (rules/state.h), keeps the history in step, and
 * notes the announcements to make at commit. bgjob_job_save() then writes the
 * row, and puts the job into the place of its new state (store/place.h).
 *
 * Locking: for an enqueued or scheduled job, the row in the queue or in the
 * schedule is the lock. The transaction that has deleted that row (store/acquire.h,
 * or a worker's claim) may change the job. A job that is stored as processing
 * may be changed by its worker, or by the scheduler when that worker is gone. Any
 * other job may be changed by the transaction that has locked its row
 * (bgjob_job_lock).
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_JOB_H
#define BGJOB_STORE_JOB_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "store/jobrow.h"
#include "tcop/cmdtag.h"
#include "utils/jsonb.h"

/* The action for a new job when another job with its unique_key has not finished; the letters are stored. */
typedef enum BgjobDuplicate
{
	BGJOB_DUPLICATE_SKIP = 's',
	BGJOB_DUPLICATE_REPLACE = 'r',
	BGJOB_DUPLICATE_RESCHEDULE = 'd',
	BGJOB_DUPLICATE_ERROR = 'e',
	BGJOB_DUPLICATE_SUPERSEDE = 'n' /* the newest wins */
} BgjobDuplicate;

/* Prefixes of the reasons of jobs that wait for a retry, and of jobs that have snoozed. */
#define BGJOB_RETRY_REASON  "Retry attempt "
#define BGJOB_SNOOZE_REASON "Snoozed for "

/* The reason of a job that a new one with its unique_key has superseded; format of the other's id. */
#define BGJOB_SUPERSEDED_REASON "Superseded by job " INT64_FORMAT

/* The reason of jobs that wait for others, to be performed in one call. */
#define BGJOB_CHUNK_REASON "Waits for others of its chunk"

/* The circumstances of an event; a field that does not apply is zero. */
typedef struct BgjobCircumstances
{
	TimestampTz at;         /* time of the event */
	const char *reason;     /* NULL: none */
	TimestampTz run_at;     /* SCHEDULE, RESCHEDULE, RETRY: time to run at */
	TimestampTz started_at; /* end of an attempt that is stored as enqueued: its start */
	int worker_pid;         /* likewise: its worker; 0: not known */
	const char *server;     /* likewise: the server of that; NULL: "default" */
	CommandTag command;  /* end of an attempt at a command: its kind, as far as it is known */
	const Jsonb *error;  /* FAIL, RETRY */
	const Jsonb *result; /* SUCCEED */
	const struct BgjobJob
		*contents; /* REQUEUE, RESCHEDULE: the new contents; NULL: unchanged */
	bool in_queue; /* INTERRUPT: the row is in the queue, as the claim was never committed */
	bool crashed;  /* INTERRUPT, FAIL: the attempt crashed the server */
	bool
		certain; /* the event records a failure: filters may change it, but an error of theirs does not fail it */
	bool guarded; /* an error of a filter fails the job, not the caller */
	bool elected; /* filters have already been asked about this event */
	bool leave;   /* a worker of the job's role is to call filters, not this process */
	BgjobDuplicate on_duplicate; /* of a new job with a unique_key */
	bool awaits;                 /* of a new job: what it awaits is not there */
	int company; /* SUCCEED: so many others were performed in the same call, which took this time */
	bool wait; /* likewise: wait for transactions that enter or leave the key */
} BgjobCircumstances;

/*
 * Hooks of higher layers around the events of jobs: the filters
 * (run/statefilters.c, api/creationfilters.c), set when the library is loaded.
 * Each returns true if it has handled the event completely.
 */
typedef struct BgjobJobFilters
{
	bool (*apply)(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
	bool (*insert)(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what, bool *is_in);
} BgjobJobFilters;

extern BgjobJobFilters bgjob_job_filters;

extern void bgjob_job_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_apply_unfiltered(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern bool
bgjob_job_can(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_put_off(BgjobJob *job, const Jsonb *pending, const BgjobCircumstances *what);
extern void bgjob_job_move(BgjobJob *job, const char *queue, int priority, bool there);
extern void bgjob_job_resume(BgjobJob *job, BgjobState state);
extern void bgjob_job_remove(BgjobRel *rel, BgjobJob *job);
extern void bgjob_job_join(const BgjobJob *job, int64 first, int n);
extern void bgjob_job_save(BgjobRel *rel, BgjobJob *job);

#endif /* BGJOB_STORE_JOB_H */
