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
#include "base/guc.h"
#include "base/slot.h"
#include "base/slots.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/awaiting.h"
#include "store/behind.h"
#include "store/trust.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* So many jobs are counted before a job. */
#define BEHIND_AT_MOST 1000

/* A worker is started within so many microseconds, as a rule. */
#define PATIENCE USECS_PER_SEC

/* Hints. */
#define ADOPT      "Run SELECT bgjob_adopt() to have its jobs run here."
#define MORE_SLOTS "Increase max_worker_processes and restart the server."
#define RELOAD     "Change the setting and reload the configuration."

/* ---- helpers ---- */

/* Fills an answer; the hint may be NULL. Returns true: the cause holds. */
static bool
say(BgjobAnswer *answer, const char *detail, const char *hint)
{
	answer->detail = detail;
	answer->hint = hint;
	return true;
}

static const char *
time_text(TimestampTz at)
{
	return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)));
}

static const char *
role_name(const BgjobSituation *situation)
{
	const char *name = GetUserNameFromId(situation->role->role, true);

	return name != NULL ? name : psprintf("%u", situation->role->role);
}

/* Returns whether the job is in the queue, as far as is known. */
static bool
is_in_queue(const BgjobSituation *situation)
{
	return situation->state == BGJOB_ENQUEUED && !situation->missing && situation->gate == 0;
}

/* Returns whether the settings let this server run jobs in this database. */
static bool
is_to_be_served(const BgjobSituation *situation)
{
	return bgjob_registry != NULL && !RecoveryInProgress() && bgjob_enabled &&
		   bgjob_service_is_allowed(situation->service);
}

/* Returns the database's entry in the registry if no scheduler serves it now, although the settings want it; else NULL. */
static const BgjobDatabase *
unserved_entry(const BgjobSituation *situation)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (!is_to_be_served(situation) || entry == NULL || entry->ready ||
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
		(void) say(answer,
				   all.n == 1
					   ? psprintf("It awaits %s.", describe_target(jobs, &all, look.open))
					   : psprintf("It awaits %s. It has %d prerequisites.",
								  describe_target(jobs, &all, look.open), all.n),
				   deadline != DT_NOEND ? "At that time it is deleted (await_timeout)."
				   : all.nfollowed > 0  ? "It starts when the job has ended that it supersedes."
										: "bgjob_requeue() makes it run at once.");
	else
		(void) say(answer, "What it awaits has ended; it is about to go on.", NULL);
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
	return say(answer,
			   reason != NULL ? psprintf("It %s at %s: %s", what, at, reason)
							  : psprintf("It %s at %s.", what, at),
			   "bgjob_requeue() makes it run again.");
}

static bool
of_copied_database(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!bgjob_service_is_copy(situation->service))
		return false;
	return answer == NULL || say(answer, "The database is a copy of another one.", ADOPT);
}

static bool
restored(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->missing)
		return false;
	return answer == NULL || say(answer, "It was restored, or came by replication.", ADOPT);
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
	return say(answer, why != NULL ? why : "Its time has not come.",
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
	return say(answer, "It is due, and the scheduler has yet to enqueue it.", NULL);
}

static bool
in_paused_queue(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->queue->paused)
		return false;
	return answer == NULL ||
		   say(answer, psprintf("Queue \"%s\" is paused.", situation->queue->name),
			   "An administrator can resume it with bgjob_queue_resume().");
}

static bool
uncommitted(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->uncommitted)
		return false;
	return answer == NULL || say(answer, "This transaction has written it, and not committed.",
								 "Workers see the job after the commit.");
}

/* ---- the server, the settings ---- */

static bool
not_preloaded(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_registry != NULL)
		return false;
	return answer == NULL ||
		   say(answer, "The library \"bgjob\" is not in shared_preload_libraries.",
			   "Add it there and restart the server.");
}

static bool
on_standby(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!RecoveryInProgress())
		return false;
	return answer == NULL ||
		   say(answer, "The server is a standby.", "Jobs run on the primary.");
}

static bool
disabled(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_enabled)
		return false;
	return answer == NULL || say(answer, "bgjob.enabled is off.", RELOAD);
}

static bool
not_in_databases(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_service_is_allowed(situation->service))
		return false;
	return answer == NULL || say(answer,
								 psprintf("bgjob.databases does not name database \"%s\".",
										  get_database_name(MyDatabaseId)),
								 RELOAD);
}

static bool
no_workers_allowed(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (bgjob_slots_allowed(MyDatabaseId) != 0 && bgjob_max_workers != 0)
		return false;
	return answer == NULL ||
		   say(answer,
			   bgjob_max_workers == 0 ? "bgjob.max_workers is 0." : "bgjob.workers is 0.",
			   RELOAD);
}

static bool
not_in_queues(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (situation->queue->level >= 0)
		return false;
	return answer == NULL ||
		   say(answer,
			   psprintf("bgjob.queues does not name queue \"%s\".", situation->queue->name),
			   RELOAD);
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
		   say(answer,
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
	return say(answer, "The scheduler of the database has failed, and is started again.",
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
		   say(answer,
			   psprintf("No slot of max_worker_processes (%d) is free for the scheduler of the "
						"database.",
						max_worker_processes),
			   MORE_SLOTS);
}

/* Says why the database has no entry, and so no scheduler. */
static bool
explain_not_served(BgjobAnswer *answer)
{
	const char *why;

	if (bgjob_trust_database(&why) == BGJOB_NOT_GENUINE)
		return say(answer, psprintf("The extension is not as the library expects it: %s", why),
				   "Run ALTER EXTENSION bgjob UPDATE, or undo what was changed by hand and run "
				   "SELECT bgjob_adopt().");
	return say(answer, "The database has no scheduler.", "The server log may have the reason.");
}

static bool
not_served(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (!is_to_be_served(situation) || bgjob_registry->rediscover ||
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
	return answer == NULL || say(answer, "The role of the job has been dropped.", NULL);
}

static bool
role_without_login(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->role->exists || situation->role->may_log_in)
		return false;
	return answer == NULL ||
		   say(answer,
			   psprintf("Role \"%s\" is not permitted to log in.", role_name(situation)),
			   "Give it LOGIN. A worker tries again within a minute.");
}

static bool
role_without_connect(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!situation->role->exists || situation->role->may_connect)
		return false;
	return answer == NULL ||
		   say(answer,
			   psprintf("Role \"%s\" may not connect to database \"%s\".", role_name(situation),
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
		   say(answer,
			   psprintf("The workers of role \"%s\" cannot take jobs (SQLSTATE %s).",
						role_name(situation), unpack_sql_state((int) failure)),
			   "The server log has the error.");
}

/* ---- the other jobs, and the workers ---- */

/* Counts the jobs before the job in the tables. */
static bool
count_behind(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobBehind behind = bgjob_behind(situation->job, bgjob_service_paused(situation->service),
									  BEHIND_AT_MOST + 1);
	const char *detail;

	if (behind.jobs == 0 && behind.all)
		return false;
	if (behind.jobs > BEHIND_AT_MOST)
		detail = "More than 1,000 jobs stand before it.";
	else if (behind.jobs == 1 && behind.all)
		detail = "1 job stands before it.";
	else
		detail = psprintf("%s" INT64_FORMAT " jobs stand before it.",
						  behind.all ? "" : "At least ", behind.jobs);
	return say(answer, detail, "More workers, or a higher priority, let it start earlier.");
}

static bool
behind_others(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobTurn turn = {.level = situation->queue->level,
					  .priority = situation->priority,
					  .pos = situation->pos};

	if (!is_in_queue(situation) || situation->queue->paused || turn.level < 0)
		return false;
	if (answer != NULL)
		return count_behind(situation, answer);
	return situation->role->has_first && bgjob_turn_is_before(&situation->role->first, &turn);
}

/* Returns whether the job lacks a worker, and none can be started for it now. */
static bool
lacks_worker(const BgjobSituation *situation)
{
	BgjobDatabase *entry = bgjob_service_entry(situation->service);

	return is_in_queue(situation) && !situation->queue->paused &&
		   situation->queue->level >= 0 && is_to_be_served(situation) && entry != NULL &&
		   entry->ready && bgjob_slots_allowed(MyDatabaseId) > 0 &&
		   situation->role->free == 0 && pg_atomic_read_u32(&entry->saturated) != 0;
}

/* Says how many workers there are, and, if bgjob.workers allows no more, so. */
static bool
explain_busy(const BgjobSituation *situation, BgjobAnswer *answer)
{
	int of_role = situation->role->workers;
	int of_database = bgjob_count_workers(MyDatabaseId, InvalidOid);
	const char *detail;

	if (of_role == 0)
		detail = psprintf("Role \"%s\" has none of the %d workers of the database.",
						  role_name(situation), of_database);
	else if (of_role == 1)
		detail = psprintf("The worker of role \"%s\" is busy.", role_name(situation));
	else
		detail =
			psprintf("All %d workers of role \"%s\" are busy.", of_role, role_name(situation));
	return say(answer, detail,
			   of_database < bgjob_slots_allowed(MyDatabaseId)
				   ? NULL
				   : psprintf("Increase bgjob.workers (%d), or make the jobs shorter.",
							  bgjob_slots_allowed(MyDatabaseId)));
}

static bool
all_busy(const BgjobSituation *situation, BgjobAnswer *answer)
{
	return lacks_worker(situation) && (answer == NULL || explain_busy(situation, answer));
}

/* Returns what the role of the job would need another worker for. */
static BgjobNeed
need_of(const BgjobSituation *situation)
{
	if (bgjob_count_workers(MyDatabaseId, InvalidOid) == 0)
		return BGJOB_NEED_DATABASE;
	return situation->role->workers == 0 ? BGJOB_NEED_ROLE : BGJOB_NEED_MORE;
}

static bool
as_many_as_max_workers(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!lacks_worker(situation) ||
		bgjob_slots_workers() < bgjob_slots_worker_limit(need_of(situation)))
		return false;
	return answer == NULL ||
		   say(answer,
			   psprintf("bgjob.max_workers (%d) allows no more workers in all databases.",
						bgjob_max_workers),
			   RELOAD);
}

static bool
no_slot(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!lacks_worker(situation) ||
		bgjob_count_workers(MyDatabaseId, InvalidOid) >= bgjob_slots_allowed(MyDatabaseId) ||
		bgjob_slots_used() < bgjob_slots_most(need_of(situation)))
		return false;
	return answer == NULL ||
		   say(answer,
			   psprintf("No slot of max_worker_processes (%d) is free for another worker.",
						max_worker_processes),
			   MORE_SLOTS);
}

/* Returns since when a job waits. */
static TimestampTz
waits_since(const BgjobJob *job)
{
	return bgjob_job_time(job, bgjob_job_is_null(job, BGJOB_C_ENTERED_AT) ? BGJOB_C_CREATED_AT
																		  : BGJOB_C_ENTERED_AT);
}

/* The role has no worker and could have one, and none has come for a while: as a rule they fail to start. */
static bool
none_starts(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (answer == NULL || !is_in_queue(situation) || situation->queue->paused ||
		situation->queue->level < 0 || entry == NULL || !entry->ready ||
		situation->role->workers > 0 || lacks_worker(situation) ||
		bgjob_service_time(situation->service) - waits_since(situation->job) < PATIENCE)
		return false;
	return say(answer, psprintf("Role \"%s\" has no worker yet.", role_name(situation)),
			   "If no worker comes, the server log says why it could not be started.");
}

/* The causes, the most important first. */
const BgjobCause bgjob_causes[] = {
	{"finished", finished},
	{"not adopted", of_copied_database, "Not adopted: run bgjob_adopt()"},
	{"not adopted", restored},
	{"scheduled", waits_for_its_time},
	{"awaiting", awaits_others},
	{"queue paused", in_paused_queue},
	{"sequence", bgjob_cause_sequence},
	{"limit", bgjob_cause_limit},
	{"fairness", bgjob_cause_fairness},
	{"no worker", uncommitted},
	{"no worker", not_preloaded},
	{"no worker", on_standby},
	{"no worker", disabled},
	{"no worker", not_in_databases},
	{"no worker", no_workers_allowed},
	{"no worker", not_in_queues},
	{"no worker", database_blocked},
	{"no worker", scheduler_fails},
	{"no worker", no_slot_for_scheduler},
	{"no worker", not_served},
	{"no worker", role_dropped},
	{"no worker", role_without_login},
	{"no worker", role_without_connect},
	{"no worker", claims_fail},
	{"behind", behind_others},
	{"no worker", all_busy},
	{"no worker", as_many_as_max_workers},
	{"no worker", no_slot},
	{"no worker", none_starts},
	{"scheduled", is_due},
};

const int bgjob_ncauses = lengthof(bgjob_causes);
