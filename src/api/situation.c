/*-------------------------------------------------------------------------
 *
 * situation.c
 *	  A job, and what is known of who serves it: what several causes ask.
 *
 * A situation is filled by api/why.c, for one statement; the causes why a job does not
 * run (api/causes.c, api/workercauses.c) only read it. The functions here read no row
 * of a job.
 *
 * Runs in the calling session. No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "api/situation.h"
#include "base/guc.h"
#include "miscadmin.h"

/* bgjob_answer_say fills an answer; the hint may be NULL. Returns true: the cause holds. */
bool
bgjob_answer_say(BgjobAnswer *answer, const char *detail, const char *hint)
{
	answer->detail = detail;
	answer->hint = hint;
	return true;
}

/* bgjob_situation_role returns the name of the role of the job. */
const char *
bgjob_situation_role(const BgjobSituation *situation)
{
	const char *name = GetUserNameFromId(situation->role->role, true);

	return name != NULL ? name : psprintf("%u", situation->role->role);
}

/* bgjob_situation_in_queue returns whether the job is in the queue, as far as is known. */
bool
bgjob_situation_in_queue(const BgjobSituation *situation)
{
	return situation->state == BGJOB_ENQUEUED && !situation->missing && situation->gate == 0;
}

/* bgjob_situation_queue_is_taken returns whether workers of some server take jobs of the queue now. */
bool
bgjob_situation_queue_is_taken(const BgjobSituation *situation)
{
	return !situation->queue->paused && !situation->queue->server_paused &&
		   situation->queue->level >= 0;
}

/* bgjob_situation_to_be_served returns whether the settings let this server run jobs in this database. */
bool
bgjob_situation_to_be_served(const BgjobSituation *situation)
{
	return bgjob_registry != NULL && !RecoveryInProgress() && bgjob_enabled &&
		   bgjob_service_is_allowed(situation->service);
}
