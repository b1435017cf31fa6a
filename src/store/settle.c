/*-------------------------------------------------------------------------
 *
 * settle.c
 *	  Effects, in the same transaction, of jobs and attempts that have ended.
 *
 * bgjob_job_apply() notes each job that has ended, and each attempt after which
 * a job goes on, in any process (base/change.c). Just before the transaction
 * commits or is prepared, all of them are settled here at once. Work that depends
 * on the end of other jobs (the next occurrence of a recurring job, which may
 * wait for the last one) is done once for the set, and so once for a group of
 * jobs. An error here fails the commit.
 *
 * Changes of the job alone (its place, its key, its history) are made when it
 * ends, in store/job.c, since the rest of the transaction must see them.
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

/* bgjob_settle_install installs the hook for that; called once, when the library is loaded. */
void
bgjob_settle_install(void)
{
	bgjob_change_settle = settle;
}
