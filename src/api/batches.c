/*-------------------------------------------------------------------------
 *
 * batches.c
 *	  Creates, cancels and retries batches.
 *
 * A batch is filled by enqueueing jobs into it; store/batch.c says what a batch
 * is, and when it has finished. Canceling and retrying change its jobs one by one, as
 * bgjob_delete() and bgjob_requeue() do, with the same rights; but a retried job whose
 * predecessors run again, too, awaits them again (store/revive.h).
 *
 * Runs in the calling session, in its transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/continuation.h"
#include "api/control.h"
#include "api/inside.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/running.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store/batch.h"
#include "store/batchjobs.h"
#include "store/revive.h"
#include "store/sequence.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* So many jobs are read at a time. */
#define PORTION 1000

/* Raises 22023 unless there is a batch, also of this transaction, and 42501 unless the caller controls it. */
static void
check_batch(int64 id)
{
	CommandCounterIncrement(); /* it may be this transaction's own */
	bgjob_check_batch(id);
}

/* ---- bgjob_batch ---- */

/*
 * Has sessions of a role that create batches with the same key do it one after the other, until their
 * transactions end. Sessions of other roles cannot get that lock, whatever their keys.
 */
static void
lock_key(const char *key)
{
	LOCKTAG tag;
	uint16 hash = (uint16) hash_bytes((const unsigned char *) key, (int) strlen(key));

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, bgjob_table_oid(BGJOB_TABLE_BATCH), GetUserId(),
					   hash);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

PG_FUNCTION_INFO_V1(bgjob_batch);

/*
 * bgjob_batch(description, parent, parameters, unique_key) creates a batch and
 * returns its id; or the id of the caller's unfinished batch with that key. Raises 22023 for
 * an unknown parent, parameters that are no object, or an invalid key; 42501 for
 * another's parent; 25006 in a read-only transaction.
 */
Datum
bgjob_batch(PG_FUNCTION_ARGS)
{
	BgjobBatch batch = {.role = GetUserId(),
						.created_at = bgjob_now(),
						.description = bgjob_arg_text(fcinfo, 0),
						.parent = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1),
						.parameters = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
						.unique_key = bgjob_arg_text(fcinfo, 3)};

	bgjob_check_usage();
	bgjob_check_writable("bgjob_batch()");
	if (batch.parameters != NULL && !JB_ROOT_IS_OBJECT(batch.parameters))
		bgjob_invalid("parameters must be a JSON object",
					  "They are pairs of a name and a value.", "Write {\"name\": \"value\"}.");
	if (!PG_ARGISNULL(1))
		check_batch(batch.parent);
	if (batch.unique_key != NULL)
	{
		bgjob_check_unique_key(batch.unique_key);
		lock_key(batch.unique_key);
		CommandCounterIncrement();
		batch.id = bgjob_batch_unfinished_with_key(batch.role, batch.unique_key);
	}
	if (batch.id == 0)
	{
		batch.id = bgjob_next_id();
		bgjob_batch_insert(&batch);
	}
	PG_RETURN_INT64(batch.id);
}

PG_FUNCTION_INFO_V1(bgjob_current_batch);

/* bgjob_current_batch() returns the batch of the running job, null if it is in none. Raises 55000 outside of a job. */
Datum
bgjob_current_batch(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_this_job("bgjob_current_batch()");

	if (bgjob_job_is_null(job, BGJOB_C_BATCH_ID))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(bgjob_job_datum(job, BGJOB_C_BATCH_ID));
}

/* Reads the ids of all members of a batch that are in a state, after an id. */
static int64 *
read_members(int64 batch, BgjobMember state, int64 after, int *n)
{
	int room = PORTION;
	int64 *jobs = palloc(room * sizeof(int64));
	int read;

	*n = 0;
	while ((read = bgjob_members_read(batch, state, after, jobs + *n, room - *n)) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		*n += read;
		after = jobs[*n - 1];
		if (*n == room)
		{
			room *= 2;
			jobs = repalloc_huge(jobs, room * sizeof(int64));
		}
	}
	return jobs;
}

/* ---- bgjob_batch_cancel ---- */

/*
 * Deletes jobs; at first those that do not run. So a job that awaits one that runs is deleted itself, and
 * not because the other one was. Returns their number.
 */
static int64
cancel(int64 *jobs, int n, const char *reason)
{
	int running = 0;
	int64 canceled = 0;

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (bgjob_slot_is_at(MyDatabaseId, jobs[i], NULL))
			jobs[running++] = jobs[i];
		else if (bgjob_control_delete("bgjob_batch_cancel()", jobs[i], reason))
			canceled++;
	}
	for (int i = 0; i < running; i++)
		if (bgjob_control_delete("bgjob_batch_cancel()", jobs[i], reason))
			canceled++;
	return canceled;
}

PG_FUNCTION_INFO_V1(bgjob_batch_cancel);

/*
 * bgjob_batch_cancel(id) deletes the unfinished jobs of a batch and of those in it; running ones are
 * canceled. Returns their number. Raises 22023 for an unknown batch, 42501 for
 * another's batch or job.
 */
Datum
bgjob_batch_cancel(PG_FUNCTION_ARGS)
{
	int64 canceled = 0;
	int64 after = 0;
	char *reason;
	int64 id;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_batch_cancel()");
	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(0);
	id = PG_GETARG_INT64(0);
	check_batch(id);
	reason = psprintf("Batch " INT64_FORMAT " was canceled", id);
	for (;;) /* jobs of the batch may have enqueued others meanwhile */
	{
		int n;
		int64 *jobs = read_members(id, BGJOB_MEMBER_OPEN, after, &n);

		if (n == 0)
			break;
		after = jobs[n - 1];
		canceled += cancel(jobs, n, reason);
		pfree(jobs);
	}
	PG_RETURN_INT64(canceled);
}

/* ---- bgjob_batch_retry ---- */

typedef enum Which
{
	WHICH_FAILED,
	WHICH_UNSUCCESSFUL,
	WHICH_ALL
} Which;

/* A job that is to run again, and the state that it is in. */
typedef struct Ended
{
	int64 job;
	BgjobState state;
} Ended;

typedef struct EndedList
{
	Ended *jobs;
	int n;
	int room;
} EndedList;

static void
add_ended(EndedList *list, int64 job, BgjobState state)
{
	if (list->n == list->room)
	{
		list->room = Max(PORTION, list->room * 2);
		list->jobs = list->jobs == NULL ? palloc(list->room * sizeof(Ended))
										: repalloc_huge(list->jobs, list->room * sizeof(Ended));
	}
	list->jobs[list->n++] = (Ended){job, state};
}

/* Adds the members of a batch that have failed or were deleted; not those that could not run: they are revived. */
static void
add_members(EndedList *list, int64 batch, BgjobMember member, BgjobState state)
{
	int n;
	int64 *jobs = read_members(batch, member, 0, &n);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (state == BGJOB_FAILED || !bgjob_job_could_not_run(jobs[i]))
			add_ended(list, jobs[i], state);
	}
	pfree(jobs);
}

/* Adds the jobs of a batch that have succeeded. */
static void
add_succeeded(EndedList *list, int64 batch)
{
	int64 *jobs = palloc(PORTION * sizeof(int64));
	int64 after = batch;
	int n;

	while ((n = bgjob_batch_succeeded(batch, &after, jobs, PORTION)) >= 0)
		for (int i = 0; i < n; i++)
			add_ended(list, jobs[i], BGJOB_SUCCEEDED);
	pfree(jobs);
}

static int
compare_ended(const void *a, const void *b)
{
	const Ended *left = a;
	const Ended *right = b;

	return left->job < right->job ? -1 : left->job > right->job ? 1 : 0;
}

/*
 * Has the listed jobs run again, the oldest first: a job that awaits an older one which runs again awaits it again.
 * Returns the number of jobs that run at once.
 */
static int64
retry(BgjobRevival *revival, EndedList *list)
{
	int64 retried = 0;

	if (list->n > 0)
		qsort(list->jobs, list->n, sizeof(Ended), compare_ended);
	for (int i = 0; i < list->n; i++)
	{
		const Ended *ended = &list->jobs[i];

		CHECK_FOR_INTERRUPTS();
		if (bgjob_revival_await_again(revival, ended->job, ended->state) ||
			!bgjob_control_requeue("bgjob_batch_retry()", ended->job, ended->state))
			continue;
		bgjob_revival_of_job(revival, ended->job);
		retried++;
	}
	return retried;
}

PG_FUNCTION_INFO_V1(bgjob_batch_retry);

/*
 * bgjob_batch_retry(id, which) requeues jobs of a batch, and of those in it: those that have failed; also
 * deleted ones; or all that have ended. What could not run because of them awaits them again. Returns
 * the number of jobs that go on. Raises 22023 for an unknown batch or another
 * "which", 42501 for another's batch or job.
 */
Datum
bgjob_batch_retry(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"failed", "unsuccessful", "all", NULL};
	BgjobRevival *revival;
	EndedList list = {NULL};
	Which which;
	int64 id;
	int64 retried;
	const int64 *chain;
	int n;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_batch_retry()");
	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(0);
	id = PG_GETARG_INT64(0);
	which = (Which) bgjob_choice(
		"which",
		bgjob_arg_required_text(fcinfo, 1, "which", "It says which jobs are to run again."),
		names);
	check_batch(id);
	revival = bgjob_revival_begin(bgjob_may_control);
	add_members(&list, id, BGJOB_MEMBER_FAILED, BGJOB_FAILED);
	if (which >= WHICH_UNSUCCESSFUL)
		add_members(&list, id, BGJOB_MEMBER_DELETED, BGJOB_DELETED);
	if (which == WHICH_ALL)
		add_succeeded(&list, id);
	retried = retry(revival, &list);
	chain = bgjob_batch_chain(id, &n);
	for (int i = 0; i < n && retried > 0; i++)
		bgjob_revival_of(revival, chain[i]);
	PG_RETURN_INT64(retried + bgjob_revival_end(revival));
}
