/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  What follows, in the same transaction, from jobs and attempts that are over.
 *
 * bgjob_job_apply() notes each job that has ended, and each attempt after which
 * a job goes on, in whatever process (base/change.c). Just before the transaction
 * commits or is prepared, all of it is settled here at once: what depends on
 * other jobs' ends (the next occurrence of a recurring job, which may wait for
 * the last one) is done for the set, once for a transaction and so once for a
 * group of jobs. An error here is one of the commit.
 *
 * What concerns the job alone (its place, its key, its history) is done when it
 * ends, in store/job.c, since the rest of the transaction has to find it so.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "store/settle.h"

static void
settle(const BgjobOver *over)
{
	int64 ended = 0;
	int64 attempts = 0;
	bool recurring = false;

	for (; over != NULL; over = over->next)
	{
		if (bgjob_state_is_final(over->state))
			ended++;
		else
			attempts++;
		recurring |= over->recurring;
	}
	if (recurring)
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_ENDED);
	ereport(DEBUG2, (errmsg_internal("bgjob: jobs that have ended: " INT64_FORMAT
									 ", attempts after which jobs go on: " INT64_FORMAT,
									 ended, attempts)));
}

/* bgjob_settle_install has transactions settled; once, when the library is loaded. */
void
bgjob_settle_install(void)
{
	bgjob_change_settle = settle;
}
