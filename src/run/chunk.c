/*-------------------------------------------------------------------------
 *
 * chunk.c
 *	  Several jobs of one function in one call.
 *
 * A function that is configured with a chunk_size has one parameter, of type jsonb[]. A
 * worker that has claimed such a job claims those that follow it in its lane, too, as long
 * as they fit, and calls the function once, with the arguments of all. Their claims, the
 * effects and all successes are one transaction: no subtransaction, one commit.
 *
 * WHAT FITS. A job is in a chunk only with jobs that are the same in all that the function
 * could ask for or that is in force during the call: function, policy, captured settings, who
 * enqueued it, timeout, batch, what it awaited, and parameters. A job that has been
 * interrupted, has crashed or is being retried is performed by itself, and so is one that has
 * filters, or gates to pass (base/gate.h), or an event of which was left to a worker.
 *
 * IF IT FAILS, nothing has happened, and each of its jobs is performed by itself, as an
 * array of one: that attempt alone is recorded. So only the job that is to blame fails,
 * and only a job by itself can snooze or discard itself. It does not matter whether it was
 * an error, a timeout, the end of the worker, or a crash of the server (process/recovery.c):
 * the jobs come back to their lane with the note that they are to be taken singly
 * (base/lane.c). If that note is lost, or a job that is not of the chunk has used it up, the
 * chunk fails once more. A request for one of the jobs ends the chunk as well, is carried out
 * for that job, and the others are performed again.
 *
 * The slot names one of the jobs, at first the first, and base/chunkjobs.c has all of them.
 * Output of the call is the first one's.
 *
 * Run by workers. No locks but those of the claims.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "base/groupitems.h"
#include "base/request.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "run/chunk.h"
#include "run/filter.h"
#include "run/function.h"
#include "run/group.h"
#include "run/invoke.h"
#include "run/notices.h"
#include "run/perform.h"
#include "run/policy.h"
#include "run/statementlog.h"
#include "store/claim.h"
#include "store/gateneeds.h"
#include "store/settings.h"
#include "utils/datum.h"

/* A chunk has no more jobs when their arguments take so many bytes. */
#define MOST_BYTES (32 * 1024 * 1024)

/* Number of jobs that a worker takes at first; then as many as it has. */
#define FIRST_FEW 16

/* The jobs of the chunk but the first, which is bgjob_underway.job. In bgjob_job_context. */
static BgjobJob *company;
static int ncompany;
static int room;
static Size bytes; /* of all arguments */

/* The columns in which the jobs of a chunk are equal. */
static const BgjobColumn same_columns[] = {
	BGJOB_C_CALL_ID,     BGJOB_C_POLICY_ID,    BGJOB_C_SETTINGS_ID, BGJOB_C_CUSTOM_SETTINGS,
	BGJOB_C_ENQUEUED_BY, BGJOB_C_TIMEOUT,      BGJOB_C_BATCH_ID,    BGJOB_C_AFTER,
	BGJOB_C_AFTER_BATCH, BGJOB_C_AFTER_SIGNAL, BGJOB_C_PARAMETERS};

/* The lengths of their types; by value if they are no longer than a Datum and not negative. */
static const int16 same_lengths[] = {8, 8, 8, -1, 4, sizeof(Interval), 8, -1, 8, -1, -1};

/* Returns whether a job is tried for the first time, and has nothing that concerns it alone. */
static bool
is_untouched(const BgjobJob *job)
{
	return job->retries == 0 && job->crashes == 0 && !bgjob_job_is_pending(job) &&
		   (bgjob_job_is_null(job, BGJOB_C_INTERRUPTIONS) ||
			DatumGetInt32(bgjob_job_datum(job, BGJOB_C_INTERRUPTIONS)) == 0) &&
		   !bgjob_gate_has_any(job) && !bgjob_perform_is_expired(job);
}

/* Returns how many jobs the function of a job takes in one call; 1: the job is to be performed by itself. */
static int
size_of(const BgjobJob *job)
{
	const Jsonb *policy;

	if (bgjob_job_is_null(job, BGJOB_C_POLICY_ID) || job->kind != BGJOB_KIND_FUNCTION ||
		!is_untouched(job))
		return 1;
	if (bgjob_invoke_chunk_misfit(bgjob_function_find(job->func)) != NULL)
		return 1; /* before the policy, which may have to be read */
	policy = bgjob_settings_read(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_POLICY_ID)));
	if (bgjob_policy_chunk_size(policy) < 2)
		return 1;
	bgjob_filter_refresh();
	if (bgjob_filter_concerns(job, BGJOB_FILTERS_OF_ATTEMPTS))
		return 1;
	return Min(bgjob_policy_chunk_size(policy), BGJOB_GROUP_MAX);
}

/* bgjob_chunk_may_begin returns whether a chunk may begin with a job. */
bool
bgjob_chunk_may_begin(const BgjobJob *job)
{
	return size_of(job) > 1;
}

/* Returns whether two jobs have the same value in a column. */
static bool
is_same(const BgjobJob *a, const BgjobJob *b, int i)
{
	BgjobColumn column = same_columns[i];
	bool byval = same_lengths[i] > 0 && same_lengths[i] <= (int16) sizeof(Datum);

	if (bgjob_job_is_null(a, column) || bgjob_job_is_null(b, column))
		return bgjob_job_is_null(a, column) == bgjob_job_is_null(b, column);
	return datum_image_eq(bgjob_job_datum(a, column), bgjob_job_datum(b, column), byval,
						  same_lengths[i]);
}

/* Returns how many bytes the arguments of a job take in a call, where they are not compressed. */
static Size
size_of_args(const BgjobJob *job)
{
	return bgjob_job_is_null(job, BGJOB_C_ARGS)
			   ? 0
			   : toast_raw_datum_size(bgjob_job_datum(job, BGJOB_C_ARGS));
}

/* Returns whether a job may be in the chunk. */
static bool
joins(const BgjobJob *job)
{
	if (bytes + size_of_args(job) > MOST_BYTES || job->kind != BGJOB_KIND_FUNCTION ||
		!is_untouched(job))
		return false;
	for (int i = 0; i < lengthof(same_columns); i++)
		if (!is_same(&bgjob_underway.job, job, i))
			return false;
	return !bgjob_filter_concerns(job, BGJOB_FILTERS_OF_ATTEMPTS);
}

/* Returns where the next job of the chunk is read to. */
static BgjobJob *
next_room(void)
{
	if (ncompany == room)
	{
		room = Max(2 * room, FIRST_FEW);
		company = company == NULL ? palloc(room * sizeof(BgjobJob))
								  : repalloc(company, room * sizeof(BgjobJob));
	}
	return &company[ncompany];
}

/* Claims the jobs that follow the claimed one, as long as they fit and there are fewer than "size". */
static void
collect(BgjobRel *jobs, int size)
{
	company = NULL;
	ncompany = room = 0;
	bytes = size_of_args(&bgjob_underway.job);
	while (1 + ncompany < size)
	{
		int n = 1 + ncompany;

		if (!bgjob_claim_company(jobs, n, Min(size - n, Max(n, FIRST_FEW)), next_room(), joins))
			break;
		bytes += size_of_args(&company[ncompany]);
		ncompany++;
	}
	/* A request for a job that is not in the chunk after all is honored while it is still in flight. */
	bgjob_perform_check_pending();
	bgjob_claim_end_company(ncompany == 0);
}

/*
 * bgjob_chunk_collect claims the jobs that can be performed together with the claimed one.
 * False: the claimed one is to be performed by itself.
 */
bool
bgjob_chunk_collect(BgjobRel *jobs)
{
	int size = size_of(&bgjob_underway.job);

	if (size == 1 || !bgjob_claim_begin_chunk(size))
	{
		bgjob_claim_no_chunk();
		return false;
	}
	bgjob_group.begun = bgjob_group.chunk = true;
	collect(jobs, size);
	bgjob_underway.company = ncompany;
	bgjob_group.begun = bgjob_group.chunk = ncompany > 0;
	return ncompany > 0;
}

/* Calls the function with the arguments of all; returns an array of the results. */
static Jsonb **
run(void)
{
	int n = 1 + ncompany;
	const Jsonb **args = palloc(n * sizeof(Jsonb *));
	Jsonb **results = palloc(n * sizeof(Jsonb *));

	args[0] = bgjob_job_jsonb(&bgjob_underway.job, BGJOB_C_ARGS);
	for (int i = 1; i < n; i++)
		args[i] = bgjob_job_jsonb(&company[i - 1], BGJOB_C_ARGS);
	bgjob_authority_check_job(&bgjob_underway.job);
	bgjob_underway.ran = true;
	bgjob_underway.logged = bgjob_log_statement(&bgjob_underway.job, NULL);
	bgjob_notices_resume();
	bgjob_invoke_chunk(bgjob_function_find(bgjob_underway.job.func), args, n, results);
	bgjob_notices_pause();
	MemoryContextSwitchTo(bgjob_job_context);
	return results;
}

static void
record_successes(BgjobRel *jobs, Jsonb **results)
{
	TimestampTz now = bgjob_now();

	bgjob_perform_record_success(jobs, results[0]);
	for (int i = 0; i < ncompany; i++)
		bgjob_perform_record_company(jobs, &company[i], results[i + 1], now);
}

/* bgjob_chunk_perform performs the jobs that were collected, and records their successes. The caller commits. */
void
bgjob_chunk_perform(BgjobRel *jobs)
{
	Jsonb **results;

	bgjob_perform_begin();
	bgjob_perform_settings();
	bgjob_perform_start_clocks();
	results = run();
	bgjob_perform_complete();
	bgjob_perform_stop_clocks();
	MemoryContextSwitchTo(bgjob_job_context);
	bgjob_perform_check_request();
	record_successes(jobs, results);
	bgjob_slot_count_done(1 + ncompany);
}

/*
 * bgjob_chunk_answer makes the job for which a request was accepted the one whose
 * attempt is recorded, after the chunk has failed. False: there is none.
 */
bool
bgjob_chunk_answer(void)
{
	int64 job = bgjob_slot_answer();

	if (job == 0)
		return false;
	bgjob_underway.job.id = job;
	bgjob_underway.job.pos = bgjob_my_slot->pos;
	return true;
}
