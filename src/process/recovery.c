/*-------------------------------------------------------------------------
 *
 * recovery.c
 *	  Jobs that lost their worker.
 *
 * Run by the scheduler. A job in one transaction is in the queue again the
 * moment its worker has gone; what remains is to note that in its history and to
 * announce it. A job whose claim was committed is inserted into the queue again,
 * at its old position. Neither uses up a retry.
 *
 * After a crash of the server the in-flight file has the jobs that workers were
 * performing (base/inflight.h). A crash is counted for the job whose worker caused
 * it; the job fails when it has done so bgjob.max_crashes times. The jobs that ran
 * beside it are only noted as interrupted. All that is done before any worker is
 * started, so a poisonous job cannot run once more in between.
 *
 * Nothing here waits for a row that another transaction is changing, since that
 * transaction may never end. Such a job is recovered later: it is kept in this
 * process ("put_off"), or stays in the in-flight file, or in bgjob_internal.claim.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/announce.h"
#include "base/groupitems.h"
#include "base/guc.h"
#include "base/console.h"
#include "base/inflight.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/running.h"
#include "base/slot.h"
#include "base/text.h"
#include "miscadmin.h"
#include "process/recovery.h"
#include "rules/clock.h"
#include "run/failure.h"
#include "run/outcome.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "store/acquire.h"
#include "store/job.h"
#include "store/log.h"
#include "store/queue.h"
#include "store/sidetables.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MANY 1000

/* Copies of slots whose jobs could not be recovered, since another transaction was changing them. */
static List *put_off = NIL;

/* An attempt whose worker was lost, as far as it is known. */
typedef struct LostAttempt
{
	TimestampTz started_at;
	int pid;
	const char *server;
	CommandTag command;
} LostAttempt;

static Jsonb *
error_json(int sqlstate, const char *message, const char *hint)
{
	ErrorData error = {0};

	error.sqlerrcode = sqlstate;
	error.message = unconstify(char *, message);
	error.hint = unconstify(char *, hint);
	return bgjob_failure_json(&error);
}

/* Notes that an attempt was interrupted: the job is in the queue, or is put back into it. */
static void
note_interruption(BgjobRel *jobs, BgjobJob *job, LostAttempt lost, const char *reason,
				  bool crashed)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .reason = reason,
							   .started_at = lost.started_at,
							   .worker_pid = lost.pid,
							   .server = lost.server,
							   .command = lost.command,
							   .in_queue = job->state == BGJOB_ENQUEUED,
							   .crashed = crashed};

	bgjob_job_apply(job, BGJOB_EV_INTERRUPT, &what);
	bgjob_job_save(jobs, job);
}

/* Fails a job that is in the queue, or stored as processing. False if another transaction is changing it. */
static bool
fail_job(BgjobRel *jobs, BgjobJob *job, LostAttempt lost, const char *reason,
		 const Jsonb *error, bool crashed)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .reason = reason,
							   .started_at = lost.started_at,
							   .worker_pid = lost.pid,
							   .server = lost.server,
							   .command = lost.command,
							   .error = error,
							   .crashed = crashed};

	if (!bgjob_job_try_acquire(jobs, job))
		return false;
	bgjob_job_apply(job, BGJOB_EV_FAIL, &what);
	bgjob_job_save(jobs, job);
	return true;
}

/*
 * Holds against a job that its attempt "did" something that no job should
 * ("crashed the server"): it goes back, or fails when it has done so
 * bgjob.max_crashes times. Returns whether it goes back.
 */
static bool
blame(BgjobRel *jobs, BgjobJob *job, LostAttempt lost, const char *did)
{
	int times = job->crashes + 1;
	char *reason;
	char *role;

	if (times < bgjob_max_crashes)
	{
		reason = psprintf("%s, %d of %d times", did, times, bgjob_max_crashes);
		note_interruption(jobs, job, lost, reason, true);
		return true;
	}
	reason = psprintf("%s %d times", did, times);
	role = GetUserNameFromId(job->run_as, true);
	ereport(LOG, (errmsg("job " INT64_FORMAT " (%s) of role \"%s\" is not retried", job->id,
						 bgjob_text_cut(job->job, BGJOB_TITLE_MAX), role != NULL ? role : "?"),
				  errdetail("%s.", reason),
				  errhint("Requeue the job when the cause has been found.")));
	(void) fail_job(jobs, job, lost, reason,
					error_json(ERRCODE_CRASH_SHUTDOWN, reason,
							   "Requeue the job when the cause has been found."),
					true);
	return false;
}

/* Returns whether a call for several jobs has crashed the server. */
static bool
any_culprit_chunk(const BgjobInflightRecord *records, int n)
{
	for (int i = 0; i < n; i++)
		if (records[i].verdict == BGJOB_CULPRIT && records[i].jobs > 1)
			return true;
	return false;
}

/* Has the jobs of a call taken singly, of which the first is "job". */
static void
take_singly(const BgjobJob *job, int count)
{
	BgjobGroupRest rest = {
		.role = job->run_as, .priority = job->priority, .pos = job->pos, .count = count};

	strlcpy(rest.queue, job->queue, sizeof(rest.queue));
	bgjob_announce_rest(&rest, true);
}

/*
 * Accounts for a job that was in flight; false if another transaction is changing it.
 * singly: one of several jobs in a call has crashed the server, and which is to be found
 * out. So those of other calls are taken singly, too: they may lie before it.
 */
static bool
account_for(BgjobRel *jobs, const BgjobInflightRecord *record, bool singly)
{
	LostAttempt lost = {
		.started_at = record->started_at, .pid = record->pid, .server = record->server};
	BgjobJob job;

	if (!bgjob_job_read(jobs, record->job, &job) || job.pos != record->pos ||
		(job.state != BGJOB_ENQUEUED && job.state != BGJOB_PROCESSING))
		return true; /* it had ended, or was changed since */
	if (!bgjob_job_try_lock(jobs, &job))
		return false;
	if (record->verdict == BGJOB_CULPRIT && record->jobs <= 1)
		(void) blame(jobs, &job, lost, "Crashed the server");
	else
		note_interruption(jobs, &job, lost, "Interrupted by a crash of the server", false);
	if (singly)
		take_singly(&job, record->jobs);
	return true;
}

/*
 * bgjob_recover_inflight accounts for the jobs that were in flight when the server
 * crashed. False if some could not be recovered now.
 */
bool
bgjob_recover_inflight(void)
{
	BgjobInflightRecord *records = palloc(MANY * sizeof(BgjobInflightRecord));
	int n = bgjob_inflight_records(MyDatabaseId, records, MANY);
	bool singly = any_culprit_chunk(records, n);
	int settled = 0;

	if (n > 0)
	{
		BgjobRel *jobs;

		bgjob_begin();
		jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
		for (int i = 0; i < n; i++)
		{
			if (account_for(jobs, &records[i], singly))
				records[settled++] = records[i];
			CommandCounterIncrement();
		}
		bgjob_rel_close(jobs);
		ForceSyncCommit();
		bgjob_commit();
		bgjob_inflight_settled(records, settled);
	}
	pfree(records);
	return settled == n;
}

/*
 * bgjob_recover_claims returns the jobs with committed claims whose process has
 * gone. False if some could not be recovered now.
 */
bool
bgjob_recover_claims(void)
{
	BgjobClaim *claims = palloc(MANY * sizeof(BgjobClaim));
	BgjobRel *jobs;
	bool all = true;
	int n;

	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	n = bgjob_claims(claims, MANY);
	for (int i = 0; i < n; i++)
	{
		BgjobJob job;

		if (bgjob_slot_lives(claims[i].pid, claims[i].started_at) ||
			!bgjob_job_read(jobs, claims[i].job, &job) || job.state != BGJOB_PROCESSING)
			continue;
		if (bgjob_job_try_lock(jobs, &job))
			note_interruption(jobs, &job, (LostAttempt){0}, "Its worker was lost", false);
		else
			all = false;
	}
	bgjob_rel_close(jobs);
	bgjob_commit();
	pfree(claims);
	return all;
}

/*
 * Does what a lost worker was about to do with its job: carries out an accepted
 * request, or the consequence of the timeout. Returns whether there was either.
 */
static bool
conclude(BgjobRel *jobs, BgjobJob *job, const BgjobSlot *slot)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .run_at = slot->request_run_at,
							   .started_at = slot->job_started_at,
							   .worker_pid = slot->last_pid,
							   .server = slot->server_name,
							   .command = slot->command};
	ErrorData error = {0};
	BgjobEvent event;

	if (slot->request == BGJOB_REQUEST_INTERRUPT ||
		(slot->request == BGJOB_REQUEST_NONE && (!slot->timed_out || slot->chunk > 1)))
		return false;
	if (!bgjob_outcome_requested(slot->request, slot->successor, slot->request_author.text,
								 bgjob_job_is_pending(job), &event, &what))
	{
		bgjob_outcome_timed_out(bgjob_time_limit(job), &error);
		event = bgjob_outcome_of_error(job, &error, &what);
	}
	if (!bgjob_job_try_acquire(jobs, job))
		return false;
	bgjob_job_apply(job, event, &what);
	bgjob_job_save(jobs, job);
	return true;
}

/* Returns whether a worker has left although nobody had asked it to. */
static bool
left_by_itself(const BgjobSlot *slot)
{
	return !slot->term && !slot->retire;
}

/*
 * Recovers the job that a worker was at when it left, as its slot says.
 * "console" is the slot whose console has the job's output, -1: it is lost.
 * *place is where the job is to be announced; no role: nowhere. Returns false if
 * another transaction is changing the job.
 */
static bool
recover_job(const BgjobSlot *slot, int console, BgjobGroupRest *place)
{
	LostAttempt lost = {slot->job_started_at, slot->last_pid, slot->server_name, slot->command};
	BgjobRel *jobs;
	BgjobJob job;
	bool waits = false;
	bool settled = true;

	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	if (bgjob_job_read(jobs, slot->job, &job) && job.pos == slot->pos &&
		(job.state == BGJOB_ENQUEUED || job.state == BGJOB_PROCESSING))
		settled = waits = bgjob_job_try_lock(jobs, &job);
	if (waits)
	{
		if (console >= 0)
			bgjob_log_store(&job, console);
		if (conclude(jobs, &job, slot))
			waits = false;
		else if (slot->job_started_at != 0 && left_by_itself(slot) && slot->chunk <= 1)
			waits = blame(jobs, &job, lost, "Ended its worker");
		else if (slot->job_started_at != 0 || job.state == BGJOB_PROCESSING)
			note_interruption(jobs, &job, lost,
							  slot->request == BGJOB_REQUEST_INTERRUPT
								  ? bgjob_outcome_interruption(slot->interruption)
								  : "Its worker was lost",
							  false);
	}
	bgjob_rel_close(jobs);
	bgjob_commit();
	*place = (BgjobGroupRest){.role = waits ? job.run_as : InvalidOid};
	if (waits)
	{
		strlcpy(place->queue, job.queue, sizeof(place->queue));
		place->priority = job.priority;
		place->pos = job.pos;
	}
	return settled;
}

/* Announces a job that has been recovered. */
static void
announce_place(const BgjobGroupRest *place, int64 job)
{
	BgjobLaneKey lane;

	bgjob_announce_lane(place, &lane);
	bgjob_announce(&lane, place->pos, job);
}

/* Saves the slot of a job that must be recovered later. */
static void
put_off_job(const BgjobSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BgjobSlot *copy = palloc(sizeof(BgjobSlot));

	memcpy(copy, slot, sizeof(BgjobSlot));
	if (list_length(put_off) == MANY)
	{
		pfree(linitial(put_off));
		put_off = list_delete_first(put_off);
	}
	put_off = lappend(put_off, copy);
	MemoryContextSwitchTo(old);
}

/* Recovers a job that could not be recovered before. False: nor can it now. */
static bool
recover_again(const BgjobSlot *slot)
{
	BgjobGroupRest place;

	if (bgjob_slot_is_at(MyDatabaseId, slot->job, NULL))
	{
		/* Another worker runs it: an accepted request is passed on to that worker. */
		if (slot->request == BGJOB_REQUEST_NONE || slot->request == BGJOB_REQUEST_INTERRUPT)
			return true;
		if (slot->successor != 0)
			return bgjob_slot_supersede(MyDatabaseId, slot->job, slot->successor) ==
				   BGJOB_REQUEST_ACCEPTED;
		return bgjob_slot_request(MyDatabaseId, slot->job, slot->request, slot->request_run_at,
								  slot->request_author.text) == BGJOB_REQUEST_ACCEPTED;
	}
	if (!recover_job(slot, -1, &place))
		return false;
	if (OidIsValid(place.role))
		announce_place(&place, slot->job);
	return true;
}

/* bgjob_recover_put_off recovers jobs that could not be recovered before. Returns false if some still cannot. */
bool
bgjob_recover_put_off(void)
{
	ListCell *cell;

	foreach (cell, put_off)
		if (recover_again(lfirst(cell)))
		{
			pfree(lfirst(cell));
			put_off = foreach_delete_current(put_off, cell);
		}
	return put_off == NIL;
}

/*
 * bgjob_recover_lost recovers the job that a worker was running when it left. Its
 * slot still names the job, so no other worker runs it. If the worker was asked to
 * leave, the job is not blamed. If it left by itself, the job is the cause, unless
 * the postmaster has died: then this process leaves, too, and the next server
 * recovers the job. Which of the jobs of a chunk is the cause is not known: they are
 * performed singly, and none is blamed. Does not free the slot.
 */
void
bgjob_recover_lost(BgjobSlot *slot)
{
	BgjobGroupRest rest;
	BgjobGroupRest place = {.role = InvalidOid};
	int64 job = slot->job;
	bool singly = slot->chunk > 1 && slot->request == BGJOB_REQUEST_NONE &&
				  (slot->timed_out || left_by_itself(slot));

	if (!PostmasterIsAliveInternal())
		proc_exit(1); /* the worker has left for the same reason */
	if (slot->job != 0 && !recover_job(slot, bgjob_slot_index(slot), &place))
		put_off_job(slot);
	SpinLockAcquire(&slot->mutex);
	slot->job = 0;
	SpinLockRelease(&slot->mutex);
	if (OidIsValid(place.role))
		announce_place(&place, job);
	if (bgjob_console_in_use(bgjob_slot_index(slot)))
		bgjob_console_clear(bgjob_slot_index(slot));
	if (bgjob_group_items_end(slot, true, &rest)) /* the others of its group, begun or not */
		bgjob_announce_rest(&rest, singly);
}

/*
 * bgjob_fail_jobs_of_role fails the enqueued jobs of a dropped role, a bounded number
 * in one transaction. A job that another transaction is changing is left for the next
 * time. False if there may be more to do at once.
 */
bool
bgjob_fail_jobs_of_role(Oid role)
{
	const char *reason = "The role that was to run the job has been dropped";
	int64 *ids = palloc(MANY * sizeof(int64));
	BgjobRel *jobs;
	int failed = 0;
	int n;

	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	n = bgjob_queue_jobs_of_role(role, ids, MANY);
	for (int i = 0; i < n; i++)
	{
		BgjobJob job;

		CHECK_FOR_INTERRUPTS();
		if (bgjob_job_read(jobs, ids[i], &job) && job.state == BGJOB_ENQUEUED &&
			fail_job(jobs, &job, (LostAttempt){0}, reason,
					 error_json(ERRCODE_UNDEFINED_OBJECT, reason, NULL), false))
			failed++;
	}
	bgjob_rel_close(jobs);
	bgjob_commit();
	pfree(ids);
	return n < MANY || failed == 0;
}
