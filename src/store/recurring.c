/*-------------------------------------------------------------------------
 *
 * recurring.c
 *	  Recurring jobs: their rows, and the jobs that they enqueue.
 *
 * bgjob_internal.recurring has a row for each recurring job, with its next
 * occurrence (next_at). One transaction locks the row, enqueues the job of the
 * occurrence and sets next_at, so there is one job for each occurrence even after
 * a crash. The scheduler finds due rows along the index on next_at; rows that are
 * not due cost nothing.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/text.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store/history.h"
#include "store/newjob.h"
#include "store/option.h"
#include "store/recurring.h"
#include "store/sequence.h"
#include "store/unique.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Maximal number of restored ones that are counted. */
#define MOST_RESTORED 100000

/* bgjob_recurring_id returns the number of a recurring job. */
int64
bgjob_recurring_id(const BgjobRecurring *row)
{
	return DatumGetInt64(bgjob_recurring_datum(row, BGJOB_R_ID));
}

/* bgjob_recurring_text returns a text column, NULL if it is null. */
char *
bgjob_recurring_text(const BgjobRecurring *row, BgjobRecurringColumn column)
{
	return bgjob_recurring_is_null(row, column)
			   ? NULL
			   : TextDatumGetCString(bgjob_recurring_datum(row, column));
}

/* bgjob_recurring_time returns a column that is a time, or what stands for null. */
TimestampTz
bgjob_recurring_time(const BgjobRecurring *row, BgjobRecurringColumn column,
					 TimestampTz if_null)
{
	return bgjob_recurring_is_null(row, column)
			   ? if_null
			   : DatumGetTimestampTz(bgjob_recurring_datum(row, column));
}

/* bgjob_recurring_set_time sets a column that is a time; an infinite one is null. */
void
bgjob_recurring_set_time(BgjobRecurring *row, BgjobRecurringColumn column, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		bgjob_recurring_set_null(row, column);
	else
		bgjob_recurring_set(row, column, TimestampTzGetDatum(at));
}

/* bgjob_recurring_set_text sets a text column; NULL is null. */
void
bgjob_recurring_set_text(BgjobRecurring *row, BgjobRecurringColumn column, const char *text)
{
	if (text == NULL)
		bgjob_recurring_set_null(row, column);
	else
		bgjob_recurring_set(row, column, CStringGetTextDatum(text));
}

/* Copies a row from rel->slot. */
static void
load(BgjobRel *rel, BgjobRecurring *row)
{
	bgjob_rel_take(rel, row->values, row->nulls, &row->external);
	row->tid = rel->slot->tts_tid;
	ExecClearTuple(rel->slot);
}

static bool
find(BgjobRel *rel, const char *index, ScanKey keys, int nkeys, BgjobRecurring *row)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, index, snapshot, keys, nkeys);
	bool found = bgjob_scan_next(scan);

	if (found)
		load(rel, row);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* bgjob_recurring_find reads the recurring job of an owner and a name; false if there is none. */
bool
bgjob_recurring_find(BgjobRel *rel, Oid owner, const char *name, BgjobRecurring *row)
{
	ScanKeyData keys[2];

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(owner));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	return find(rel, "recurring_name", keys, 2, row);
}

/* bgjob_recurring_read reads one by its number; false if it has gone. */
bool
bgjob_recurring_read(BgjobRel *rel, int64 id, BgjobRecurring *row)
{
	ScanKeyData key;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return find(rel, "recurring_pkey", &key, 1, row);
}

/*
 * bgjob_recurring_read_restored finds the first one, by its number greater than
 * "after", that a restore has put there: a trigger gives those no time.
 */
bool
bgjob_recurring_read_restored(BgjobRel *rel, int64 after, int64 *id)
{
	BgjobRecurring row;
	ScanKeyData keys[2];

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ,
			  TimestampTzGetDatum(DT_NOEND));
	bgjob_key(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	if (!find(rel, "recurring_next_idx", keys, 2, &row))
		return false;
	*id = bgjob_recurring_id(&row);
	return true;
}

/* bgjob_recurring_count_restored counts them, at most MOST_RESTORED. */
int64
bgjob_recurring_count_restored(void)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_RECURRING);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int64 n = 0;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ, TimestampTzGetDatum(DT_NOEND));
	scan = bgjob_scan_begin(rel, "recurring_next_idx", snapshot, &key, 1);
	while (n < MOST_RESTORED && bgjob_scan_next(scan))
		n++;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/*
 * bgjob_recurring_lock locks a row that has just been read. False if it has
 * been changed meanwhile; or, without "wait", if another transaction has locked it.
 */
bool
bgjob_recurring_lock(BgjobRel *rel, BgjobRecurring *row, bool wait)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TM_FailureData failure;
	TM_Result result =
		table_tuple_lock(rel->rel, &row->tid, snapshot, rel->slot, GetCurrentCommandId(true),
						 LockTupleExclusive, wait ? LockWaitBlock : LockWaitSkip, 0, &failure);

	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	return result == TM_Ok;
}

/*
 * bgjob_recurring_find_and_lock reads a row by its owner and name, and locks it. Waits
 * for a transaction that is changing it, and then reads it again. False: there is none.
 */
bool
bgjob_recurring_find_and_lock(BgjobRel *rel, Oid owner, const char *name, BgjobRecurring *row)
{
	while (bgjob_recurring_find(rel, owner, name, row))
	{
		CHECK_FOR_INTERRUPTS();
		if (bgjob_recurring_lock(rel, row, true))
			return true;
	}
	return false;
}

/* bgjob_recurring_save writes a row: inserts a new one, updates one that was read and locked. */
void
bgjob_recurring_save(BgjobRel *rel, BgjobRecurring *row)
{
	if (ItemPointerIsValid(&row->tid))
		bgjob_rel_update_taken(rel, &row->tid, row->values, row->nulls, row->external);
	else
		bgjob_rel_insert_taken(rel, row->values, row->nulls, &row->external);
	row->tid = rel->tid;
}

/* Tells whether there is a row of an owner and name. *inserter: the transaction that is inserting it, if one is. */
static bool
exists(BgjobRel *rel, Oid owner, Datum name, TransactionId *inserter)
{
	SnapshotData dirty;
	ScanKeyData keys[2];
	BgjobScan *scan;
	bool found;

	InitDirtySnapshot(dirty);
	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(owner));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, name);
	scan = bgjob_scan_begin(rel, "recurring_name", &dirty, keys, 2);
	found = bgjob_scan_next(scan);
	*inserter = found ? dirty.xmin : InvalidTransactionId;
	bgjob_scan_end(scan);
	return found;
}

/*
 * bgjob_recurring_insert inserts a new row. False: there is one of its owner
 * and name already, inserted by a transaction that has ended meanwhile. The
 * name is locked for the insertion only, so a transaction may add any number of
 * names, and keeps no other session from adding some.
 */
bool
bgjob_recurring_insert(BgjobRel *rel, BgjobRecurring *row)
{
	Oid owner = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_OWNER));
	Datum name = bgjob_recurring_datum(row, BGJOB_R_NAME);
	uint32 hash = hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(name)),
							 (int) VARSIZE_ANY_EXHDR(DatumGetPointer(name)));
	TransactionId inserter;
	LOCKTAG tag;
	bool found;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationGetRelid(rel->rel), hash ^ owner, 0);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	found = exists(rel, owner, name, &inserter);
	if (!found)
		bgjob_recurring_save(rel, row);
	LockRelease(&tag, ExclusiveLock, false);
	if (TransactionIdIsValid(inserter))
		XactLockTableWait(inserter, NULL, NULL, XLTW_None);
	return !found;
}

/* bgjob_recurring_delete removes a row that was read and locked. */
void
bgjob_recurring_delete(BgjobRel *rel, BgjobRecurring *row)
{
	bgjob_rel_delete_locked(rel, &row->tid);
}

/*
 * bgjob_recurring_due reads the recurring jobs whose next occurrence is not later
 * than "until", at most "max", in the order of these occurrences, from the one behind
 * "after" on. Returns their number. *next is the time of the one after them, DT_NOEND if there
 * is none.
 */
int
bgjob_recurring_due(BgjobRel *rel, const BgjobDue *after, TimestampTz until, BgjobDue *due,
					int max, TimestampTz *next)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, 1, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
			  TimestampTzGetDatum(after->at));
	scan = bgjob_scan_begin(rel, "recurring_next_idx", snapshot, &key, 1);
	*next = DT_NOEND;
	while (bgjob_scan_next(scan))
	{
		bool isnull;
		BgjobDue one;

		one.at = DatumGetTimestampTz(slot_getattr(rel->slot, BGJOB_R_NEXT_AT, &isnull));
		one.id = DatumGetInt64(slot_getattr(rel->slot, BGJOB_R_ID, &isnull));
		if (one.at == after->at && one.id <= after->id)
			continue;
		*next = one.at;
		if (one.at > until || n == max)
			break;
		due[n++] = one;
		*next = DT_NOEND;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

/* Collects the numbers, greater than "after", of the rows in an index that begins with them, at most "max". */
static int
collect(BgjobRel *rel, const char *index, int64 after, int64 *ids, int max)
{
	ScanKeyData key;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	return bgjob_rel_read_ids(rel, index, &key, BGJOB_R_ID, ids, max);
}

/* bgjob_recurring_ids gives the numbers of rows, greater than "after", at most "max". */
int
bgjob_recurring_ids(BgjobRel *rel, int64 after, int64 *ids, int max)
{
	return collect(rel, "recurring_pkey", after, ids, max);
}

/* bgjob_recurring_queued gives the numbers, greater than "after", of those that have occurrences queued, at most "max". */
int
bgjob_recurring_queued(BgjobRel *rel, int64 after, int64 *ids, int max)
{
	return collect(rel, "recurring_queued_idx", after, ids, max);
}

/*
 * bgjob_recurring_at_reboot gives the numbers, greater than "after", of those
 * that run when the server starts and have not done so since it "started".
 */
int
bgjob_recurring_at_reboot(BgjobRel *rel, TimestampTz started, int64 after, int64 *ids, int max)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	scan = bgjob_scan_begin(rel, "recurring_pkey", snapshot, &key, 1);
	while (n < max && bgjob_scan_next(scan))
	{
		BgjobRecurring row;

		slot_getallattrs(rel->slot);
		memcpy(row.values, rel->slot->tts_values, sizeof(row.values));
		memcpy(row.nulls, rel->slot->tts_isnull, sizeof(row.nulls));
		if (DatumGetBool(bgjob_recurring_datum(&row, BGJOB_R_ACTIVE)) &&
			bgjob_recurring_is_null(&row, BGJOB_R_NEXT_AT) &&
			bgjob_recurring_time(&row, BGJOB_R_CREATED_AT, DT_NOBEGIN) < started &&
			bgjob_recurring_time(&row, BGJOB_R_LAST_AT, DT_NOBEGIN) < started &&
			pg_strcasecmp(bgjob_recurring_text(&row, BGJOB_R_SCHEDULE), "@reboot") == 0)
			ids[n++] = bgjob_recurring_id(&row);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

/* Returns the parameters of the job, with the occurrence. */
static Jsonb *
with_occurrence(const BgjobRecurring *row, TimestampTz occurrence)
{
	Jsonb *scheduled = bgjob_history_time("scheduled_for", occurrence);

	if (bgjob_recurring_is_null(row, BGJOB_R_PARAMETERS))
		return scheduled;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
											  bgjob_recurring_datum(row, BGJOB_R_PARAMETERS),
											  JsonbPGetDatum(scheduled)));
}

/* Records that a filter refused the job of an occurrence. */
static void
note_refusal(BgjobRecurring *row, const char *reason)
{
	bgjob_recurring_set_text(
		row, BGJOB_R_ERROR,
		psprintf("A filter refused the job: %s", bgjob_text_cut(reason, BGJOB_REASON_MAX)));
}

/*
 * bgjob_recurring_refused records that a filter, called later by a worker, refused
 * the job that a recurring job had enqueued.
 */
void
bgjob_recurring_refused(const BgjobJob *job, const char *reason)
{
	BgjobColumn column =
		bgjob_job_is_null(job, BGJOB_C_ENQUEUED_BY) ? BGJOB_C_RUN_AS : BGJOB_C_ENQUEUED_BY;
	Oid owner = DatumGetObjectId(bgjob_job_datum(job, column));
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	BgjobRecurring row;
	bool found;

	if (bgjob_job_is_null(job, BGJOB_C_RECURRING_NAME))
		found = false;
	else
		do
			found = bgjob_recurring_find(
				rel, owner, TextDatumGetCString(bgjob_job_datum(job, BGJOB_C_RECURRING_NAME)),
				&row);
		while (found && !bgjob_recurring_lock(rel, &row, true));
	if (found)
	{
		note_refusal(&row, reason);
		bgjob_recurring_save(rel, &row);
	}
	bgjob_rel_close(rel);
}

static void
copy_column(BgjobJob *job, BgjobColumn to, const BgjobRecurring *row, BgjobRecurringColumn from)
{
	if (!bgjob_recurring_is_null(row, from))
		bgjob_job_set(job, to, bgjob_recurring_datum(row, from));
}

/* Reads the options of the jobs that a recurring job enqueues. */
static void
read_options(const BgjobRecurring *row, BgjobOptionSet *options)
{
	memset(options, 0, sizeof(*options));
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		BgjobRecurringColumn column = (BgjobRecurringColumn) bgjob_options[option].recurring;

		if (column != 0 && !bgjob_recurring_is_null(row, column))
			bgjob_option_set(options, (BgjobOption) option, bgjob_recurring_datum(row, column));
	}
}

/*
 * bgjob_recurring_enqueue enqueues the job of an occurrence; it is scheduled if
 * run_at is later than now. The row is changed in memory only. Returns the
 * id; that of another, if that one has its unique_key; 0 if a filter did not want
 * it. wait: for sessions that are enqueueing a job with the same key; raises 23505
 * then, as bgjob_enqueue().
 */
int64
bgjob_recurring_enqueue(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence,
						TimestampTz run_at, TimestampTz now, bool wait)
{
	BgjobDuplicate on_duplicate =
		(BgjobDuplicate) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_ON_DUPLICATE));
	BgjobCircumstances what = {
		.at = now, .run_at = run_at, .on_duplicate = on_duplicate, .wait = wait};
	BgjobOptionSet options;
	BgjobJob job;
	int64 id;

	if (!wait && on_duplicate == BGJOB_DUPLICATE_ERROR)
		what.on_duplicate = BGJOB_DUPLICATE_SKIP; /* no caller could handle an error */

	memset(&job, 0, sizeof(job));
	memset(job.nulls, true, sizeof(job.nulls));
	ItemPointerSetInvalid(&job.tid);
	id = job.id = job.pos = bgjob_next_id();
	job.state = BGJOB_NONE;
	job.kind = (BgjobKind) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_KIND));
	job.run_as = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS));
	job.job = bgjob_recurring_text(row, BGJOB_R_JOB);
	job.func = bgjob_recurring_text(row, BGJOB_R_FUNC);
	bgjob_job_set(&job, BGJOB_C_ID, Int64GetDatum(job.id));
	bgjob_job_set(&job, BGJOB_C_CREATED_AT, TimestampTzGetDatum(now));
	copy_column(&job, BGJOB_C_SETTINGS_ID, row, BGJOB_R_SETTINGS_ID);
	copy_column(&job, BGJOB_C_POLICY_ID, row, BGJOB_R_POLICY_ID);
	copy_column(&job, BGJOB_C_RUN_AS, row, BGJOB_R_RUN_AS);
	if (DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_OWNER)) != job.run_as)
		copy_column(&job, BGJOB_C_ENQUEUED_BY, row, BGJOB_R_OWNER);
	copy_column(&job, BGJOB_C_KIND, row, BGJOB_R_KIND);
	read_options(row, &options);
	bgjob_options_to_job(&options, &job);
	bgjob_job_set_call(&job);
	copy_column(&job, BGJOB_C_ARGS, row, BGJOB_R_ARGS);
	copy_column(&job, BGJOB_C_CUSTOM_SETTINGS, row, BGJOB_R_CUSTOM_SETTINGS);
	copy_column(&job, BGJOB_C_RECURRING_NAME, row, BGJOB_R_NAME);
	bgjob_job_set(&job, BGJOB_C_PARAMETERS, JsonbPGetDatum(with_occurrence(row, occurrence)));
	bgjob_recurring_set_null(row, BGJOB_R_ERROR);
	if (!bgjob_job_insert(jobs, &job, &what))
	{
		note_refusal(row, what.reason);
		return 0;
	}
	if (job.id == id)
		bgjob_recurring_set(row, BGJOB_R_LAST_JOB, Int64GetDatum(id));
	else if (on_duplicate == BGJOB_DUPLICATE_ERROR)
		bgjob_recurring_set_text(row, BGJOB_R_ERROR,
								 "Another job with its unique_key has not finished");
	else if (on_duplicate == BGJOB_DUPLICATE_SUPERSEDE)
		bgjob_recurring_set_text(
			row, BGJOB_R_ERROR, "Another transaction was changing the job with its unique_key");
	bgjob_recurring_set_time(row, BGJOB_R_LAST_AT, occurrence);
	bgjob_recurring_set_time(row, BGJOB_R_LAST_RUN_AT, now);
	return job.id;
}
