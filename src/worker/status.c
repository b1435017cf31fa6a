/*-------------------------------------------------------------------------
 *
 * status.c
 *	  How the worker is: by HTTP for load balancers and Prometheus, and to systemd.
 *
 *	  /healthz	200 while the loop turns
 *	  /readyz	200 while jobs are fetched, else 503 and why not
 *	  /metrics	counters, in the text format of Prometheus; --labels are with each
 *
 * Nothing is served but with --listen, and nothing of jobs but their number.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/status.h"
#include "client/http.h"
#include "client/log.h"
#include "client/loop.h"
#include "client/notify.h"
#include "worker/config.h"
#include "worker/session.h"
#include "worker/statements.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

#define TELL_EVERY (5 * LOOP_SEC)

static LoopTimer tell_timer;

/* put_labels writes the labels of a sample, with one more if it is not null. */
static void
put_labels(Buffer *page, const char *name, const char *value)
{
	const char *separator = "{";

	for (char **label = config.labels; label != NULL && *label != NULL; label++)
	{
		int len = (int) strcspn(*label, "=");

		buffer_print(page, "%s%.*s=\"", separator, len, *label);
		for (const char *c = *label + len + 1; *c != '\0'; c++)
			if (*c == '"' || *c == '\\')
				buffer_print(page, "\\%c", *c);
			else
				buffer_add(page, c, 1);
		buffer_add(page, "\"", 1);
		separator = ",";
	}
	if (name != NULL)
	{
		buffer_print(page, "%s%s=\"%s\"", separator, name, value);
		separator = ",";
	}
	if (*separator == ',')
		buffer_add(page, "}", 1);
}

static void
put_help(Buffer *page, const char *name, const char *type, const char *help)
{
	buffer_print(page, "# HELP bgjob_worker_%s %s\n# TYPE bgjob_worker_%s %s\n", name, help,
				 name, type);
}

static void
put_sample(Buffer *page, const char *name, const char *label, const char *value, double number)
{
	buffer_print(page, "bgjob_worker_%s", name);
	put_labels(page, label, value);
	buffer_print(page, " %.15g\n", number);
}

static void
put_single(Buffer *page, const char *name, const char *type, const char *help, double number)
{
	put_help(page, name, type, help);
	put_sample(page, name, NULL, NULL, number);
}

static void
put_outcomes(Buffer *page)
{
	const WorkerCounts *counts = &worker.counts;

	put_help(page, "jobs_total", "counter", "Jobs by what came of them.");
	put_sample(page, "jobs_total", "outcome", "succeeded", (double) counts->succeeded);
	put_sample(page, "jobs_total", "outcome", "failed", (double) counts->failed);
	put_sample(page, "jobs_total", "outcome", "released", (double) counts->released);
	put_sample(page, "jobs_total", "outcome", "canceled", (double) counts->canceled);
	put_sample(page, "jobs_total", "outcome", "timed_out", (double) counts->timed_out);
	put_sample(page, "jobs_total", "outcome", "lost", (double) counts->lost);
}

static void
put_durations(Buffer *page)
{
	int64_t total = 0;
	char limit[32];

	put_help(page, "job_duration_seconds", "histogram",
			 "Time that jobs took in their handlers.");
	for (int i = 0; i < WORKER_BUCKETS; i++)
	{
		total += worker.counts.buckets[i];
		snprintf(limit, sizeof(limit), "%g", worker_bucket_limits[i]);
		put_sample(page, "job_duration_seconds_bucket", "le", limit, (double) total);
	}
	total += worker.counts.buckets[WORKER_BUCKETS];
	put_sample(page, "job_duration_seconds_bucket", "le", "+Inf", (double) total);
	put_sample(page, "job_duration_seconds_sum", NULL, NULL,
			   (double) worker.counts.durations / LOOP_SEC);
	put_sample(page, "job_duration_seconds_count", NULL, NULL, (double) total);
}

static void
put_metrics(Buffer *page)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	put_single(page, "slots", "gauge", "Number of jobs that can be performed at the same time.",
			   config.concurrency);
	put_single(page, "busy", "gauge", "Slots that have a job.", worker.busy);
	put_single(page, "connected", "gauge", "1 while the database can be reached.",
			   session_is_ready());
	put_single(page, "quiet", "gauge", "1 while no jobs are fetched.",
			   worker.mode != WORKER_RUNNING || worker.paused);
	put_single(page, "fetched_total", "counter", "Jobs that were fetched.",
			   (double) worker.counts.fetched);
	put_outcomes(page);
	put_single(page, "unknown_total", "counter", "Jobs that the handler did not know.",
			   (double) worker.counts.unknown);
	put_single(page, "answers_waiting", "gauge", "Answers that the server has not confirmed.",
			   session_unanswered());
	put_single(page, "handlers_started_total", "counter", "Handlers that were started.",
			   (double) worker.counts.handlers);
	put_single(page, "connections_total", "counter", "Connections that were made.",
			   (double) worker.counts.connections);
	put_single(page, "cpu_seconds_total", "counter", "CPU time of the worker itself.",
			   (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	put_durations(page);
}

/* why_not_ready returns null while jobs are fetched. */
static const char *
why_not_ready(void)
{
	if (!session_is_ready())
		return "not connected\n";
	if (worker.mode >= WORKER_STOPPING)
		return "leaving\n";
	if (worker.mode == WORKER_QUIET)
		return "quiet\n";
	return worker.paused ? "paused\n" : NULL;
}

/* serve answers a request, and returns its status. */
static int
serve(const char *path, Buffer *page, const char **type)
{
	const char *why;

	*type = "text/plain; charset=utf-8";
	if (strcmp(path, "/healthz") == 0)
		buffer_add_text(page, "ok\n");
	else if (strcmp(path, "/readyz") == 0)
	{
		why = why_not_ready();
		buffer_add_text(page, why != NULL ? why : "ok\n");
		return why != NULL ? 503 : 200;
	}
	else if (strcmp(path, "/metrics") == 0)
	{
		*type = "text/plain; version=0.0.4; charset=utf-8";
		put_metrics(page);
	}
	else
	{
		buffer_add_text(page, "There are /healthz, /readyz and /metrics.\n");
		return 404;
	}
	return 200;
}

/* tell_due tells the service manager what systemctl status shows. */
static void
tell_due(LoopTimer *timer)
{
	const char *why = why_not_ready();

	notify_send("STATUS=%.*s, %d of %d slots busy, %lld jobs fetched",
				why != NULL ? (int) strlen(why) - 1 : 7, why != NULL ? why : "running",
				worker.busy, config.concurrency, (long long) worker.counts.fetched);
	loop_set(&tell_timer, loop_now() + TELL_EVERY, tell_due, NULL);
}

void
status_open(void)
{
	if (config.listen != NULL && !http_open(config.listen, serve))
	{
		log_error("cannot listen at \"%s\"", config.listen);
		exit(EX_CONFIG);
	}
	if (notify_is_open())
		tell_due(&tell_timer);
}

void
status_close(void)
{
	http_close();
}
