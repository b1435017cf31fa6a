/*-------------------------------------------------------------------------
 *
 * release.c
 *	  Jobs that go on because what they await is there, or cannot run any more.
 *
 * THE DIRECT WAY. The transaction that ends a target looks for its dependants when it
 * begins to commit (store/settle.c), and releases those for which nothing else is
 * missing. So the end of a parent and the release of its child are one commit, and the
 * child starts as any job that was just enqueued. A dependant that cannot run any more is
 * deleted there, too, and as that ends it, so are those that await it.
 *
 * WHY NOTHING IS STRANDED. The direct way sees what is committed, and takes only what no
 * other transaction has. It misses (1) a dependant whose insertion is not committed yet,
 * (2) one that another transaction has, (3) one that awaits several targets that end at
 * the same moment: each transaction sees the other target still going on. In each of these cases there are two
 * transactions, and the effects of both are visible only after the second commit. So the
 * scheduler looks then, with a snapshot of its own. That is a review; a transaction
 * asks for it after its commit:
 *
 *	 (1) A transaction that inserts a dependant of a target that it has seen going on
 *	     asks for a review after its commit. One that ends a target asks for one
 *	     after its commit if there are more edges than it has seen: the edges are counted in
 *	     shared memory before the commit that brings them (base/dependants.h). If the
 *	     target's transaction commits last, it reads the count after
 *	     the dependant's commit, and asks. If the dependant's transaction commits last, its review comes
 *	     after both, and sees the target's end. A target that the same transaction
 *	     has inserted cannot have been ended by another, so no review is asked for.
 *	 (2) A process that finds a dependant taken asks for a review. A review that finds it
 *	     taken is repeated until it is free (process/review.c).
 *	 (3) A transaction that ends one of several targets, while another goes on, asks for a review of the
 *	     dependant. If that awaits more than FEW targets, it asks only if no other target is watched (base/reviews.h).
 *
 * After a start of the server, after the end of a prepared transaction, and when there
 * were too many reviews to list, everything that awaits something is reviewed.
 *
 * Nothing here waits for a row: neither does a worker for a client, nor a client for a worker.
 *
 * FILTERS of a job that is released, or deleted, may be code of another role than
 * that of the process. They are left to a worker of its own (run/pending.c).
 *
 * Any process, inside a transaction. The caller has incremented the command counter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/interval.h"
#include "base/reviews.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/acquire.h"
#include "store/awaiting.h"
#include "store/batch.h"
#include "store/edge.h"
#include "store/job.h"
#include "store/place.h"
#include "store/release.h"
#include "store/signalrow.h"
#include "store/supersede.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A transaction that ends a target reads the states of a dependant's other targets, if it has at most so many. */
#define FEW 16

/* So many dependants of a target are reviewed at a time. */
#define DEPENDANTS_MAX 2000

/* For so many jobs with more targets, this process remembers how many targets have ended. */
#define HINTS 64

/*
 * All targets before "from", and the jobs from "to" on, have ended without making the job hopeless. That is true until
 * jobs that others await run again, or the extension is made again.
 */
typedef struct Hint
{
	int64 job;
	int from;
	int to;
	uint32 reopenings;
	Oid relation;
} Hint;

static Hint hints[HINTS];

static Hint *
hint_of(int64 job)
{
	return &hints[(uint64) job % HINTS];
}

/* Remembers which targets of a job have ended; not what this transaction itself may have ended, since it may be rolled back. */
static void
remember(int64 job, int from, int to, uint32 reopenings)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		*hint_of(job) = (Hint){job, from, to, reopenings, bgjob_table_oid(BGJOB_TABLE_JOB)};
}

static void
forget(int64 job)
{
	if (hint_of(job)->job == job)
		*hint_of(job) = (Hint){0};
}

/* Returns the targets of a job that need not be looked at: those before *from, and the jobs from *to on. A batch may be open again. */
static void
remembered(const BgjobPrerequisites *all, int64 job, uint32 reopenings, int *from, int *to)
{
	const Hint *hint = hint_of(job);
	bool known = all->n > FEW && hint->job == job && hint->reopenings == reopenings &&
				 hint->relation == bgjob_table_oid(BGJOB_TABLE_JOB);

	*from = known ? Min(hint->from, all->njobs) : 0;
	*to = known ? Min(hint->to, all->njobs) : all->njobs;
}

/* ---- one dependant ---- */

/* Releases a job that this transaction has taken. It may have to wait for its time. */
static void
release(BgjobRel *jobs, BgjobJob *job)
{
	BgjobCircumstances what = {.at = bgjob_now(), .leave = true};
	BgjobEvent event = BGJOB_EV_RELEASE;

	if (!bgjob_job_is_null(job, BGJOB_C_AWAIT_DELAY))
		what.run_at = bgjob_time_plus(
			what.at, DatumGetIntervalP(bgjob_job_datum(job, BGJOB_C_AWAIT_DELAY)));
	else if (!bgjob_job_is_null(job, BGJOB_C_RUN_AT))
		what.run_at = bgjob_job_time(job, BGJOB_C_RUN_AT);
	if (what.run_at > what.at)
		event = BGJOB_EV_RESCHEDULE;
	bgjob_job_apply(job, event, &what);
	bgjob_job_save(jobs, job);
}

/* Deletes a job that this transaction has taken, since it cannot run any more. */
static void
give_up(BgjobRel *jobs, BgjobJob *job, const char *reason)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = reason, .leave = true};

	bgjob_job_apply(job, BGJOB_EV_DELETE, &what);
	bgjob_job_save(jobs, job);
}

/* Takes a job that awaits, whose row has been read, and reads it again: it may have been changed in between. */
static BgjobReviewed
take(BgjobRel *jobs, BgjobJob *job)
{
	switch (bgjob_place_take(job, NULL))
	{
		case BGJOB_BUSY:
			return BGJOB_REVIEWED_BUSY;
		case BGJOB_NOT_THERE:
			return BGJOB_REVIEWED_GONE; /* held back after a restore, or it goes on by now */
		default:
			if (!bgjob_job_read(jobs, job->id, job) || job->state != BGJOB_AWAITING)
				return BGJOB_REVIEWED_GONE; /* a row that was written by hand */
			return BGJOB_REVIEWED_AWAITS;
	}
}

/* Returns the last job that is open, where all of them must end in some way, and which may be watched besides the first, "open". */
static int
last_open(BgjobRel *jobs, const BgjobPrerequisites *all, int open, int to)
{
	if (all->condition == BGJOB_IF_ANY || open >= to)
		return open;
	return bgjob_prerequisites_last(jobs, all, open, to);
}

/*
 * Looks what a job awaits. If it is very much, continues where the last look of this
 * process ended, watches the first and the last target that are open, and looks again: they may have ended before.
 * With the last one, few targets are left to be looked at when the first ends, even if all between have ended long before.
 */
static void
look_at(BgjobRel *jobs, const BgjobJob *job, const BgjobPrerequisites *all, BgjobLook *look)
{
	bool many = all->n > FEW;
	uint32 reopenings = bgjob_review_reopenings(); /* before the first is looked at */
	int from;
	int to;

	remembered(all, job->id, reopenings, &from, &to);
	bgjob_prerequisites_look_between(jobs, all, from, to, from > 0, look);
	while (many && look->awaited == BGJOB_AWAITED_OPEN)
	{
		int open = look->open;
		int last = last_open(jobs, all, open, to);

		if (open < to)
			to = last + 1;
		remember(job->id, open, to, reopenings);
		bgjob_review_watch(job->id, all->targets[open], last > open ? all->targets[last] : 0);
		bgjob_prerequisites_look_between(jobs, all, Min(open, all->njobs), to, true, look);
		if (look->awaited == BGJOB_AWAITED_OPEN && look->open == open &&
			(last == open || last_open(jobs, all, open, to) == last))
			return;
	}
	if (many)
		forget(job->id);
}

/* Returns why a job is deleted whose time is up. */
static const char *
reason_of_delay(const BgjobPrerequisites *all, int open, TimestampTz deadline)
{
	const char *what;

	if (bgjob_target_is_job(all, open))
		what = psprintf("job " INT64_FORMAT, all->targets[open]);
	else if (open < all->njobs + all->nbatches)
		what = psprintf("batch " INT64_FORMAT, all->targets[open]);
	else
		what = psprintf("signal \"%s\"", all->signals[open - all->njobs - all->nbatches]);
	return psprintf("Waited too long for %s (await_timeout)", what);
}

/* Looks at a job that has just been read, and lets it go on if it may. "cancel": has the job end that it supersedes. */
static BgjobReviewed
review(BgjobRel *jobs, BgjobJob *job, TimestampTz *deadline, bool cancel)
{
	BgjobPrerequisites all;
	BgjobLook look;
	BgjobReviewed reviewed;
	const char *late = NULL;
	TimestampTz until;

	if (job->state != BGJOB_AWAITING || !bgjob_prerequisites_read(job, &all))
		return BGJOB_REVIEWED_GONE;
	look_at(jobs, job, &all, &look);
	until = bgjob_awaiting_deadline(job);
	if (look.awaited == BGJOB_AWAITED_OPEN && until <= bgjob_now())
		late = reason_of_delay(&all, look.open, until);
	if (look.awaited == BGJOB_AWAITED_OPEN && late == NULL)
	{
		*deadline = Min(*deadline, until);
		return cancel && !bgjob_supersede_cancel(jobs, job) ? BGJOB_REVIEWED_BUSY
															: BGJOB_REVIEWED_AWAITS;
	}
	reviewed = take(jobs, job);
	if (reviewed != BGJOB_REVIEWED_AWAITS)
		return reviewed;
	if (look.awaited == BGJOB_AWAITED_MET)
		release(jobs, job);
	else
		give_up(jobs, job, late != NULL ? late : look.reason);
	return look.awaited == BGJOB_AWAITED_MET ? BGJOB_REVIEWED_RELEASED : BGJOB_REVIEWED_DELETED;
}

static BgjobReviewed
review_id(int64 id, TimestampTz *deadline, bool cancel)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobReviewed reviewed = BGJOB_REVIEWED_GONE;
	BgjobJob job;

	if (bgjob_job_read(jobs, id, &job))
		reviewed = review(jobs, &job, deadline, cancel);
	bgjob_rel_close(jobs);
	return reviewed;
}

/*
 * bgjob_review_job lets a job go on if what it awaits is there, or cannot be met
 * any more. *deadline is lowered to the time until which it may await.
 */
BgjobReviewed
bgjob_review_job(int64 id, TimestampTz *deadline)
{
	return review_id(id, deadline, false);
}

/* ---- the dependants of a target ---- */

/* Returns whether the end of one of very many targets is all that has to be known to let a job go on. */
static bool
decides(const BgjobAwaiting *row, BgjobState state)
{
	BgjobAwaited awaited = bgjob_condition_of(row->condition, state);

	return row->condition == BGJOB_IF_ANY ? awaited == BGJOB_AWAITED_MET
										  : awaited == BGJOB_AWAITED_HOPELESS;
}

/* Has a job reviewed after the commit; if "ended" is not 0, unless it watches another target. */
static void
ask_for_review(int64 id, int64 ended)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();

	if (notes != NULL)
		bgjob_dependant_note_ended(notes, id, ended, ended);
}

/* A look at the dependants of a target, of which there may be very many. */
typedef struct Pass
{
	int64 target;
	BgjobState state;      /* of the target */
	TimestampTz *deadline; /* lowered to the first one of the dependants */
	int visited;
	int64 counts[BGJOB_REVIEWED_BUSY + 1];
	BgjobRel *jobs; /* opened once for all of them, if the target has ended */
	BgjobRel *awaiting;
} Pass;

/* Lets a job go on whose only target has ended. So the target need not be read. */
static BgjobReviewed
release_only(const Pass *pass, BgjobAwaiting *row)
{
	BgjobAwaited awaited = bgjob_condition_of(row->condition, pass->state);
	BgjobRel *jobs = pass->jobs;
	BgjobPrerequisites all;
	BgjobJob job;

	if (!bgjob_awaiting_take_found(pass->awaiting, row))
		return BGJOB_REVIEWED_BUSY;
	if ((!bgjob_job_read_at(jobs, &row->job_tid, row->job, &job) &&
		 !bgjob_job_read(jobs, row->job, &job)) ||
		job.state != BGJOB_AWAITING || !bgjob_prerequisites_read(&job, &all))
		awaited = BGJOB_AWAITED_OPEN; /* a row that was written by hand */
	else if (awaited == BGJOB_AWAITED_MET)
		release(jobs, &job);
	else
		give_up(jobs, &job, bgjob_hopeless_reason(jobs, &all, 0, pass->state));
	return awaited == BGJOB_AWAITED_MET        ? BGJOB_REVIEWED_RELEASED
		   : awaited == BGJOB_AWAITED_HOPELESS ? BGJOB_REVIEWED_DELETED
											   : BGJOB_REVIEWED_GONE;
}

/* Lets one dependant of a target go on if it may; else has it reviewed after the commit, if no other transaction is sure to do that. */
static BgjobReviewed
release_dependant(int64 dependant, Pass *pass)
{
	TimestampTz deadline = DT_NOEND;
	BgjobReviewed reviewed;
	BgjobAwaiting row;

	if (!bgjob_awaiting_find_in(pass->awaiting, dependant, &row))
		return BGJOB_REVIEWED_GONE;
	if (row.prerequisites > FEW && !decides(&row, pass->state))
	{
		ask_for_review(dependant, pass->target);
		return BGJOB_REVIEWED_AWAITS;
	}
	if (row.prerequisites > FEW)
		forget(dependant); /* the one that decides may come before */
	if (row.prerequisites == 1)
		reviewed = release_only(pass, &row);
	else
		reviewed = bgjob_review_job(dependant, &deadline);
	if (reviewed == BGJOB_REVIEWED_BUSY ||
		(reviewed == BGJOB_REVIEWED_AWAITS && row.prerequisites > 1))
		ask_for_review(dependant, 0);
	return reviewed;
}

/* Calls a function for each dependant, and counts what it returns. */
static void
visit_each(const int64 *dependants, int n, Pass *pass,
		   BgjobReviewed (*visit)(int64 dependant, Pass *pass))
{
	MemoryContext own = CurrentMemoryContext;
	MemoryContext each = own;

	if (n > 1) /* what one leaves behind goes with the caller's */
		each = AllocSetContextCreate(own, "bgjob dependant", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContextSwitchTo(each);
		CHECK_FOR_INTERRUPTS();
		pass->counts[visit(dependants[i], pass)]++;
		MemoryContextSwitchTo(own);
		if (each != own)
			MemoryContextReset(each);
	}
	if (each != own)
		MemoryContextDelete(each);
}

/* The same for each dependant of a target. Returns how many edges there are. */
static uint32
visit_dependants(Pass *pass, BgjobReviewed (*visit)(int64 dependant, Pass *pass))
{
	int n;
	int64 *dependants = bgjob_edges_of(pass->target, &n);

	visit_each(dependants, n, pass, visit);
	pfree(dependants);
	return n;
}

/*
 * bgjob_release_dependants lets those go on that await a target which is in a final state now, as
 * far as they may. Returns how many edges it has seen.
 */
uint32
bgjob_release_dependants(int64 target, BgjobState state)
{
	Pass pass = {.target = target, .state = state};
	int n;
	int64 *dependants = bgjob_edges_of(target, &n);

	if (n > 0)
	{
		pass.jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
		pass.awaiting = bgjob_rel_open(BGJOB_TABLE_AWAITING);
		visit_each(dependants, n, &pass, release_dependant);
		bgjob_rel_close(pass.awaiting);
		bgjob_rel_close(pass.jobs);
	}
	pfree(dependants);
	return n;
}

/* Looks at a dependant of a signal that the current user has sent: other signals may have the same hash. */
static BgjobReviewed
review_signalled(int64 dependant, Pass *pass)
{
	BgjobReviewed reviewed;
	BgjobAwaiting row;

	if (!bgjob_awaiting_find(dependant, &row) || !bgjob_signal_reaches(GetUserId(), row.role))
		return BGJOB_REVIEWED_GONE; /* another role awaits a signal of the same name */
	reviewed = bgjob_review_job(dependant, pass->deadline);
	if (reviewed == BGJOB_REVIEWED_BUSY || reviewed == BGJOB_REVIEWED_AWAITS)
		ask_for_review(dependant, 0);
	return reviewed;
}

/* bgjob_release_signalled lets those go on that await a signal which has been sent, as far as they may; returns their number. */
int64
bgjob_release_signalled(int64 target)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();
	TimestampTz deadline = DT_NOEND;
	Pass pass = {.target = target, .deadline = &deadline};
	uint32 edges = visit_dependants(&pass, review_signalled);

	if (notes != NULL)
		bgjob_dependant_note_target(notes, target, edges);
	return pass.counts[BGJOB_REVIEWED_RELEASED];
}

/*
 * Reviews a batch: has it watch one of its unfinished jobs, or notes that it has
 * finished, and lets those go on that await it. False: another transaction does that.
 */
static bool
review_batch(int64 batch)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();
	BgjobState state;
	int64 last;

	while ((last = bgjob_members_last_open(batch)) != 0)
	{
		bgjob_review_watch(batch, last, 0);
		if (bgjob_member_is_open(batch, last))
			return true;
	}
	bgjob_review_watch(batch, 0, 0);
	state = bgjob_batch_state(batch);
	if (!bgjob_state_is_final(state))
		return true;
	if (notes != NULL)
		bgjob_dependant_note_target(notes, batch, bgjob_release_dependants(batch, state));
	return bgjob_batch_note_finished(batch);
}

static BgjobReviewed
review_visited(int64 dependant, Pass *pass)
{
	forget(dependant); /* what is remembered may not have the target that the review is for */
	if (pass->visited++ >= DEPENDANTS_MAX)
		return BGJOB_REVIEWED_AWAITS; /* until everything is reviewed */
	return review_id(dependant, pass->deadline, true);
}

/*
 * bgjob_review reviews an id that was asked for: a job that awaits something, a batch, or a target and all that
 * awaits it; if that is too much at a time, it asks for a review of everything. A job that was superseded is
 * canceled here (store/supersede.c). *deadline as above. False: another transaction has one of them.
 */
bool
bgjob_review(int64 id, TimestampTz *deadline)
{
	bool complete = review_id(id, deadline, true) != BGJOB_REVIEWED_BUSY;
	Pass pass = {.target = id, .deadline = deadline};
	BgjobBatch batch;

	if (id > 0 && bgjob_batch_read(id, &batch))
		return review_batch(id);
	if (visit_dependants(&pass, review_visited) > DEPENDANTS_MAX)
		bgjob_review_ask_all(MyDatabaseId);
	return complete && pass.counts[BGJOB_REVIEWED_BUSY] == 0;
}
