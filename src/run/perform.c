/*-------------------------------------------------------------------------
 *
 * perform.c
 *	  The parts of an attempt at a job.
 *
 * The steps of a worker with a job that it has claimed: shows the job in
 * pg_stat_activity, applies the settings, starts the clocks, runs the job between
 * its filters, fires deferred triggers, and records the outcome. attempt.c puts these
 * together into a transaction for a job by itself, group.c for several, and inplace.c
 * some of them for a session, which has no slot.
 *
 * The job runs as the role that the worker is connected as, and so does all
 * of this: the bookkeeping below SQL needs no rights (store/relation.c), and
 * nothing here is looked up along a search_path.
 *
 * The state of the attempt is static: variables that change within PG_TRY
 * would have to be volatile otherwise, and there is one attempt at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/captured.h"
#include "base/console.h"
#include "base/inflight.h"
#include "base/interval.h"
#include "base/ownserver.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/text.h"
#include "commands/dbcommands.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "run/command.h"
#include "run/filtercall.h"
#include "run/function.h"
#include "run/invoke.h"
#include "run/notices.h"
#include "run/perform.h"
#include "run/statefilters.h"
#include "run/statementlog.h"
#include "run/trace.h"
#include "run/underway.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "store/history.h"
#include "store/log.h"
#include "store/settings.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

MemoryContext bgjob_attempt_context = NULL;
MemoryContext bgjob_job_context = NULL;
volatile sig_atomic_t bgjob_timed_out = false;
static char role[NAMEDATALEN]; /* as whom, and where, this process performs jobs */
static char database[NAMEDATALEN];

/* Handles the timeout of an attempt: cancels it. */
static void
on_job_timeout(void)
{
	bgjob_timed_out = true;
	if (bgjob_my_slot != NULL)
		bgjob_slot_timed_out(bgjob_steady_now());
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static TimeoutId
job_timer(void)
{
	static TimeoutId timer = MAX_TIMEOUTS;

	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, on_job_timeout);
	return timer;
}

/* Notes the names of role and database, for messages: their context is made where catalogs cannot be read. */
static void
note_names(void)
{
	char *name;

	bgjob_begin();
	name = GetUserNameFromId(GetSessionUserId(), true);
	strlcpy(role, name != NULL ? name : "", sizeof(role));
	name = get_database_name(MyDatabaseId);
	strlcpy(database, name != NULL ? name : "", sizeof(database));
	bgjob_commit();
}

/* bgjob_perform_init prepares a worker; once, when it has connected. */
void
bgjob_perform_init(void)
{
	bgjob_attempt_context =
		AllocSetContextCreate(TopMemoryContext, "bgjob attempt", ALLOCSET_DEFAULT_SIZES);
	bgjob_job_context =
		AllocSetContextCreate(TopMemoryContext, "bgjob job", ALLOCSET_DEFAULT_SIZES);
	note_names();
	bgjob_notices_init();
}

/*
 * bgjob_perform_context adds to the context of every message of this worker's
 * which job it is at, and whose that is. A callback; must not look anything up.
 */
void
bgjob_perform_context(void *arg)
{
	const char *title =
		bgjob_underway.claimed ? bgjob_text_cut(bgjob_underway.job.job, BGJOB_TITLE_MAX) : NULL;

	if (title != NULL && bgjob_underway.company > 0)
		errcontext("bgjob job " INT64_FORMAT
				   " and %d others (%s), role \"%s\", database \"%s\"",
				   bgjob_underway.job.id, bgjob_underway.company, title, role, database);
	else if (title != NULL)
		errcontext("bgjob job " INT64_FORMAT " (%s), role \"%s\", database \"%s\"",
				   bgjob_underway.job.id, title, role, database);
	else
		errcontext("bgjob worker, role \"%s\", database \"%s\"", role, database);
	bgjob_notices_prepare();
}

/* bgjob_perform_start_transaction starts a transaction for the job, or for what became of it. */
void
bgjob_perform_start_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(bgjob_job_context);
}

/* ---- limits in time ---- */

/* No attempt takes longer, in milliseconds: some 30 years. */
#define LONGEST_CLOCK INT64CONST(1000000000000)

/*
 * bgjob_perform_start_clocks starts the job's own time limit, and the role's
 * statement_timeout as for any statement; in a session, the server has done that.
 */
void
bgjob_perform_start_clocks(void)
{
	int64 limit = bgjob_time_limit(&bgjob_underway.job);

	bgjob_underway.time_limit = limit;
	bgjob_timed_out = false;
	if (limit > 0)
		enable_timeout_at(job_timer(), TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																   Min(limit, LONGEST_CLOCK)));
	if (StatementTimeout > 0 && bgjob_my_slot != NULL)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

/* bgjob_perform_stop_clocks stops both. */
void
bgjob_perform_stop_clocks(void)
{
	disable_timeout(job_timer(), false);
	if (bgjob_my_slot != NULL)
		disable_timeout(STATEMENT_TIMEOUT, false);
}

/* ---- the time to start ---- */

/* From when on a job that is enqueued could run. */
static TimestampTz
could_run_at(const BgjobJob *job)
{
	static const BgjobColumn times[] = {BGJOB_C_RUN_AT, BGJOB_C_ENTERED_AT};

	if (bgjob_has_prerequisites(job)) /* not before its release, whatever its run_at */
		return bgjob_history_waiting_since(job);
	for (int i = 0; i < lengthof(times); i++)
		if (!bgjob_job_is_null(job, times[i]))
			return DatumGetTimestampTz(bgjob_job_datum(job, times[i]));
	return DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_CREATED_AT));
}

/* Returns whether a job that starts at a time was to be started earlier (start_within), and never has been. */
static bool
is_too_late(const BgjobJob *job, TimestampTz at)
{
	if (bgjob_job_is_null(job, BGJOB_C_START_WITHIN) || job->retries > 0 ||
		DatumGetInt32(bgjob_job_datum(job, BGJOB_C_INTERRUPTIONS)) > 0)
		return false;
	return bgjob_time_plus(could_run_at(job),
						   DatumGetIntervalP(bgjob_job_datum(job, BGJOB_C_START_WITHIN))) < at;
}

/* Returns whether the claimed job is not to be performed for that. */
static bool
is_expired(void)
{
	return is_too_late(&bgjob_underway.job, bgjob_underway.started_at);
}

/* bgjob_perform_is_expired returns whether a job, if it were started now, would not be performed for that. */
bool
bgjob_perform_is_expired(const BgjobJob *job)
{
	return !bgjob_job_is_null(job, BGJOB_C_START_WITHIN) && is_too_late(job, bgjob_now());
}

/* Decides that an expired job is deleted instead of being performed, unless filters choose otherwise. */
static void
expire(void)
{
	BgjobDecision *decision = &bgjob_underway.decision;

	decision->what = (BgjobCircumstances){.at = bgjob_underway.started_at, .reason = "Expired"};
	decision->event =
		bgjob_statefilters_elect(&bgjob_underway.job, BGJOB_EV_DELETE, &decision->what);
	decision->given = true;
}

/* Prepares the job's row for an outcome: adds the output, and limits its start no more once it has been started. */
static void
note_attempt(void)
{
	bgjob_gates_end_at_commit();
	if (bgjob_underway.ran)
		bgjob_job_set_null(&bgjob_underway.job, BGJOB_C_START_WITHIN);
	bgjob_notices_sum_up();
	bgjob_log_store(&bgjob_underway.job,
					bgjob_my_slot != NULL ? bgjob_slot_index(bgjob_my_slot) : BGJOB_NO_SLOT);
}

/* ---- performing ---- */

/* bgjob_perform_commits returns whether the claim must be committed before the job may run. */
bool
bgjob_perform_commits(void)
{
	bool plain;

	if (is_expired()) /* it does not run */
		return false;
	if (bgjob_underway.job.kind == BGJOB_KIND_FUNCTION)
		return bgjob_function_is_procedure(bgjob_function_find(bgjob_underway.job.func));
	plain = bgjob_command_is_plain(bgjob_underway.job.job, &bgjob_underway.command);
	bgjob_my_slot->command = bgjob_underway.command;
	return !plain;
}

/*
 * bgjob_perform_commit_claim commits the claim, and goes on in a new
 * transaction; unless filters want something else of the job.
 */
void
bgjob_perform_commit_claim(void)
{
	BgjobCircumstances what = {.at = bgjob_underway.started_at,
							   .started_at = bgjob_underway.started_at,
							   .worker_pid = MyProcPid,
							   .server = bgjob_own_server_name(),
							   .elected = true};
	BgjobRel *jobs;

	if (bgjob_filter_any() &&
		!bgjob_attemptfilters_elect(&bgjob_underway.job, bgjob_underway.started_at,
									&bgjob_underway.decision))
		return;
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	bgjob_job_apply(&bgjob_underway.job, BGJOB_EV_START, &what);
	bgjob_job_save(jobs, &bgjob_underway.job);
	bgjob_rel_close(jobs);
	CommitTransactionCommand();
	bgjob_underway.committed = true;
	bgjob_perform_start_transaction();
}

/* Returns the settings that were captured with a job; NULL: there are none. XX001: they are missing. */
static const Jsonb *
listed_settings(const BgjobJob *job)
{
	const Jsonb *listed;
	int64 id;

	if (bgjob_job_is_null(job, BGJOB_C_SETTINGS_ID))
		return NULL;
	id = DatumGetInt64(bgjob_job_datum(job, BGJOB_C_SETTINGS_ID));
	listed = bgjob_settings_read(id);
	if (listed == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("captured settings of the job are missing"),
			 errdetail("There is no row " INT64_FORMAT " in bgjob_internal.settings.", id)));
	return listed;
}

/* bgjob_perform_settings applies the settings that were captured with the job. */
void
bgjob_perform_settings(void)
{
	const Jsonb *listed = listed_settings(&bgjob_underway.job);

	bgjob_captured_apply(listed, bgjob_job_jsonb(&bgjob_underway.job, BGJOB_C_CUSTOM_SETTINGS));
	bgjob_trace_begin(bgjob_job_jsonb(&bgjob_underway.job, BGJOB_C_PARAMETERS));
}

/* Returns from where the job is called. */
static BgjobCaller
caller_of_job(void)
{
	if (bgjob_my_slot == NULL)
		return BGJOB_CALLER_STATEMENT;
	return bgjob_underway.committed ? BGJOB_CALLER_COMMITTED : BGJOB_CALLER_CLAIM;
}

static Jsonb *
run_itself(void)
{
	Jsonb *args = bgjob_job_jsonb(&bgjob_underway.job, BGJOB_C_ARGS);
	BgjobCaller caller = caller_of_job();
	Jsonb *result;

	bgjob_underway.ran = true;
	if (caller != BGJOB_CALLER_STATEMENT)
		bgjob_underway.logged = bgjob_log_statement(&bgjob_underway.job, args);
	bgjob_notices_resume();
	if (bgjob_underway.job.kind == BGJOB_KIND_FUNCTION)
		result = bgjob_invoke(bgjob_function_find(bgjob_underway.job.func), args, caller);
	else if (bgjob_underway.job.kind == BGJOB_KIND_SQL)
		result = bgjob_command_run(bgjob_underway.job.job, args, caller);
	else
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("unknown kind of job: \"%c\"", bgjob_underway.job.kind),
						errdetail("The row in bgjob_internal.job was modified by hand.")));
	bgjob_notices_pause();
	return result;
}

/*
 * bgjob_perform_run runs the job between its filters, and returns its result.
 * They may not want that: bgjob_underway.decision.
 */
Jsonb *
bgjob_perform_run(void)
{
	Jsonb *result;

	if (bgjob_underway.decision.given)
		return NULL;
	if (!bgjob_underway.committed && is_expired())
	{
		expire();
		return NULL;
	}
	bgjob_authority_check_job(&bgjob_underway.job);
	if (!bgjob_filter_any())
		return run_itself();
	if (!bgjob_attemptfilters_begin(&bgjob_underway.job, bgjob_underway.started_at,
									bgjob_underway.committed, &bgjob_underway.decision))
		return NULL;
	result = run_itself();
	MemoryContextSwitchTo(bgjob_job_context);
	bgjob_attemptfilters_succeeded(&bgjob_underway.job, result);
	return result;
}

static void
report_activity(void)
{
	const char *title =
		bgjob_underway.job.func != NULL ? bgjob_underway.job.func : bgjob_underway.job.job;
	char activity[BGJOB_TITLE_MAX + 32];

	snprintf(activity, sizeof(activity), "job " INT64_FORMAT ": %s", bgjob_underway.job.id,
			 bgjob_text_cut(title, BGJOB_TITLE_MAX));
	debug_query_string = MemoryContextStrdup(bgjob_job_context, activity);
	pgstat_report_activity(STATE_RUNNING, activity);
}

/* bgjob_perform_record_success records the success, or what filters wanted instead; in the job's own transaction. */
void
bgjob_perform_record_success(BgjobRel *jobs, const Jsonb *result)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .started_at = bgjob_underway.started_at,
							   .worker_pid = MyProcPid,
							   .server = bgjob_own_server_name(),
							   .command = bgjob_underway.command,
							   .result = result,
							   .company = bgjob_underway.company};
	BgjobEvent event = BGJOB_EV_SUCCEED;

	if (bgjob_underway.decision.given)
	{
		event = bgjob_underway.decision.event;
		what.run_at = bgjob_underway.decision.what.run_at;
		what.reason = bgjob_underway.decision.what.reason;
		what.error = bgjob_underway.decision.what.error;
		what.elected = bgjob_underway.decision.what.elected;
		if (what.elected) /* before it was processing */
			what.started_at = 0;
	}
	if (bgjob_underway.committed || bgjob_underway.changed)
		bgjob_underway_read_row(jobs, &bgjob_underway.job);
	note_attempt();
	bgjob_job_apply(&bgjob_underway.job, event, &what);
	bgjob_job_save(jobs, &bgjob_underway.job);
}

/* bgjob_perform_record_company records the success of another job that was performed in the same call. */
void
bgjob_perform_record_company(BgjobRel *jobs, BgjobJob *job, const Jsonb *result, TimestampTz at)
{
	BgjobCircumstances what = {.at = at,
							   .started_at = bgjob_underway.started_at,
							   .worker_pid = MyProcPid,
							   .result = result,
							   .company = bgjob_underway.company};

	bgjob_job_set_null(job, BGJOB_C_START_WITHIN);
	bgjob_job_apply(job, BGJOB_EV_SUCCEED, &what);
	bgjob_job_save(jobs, job);
}

/*
 * bgjob_perform_complete runs, when the job's statement has ended, what would else
 * run at commit, where it could not be interrupted, nor its failure be the job's:
 * deferred triggers, and cursors that are held beyond the commit. The server does
 * that in the same way, and finds nothing left.
 */
void
bgjob_perform_complete(void)
{
	if (bgjob_underway.ran)
		bgjob_notices_resume();
	do
		AfterTriggerFireDeferred();
	while (PreCommit_Portals(false));
	bgjob_notices_pause();
	CHECK_FOR_INTERRUPTS();
}

/* bgjob_perform_log_duration logs how long the job has taken, if that is wanted. */
void
bgjob_perform_log_duration(void)
{
	if (bgjob_underway.ran)
		bgjob_log_duration(&bgjob_underway.job, bgjob_underway.logged);
}

/*
 * bgjob_perform_forget_output clears the console, since the job's output is in the
 * tables by now or is of no use any more, and ends the trace.
 */
void
bgjob_perform_forget_output(void)
{
	int slot = bgjob_slot_index(bgjob_my_slot);

	bgjob_trace_end();
	bgjob_notices_forget();
	if (bgjob_console_in_use(slot))
		bgjob_console_clear(slot);
}

/* bgjob_perform_begin publishes the current job of this worker: in its slot, the in-flight file and pg_stat_activity. */
void
bgjob_perform_begin(void)
{
	if (bgjob_underway.started_at == 0) /* else its gates have counted it */
		bgjob_underway.started_at = bgjob_now();
	bgjob_my_slot->command = bgjob_underway.command;
	bgjob_slot_start_clock(bgjob_underway.started_at);
	bgjob_inflight_begin(MyDatabaseId, bgjob_underway.job.id, bgjob_underway.job.pos,
						 1 + bgjob_underway.company, bgjob_underway.started_at);
	report_activity();
	bgjob_filter_refresh();
}

/*
 * bgjob_perform_check_request ends the attempt (57014) if there is a request, or a
 * wish of the job itself, although the job went on. The point of no return.
 */
void
bgjob_perform_check_request(void)
{
	if (bgjob_underway.ending.given)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED), errmsg("the job has ended its attempt")));
	if (!bgjob_slot_finish())
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling job on request")));
}

/* bgjob_perform_check_pending does so without being the point of no return: more of the job may follow. */
void
bgjob_perform_check_pending(void)
{
	if (bgjob_underway.ending.given)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED), errmsg("the job has ended its attempt")));
	if (bgjob_slot_request_seen() != BGJOB_REQUEST_NONE)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling job on request")));
}

/* ---- the outcome ---- */

/* bgjob_perform_give_up returns the request, after which no other is accepted; *what gets its circumstances. */
BgjobRequest
bgjob_perform_give_up(BgjobCircumstances *what)
{
	BgjobRequest request;

	memset(what, 0, sizeof(*what));
	request = bgjob_slot_give_up(&what->run_at);
	if (request == BGJOB_REQUEST_INTERRUPT)
		what->reason = bgjob_outcome_interruption(bgjob_my_slot->interruption);
	QueryCancelPending = false; /* was meant for the attempt that has failed */
	what->at = bgjob_now();
	what->started_at = bgjob_underway.started_at != 0 ? bgjob_underway.started_at : what->at;
	what->worker_pid = MyProcPid;
	what->server = bgjob_own_server_name();
	what->command = bgjob_underway.command;
	return request;
}

/* Returns who has made the request, for the history. No other is accepted any more. */
static const char *
author(void)
{
	return bgjob_my_slot != NULL ? bgjob_my_slot->request_author.text : NULL;
}

/* Returns the job that supersedes the one of this attempt; 0: none. No request is accepted any more. */
static int64
successor(void)
{
	return bgjob_my_slot != NULL ? bgjob_my_slot->successor : 0;
}

/* bgjob_perform_settle applies the event of the request, else that of the job's own wish, else the one that follows from the error. */
void
bgjob_perform_settle(BgjobRel *jobs, BgjobRequest request, const ErrorData *error,
					 BgjobCircumstances *what)
{
	BgjobEvent event;

	note_attempt();
	if (!bgjob_outcome_requested(request, successor(), author(),
								 bgjob_job_is_pending(&bgjob_underway.job), &event, what) &&
		!bgjob_outcome_of_ending(&bgjob_underway.ending, &event, what))
	{
		event = bgjob_outcome_of_error(&bgjob_underway.job, error, what);
		bgjob_attemptfilters_failed(&bgjob_underway.job, what->error);
	}
	what->certain = true;
	bgjob_job_apply(&bgjob_underway.job, event, what);
	bgjob_job_save(jobs, &bgjob_underway.job);
}
