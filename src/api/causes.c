/*-------------------------------------------------------------------------
 *
 * causes.c
 *	  What may hold a job up.
 *
 * bgjob_causes is a table, the most important cause first: the reason as
 * bgjob_why() returns it, and a function that returns whether the cause holds for a
 * job. To add a cause, add a function and its line. The first is that the job has
 * ended; then no other is asked.
 *
 * A function fills the answer with detail, hint and time, if it gets one; then the
 * situation has the job. Without an answer it only returns what a BgjobService can
 * tell, and reads no row of any job: so bgjob.jobs asks, for each row that waits. A
 * cause that only the tables can tell does not hold then.
 *
 * The answer says nothing of other roles' jobs, except for the numbers of workers.
 *
 * Runs in the calling session. No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "api/causes.h"
#include "api/gatecauses.h"
#include "api/rights.h"
#include "api/workercauses.h"
#include "base/guc.h"
#include "base/running.h"
#include "base/slots.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/awaiting.h"
#include "store/behind.h"
#include "store/trust.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* Hints. */
#define ADOPT "Run SELECT bgjob_adopt() to have its jobs run here."

/* ---- helpers ---- */

static const char *
time_text(TimestampTz at)
{
	return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)));
}

/* Returns the database's entry in the registry if no scheduler serves it now, although the settings want it; else NULL. */
static const BgjobDatabase *
unserved_entry(const BgjobSituation *situation)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (!bgjob_situation_to_be_served(situation) || entry == NULL || entry->ready ||
		entry->status == BGJOB_DATABASE_ABSENT)
		return NULL;
	return entry;
}

/* ---- what the job awaits ---- */

/* Describes what target i of a job is, and its state; the state of another role's job is not told. */
static const char *
describe_target(BgjobRel *jobs, const BgjobPrerequisites *all, int i)
{
	BgjobJob target;

	if (i >= all->njobs + all->nbatches && !bgjob_target_is_job(all, i))
		return psprintf("signal \"%s\", which has not been sent",
						all->signals[i - all->njobs - all->nbatches]);
	if (!bgjob_target_is_job(all, i))
		return psprintf("batch " INT64_FORMAT ", which has not finished", all->targets[i]);
	if (!bgjob_job_read_standing(jobs, all->targets[i], &target) ||
		!bgjob_may_see(target.run_as))
		return psprintf("job " INT64_FORMAT, all->targets[i]);
	return psprintf("job " INT64_FORMAT ", which is %s", target.id,
					bgjob_state_name(bgjob_slot_is_at(MyDatabaseId, target.id, NULL)
										 ? BGJOB_PROCESSING
										 : target.state));
}

static bool
awaits_others(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobPrerequisites all;
	BgjobRel *jobs;
	BgjobLook look;
	TimestampTz deadline;

	if (situation->state != BGJOB_AWAITING)
		return false;
	if (answer == NULL || !bgjob_prerequisites_read(situation->job, &all))
		return true;
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	bgjob_prerequisites_look(jobs, &all, 0, true, &look);
	deadline = bgjob_awaiting_deadline(situation->job);
	if (deadline != DT_NOEND)
		answer->until = deadline;
	if (look.awaited == BGJOB_AWAITED_OPEN)
		(void) bgjob_answer_say(
			answer,
			all.n == 1 ? psprintf("It awaits %s.", describe_target(jobs, &all, look.open))
					   : psprintf("It awaits %s. It has %d prerequisites.",
								  describe_target(jobs, &all, look.open), all.n),
			deadline != DT_NOEND ? "At that time it is deleted (await_timeout)."
			: all.nfollowed > 0  ? "It starts when the job has ended that it supersedes."
								 : "bgjob_requeue() makes it run at once.");
	else
		(void) bgjob_answer_say(answer, "What it awaits has ended; it is about to go on.",
								NULL);
	bgjob_rel_close(jobs);
	return true;
}

/* ---- the job ---- */

static bool
finished(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobJob *job = situation->job;
	const char *what =
		situation->state == BGJOB_DELETED ? "was deleted" : bgjob_state_name(situation->state);
	const char *reason;
	const char *at;

	if (!bgjob_state_is_final(situation->state))
		return false;
	if (answer == NULL)
		return true;
	reason = bgjob_job_text(job, BGJOB_C_REASON);
	at = bgjob_job_is_null(job, BGJOB_C_FINISHED_AT)
			 ? "an unknown time"
			 : time_text(bgjob_job_time(job, BGJOB_C_FINISHED_AT));
	return bgjob_answer_say(answer,
							reason != NULL ? psprintf("It %s at %s: %s", what, at, reason)
										   : psprintf("It %s at %s.", what, at),
							"bgjob_requeue() makes it run again.");
}

static bool
of_copied_database(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!bgjob_service_is_copy(situation->service))
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "The database is a copy of another one.", ADOPT);
}

static bool
restored(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->missing)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "It was restored, or came by replication.", ADOPT);
}

static bool
waits_for_its_time(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const char *why;

	if (situation->state != BGJOB_SCHEDULED ||
		situation->run_at <= bgjob_service_time(situation->service))
		return false;
	if (answer == NULL)
		return true;
	why = bgjob_job_text(situation->job, BGJOB_C_ENTRY_REASON);
	answer->until = situation->run_at;
	return bgjob_answer_say(answer, why != NULL ? why : "Its time has not come.",
							"bgjob_requeue() and bgjob_reschedule() make it run earlier.");
}

/* The job is due, and the scheduler is about to enqueue it. */
static bool
is_due(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (situation->state != BGJOB_SCHEDULED ||
		situation->run_at > bgjob_service_time(situation->service))
		return false;
	if (answer == NULL)
		return true;
	answer->until = situation->run_at;
	return bgjob_answer_say(answer, "It is due, and the scheduler has yet to enqueue it.",
							NULL);
}

static bool
in_paused_queue(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->queue->paused)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, psprintf("Queue \"%s\" is paused.", situation->queue->name),
							"An administrator can resume it with bgjob_queue_resume().");
}

static bool
uncommitted(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->uncommitted)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "This transaction has written it, and not committed.",
							"Workers see the job after the commit.");
}

/* ---- the server, the settings ---- */

static bool
not_preloaded(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_registry != NULL)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "The library \"bgjob\" is not in shared_preload_libraries.",
							"Add it there and restart the server.");
}

static bool
on_standby(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!RecoveryInProgress())
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "The server is a standby.", "Jobs run on the primary.");
}

static bool
disabled(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_enabled)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "bgjob.enabled is off.", BGJOB_HINT_RELOAD);
}

static bool
not_in_databases(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_service_is_allowed(situation->service))
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer,
							psprintf("bgjob.databases does not name database \"%s\".",
									 get_database_name(MyDatabaseId)),
							BGJOB_HINT_RELOAD);
}

/* ---- the scheduler ---- */

static bool
database_blocked(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = unserved_entry(situation);
	pid_t pid = entry != NULL ? entry->blocked_by : 0;

	if (pid == 0)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   psprintf("Process %d runs a command that needs the database to itself.",
						(int) pid),
			   "Jobs run again when the command has ended.");
}

static bool
scheduler_fails(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = unserved_entry(situation);
	int64 rest;

	if (entry == NULL || entry->failures == 0 || entry->status == BGJOB_DATABASE_RESTING)
		return false;
	if (answer == NULL)
		return true;
	rest = entry->retry_at - bgjob_steady_now();
	if (rest > 0)
		answer->until = bgjob_service_time(situation->service) + rest;
	return bgjob_answer_say(answer,
							"The scheduler of the database has failed, and is started again.",
							"The server log has the error.");
}

static bool
no_slot_for_scheduler(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = unserved_entry(situation);

	if (entry == NULL || entry->scheduler >= 0 || entry->waiting_since == 0 ||
		pg_atomic_read_u32(&bgjob_registry->schedulers_wanted) == 0)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   psprintf("No slot of max_worker_processes (%d) is free for the scheduler of the "
						"database.",
						max_worker_processes),
			   BGJOB_HINT_SLOTS);
}

/* Says why the database has no entry, and so no scheduler. */
static bool
explain_not_served(BgjobAnswer *answer)
{
	const char *why;

	if (bgjob_trust_database(&why) == BGJOB_NOT_GENUINE)
		return bgjob_answer_say(
			answer, psprintf("The extension is not as the library expects it: %s", why),
			"Run ALTER EXTENSION bgjob UPDATE, or undo what was changed by hand and run "
			"SELECT bgjob_adopt().");
	return bgjob_answer_say(answer, "The database has no scheduler.",
							"The server log may have the reason.");
}

static bool
not_served(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (!bgjob_situation_to_be_served(situation) || bgjob_registry->rediscover ||
		(entry != NULL && entry->status != BGJOB_DATABASE_ABSENT) ||
		bgjob_service_is_copy(situation->service))
		return false;
	return answer == NULL || explain_not_served(answer);
}

/* ---- the role ---- */

static bool
role_dropped(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (situation->role->exists)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer, "The role of the job has been dropped.", NULL);
}

static bool
role_without_login(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->role->exists || situation->role->may_log_in)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer,
							psprintf("Role \"%s\" is not permitted to log in.",
									 bgjob_situation_role(situation)),
							"Give it LOGIN. A worker tries again within a minute.");
}

static bool
role_without_connect(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->role->exists || situation->role->may_connect)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(answer,
							psprintf("Role \"%s\" may not connect to database \"%s\".",
									 bgjob_situation_role(situation),
									 get_database_name(MyDatabaseId)),
							"Grant it CONNECT. A worker tries again within a minute.");
}

static bool
claims_fail(const BgjobSituation *situation, BgjobAnswer *answer)
{
	uint32 failure = situation->role->failure;

	if (failure == 0)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   psprintf("The workers of role \"%s\" cannot take jobs (SQLSTATE %s).",
						bgjob_situation_role(situation), unpack_sql_state((int) failure)),
			   "The server log has the error.");
}

/* bgjob_cause_concerns returns whether a cause can hold up a job at all. */
bool
bgjob_cause_concerns(const BgjobCause *cause, const BgjobSituation *situation)
{
	return !cause->internal || !situation->external;
}

/* The causes, the most important first. */
const BgjobCause bgjob_causes[] = {
	{"finished", finished},
	{"not adopted", of_copied_database, "Not adopted: run bgjob_adopt()"},
	{"not adopted", restored},
	{"scheduled", waits_for_its_time},
	{"awaiting", awaits_others},
	{"queue paused", in_paused_queue},
	{"server paused", bgjob_cause_server_paused, .internal = true},
	{"sequence", bgjob_cause_sequence},
	{"limit", bgjob_cause_limit},
	{"fairness", bgjob_cause_fairness},
	{"no worker", uncommitted},
	{"no worker", not_preloaded},
	{"no worker", on_standby},
	{"no worker", disabled},
	{"no worker", not_in_databases},
	{"no worker", bgjob_cause_no_workers_allowed, .internal = true},
	{"no worker", bgjob_cause_not_in_queues, .internal = true},
	{"no worker", database_blocked},
	{"no worker", scheduler_fails},
	{"no worker", no_slot_for_scheduler},
	{"no worker", not_served},
	{"no worker", role_dropped},
	{"no worker", role_without_login, .internal = true},
	{"no worker", role_without_connect, .internal = true},
	{"no worker", claims_fail, .internal = true},
	{"behind", bgjob_cause_behind_others},
	{"no worker", bgjob_cause_to_be_fetched},
	{"no worker", bgjob_cause_all_busy, .internal = true},
	{"no worker", bgjob_cause_as_many_as_max_workers, .internal = true},
	{"no worker", bgjob_cause_no_slot, .internal = true},
	{"no worker", bgjob_cause_none_starts, .internal = true},
	{"scheduled", is_due},
};

const int bgjob_ncauses = lengthof(bgjob_causes);
