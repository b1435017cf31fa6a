/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  Effects, in the same transaction, of jobs and attempts that have ended.
 *
 * bgjob_job_apply() notes each job that has ended, and each attempt after which
 * a job goes on, in any process (base/change.c). Just before the transaction
 * commits or is prepared, all of them are settled here at once: what awaits them
 * goes on (store/release.c), batches that have finished are noted, and the scheduler
 * is told of recurring jobs. What is ended by that is settled in another
 * round. Work that does not depend on the single job is done once for the set, and so once
 * for a group of jobs. An error here fails the commit.
 *
 * Changes of the job alone (its place, its key, its history) are made when it
 * ends, in store/job.c, since the rest of the transaction must see them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/dependants.h"
#include "base/registry.h"
#include "base/reviews.h"
#include "miscadmin.h"
#include "store/batch.h"
#include "store/cycle.h"
#include "store/gating.h"
#include "store/release.h"
#include "store/settle.h"
#include "utils/memutils.h"

/*
 * Notes that a batch has finished, if it has, and lets those go on that await it; else has it
 * reviewed after the commit, if it watches one of the jobs that end here.
 */
static void
settle_batch(BgjobDependantNotes *notes, int64 batch)
{
	BgjobState state = bgjob_batch_state(batch);
	uint32 edges = 0;

	if (!bgjob_state_is_final(state))
		return;
	if (!bgjob_batch_note_finished(batch))
		bgjob_dependant_note_review(notes, batch);
	if (bgjob_dependants_count(batch) > 0)
		edges = bgjob_release_dependants(batch, state);
	bgjob_dependant_note_target(notes, batch, edges);
}

/* A job that has ended, and its batch. */
typedef struct Ended
{
	int64 batch;
	int64 job;
	bool member;
} Ended;

static int
compare(const void *a, const void *b)
{
	const Ended *left = a;
	const Ended *right = b;

	if (left->batch != right->batch)
		return left->batch < right->batch ? -1 : 1;
	return left->job < right->job ? -1 : left->job > right->job ? 1 : 0;
}

/* Has jobs of one batch that are still members leave it, and those above it. Their ids ascend. */
static void
leave(const Ended *ended, int n)
{
	int64 *jobs = palloc(n * sizeof(int64));
	const int64 *chain;
	int length;
	int leaving = 0;

	for (int i = 0; i < n; i++)
		if (ended[i].member && (leaving == 0 || jobs[leaving - 1] != ended[i].job))
			jobs[leaving++] = ended[i].job;
	chain = bgjob_batch_chain(ended[0].batch, &length);
	for (int i = 0; i < length && leaving > 0; i++)
		bgjob_members_leave(chain[i], jobs, leaving);
	pfree(jobs);
}

/*
 * Notes the batches of jobs of one batch. Most of them watch another job, and have not finished
 * then; that is asked again after the commit.
 */
static void
note_batches(const Ended *ended, int n, BgjobDependantNotes *notes)
{
	int64 first = ended[0].job;
	int64 last = ended[n - 1].job;
	const int64 *chain;
	int length;

	chain = bgjob_batch_chain(ended[0].batch, &length);
	for (int i = 0; i < length; i++)
	{
		bgjob_dependant_note_ended(notes, chain[i], first, last);
		if (bgjob_review_is_due(chain[i], first, last))
			bgjob_dependant_note_batch(notes, chain[i]);
	}
}

/* Settles what batches have of jobs that have ended: once for each batch. */
static void
settle_members(const BgjobOver *first, BgjobDependantNotes *notes)
{
	Ended *ended;
	int n = 0;
	int begin = 0;

	for (const BgjobOver *over = first; over != NULL; over = over->next)
		n += over->batch != 0 ? 1 : 0;
	if (n == 0)
		return;
	ended = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(Ended));
	n = 0;
	for (const BgjobOver *over = first; over != NULL; over = over->next)
		if (over->batch != 0)
			ended[n++] = (Ended){over->batch, over->job, over->member};
	qsort(ended, n, sizeof(Ended), compare);
	for (int i = 1; i <= n; i++)
	{
		if (i < n && ended[i].batch == ended[begin].batch)
			continue;
		leave(&ended[begin], i - begin);
		if (notes != NULL)
			note_batches(&ended[begin], i - begin, notes);
		begin = i;
	}
	pfree(ended);
	CommandCounterIncrement(); /* that they have left is to be seen */
}

static void
settle_batches(BgjobDependantNotes *notes)
{
	while (notes->nbatches > 0)
		settle_batch(notes, notes->batches[--notes->nbatches]);
}

/* Lets those go on that await one job. Jobs that nothing awaits cost two reads of memory. */
static void
settle_job(BgjobOver *over)
{
	if (bgjob_dependants_count(over->job) > 0)
		over->edges = bgjob_release_dependants(over->job, over->state);
}

/* Raises 40001 if a job of this transaction would await itself by what another one has committed meanwhile. */
static void
check_cycles(BgjobDependantNotes *notes)
{
	if (notes->ncycles > 0)
		CommandCounterIncrement();
	while (notes->ncycles > 0)
	{
		CHECK_FOR_INTERRUPTS();
		bgjob_cycle_check(notes->cycles[--notes->ncycles]);
	}
}

/* Counts what has ended. Returns whether something may depend on it, beyond recurring jobs. */
static bool
survey(const BgjobOver *first, bool *recurring)
{
	bool concerns = false;
	int64 ended = 0;
	int64 attempts = 0;

	*recurring = false;
	for (const BgjobOver *over = first; over != NULL; over = over->next)
	{
		*recurring |= over->recurring;
		if (!bgjob_state_is_final(over->state))
		{
			attempts++;
			continue;
		}
		ended++;
		concerns = concerns || over->batch != 0 || bgjob_dependants_count(over->job) > 0;
	}
	ereport(DEBUG2, (errmsg_internal("bgjob: jobs that have ended: " INT64_FORMAT
									 ", attempts after which jobs go on: " INT64_FORMAT,
									 ended, attempts)));
	return concerns;
}

static void
settle(BgjobOver *first)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();
	bool recurring;
	MemoryContext context;
	MemoryContext old;

	if (survey(first, &recurring) || (notes != NULL && notes->nbatches + notes->ncycles > 0))
	{
		context =
			AllocSetContextCreate(CurrentMemoryContext, "bgjob settle", ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(context);
		CommandCounterIncrement(); /* what has ended is to be seen */
		settle_members(first, notes);
		for (BgjobOver *over = first; over != NULL; over = over->next)
			if (bgjob_state_is_final(over->state))
				settle_job(over);
		if (notes != NULL)
			settle_batches(notes);
		if (notes != NULL)
			check_cycles(notes);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	bgjob_gating_settle();
	if (recurring)
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_ENDED);
}

/* bgjob_settle_install installs the hook for that; called once, when the library is loaded. */
void
bgjob_settle_install(void)
{
	bgjob_change_settle = settle;
}
