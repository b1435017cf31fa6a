/*-------------------------------------------------------------------------
 *
 * jobrow.h
 *	  The row of a job: its columns, reading and locking it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_JOBROW_H
#define BGJOB_STORE_JOBROW_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "storage/itemptr.h"
#include "store/relation.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.job, in their order (sql/10_tables.sql explains it). */
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
	BGJOB_C_RECURRING_NAME,
	BGJOB_C_AFTER,
	BGJOB_C_TAGS,
	BGJOB_C_PARAMETERS,
	BGJOB_C_PROGRESS,
	BGJOB_C_PROGRESS_MESSAGE,
	BGJOB_C_ENQUEUED_BY,
	BGJOB_C_AFTER_BATCH,
	BGJOB_C_AFTER_SIGNAL,
	BGJOB_C_CONDITION,
	BGJOB_C_AWAIT_TIMEOUT,
	BGJOB_C_AWAIT_DELAY,
	BGJOB_C_RETRY_DELAYS,
	BGJOB_C_FOLLOWS,
	BGJOB_C_SERVER,
#define BGJOB_OPTION_COLUMN(symbol, ...) BGJOB_C_##symbol,
#include "store/optionlist.h"
	BGJOB_C_PENDING,
	BGJOB_C_GATE
} BgjobColumn;

#define BGJOB_NCOLUMNS BGJOB_C_GATE

/* The kinds of jobs; bgjob_internal.job stores the letters. */
typedef enum BgjobKind
{
	BGJOB_KIND_FUNCTION = 'f',
	BGJOB_KIND_SQL = 's',
	BGJOB_KIND_EXTERNAL = 'e'
} BgjobKind;

typedef struct BgjobJob
{
	/* the row: values[column - 1], in the memory context of reading */
	Datum values[BGJOB_NCOLUMNS];
	bool nulls[BGJOB_NCOLUMNS];
	const BgjobExternal *external; /* its values that are stored out of line; NULL: none */
	ItemPointerData tid;           /* invalid: not yet inserted */
	bool behind_batch;             /* it may await a batch, directly or over others */
	bool to_place;                 /* bgjob_job_save puts the job into the place of its state */

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
	const char *func; /* NULL unless a function */
} BgjobJob;

/* The job for which filters are being called before its row is written: no other code may write it meanwhile. 0: none */
extern int64 bgjob_job_reserved;

/* The job that this session performs in its own transaction (run/inplace.c); 0: none. */
extern int64 bgjob_job_in_session;

extern void bgjob_job_check_reserved(int64 id);

extern bool bgjob_job_read(BgjobRel *rel, int64 id, BgjobJob *job);
extern bool bgjob_job_read_standing(BgjobRel *rel, int64 id, BgjobJob *job);
extern bool bgjob_job_peek(BgjobRel *rel, int64 id, ItemPointer tid);
extern bool bgjob_job_refresh(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_job_read_at(BgjobRel *rel, ItemPointer tid, int64 id, BgjobJob *job);
extern Oid bgjob_job_role(int64 id);
extern bool bgjob_job_lock(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_job_try_lock(BgjobRel *rel, BgjobJob *job);
extern void bgjob_job_load(BgjobRel *rel, BgjobJob *job);
extern bool bgjob_has_prerequisites(const BgjobJob *job);
extern int64 bgjob_job_followed(BgjobRel *rel, const BgjobJob *job);
extern bool bgjob_job_is_over(int64 id);
extern bool bgjob_job_inserted_by_me(BgjobRel *rel, int64 id);

extern const char *bgjob_job_text(const BgjobJob *job, BgjobColumn column);
extern Jsonb *bgjob_job_jsonb(const BgjobJob *job, BgjobColumn column);
extern void bgjob_job_set_text(BgjobJob *job, BgjobColumn column, const char *text);
extern void bgjob_job_set_jsonb(BgjobJob *job, BgjobColumn column, const Jsonb *value);
extern void bgjob_job_set_call(BgjobJob *job);

/* bgjob_job_datum returns a column, which must not be null. */
static inline Datum
bgjob_job_datum(const BgjobJob *job, BgjobColumn column)
{
	return job->values[column - 1];
}

/* bgjob_followed_id returns the job that a value of the column follows names. */
static inline int64
bgjob_followed_id(int64 follows)
{
	return follows < 0 ? -follows : follows;
}

static inline bool
bgjob_job_is_null(const BgjobJob *job, BgjobColumn column)
{
	return job->nulls[column - 1];
}

/* bgjob_job_is_pending returns whether an event of the job was left to a worker (run/pending.c). */
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

static inline TimestampTz
bgjob_job_time(const BgjobJob *job, BgjobColumn column)
{
	return DatumGetTimestampTz(bgjob_job_datum(job, column));
}

static inline void
bgjob_job_set_time(BgjobJob *job, BgjobColumn column, TimestampTz at)
{
	bgjob_job_set(job, column, TimestampTzGetDatum(at));
}

#endif /* BGJOB_STORE_JOBROW_H */
