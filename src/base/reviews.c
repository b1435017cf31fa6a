/*-------------------------------------------------------------------------
 *
 * reviews.c
 *	  What the scheduler of a database is to look at again: jobs that await others, and what is awaited.
 *
 * store/release.c says when a review is asked for, and why nothing is stranded. Each
 * database has a list of ids here. An id that is in the list is not added again. When
 * the list is full, the scheduler reviews all jobs that await something.
 *
 * WATCHES. For a job that awaits very many others, one of its targets that still goes on is watched, or two: the first
 * and the last of them. The job is
 * reviewed when one of these ends; the end of any other target is no reason. So 10,000
 * ends do not make 10,000 reviews. The scheduler sets the watch, and then reads
 * whether the watched targets still go on. A process that ends a job reads the
 * watch after its commit. So the scheduler sees the end, or the process sees the watch. Without a watch every end is a reason.
 * A watch may be lost at any time: the table of each database is small, and a dependant
 * that is hashed to the place of another takes it.
 *
 * REOPENINGS. A process that reviews such a job remembers how many of its targets have ended
 * (store/release.c). It forgets that when jobs that others await have run again, which are counted.
 *
 * Locks: a list has an LWLock, a watch a spinlock. Called from commit callbacks: nothing
 * here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/reviews.h"
#include "base/wake.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#define WATCHES 64

typedef struct Watch
{
	slock_t mutex;
	int64 dependant; /* 0: none */
	int64 target;
	int64 other; /* 0: no second one */
} Watch;

typedef struct ReviewList
{
	pg_atomic_uint32 reopenings;
	LWLock lock; /* of the list */
	bool all;
	int n;
	int64 ids[BGJOB_REVIEWS];
	Watch watches[WATCHES];
} ReviewList;

typedef struct ReviewControl
{
	int tranche;
	ReviewList lists[BGJOB_DATABASES]; /* by the index of the database's entry */
} ReviewControl;

static ReviewControl *control = NULL;

/* bgjob_reviews_size returns the bytes of shared memory that the lists take. */
Size
bgjob_reviews_size(void)
{
	return sizeof(ReviewControl);
}

/* bgjob_reviews_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_reviews_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob reviews", bgjob_reviews_size(), &found);
	if (!found)
	{
		memset(control, 0, bgjob_reviews_size());
		control->tranche = LWLockNewTrancheId();
		for (int i = 0; i < BGJOB_DATABASES; i++)
		{
			pg_atomic_init_u32(&control->lists[i].reopenings, 0);
			LWLockInitialize(&control->lists[i].lock, control->tranche);
			for (int j = 0; j < WATCHES; j++)
				SpinLockInit(&control->lists[i].watches[j].mutex);
		}
	}
	LWLockRegisterTranche(control->tranche, "BgjobReviews");
}

static ReviewList *
list_of(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	return entry == NULL ? NULL : &control->lists[entry - bgjob_registry->databases];
}

/* Adds an id to a list; 0: all. Returns whether the scheduler has to be notified: it is not yet. */
static bool
add(ReviewList *list, int64 id)
{
	bool first;
	bool known = false;

	LWLockAcquire(&list->lock, LW_EXCLUSIVE);
	first = list->n == 0 && !list->all;
	for (int i = 0; i < list->n && !known; i++)
		known = list->ids[i] == id;
	if (id == 0 || (!known && list->n == BGJOB_REVIEWS))
		list->all = true;
	else if (!known)
		list->ids[list->n++] = id;
	LWLockRelease(&list->lock);
	return first;
}

/* bgjob_review_ask asks for a review of a job or batch that awaits something, or of all that awaits it. */
void
bgjob_review_ask(Oid database, int64 id)
{
	ReviewList *list = list_of(database);

	if (list != NULL && add(list, id))
		bgjob_notify_scheduler(database, BGJOB_NOTICE_REVIEW);
}

/* bgjob_review_ask_all asks for a review of everything that awaits something in a database. */
void
bgjob_review_ask_all(Oid database)
{
	bgjob_review_ask(database, 0);
}

/* bgjob_review_take takes the list of this database, at most BGJOB_REVIEWS ids; their number. *all: everything is to be reviewed. */
int
bgjob_review_take(int64 *ids, bool *all)
{
	ReviewList *list = list_of(MyDatabaseId);
	int n;

	if (list == NULL)
		return 0;
	LWLockAcquire(&list->lock, LW_EXCLUSIVE);
	n = list->n;
	memcpy(ids, list->ids, n * sizeof(int64));
	*all |= list->all;
	list->n = 0;
	list->all = false;
	LWLockRelease(&list->lock);
	return n;
}

static Watch *
watch_of(int64 dependant)
{
	ReviewList *list = list_of(MyDatabaseId);

	return list == NULL ? NULL
						: &list->watches[hash_bytes_extended((const unsigned char *) &dependant,
															 sizeof(dependant), 0) %
										 WATCHES];
}

/* bgjob_review_watch notes which of the targets of a dependant is watched, 0: none; and which other one, 0: only one is. */
void
bgjob_review_watch(int64 dependant, int64 target, int64 other)
{
	Watch *watch = watch_of(dependant);

	if (watch == NULL)
		return;
	SpinLockAcquire(&watch->mutex);
	watch->dependant = target == 0 ? 0 : dependant;
	watch->target = target;
	watch->other = other;
	SpinLockRelease(&watch->mutex);
	pg_memory_barrier(); /* before the caller reads whether the target goes on */
}

static bool
is_between(int64 id, int64 first, int64 last)
{
	return id != 0 && id >= first && id <= last;
}

/* bgjob_review_is_due returns whether a dependant is to be reviewed when targets from "first" to "last" have ended: it watches one of them, or none. */
bool
bgjob_review_is_due(int64 dependant, int64 first, int64 last)
{
	Watch *watch = watch_of(dependant);
	int64 target = 0;
	int64 other = 0;

	if (watch == NULL)
		return true;
	SpinLockAcquire(&watch->mutex);
	if (watch->dependant == dependant)
	{
		target = watch->target;
		other = watch->other;
	}
	SpinLockRelease(&watch->mutex);
	return target == 0 || is_between(target, first, last) || is_between(other, first, last);
}

/* bgjob_review_reopened notes that jobs or batches of a database that had ended, and that others await, go on again. */
void
bgjob_review_reopened(Oid database)
{
	ReviewList *list = list_of(database);

	if (list != NULL)
		(void) pg_atomic_fetch_add_u32(&list->reopenings, 1);
}

/* bgjob_review_reopenings returns how often that was noted for this database. */
uint32
bgjob_review_reopenings(void)
{
	ReviewList *list = list_of(MyDatabaseId);
	uint32 reopenings = list == NULL ? 0 : pg_atomic_read_u32(&list->reopenings);

	pg_memory_barrier(); /* before the caller reads what has ended */
	return reopenings;
}
