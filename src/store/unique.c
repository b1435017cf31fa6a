/*-------------------------------------------------------------------------
 *
 * unique.c
 *	  Unique keys: one job at a time for a key.
 *
 * bgjob_internal.unique_key has a row for each job with a key that has not finished;
 * its primary key (owner, key) is the guarantee. The row is inserted with the
 * job, and deleted in the transaction that ends the job.
 *
 * A transaction that enters a key first scans for its row, with a snapshot that
 * sees uncommitted rows of other transactions. If another transaction is
 * inserting the row, it waits, since that may be rolled back. If another
 * transaction is deleting the row, the key is taken: the job has not ended until
 * that is committed. If there is no row, it inserts one. A lock on the key, held
 * from the scan to the insertion but not while waiting, keeps two sessions from
 * doing that at the same time, so the index never has to refuse one of them.
 *
 * A transaction that ends a job does not wait for a foreign lock on the key's
 * row: it leaves the row behind, and the next transaction that finds the row
 * removes it (unique_is_left_behind).
 *
 * A job that supersedes another one takes its key (bgjob_unique_take_over). If it ends
 * while it still follows the other one, that gets the key again.
 *
 * Any process, inside a transaction. Deadlocks between transactions that enter
 * keys in different orders are noticed as for any unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "base/registry.h"
#include "base/slot.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store/jobrow.h"
#include "store/relation.h"
#include "store/unique.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static const char *
unique_key_of(const BgjobJob *job)
{
	return TextDatumGetCString(bgjob_job_datum(job, BGJOB_C_UNIQUE_KEY));
}

static void
unique_lock_tag(LOCKTAG *tag, BgjobRel *rel, Oid owner, const char *key)
{
	uint32 hash = hash_bytes((const unsigned char *) key, (int) strlen(key)) ^ owner;

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationGetRelid(rel->rel), hash, 0);
}

/* The row that a key has. */
typedef struct KeyRow
{
	int64 job; /* 0: there is none */
	ItemPointerData tid;
	TransactionId
		inserter; /* another transaction that is inserting the row, or has locked it */
	bool settled; /* committed, and no transaction is deleting it */
} KeyRow;

/* Finds the row of a key, also if it is not committed yet. */
static void
unique_find(BgjobRel *rel, Oid owner, const char *key, KeyRow *row)
{
	SnapshotData dirty;
	ScanKeyData keys[2];
	BgjobScan *scan;

	row->job = 0;
	row->inserter = InvalidTransactionId;
	row->settled = false;
	InitDirtySnapshot(dirty);
	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(owner));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(key));
	scan = bgjob_scan_begin(rel, "unique_key_pkey", &dirty, keys, 2);
	if (bgjob_scan_next(scan))
	{
		bool isnull;
		Datum xmin = slot_getsysattr(rel->slot, MinTransactionIdAttributeNumber, &isnull);

		row->job = DatumGetInt64(slot_getattr(rel->slot, 3, &isnull));
		row->tid = rel->slot->tts_tid;
		row->inserter = dirty.xmin;
		row->settled = !TransactionIdIsValid(dirty.xmin) && !TransactionIdIsValid(dirty.xmax) &&
					   !TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
		ExecClearTuple(rel->slot);
	}
	bgjob_scan_end(scan);
}

static void
unique_insert(BgjobRel *rel, Oid owner, const char *key, int64 job)
{
	Datum values[3] = {ObjectIdGetDatum(owner), CStringGetTextDatum(key), Int64GetDatum(job)};
	bool nulls[3] = {false};

	bgjob_rel_insert(rel, values, nulls);
}

/*
 * Returns whether a key's row has outlived its job. If the row is settled, its
 * job's row was committed with it, so a job that is missing has been removed.
 * *followed is a job that still has to end; 0: none.
 */
static bool
unique_is_left_behind(const KeyRow *row, int64 *followed)
{
	BgjobRel *jobs;
	BgjobJob job;
	bool there;

	*followed = 0;
	if (!row->settled)
		return false;
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	there = bgjob_job_read(jobs, row->job, &job);
	if (there && bgjob_state_is_final(job.state))
		*followed = bgjob_job_followed(jobs, &job);
	bgjob_rel_close(jobs);
	return !there || bgjob_state_is_final(job.state);
}

/* Returns the job that a job has followed, and that has not ended; 0: none. */
static int64
unique_heir(const BgjobJob *job)
{
	BgjobRel *jobs;
	int64 followed;

	if (bgjob_job_is_null(job, BGJOB_C_FOLLOWS))
		return 0;
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	followed = bgjob_job_followed(jobs, job);
	bgjob_rel_close(jobs);
	return followed;
}

/* Enters a job for a key. Returns the other job that has the key; 0: the job is entered. */
static int64
unique_enter(Oid owner, const char *key, int64 job, bool wait)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_UNIQUE_KEY);
	KeyRow row;
	int64 followed;

	for (;;)
	{
		LOCKTAG tag;

		unique_lock_tag(&tag, rel, owner, key);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		unique_find(rel, owner, key, &row);
		if (unique_is_left_behind(&row, &followed) &&
			bgjob_rel_delete(rel, &row.tid, &row.inserter))
			row.job = followed;
		if (row.job == 0 || row.job == followed)
			unique_insert(rel, owner, key, row.job == 0 ? job : followed);
		LockRelease(&tag, ExclusiveLock, false);
		if (!TransactionIdIsValid(row.inserter) || !wait)
			break;
		XactLockTableWait(row.inserter, NULL, NULL, XLTW_None);
	}
	bgjob_rel_close(rel);
	return row.job;
}

/* bgjob_unique_refuse raises 23505: another job has the key of this one. */
void
bgjob_unique_refuse(const BgjobJob *job, int64 other)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNIQUE_VIOLATION),
		 errmsg("unfinished job with unique_key \"%s\" already exists", unique_key_of(job)),
		 errdetail("Job " INT64_FORMAT " has the key and has not finished.", other),
		 errhint(
			 "Wait for that job, delete it, or use another on_duplicate, such as 'skip'.")));
}

/*
 * bgjob_unique_enter enters a new job, which has a key. Returns another job
 * that has the key; 0: there is none, and the caller inserts the job. wait: wait
 * for other transactions that are entering or leaving the key.
 */
int64
bgjob_unique_enter(const BgjobJob *job, bool wait)
{
	return unique_enter(job->run_as, unique_key_of(job), job->id, wait);
}

/*
 * bgjob_unique_try_reenter enters a job that had finished and is to run again,
 * if it has a key. Returns another job that has its key; 0: there is none.
 */
int64
bgjob_unique_try_reenter(const BgjobJob *job)
{
	int64 other;

	if (bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		return 0;
	other = unique_enter(job->run_as, unique_key_of(job), job->id, true);
	return other == job->id ? 0 : other;
}

/* bgjob_unique_reenter does the same. 23505: another has its key. */
void
bgjob_unique_reenter(const BgjobJob *job)
{
	int64 other = bgjob_unique_try_reenter(job);

	if (other != 0)
		bgjob_unique_refuse(job, other);
}

/*
 * bgjob_unique_take_over gives the key that another job has to a new one. False: the other job
 * has it no more, or *holder, another transaction, is changing that.
 */
bool
bgjob_unique_take_over(const BgjobJob *job, int64 other, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_UNIQUE_KEY);
	const char *key = unique_key_of(job);
	KeyRow row;
	LOCKTAG tag;
	bool taken;

	unique_lock_tag(&tag, rel, job->run_as, key);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	unique_find(rel, job->run_as, key, &row);
	*holder = row.inserter;
	taken = row.job == other && !TransactionIdIsValid(row.inserter) &&
			bgjob_rel_delete(rel, &row.tid, holder);
	if (taken)
		unique_insert(rel, job->run_as, key, job->id);
	LockRelease(&tag, ExclusiveLock, false);
	bgjob_rel_close(rel);
	return taken;
}

/* bgjob_unique_leave gives up the key of a job that ends; to one that it followed, if that has not ended. */
void
bgjob_unique_leave(const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_UNIQUE_KEY);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;
	bool left = false;
	int64 heir;

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(job->run_as));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ,
			  bgjob_job_datum(job, BGJOB_C_UNIQUE_KEY));
	scan = bgjob_scan_begin(rel, "unique_key_pkey", snapshot, keys, 2);
	while (bgjob_scan_next(scan))
	{
		bool isnull;

		if (DatumGetInt64(slot_getattr(rel->slot, 3, &isnull)) == job->id)
			left = bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	heir = left ? unique_heir(job) : 0;
	if (heir != 0)
		unique_insert(rel, job->run_as, unique_key_of(job), heir);
	bgjob_rel_close(rel);
}
