/*-------------------------------------------------------------------------
 *
 * recurring.h
 *	  Recurring jobs: their rows, and the jobs that they enqueue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RECURRING_H
#define BGJOB_STORE_RECURRING_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "store/job.h"
#include "store/relation.h"

/* Columns of bgjob_internal.recurring, in their order. */
typedef enum BgjobRecurringColumn
{
	BGJOB_R_ID = 1,
	BGJOB_R_OWNER,
	BGJOB_R_NAME,
	BGJOB_R_CREATED_AT,
	BGJOB_R_SCHEDULE,
	BGJOB_R_TIME_ZONE,
	BGJOB_R_ALL_DAYS,
	BGJOB_R_MISFIRE,
	BGJOB_R_OVERLAP,
	BGJOB_R_JITTER,
	BGJOB_R_STARTS_AT,
	BGJOB_R_ENDS_AT,
	BGJOB_R_ACTIVE,
	BGJOB_R_NEXT_AT,
	BGJOB_R_LAST_AT,
	BGJOB_R_LAST_RUN_AT,
	BGJOB_R_LAST_JOB,
	BGJOB_R_QUEUED,
	BGJOB_R_ERROR,
	BGJOB_R_LOST,
	BGJOB_R_RUN_AS,
	BGJOB_R_SETTINGS_ID,
	BGJOB_R_POLICY_ID,
	BGJOB_R_KIND,
	BGJOB_R_PRIORITY,
	BGJOB_R_MAX_RETRIES,
	BGJOB_R_TIMEOUT,
	BGJOB_R_RETENTION,
	BGJOB_R_QUEUE,
	BGJOB_R_JOB,
	BGJOB_R_FUNC,
	BGJOB_R_ARGS,
	BGJOB_R_CUSTOM_SETTINGS,
	BGJOB_R_UNIQUE_KEY,
	BGJOB_R_ON_DUPLICATE,
	BGJOB_R_TAGS,
	BGJOB_R_PARAMETERS,
	BGJOB_R_GIVEN,
	BGJOB_R_RETRY_DELAYS,
	BGJOB_R_SEQUENCE_PLACES,
	BGJOB_R_LIMIT_PLACES,
	BGJOB_R_FAIRNESS_PLACES,
#define BGJOB_OPTION_COLUMN(symbol, ...) BGJOB_R_##symbol,
#include "store/optionlist.h"
	BGJOB_R_END
} BgjobRecurringColumn;

#define BGJOB_R_COUNT (BGJOB_R_END - 1)

/* The action for occurrences that were missed while no scheduler ran; the letters are stored. */
typedef enum BgjobMisfire
{
	BGJOB_MISFIRE_ONCE = 'o',
	BGJOB_MISFIRE_ALL = 'a',
	BGJOB_MISFIRE_SKIP = 's'
} BgjobMisfire;

/* The action for an occurrence while the previous job has not ended; the letters are stored. */
typedef enum BgjobOverlap
{
	BGJOB_OVERLAP_ALLOW = 'a',
	BGJOB_OVERLAP_SKIP = 's',
	BGJOB_OVERLAP_QUEUE = 'q',
	BGJOB_OVERLAP_CANCEL = 'c'
} BgjobOverlap;

/* A row. What is not null lives in the memory context of reading. */
typedef struct BgjobRecurring
{
	Datum values[BGJOB_R_COUNT];
	bool nulls[BGJOB_R_COUNT];
	const BgjobExternal *external; /* what of it is stored out of line; NULL: nothing */
	ItemPointerData tid;           /* invalid: not yet inserted */
} BgjobRecurring;

static inline bool
bgjob_recurring_is_null(const BgjobRecurring *row, BgjobRecurringColumn column)
{
	return row->nulls[column - 1];
}

static inline Datum
bgjob_recurring_datum(const BgjobRecurring *row, BgjobRecurringColumn column)
{
	return row->values[column - 1];
}

static inline void
bgjob_recurring_set(BgjobRecurring *row, BgjobRecurringColumn column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

static inline void
bgjob_recurring_set_null(BgjobRecurring *row, BgjobRecurringColumn column)
{
	row->values[column - 1] = (Datum) 0;
	row->nulls[column - 1] = true;
}

/* Makes a new row, all of whose columns are null. */
static inline void
bgjob_recurring_clear(BgjobRecurring *row)
{
	memset(row, 0, sizeof(*row));
	memset(row->nulls, true, sizeof(row->nulls));
	ItemPointerSetInvalid(&row->tid);
}

/* One that is due; they are in the order of these. */
typedef struct BgjobDue
{
	TimestampTz at;
	int64 id;
} BgjobDue;

extern int64 bgjob_recurring_id(const BgjobRecurring *row);
extern char *bgjob_recurring_text(const BgjobRecurring *row, BgjobRecurringColumn column);
extern TimestampTz bgjob_recurring_time(const BgjobRecurring *row, BgjobRecurringColumn column,
										TimestampTz if_null);
extern void
bgjob_recurring_set_time(BgjobRecurring *row, BgjobRecurringColumn column, TimestampTz at);
extern void
bgjob_recurring_set_text(BgjobRecurring *row, BgjobRecurringColumn column, const char *text);

extern bool
bgjob_recurring_find(BgjobRel *rel, Oid owner, const char *name, BgjobRecurring *row);
extern bool bgjob_recurring_read(BgjobRel *rel, int64 id, BgjobRecurring *row);
extern int64 bgjob_recurring_count_restored(void);
extern bool bgjob_recurring_read_restored(BgjobRel *rel, int64 after, int64 *id);
extern bool bgjob_recurring_lock(BgjobRel *rel, BgjobRecurring *row, bool wait);
extern bool
bgjob_recurring_find_and_lock(BgjobRel *rel, Oid owner, const char *name, BgjobRecurring *row);
extern void bgjob_recurring_save(BgjobRel *rel, BgjobRecurring *row);
extern bool bgjob_recurring_insert(BgjobRel *rel, BgjobRecurring *row);
extern void bgjob_recurring_delete(BgjobRel *rel, BgjobRecurring *row);
extern int bgjob_recurring_due(BgjobRel *rel, const BgjobDue *after, TimestampTz until,
							   BgjobDue *due, int max, TimestampTz *next);
extern int bgjob_recurring_ids(BgjobRel *rel, int64 after, int64 *ids, int max);
extern int bgjob_recurring_queued(BgjobRel *rel, int64 after, int64 *ids, int max);
extern int
bgjob_recurring_at_reboot(BgjobRel *rel, TimestampTz started, int64 after, int64 *ids, int max);
extern int64
bgjob_recurring_enqueue(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence,
						TimestampTz run_at, TimestampTz now, bool wait);
extern void bgjob_recurring_refused(const BgjobJob *job, const char *reason);

#endif /* BGJOB_STORE_RECURRING_H */
