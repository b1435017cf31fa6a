/*-------------------------------------------------------------------------
 *
 * cycle.c
 *	  Whether a job of a batch would await itself.
 *
 * A new job can only name jobs that exist, so jobs alone cannot form a cycle. A batch
 * takes new jobs at any time, so a job that joins it can close one: it awaits, over others,
 * a job that awaits this very batch, or one above it. Such a job is refused
 * (api/continuation.c). A job that is revived (store/revive.c) can close one, too, since batches
 * are open again that had finished, and others may await the job itself by now; it stays deleted.
 * Each cycle leads over a job that awaits a batch and one that is in it, so no others are searched for.
 *
 * The search goes from job to job only where one awaits a batch, directly or over others
 * (bgjob_internal.awaiting.behind_batch; a job counts as such a one if it awaits one that may
 * be revived).
 *
 * Two transactions that each add one half of a cycle do not see each other's. Each half awaits a
 * batch and joins another one, so both search: at once, so that the caller is told, and once more when the
 * transaction commits (bgjob_cycle_check, by store/settle.c), with locks. The second search locks, until
 * the commit has been done, the owner of each batch that the job is in and of each batch that it
 * comes to, before it reads the jobs of that batch. So of two neighbours in a cycle one
 * searches after the other has committed, and the last one of all finds the cycle: its transaction
 * fails, and can be repeated. A lock is held for a commit, not while a client idles (but by a
 * prepared transaction); and only by those who compose batches of the same owner.
 *
 * A batch that the transaction has created itself, and that nothing awaits yet, closes no cycle: nobody else can
 * await it before the commit. So it is filled without a search, however much its jobs await.
 *
 * Any process. Locks: object locks on the table of jobs and a role, which nothing else takes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store/awaiting.h"
#include "store/batch.h"
#include "store/cycle.h"
#include "store/edge.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A search for a job that awaits one of the batches of a job. */
typedef struct Search
{
	BgjobRel *jobs;
	bool lock;    /* it is the search at the commit */
	Oid locked;   /* the owner that was locked last */
	int64 self;   /* the job, if others may await it; else 0 */
	int64 *chain; /* the batch that the job is in, and those above it */
	int length;
	HTAB *seen;
	int64 *todo;
	int n;
	int room;
	BgjobCycleFound found;
	BgjobCycle *cycle;
} Search;

static void
visit_later(Search *search, int64 id)
{
	bool seen;

	if (id == search->self)
		search->found = BGJOB_CYCLE;
	(void) hash_search(search->seen, &id, HASH_ENTER, &seen);
	if (seen)
		return;
	if (hash_get_num_entries(search->seen) > BGJOB_CYCLE_SEARCH_MAX)
	{
		search->found = BGJOB_CYCLE_UNKNOWN;
		return;
	}
	if (search->n == search->room)
	{
		search->room *= 2;
		search->todo = repalloc(search->todo, search->room * sizeof(int64));
	}
	search->todo[search->n++] = id;
}

/* Has those that search among batches of the owner of this one do it one after the other. */
static void
lock_owner(Search *search, int64 id)
{
	BgjobBatch batch;
	LOCKTAG tag;

	if (!search->lock || !bgjob_batch_read(id, &batch) || batch.role == search->locked)
		return;
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationGetRelid(search->jobs->rel), batch.role, 1);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	search->locked = batch.role;
}

static void
visit_members(Search *search, int64 batch)
{
	int64 members[100];
	int64 after = 0;
	int n;

	while (search->found == BGJOB_NO_CYCLE &&
		   (n = bgjob_members_read(batch, BGJOB_MEMBER_OPEN, after, members,
								   lengthof(members))) > 0)
	{
		for (int i = 0; i < n; i++)
			visit_later(search, members[i]);
		after = members[n - 1];
	}
}

/* Visits a batch that a job awaits; "by" is that job, 0: the one that is searched for. */
static void
visit_batch(Search *search, int64 by, int64 batch)
{
	for (int i = 0; i < search->length; i++)
		if (search->chain[i] == batch)
		{
			search->found = BGJOB_CYCLE;
			*search->cycle = (BgjobCycle){batch, by};
			return;
		}
	lock_owner(search, batch);
	visit_members(search, batch);
}

/* Visits what a job awaits, if there may be a batch among that, directly or over others. */
static void
visit_job(Search *search, int64 id)
{
	BgjobAwaiting row;
	BgjobPrerequisites all;
	BgjobJob job;

	if (!bgjob_awaiting_find(id, &row) || !row.behind_batch ||
		!bgjob_job_read(search->jobs, id, &job) || !bgjob_prerequisites_read(&job, &all))
		return;
	for (int i = 0; i < all.njobs; i++)
		visit_later(search, all.targets[i]);
	if (all.nbatches > 0)
		visit_batch(search, id, all.targets[all.njobs]);
}

static void
search_all(Search *search, const BgjobPrerequisites *all)
{
	for (int i = 0; i < search->length; i++)
		lock_owner(search, search->chain[i]);
	for (int i = 0; i < all->njobs; i++)
		visit_later(search, all->targets[i]);
	if (all->nbatches > 0)
		visit_batch(search, 0, all->targets[all->njobs]);
	while (search->n > 0 && search->found == BGJOB_NO_CYCLE)
	{
		CHECK_FOR_INTERRUPTS();
		visit_job(search, search->todo[--search->n]);
	}
}

/* Returns whether a job awaits, or has awaited, one of the batches of the search. */
static bool
is_awaited(const Search *search)
{
	int n = 0;

	for (int i = 0; i < search->length && n == 0; i++)
		pfree(bgjob_edges_of(search->chain[i], &n));
	return n > 0;
}

/* Returns whether this transaction has created all batches of the search. */
static bool
is_own(const Search *search)
{
	BgjobBatch batch;

	for (int i = 0; i < search->length; i++)
		if (!bgjob_batch_read(search->chain[i], &batch) || !batch.mine)
			return false;
	return true;
}

static BgjobCycleFound
find_cycle(Search *search, int64 batch, const BgjobPrerequisites *all)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob search", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	HASHCTL info = {.keysize = sizeof(int64), .entrysize = sizeof(int64), .hcxt = context};
	const int64 *chain = NULL;

	if (batch != 0)
		chain = bgjob_batch_chain(batch, &search->length);
	search->chain = palloc(Max(search->length, 1) * sizeof(int64));
	if (search->length > 0)
		memcpy(search->chain, chain, search->length * sizeof(int64));
	search->seen = hash_create("bgjob seen", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	search->room = 64;
	search->todo = palloc(search->room * sizeof(int64));
	search->cycle->searched = search->self != 0 || !is_own(search) || is_awaited(search);
	if (search->cycle->searched)
		search_all(search, all);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return search->found;
}

/*
 * bgjob_cycle_find searches for a cycle that a job closes by what it awaits. "self" is its id if other
 * jobs may await it, 0 if it is new; "batch" is its batch, 0: none. Of a new job *cycle describes the
 * cycle. Unless cycle->searched is false, the caller has the job checked again at the commit
 * (bgjob_dependant_note_cycle).
 */
BgjobCycleFound
bgjob_cycle_find(BgjobRel *jobs, int64 self, int64 batch, const BgjobPrerequisites *all,
				 BgjobCycle *cycle)
{
	Search search = {.jobs = jobs, .self = self, .cycle = cycle};

	return find_cycle(&search, batch, all);
}

/*
 * bgjob_cycle_check raises 40001 if a job, which this transaction is about to commit, closes a
 * cycle together with what another transaction has committed meanwhile.
 */
void
bgjob_cycle_check(int64 id)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobPrerequisites all;
	BgjobCycle cycle;
	BgjobJob job;

	if (bgjob_job_read(jobs, id, &job) && job.state == BGJOB_AWAITING &&
		bgjob_prerequisites_read(&job, &all))
	{
		Search search = {.jobs = jobs, .self = id, .lock = true, .cycle = &cycle};
		int64 batch = bgjob_job_is_null(&job, BGJOB_C_BATCH_ID)
						  ? 0
						  : DatumGetInt64(bgjob_job_datum(&job, BGJOB_C_BATCH_ID));

		if (find_cycle(&search, batch, &all) != BGJOB_NO_CYCLE)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("a job would await itself"),
							errdetail("Another transaction has had a batch of job " INT64_FORMAT
									  " awaited meanwhile.",
									  id),
							errhint("Repeat the transaction.")));
	}
	bgjob_rel_close(jobs);
}
