/*-------------------------------------------------------------------------
 *
 * review.c
 *	  Reviewing jobs that await something.
 *
 * A step of the scheduler's round (process/scheduler.c). It reviews what other
 * processes have asked for (base/reviews.h), each id with a snapshot that shows what
 * was committed before it was asked; store/release.c says why nothing is stranded by that. What another
 * transaction has is reviewed again after BUSY_PAUSE, until it is free.
 *
 * When everything is to be reviewed, it goes through all jobs that await something, and all batches
 * that have not finished, PORTION at a time. It also deletes jobs whose time
 * to await is up (await_timeout).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/dependants.h"
#include "base/process.h"
#include "base/reviews.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "process/review.h"
#include "store/awaiting.h"
#include "store/batch.h"
#include "store/edge.h"
#include "store/release.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* So many jobs or batches in one transaction. */
#define PORTION BGJOB_REVIEWS

/* So many ids are remembered that another transaction has; if there are more, everything is reviewed again. */
#define BUSY_MAX 1000

/* A transaction that has reviewed for so many milliseconds ends: the scheduler has other things to do. */
#define SPAN 20

/* The pause before these are reviewed again, in microseconds. */
#define BUSY_PAUSE 50000

/* Where the review of everything is. */
typedef enum Stage
{
	STAGE_NONE,
	STAGE_JOBS,
	STAGE_BATCHES
} Stage;

static int64 asked[BGJOB_REVIEWS]; /* taken from the list, still to be reviewed */
static int nasked = 0;
static int64 busy[BUSY_MAX];
static int nbusy = 0;
static TimestampTz busy_until;
static bool all_wanted = false;
static Stage stage = STAGE_NONE;
static int64 reviewed_to;                    /* of the jobs, or batches */
static TimestampTz next_deadline = DT_NOEND; /* the next of those known */
static bool under_way =
	false; /* still, when the next step begins: an error has ended this one */

/* bgjob_review_begin prepares a scheduler: counts who awaits whom, and has everything reviewed. */
void
bgjob_review_begin(void)
{
	if (!bgjob_dependants_known()) /* else a scheduler before this one has counted them */
	{
		bgjob_begin();
		bgjob_edges_count();
		bgjob_commit();
	}
	all_wanted = true;
	next_deadline = DT_NOBEGIN;
}

/* bgjob_review_clock_set forgets times of a clock that has been set. */
void
bgjob_review_clock_set(void)
{
	busy_until = 0;
	next_deadline = DT_NOBEGIN;
}

static void
note_busy(int64 id)
{
	if (nbusy == BUSY_MAX)
		all_wanted = true;
	else
		busy[nbusy++] = id;
}

/* Reviews some ids in one transaction, at least one. Returns how many: the others would take too long. */
static int
review(const int64 *ids, int n, const char *activity)
{
	TimestampTz deadline = DT_NOEND;
	instr_time begin;
	instr_time passed = {0};
	int done = 0;

	INSTR_TIME_SET_CURRENT(begin);
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, activity);
	while (done < n && INSTR_TIME_GET_MILLISEC(passed) < SPAN)
	{
		CHECK_FOR_INTERRUPTS();
		if (!bgjob_review(ids[done], &deadline))
			note_busy(ids[done]);
		done++;
		INSTR_TIME_SET_CURRENT(passed);
		INSTR_TIME_SUBTRACT(passed, begin);
	}
	bgjob_commit();
	next_deadline = Min(next_deadline, deadline);
	return done;
}

/* Reviews what others have asked for. Returns whether there may be more. */
static bool
review_asked(void)
{
	int done;

	if (nasked == 0)
		nasked = bgjob_review_take(asked, &all_wanted);
	if (nasked == 0)
		return false;
	done = review(asked, nasked, "releasing jobs");
	nasked -= done;
	memmove(asked, asked + done, nasked * sizeof(int64));
	return true;
}

/* Reviews again what another transaction has had. */
static void
review_busy(TimestampTz now)
{
	int64 ids[BUSY_MAX];
	int n = nbusy;

	if (n == 0 || busy_until > now)
		return;
	memcpy(ids, busy, n * sizeof(int64));
	nbusy = 0;
	for (int done = review(ids, n, "releasing jobs"); done < n; done++)
		note_busy(ids[done]);
}

/* Reads the next ids of the review of everything. */
static int
next_portion(int64 *ids)
{
	int n;

	bgjob_begin();
	if (stage == STAGE_JOBS)
		n = bgjob_awaiting_after(reviewed_to, ids, PORTION);
	else
		n = bgjob_batches_after(reviewed_to, ids, PORTION);
	bgjob_commit();
	return n;
}

/* Does the next part of the review of everything. Returns whether there is more. */
static bool
review_all(void)
{
	int64 ids[PORTION];
	int n;

	if (stage == STAGE_NONE && !all_wanted)
		return false;
	if (stage == STAGE_NONE)
	{
		all_wanted = false;
		stage = STAGE_JOBS;
		reviewed_to = 0;
	}
	n = next_portion(ids);
	if (n > 0)
	{
		n = review(ids, n, "reviewing jobs that await others");
		reviewed_to = ids[n - 1];
	}
	else
	{
		reviewed_to = 0;
		stage = stage == STAGE_JOBS ? STAGE_BATCHES : STAGE_NONE;
	}
	return stage != STAGE_NONE || all_wanted;
}

/* Deletes jobs whose time is up. */
static void
review_overdue(TimestampTz now)
{
	int64 ids[PORTION];
	TimestampTz next;
	int n;

	if (next_deadline > now)
		return;
	bgjob_begin();
	n = bgjob_awaiting_overdue(now, ids, PORTION, &next);
	bgjob_commit();
	next_deadline = next;
	if (n > 0 && review(ids, n, "deleting jobs that have waited too long") < n)
		next_deadline = DT_NOBEGIN;
}

/* bgjob_review_serve lets those jobs go on that may. What was to be reviewed when an error occurred is reviewed with everything. */
TimestampTz
bgjob_review_serve(TimestampTz now)
{
	bool more;

	if (under_way)
	{
		all_wanted = true;
		next_deadline = DT_NOBEGIN;
	}
	under_way = true;
	more = review_asked();
	review_busy(now);
	review_overdue(now);
	more = review_all() || more;
	if (nbusy > 0 && busy_until <= now)
		busy_until = now + BUSY_PAUSE;
	under_way = false;
	if (more)
		return now;
	return Min(next_deadline, nbusy > 0 ? busy_until : DT_NOEND);
}
