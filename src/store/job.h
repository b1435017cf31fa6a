/*-------------------------------------------------------------------------
 *
 * job.h
 *	  A job: its row, and the one function that changes its state.
 *
 * bgjob_job_apply() is the only place where a job's state changes. It asks
 * the table of transitions (rules/state.h), keeps the history in step, and
 * notes what others are to be told at commit. bgjob_job_save() then writes the
 * row, and puts the job into the place that its new state says (store/place.h).
 *
 * Who may apply what: the row in the queue or in the schedule is the lock.
 * Whoever has deleted it in the running transaction (store/hold.h, or a
 * worker's claim) may change an enqueued or scheduled job; any other one may
 * be changed by who has locked its row (bgjob_job_lock); one that is stored as
 * processing by the worker that has it, or by the scheduler when that worker
 * is gone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_JOB_H
#define BGJOB_STORE_JOB_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "store/jobrow.h"
#include "utils/jsonb.h"

/* What becomes of a new job when another one with its unique_key has not finished; the letters are stored. */
typedef enum BgjobDuplicate
{
	BGJOB_DUPLICATE_SKIP = 's',
	BGJOB_DUPLICATE_REPLACE = 'r',
	BGJOB_DUPLICATE_RESCHEDULE = 'd',
	BGJOB_DUPLICATE_ERROR = 'e'
} BgjobDuplicate;

/* How the reasons begin of what waits for a retry, and of what has snoozed. */
#define BGJOB_RETRY_REASON  "Retry attempt "
#define BGJOB_SNOOZE_REASON "Snoozed for "

/* The circumstances of an event; what does not apply is zero. */
typedef struct BgjobCircumstances
{
	TimestampTz at;         /* when it happened */
	const char *reason;     /* NULL: none */
	TimestampTz run_at;     /* SCHEDULE, RESCHEDULE, RETRY: when it is to run */
	TimestampTz started_at; /* what ends an attempt that is stored as enqueued: its start */
	int worker_pid;         /* likewise: its worker; 0: not known */
	const Jsonb *error;     /* FAIL, RETRY */
	const Jsonb *result;    /* SUCCEED */
	const struct BgjobJob *contents; /* REQUEUE, RESCHEDULE: it is to do this instead */
	bool in_queue; /* INTERRUPT: the row is in the queue, as the claim was never committed */
	bool crashed;  /* INTERRUPT, FAIL: the attempt crashed the server */
	bool certain;  /* filters may change, but not fail it: it is a failure that is recorded */
	bool guarded;  /* an error of a filter fails the job, not the caller */
	bool elected;  /* filters have been asked already whether this is what is to happen */
	BgjobDuplicate on_duplicate; /* of a new job with a unique_key */
	bool wait;                   /* likewise: for others who are putting in one */
} BgjobCircumstances;

/*
 * What a higher layer does around what happens to jobs: the filters
 * (run/statefilters.c, api/creationfilters.c), which are set when the library is loaded.
 * Each answers whether it has done the whole, or has nothing to do with it.
 */
typedef struct BgjobJobFilters
{
	bool (*apply)(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
	bool (*put_in)(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what, bool *is_in);
} BgjobJobFilters;

extern BgjobJobFilters bgjob_job_filters;

extern void bgjob_job_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_apply_unfiltered(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern bool
bgjob_job_can(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_put_off(BgjobJob *job, const Jsonb *pending, const BgjobCircumstances *what);
extern void bgjob_job_resume(BgjobJob *job, BgjobState state);
extern void bgjob_job_remove(BgjobRel *rel, BgjobJob *job);
extern void bgjob_job_save(BgjobRel *rel, BgjobJob *job);

#endif /* BGJOB_STORE_JOB_H */
