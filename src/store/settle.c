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
		bgjob_dependant_note_review(notes, batch, 0);
	if (bgjob_dependants_count(batch) > 0)
		edges = bgjob_release_dependants(batch, state);
	bgjob_dependant_note_target(notes, batch, edges);
}

/* Notes the batches of a job that has ended. Most of them watch another job, and have not finished then. */
static void
note_batches(const BgjobOver *over, BgjobDependantNotes *notes)
{
	int n;
	const int64 *chain = bgjob_batch_chain(over->batch, &n);

	for (int i = 0; i < n; i++)
	{
		int64 watched = bgjob_review_watched(chain[i]);

		bgjob_dependant_note_review(notes, chain[i], over->job);
		if (watched == 0 || watched == over->job)
			bgjob_dependant_note_batch(notes, chain[i]);
	}
}

/* Lets those go on that await one job. Jobs that nothing awaits cost two reads of memory. */
static void
settle_job(BgjobOver *over, BgjobDependantNotes *notes)
{
	if (bgjob_dependants_count(over->job) > 0)
		over->edges = bgjob_release_dependants(over->job, over->state);
	if (over->batch != 0 && notes != NULL)
		note_batches(over, notes);
}

static void
settle_batches(BgjobDependantNotes *notes)
{
	while (notes->nbatches > 0)
		settle_batch(notes, notes->batches[--notes->nbatches]);
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

	if (survey(first, &recurring) || (notes != NULL && notes->nbatches > 0))
	{
		context =
			AllocSetContextCreate(CurrentMemoryContext, "bgjob settle", ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(context);
		CommandCounterIncrement(); /* what has ended is to be seen */
		for (BgjobOver *over = first; over != NULL; over = over->next)
			if (bgjob_state_is_final(over->state))
				settle_job(over, notes);
		if (notes != NULL)
			settle_batches(notes);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	if (recurring)
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_ENDED);
}

/* bgjob_settle_install installs the hook for that; called once, when the library is loaded. */
void
bgjob_settle_install(void)
{
	bgjob_change_settle = settle;
}
