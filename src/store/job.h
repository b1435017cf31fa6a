/*-------------------------------------------------------------------------
 *
 * job.h
 *	  A job: its row, and the one function that changes its state.
 *
 * bgjob_job_apply() is the only place where a job's state changes. It asks
 * the table of transitions (rules/state.h), keeps the side tables (queue,
 * schedule, failure, claim) and the history in step, and notes what others
 * are to be told at commit. bgjob_job_save() then writes the row, and puts it
 * into the queue where that has been decided.
 *
 * Who may apply what: the row in the queue or in the schedule is the lock.
 * Whoever has deleted it in the running transaction (bgjob_queue_*,
 * bgjob_schedule_*) may change an enqueued or scheduled job; a failed,
 * succeeded or deleted one may be changed by who has locked its row
 * (bgjob_job_lock); one that is stored as processing by the worker that has
 * it, or by the scheduler when that worker is gone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_JOB_H
#define BGJOB_STORE_JOB_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "storage/itemptr.h"
#include "store/relation.h"
#include "utils/jsonb.h"

/* Columns of bgjob_internal.job, in their order (sql/10_tables.sql says why it is this one). */
typedef enum BgjobColumn
{
	BGJOB_C_ID = 1,
	BGJOB_C_CREATED_AT,
	BGJOB_C_CALL_ID,
	BGJOB_C_SETTINGS_ID,
	BGJOB_C_POLICY_ID,
	BGJOB_C_RUN_AS,
	BGJOB_C_ARGS,
	BGJOB_C_QUEUE,
	BGJOB_C_STATE,
	BGJOB_C_KIND,
	BGJOB_C_PRIORITY,
	BGJOB_C_MAX_RETRIES,
	BGJOB_C_RETRIES,
	BGJOB_C_INTERRUPTIONS,
	BGJOB_C_CRASHES,
	BGJOB_C_STATES,
	BGJOB_C_LOGS,
	BGJOB_C_WORKER_PID,
	BGJOB_C_STARTED_AT,
	BGJOB_C_FINISHED_AT,
	BGJOB_C_POS,
	BGJOB_C_ENTERED_AT,
	BGJOB_C_RUN_AT,
	BGJOB_C_BATCH_ID,
	BGJOB_C_TIMEOUT,
	BGJOB_C_RETENTION,
	BGJOB_C_JOB,
	BGJOB_C_ENTRY_REASON,
	BGJOB_C_REASON,
	BGJOB_C_ERROR,
	BGJOB_C_RESULT,
	BGJOB_C_CUSTOM_SETTINGS,
	BGJOB_C_UNIQUE_KEY,
	BGJOB_C_SEQUENCE_KEY,
	BGJOB_C_LIMITS,
	BGJOB_C_RECURRING_NAME,
	BGJOB_C_AFTER,
	BGJOB_C_TAGS,
	BGJOB_C_PARAMETERS,
	BGJOB_C_PROGRESS,
	BGJOB_C_PROGRESS_MESSAGE,
	BGJOB_C_ENQUEUED_BY,
#define BGJOB_OPTION_COLUMN(symbol, ...) BGJOB_C_##symbol,
#include "store/optionlist.h"
	BGJOB_C_PENDING
} BgjobColumn;

#define BGJOB_NCOLUMNS BGJOB_C_PENDING

/* What kind of work a job is; the letters are what bgjob_internal.job stores. */
typedef enum BgjobKind
{
	BGJOB_KIND_FUNCTION = 'f',
	BGJOB_KIND_SQL = 's',
	BGJOB_KIND_EXTERNAL = 'e'
} BgjobKind;

typedef struct BgjobJob
{
	/* the row: values[column - 1]; what is not null lives in the context of reading */
	Datum values[BGJOB_NCOLUMNS];
	bool nulls[BGJOB_NCOLUMNS];
	const BgjobExternal *external; /* what of it is stored out of line; NULL: nothing */
	ItemPointerData tid;           /* invalid: not yet inserted */
	bool to_queue;                 /* bgjob_job_save is to put it into the queue */

	/* decoded, kept in step by bgjob_job_apply */
	int64 id;
	int64 pos;
	BgjobState state;
	BgjobKind kind;
	Oid run_as;
	int priority;
	int retries;
	int max_retries;
	int crashes;
	const char *queue;
	const char *job;
	const char *func; /* NULL but for functions */
} BgjobJob;

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
	TimestampTz at;           /* when it happened */
	const char *reason;       /* NULL: none */
	TimestampTz run_at;       /* SCHEDULE, RESCHEDULE, RETRY: when it is to run */
	TimestampTz started_at;   /* what ends an attempt that is stored as enqueued: its start */
	int worker_pid;           /* likewise: its worker; 0: not known */
	TimestampTz worker_since; /* START: when that worker's process started */
	const Jsonb *error;       /* FAIL, RETRY */
	const Jsonb *result;      /* SUCCEED */
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
 * (run/transition.c, api/creating.c), which are set when the library is loaded.
 * Each answers whether it has done the whole, or has nothing to do with it.
 */
typedef struct BgjobJobFilters
{
	bool (*apply)(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
	bool (*put_in)(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what, bool *is_in);
} BgjobJobFilters;

extern BgjobJobFilters bgjob_job_filters;

/* The job whose row is about to be written, while filters are called for it: nobody may write it meanwhile. 0: none */
extern int64 bgjob_job_reserved;

extern void bgjob_job_check_reserved(int64 id);

extern bool bgjob_job_read(BgjobRel *rel, int64 id, BgjobJob *job);
extern bool bgjob_job_read_at(BgjobRel *rel, ItemPointer tid, int64 id, BgjobJob *job);
extern bool bgjob_job_lock(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_job_try_lock(BgjobRel *rel, BgjobJob *job);
extern void bgjob_job_set_call(BgjobJob *job);
extern void bgjob_job_load(BgjobRel *rel, BgjobJob *job);
extern void bgjob_job_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_apply_unfiltered(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern bool
bgjob_job_can(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern void
bgjob_job_put_off(BgjobJob *job, const Jsonb *pending, const BgjobCircumstances *what);
extern void bgjob_job_resume(BgjobJob *job, BgjobState state);
extern void bgjob_job_remove(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_job_enter(BgjobRel *rel, BgjobJob *job, const BgjobCircumstances *what);
extern bool bgjob_job_put_in(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what);
extern void bgjob_job_fail_new(BgjobJob *job, const BgjobCircumstances *what);
extern void bgjob_job_save(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_job_inserted_by_me(BgjobRel *rel, int64 id);

/* bgjob_job_datum returns a column; the caller has seen that it is not null. */
static inline Datum
bgjob_job_datum(const BgjobJob *job, BgjobColumn column)
{
	return job->values[column - 1];
}

static inline bool
bgjob_job_is_null(const BgjobJob *job, BgjobColumn column)
{
	return job->nulls[column - 1];
}

/* bgjob_job_is_pending tells whether an event of the job was left to a worker (run/pending.c). */
static inline bool
bgjob_job_is_pending(const BgjobJob *job)
{
	return !bgjob_job_is_null(job, BGJOB_C_PENDING);
}

static inline void
bgjob_job_set(BgjobJob *job, BgjobColumn column, Datum value)
{
	job->values[column - 1] = value;
	job->nulls[column - 1] = false;
}

static inline void
bgjob_job_set_null(BgjobJob *job, BgjobColumn column)
{
	job->values[column - 1] = (Datum) 0;
	job->nulls[column - 1] = true;
}

/* bgjob_job_jsonb returns a jsonb column, NULL if it is null. */
extern Jsonb *bgjob_job_jsonb(const BgjobJob *job, BgjobColumn column);

#endif /* BGJOB_STORE_JOB_H */
