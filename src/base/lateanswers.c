/*-------------------------------------------------------------------------
 *
 * lateanswers.c
 *	  Answers of external workers that came too late, to be noted by the scheduler.
 *
 * A worker that answers for a job which it no longer has hears so at once. The scheduler writes it into the history of
 * the job (process/latenotes.c): the transaction of the late worker may be open for long, or be rolled
 * back, and must not hold up the worker that has the job now.
 *
 * The list is short, for the whole cluster, and of fixed size. An answer that is there already is not added again; when the list is full, further
 * ones are not noted.
 *
 * Any process. One LWLock, for a search through the list; nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lateanswers.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

/* Length of the list. */
#define MAX_LATE 256

typedef struct LateControl
{
	LWLock lock;
	int n;
	BgjobLateAnswer answers[MAX_LATE]; /* the oldest first */
} LateControl;

static LateControl *control = NULL;

/* bgjob_late_answers_size returns the bytes of shared memory that this takes. */
Size
bgjob_late_answers_size(void)
{
	return sizeof(LateControl);
}

/* bgjob_late_answers_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_late_answers_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob late answers", bgjob_late_answers_size(), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
		control->n = 0;
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobLateAnswers");
}

static bool
is_same(const BgjobLateAnswer *a, const BgjobLateAnswer *b)
{
	return a->database == b->database && a->job == b->job && strcmp(a->worker, b->worker) == 0;
}

/* Returns the place of an answer in the list; control->n: it is not there. The lock is held. */
static int
find(const BgjobLateAnswer *answer)
{
	int at = 0;

	while (at < control->n && !is_same(&control->answers[at], answer))
		at++;
	return at;
}

/*
 * bgjob_external_answer_late has the scheduler note that a worker has answered too late
 * for a job, which the caller controls. It is noted whatever becomes of the caller's transaction.
 */
void
bgjob_external_answer_late(int64 job, const char *worker)
{
	BgjobLateAnswer answer = {.database = MyDatabaseId, .job = job};
	bool added = false;
	int at;

	if (control == NULL)
		return;
	strlcpy(answer.worker, worker, sizeof(answer.worker));
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	at = find(&answer);
	if (at == control->n && at < MAX_LATE)
	{
		control->answers[control->n++] = answer;
		added = true;
	}
	LWLockRelease(&control->lock);
	if (added)
		bgjob_notify_scheduler(MyDatabaseId, 0);
}

/* bgjob_late_answers_first copies the oldest answer for a job of a database; false: there is none. */
bool
bgjob_late_answers_first(Oid database, BgjobLateAnswer *answer)
{
	bool found = false;

	if (*(volatile int *) &control->n == 0)
		return false;
	LWLockAcquire(&control->lock, LW_SHARED);
	for (int i = 0; i < control->n && !found; i++)
		if (control->answers[i].database == database)
		{
			*answer = control->answers[i];
			found = true;
		}
	LWLockRelease(&control->lock);
	return found;
}

/* Removes an answer from the list. The lock is held. */
static void
remove_at(int at)
{
	control->n--;
	memmove(&control->answers[at], &control->answers[at + 1],
			(control->n - at) * sizeof(BgjobLateAnswer));
}

/* bgjob_late_answers_remove removes an answer that has been noted. */
void
bgjob_late_answers_remove(const BgjobLateAnswer *answer)
{
	int at;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	at = find(answer);
	if (at < control->n)
		remove_at(at);
	LWLockRelease(&control->lock);
}

/* bgjob_late_answers_forget removes those of a database that bgjob has left. */
void
bgjob_late_answers_forget(Oid database)
{
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	for (int at = control->n - 1; at >= 0; at--)
		if (control->answers[at].database == database)
			remove_at(at);
	LWLockRelease(&control->lock);
}
