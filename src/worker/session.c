/*-------------------------------------------------------------------------
 *
 * session.c
 *	  What the worker says to the server, and hears.
 *
 * All goes over one connection, in rounds: at most one is on its way, and what comes
 * up meanwhile is in the next one. So under load a round carries the answers of many
 * jobs and fetches as many, with one commit. A round is up to three transactions:
 *
 *	  reports		log lines and progress of jobs, before their answers
 *	  sign of life	the heartbeat for all jobs that are held, with its commands
 *	  work			answers, then the fetch for the slots that are free
 *
 * Where jobs usually take less than WORKER_QUICK, a round waits for the answers of those
 * that have just begun, WORKER_GATHER at most: fewer commits for the server, and fewer
 * calls here. After a job that took longer, no round waits until most jobs are quick again.
 *
 * An answer is kept until its transaction has been confirmed. If the transaction
 * fails, its answers are sent again, one by one, so that one that the server refuses
 * (a result that jsonb cannot take) fails its own job alone.
 *
 * When the connection is lost, the jobs of a worker that is bound to it are back in
 * their queues: their handlers are ended, and their answers dropped, since others
 * perform them. A worker that is not bound (--pooled, or found out by the server)
 * goes on, sends a sign of life when it is connected again, and its answers.
 *
 * After connecting the extension is identified. One that is missing, or that speaks
 * another protocol, ends the program.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/session.h"
#include "client/connection.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/notify.h"
#include "worker/answers.h"
#include "worker/await.h"
#include "worker/config.h"
#include "worker/failure.h"
#include "worker/life.h"
#include "worker/pipeline.h"
#include "worker/report.h"
#include "worker/reporting.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define ROUND_LIMIT (60 * LOOP_SEC) /* a server that does not answer by then is gone */
#define RETRY_FIRST (100 * LOOP_MS)
#define RETRY_LAST  (5 * LOOP_SEC)

/* The groups of a round. */
enum
{
	GROUP_IDENTIFY,
	GROUP_PROTOCOL,
	GROUP_REPORTS,
	GROUP_LIFE,
	GROUP_CANCEL,
	GROUP_WORK
};

/* The columns of STATEMENT_FETCH. */
enum
{
	F_ID,
	F_JOB,
	F_ARGS,
	F_QUEUE,
	F_ATTEMPT,
	F_LEASE_UNTIL,
	F_PARAMETERS,
	F_DEADLINE,
	F_SECONDS_LEFT,
	F_COUNT
};

static Connection connection;
static bool ready = false;        /* identified */
static bool bound = false;        /* jobs go with the connection */
static bool fetched_here = false; /* a fetch over this connection has found jobs */
static bool was_ready = false;

static bool expect_work = true;  /* a fetch may find something */
static int asked_for = 0;        /* jobs that the fetch on its way may return */
static PGresult *fetched = NULL; /* what it has returned; counts when it is committed */
static int64_t fetch_sent_at;
static int cancel_pid = 0;     /* a waiting session that is to be canceled */
static int64_t not_before = 0; /* work, after a failure */
static int failures = 0;
static LoopTimer round_timer;
static LoopTimer turn_timer;

/* session_is_ready returns whether the server can be talked to. */
bool
session_is_ready(void)
{
	return ready;
}

/* session_found_none returns whether the last fetch found fewer jobs than it asked for. */
bool
session_found_none(void)
{
	return ready && !expect_work && asked_for == 0;
}

/* session_expect_work has the next turn fetch. */
void
session_expect_work(void)
{
	expect_work = true;
}

/* session_cancel has a waiting session of ours canceled. */
void
session_cancel(int pid)
{
	cancel_pid = pid;
}

void
session_answer(Answer *answer)
{
	answers_give(answer);
}

int
session_unanswered(void)
{
	return answers_left();
}

static void
turn_due(LoopTimer *timer)
{
}

/* turn_at has the loop turn at a time. */
static void
turn_at(int64_t at)
{
	if (turn_timer.place == 0 || turn_timer.at > at)
		loop_set(&turn_timer, at, turn_due, NULL);
}

static void
round_timed_out(LoopTimer *timer)
{
	connection_lost(&connection, "the server does not answer");
}

/* ---- sending ---- */

static void
send_cancel(void)
{
	char pid[16];
	PipelineValue value = pipeline_text(pid);

	snprintf(pid, sizeof(pid), "%d", cancel_pid);
	cancel_pid = 0;
	pipeline_send(STATEMENT_CANCEL, &value, 1);
	pipeline_sync(GROUP_CANCEL);
}

static void
send_fetch(int count)
{
	char number[16];
	PipelineValue values[4] = {pipeline_text(config.queue_array), pipeline_text(config.name),
							   pipeline_text(number), pipeline_text(config.lease_text)};

	snprintf(number, sizeof(number), "%d", count);
	if (config.pooled)
		pipeline_send(STATEMENT_UNBIND, NULL, 0);
	pipeline_send(STATEMENT_FETCH, values, 4);
	asked_for = count;
	fetch_sent_at = loop_now();
}

/* send_work sends answers, and the fetch; they are one transaction. */
static void
send_work(bool answers, int fetch)
{
	if (answers)
		answers_send();
	if (fetch > 0)
		send_fetch(fetch);
	pipeline_sync(GROUP_WORK);
}

/* turn_in_time has the loop turn when something is due that is not due yet. */
static void
turn_in_time(void)
{
	turn_at(life_due());
	if (not_before > loop_now())
		turn_at(not_before);
	if (reporting_wants())
		turn_at(reporting_due());
}

/* session_turn sends a round, if there is something to say and none is on its way. */
void
session_turn(void)
{
	bool life;
	bool answers;
	bool report;
	int fetch;

	if (!ready || pipeline_is_busy())
		return;
	life = life_due() <= loop_now();
	answers = answers_to_send() && not_before <= loop_now();
	fetch =
		expect_work && not_before <= loop_now() && !answers_are_apart() ? worker_wanted() : 0;
	report = reporting_wants();
	if (!life && !answers && fetch == 0 && cancel_pid == 0 &&
		!(report && reporting_due() <= loop_now()))
	{
		turn_in_time();
		return;
	}
	if (!life && !report && cancel_pid == 0 && worker_expects_answers())
	{
		turn_at(loop_now() + WORKER_GATHER);
		return;
	}
	if (report)
	{
		bool all = reporting_send();

		pipeline_sync(GROUP_REPORTS);
		answers = answers && all;
	}
	if (life)
	{
		life_send(!config.pooled && fetched_here);
		pipeline_sync(GROUP_LIFE);
	}
	if (answers || fetch > 0)
		send_work(answers, fetch);
	if (cancel_pid != 0)
		send_cancel();
	loop_unset(&turn_timer);
	loop_set(&round_timer, loop_now() + ROUND_LIMIT, round_timed_out, NULL);
	connection_flush(&connection);
}

/* ---- hearing ---- */

/* take_text copies a value that was fetched to where *to is, and moves that on; null stays null. */
static const char *
take_text(int row, int column, char **to)
{
	char *text = *to;
	size_t size = PQgetlength(fetched, row, column) + 1;

	if (PQgetisnull(fetched, row, column))
		return NULL;
	*to += size;
	return memcpy(text, PQgetvalue(fetched, row, column), size);
}

/* job_of makes a job of a row that was fetched. */
static Job *
job_of(int row)
{
	size_t size = sizeof(Job);
	Job *job;
	char *to;

	for (int column = 0; column < F_COUNT; column++)
		size += PQgetlength(fetched, row, column) + 1;
	job = mem_alloc(size);
	memset(job, 0, sizeof(*job));
	to = job->texts;
	job->id = strtoll(PQgetvalue(fetched, row, F_ID), NULL, 10);
	job->name = take_text(row, F_JOB, &to);
	job->args = take_text(row, F_ARGS, &to);
	job->args_len = PQgetlength(fetched, row, F_ARGS);
	job->queue = take_text(row, F_QUEUE, &to);
	job->attempt = atoi(PQgetvalue(fetched, row, F_ATTEMPT));
	job->lease_until = take_text(row, F_LEASE_UNTIL, &to);
	job->parameters = take_text(row, F_PARAMETERS, &to);
	job->deadline = take_text(row, F_DEADLINE, &to);
	job->lease_end = fetch_sent_at + config.lease;
	if (!PQgetisnull(fetched, row, F_SECONDS_LEFT))
		job->deadline_at =
			loop_now() +
			(int64_t) (strtod(PQgetvalue(fetched, row, F_SECONDS_LEFT), NULL) * LOOP_SEC);
	return job;
}

/* begin_fetched begins the jobs of a fetch that has been committed. */
static void
begin_fetched(void)
{
	int count = PQntuples(fetched);

	for (int row = 0; row < count; row++)
		worker_take(job_of(row));
	if (count > 0 && !fetched_here)
	{
		/* Asks whether the server has bound the jobs. */
		fetched_here = true;
		life_soon();
	}
	if (count > 0)
		await_worked();
	if (count < asked_for)
		expect_work = false;
}

static bool
rows_told(Statement statement, PGresult *result)
{
	switch (statement)
	{
		case STATEMENT_IDENTIFY:
			identity_told(result, PQdb(connection.pg));
			break;
		case STATEMENT_PROTOCOL:
			identity_protocol_told(result);
			break;
		case STATEMENT_HEARTBEAT:
			life_told(result);
			break;
		case STATEMENT_BOUND:
			bound = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
			break;
		case STATEMENT_COMPLETE:
		case STATEMENT_FAIL:
		case STATEMENT_RELEASE:
			answers_too_late(result);
			break;
		case STATEMENT_FETCH:
			PQclear(fetched);
			fetched = result;
			return true;
		default:
			break;
	}
	return false;
}

/* become_ready begins the work over a connection whose extension is known. */
static void
become_ready(void)
{
	ready = true;
	expect_work = true;
	life_soon();
	not_before = 0;
	worker.counts.connections++;
	log_info("connected to database \"%s\" as \"%s\"; worker \"%s\", %d jobs at the same time",
			 PQdb(connection.pg), PQuser(connection.pg), config.name, config.concurrency);
	if (!was_ready)
		notify_send("READY=1");
	was_ready = true;
}

/* work_failed deals with a transaction of answers and a fetch that has failed. */
static void
work_failed(const PipelineEnd *end)
{
	bool of_fetch = end->culprit == STATEMENT_FETCH || end->culprit == STATEMENT_UNBIND;

	if (of_fetch && worker.counts.fetched == 0 && failures == 0 &&
		!failure_ends_session(end->sqlstate) && !failure_passes(end->sqlstate))
	{
		log_error("cannot fetch jobs: %s", end->message);
		worker_fail(strcmp(end->sqlstate, "42501") == 0 ? EX_NOPERM : EX_CONFIG);
		return;
	}
	if (failure_ends_session(end->sqlstate))
	{
		answers_again(NULL);
		connection_lost(&connection, end->message);
		return;
	}
	if (of_fetch || failure_passes(end->sqlstate) || end->culprit == STATEMENT_COUNT)
	{
		log_warning("could not %s: %s", of_fetch ? "fetch jobs" : "answer", end->message);
		not_before = loop_now() + (failures < 6 ? RETRY_FIRST << failures : RETRY_LAST);
		failures++;
		answers_again(NULL);
	}
	else
		answers_again(end->message);
}

static void
work_ended(const PipelineEnd *end)
{
	bool was_fetch = asked_for > 0;

	if (end->failed)
		work_failed(end);
	else
	{
		failures = 0;
		answers_confirmed();
		if (was_fetch && fetched != NULL)
			begin_fetched();
	}
	PQclear(fetched);
	fetched = NULL;
	asked_for = 0;
}

static void
group_ended(const PipelineEnd *end)
{
	switch (end->group)
	{
		case GROUP_IDENTIFY:
		case GROUP_PROTOCOL:
			if (worker.over)
				return;
			if (end->failed)
			{
				log_error("could not identify the extension: %s", end->message);
				if (strcmp(end->sqlstate, "42501") == 0 && !was_ready)
					worker_fail(EX_NOPERM);
				else
					connection_lost(&connection, end->message);
			}
			else if (end->group == GROUP_IDENTIFY)
			{
				pipeline_send(STATEMENT_PROTOCOL, NULL, 0);
				pipeline_sync(GROUP_PROTOCOL);
				connection_flush(&connection);
			}
			else
				become_ready();
			break;
		case GROUP_REPORTS:
			if (end->failed)
				log_warning("could not add to the log of jobs: %s", end->message);
			break;
		case GROUP_LIFE:
			life_ended(end);
			break;
		case GROUP_WORK:
			work_ended(end);
			break;
		default:
			break;
	}
}

static const PipelineOwner pipeline_owner = {rows_told, group_ended};

/* ---- the connection ---- */

static void
session_readable(Connection *conn)
{
	pipeline_read();
	if (!pipeline_is_busy())
		loop_unset(&round_timer);
}

/* notice passes on what the server warns of. */
static void
notice(void *arg, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (message == NULL)
		return;
	if (severity != NULL && strcmp(severity, "WARNING") == 0)
		log_warning("the server warns: %s", message);
	else
		log_debug("the server says: %s", message);
}

static void
session_up(Connection *conn)
{
	PQsetNoticeReceiver(conn->pg, notice, NULL);
	bound = !config.pooled;
	fetched_here = false;
	pipeline_begin(conn, &pipeline_owner, !config.pooled);
	pipeline_send(STATEMENT_IDENTIFY, NULL, 0);
	pipeline_sync(GROUP_IDENTIFY);
	loop_set(&round_timer, loop_now() + ROUND_LIMIT, round_timed_out, NULL);
	connection_flush(conn);
}

static void
session_down(Connection *conn)
{
	bool lost = bound && fetched_here;

	ready = false;
	pipeline_reset();
	loop_unset(&round_timer);
	PQclear(fetched);
	fetched = NULL;
	asked_for = 0;
	expect_work = true;
	if (lost)
	{
		worker_lose_all();
		answers_lose();
	}
	else
		answers_again(NULL);
}

static void
session_failed(Connection *conn, const ConnectionFailure *failure)
{
	int code = failure_exit_code(failure);

	if (failure->first && failure->wants_password && !config.target.never_ask &&
		isatty(STDIN_FILENO) && target_ask_password(&config.target))
	{
		connection_open(conn);
		return;
	}
	if (failure->first && code != EX_OK)
	{
		log_error("could not connect: %s", failure->message);
		worker_fail(code);
		return;
	}
	log_warning("could not connect: %s", failure->message);
}

/* session_open begins to connect. */
void
session_open(void)
{
	connection.purpose = "jobs";
	connection.target = &config.target;
	connection.attempt_timeout = config.connect_timeout;
	connection.up = session_up;
	connection.readable = session_readable;
	connection.down = session_down;
	connection.failed = session_failed;
	connection_open(&connection);
}

void
session_close(void)
{
	ready = false;
	connection_close(&connection);
	pipeline_reset();
	PQclear(fetched);
	answers_free();
	statements_free();
	reports_free(reports_take(false, 1 << 30));
	reports_free(reports_take(true, 1 << 30));
}
