/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  The rows of bgjob.metrics: what an exporter for Prometheus needs.
 *
 * One table names the metrics, in the order of their names, and the function that returns the samples of
 * each; these are here and in api/metric*.c. All samples of a metric follow each other, as the text format wants
 * it. Names, units and types follow Prometheus' rules; test/pgtap/36_metrics.sql checks them.
 *
 * COST. The numbers are those of shared memory and of small tables: how many jobs there are does not matter. What
 * users name as they like (queues, limits, recurring jobs) is a label for the first BGJOB_METRIC_NAMES_MAX only; the
 * rest is summed up under BGJOB_METRIC_REST, so that neither a scrape nor Prometheus' memory grows without bound.
 * Names of keys, jobs and arguments are no labels.
 *
 * RIGHTS. As in the views: each role sees the jobs, workers and recurring jobs of the roles that it may see, and what concerns
 * all. Nothing is read but what the views show.
 *
 * A metric without samples is left out: on a standby, or where the library is not preloaded, that is nearly all of
 * them; and the numbers of jobs until they have been counted (store/count.c).
 *
 * Runs in the session that reads the view.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "api/metrics.h"
#include "api/rights.h"
#include "base/database.h"
#include "base/queuestats.h"
#include "base/totals.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* ---- the server and the scheduler ---- */

static void
put_build_info(BgjobMetrics *metrics, int which)
{
	BgjobLabel labels[] = {{"version", BGJOB_VERSION},
						   {"server_version", GetConfigOption("server_version", false, false)}};

	metrics->database = NULL;
	bgjob_metric_put(metrics, 1, labels, lengthof(labels));
}

static void
put_up(BgjobMetrics *metrics, int which)
{
	bool up = metrics->entry != NULL &&
			  (metrics->entry->ready || metrics->entry->status == BGJOB_DATABASE_RESTING);

	bgjob_metric_put(metrics, up && !RecoveryInProgress() ? 1 : 0, NULL, 0);
}

static void
put_last_round(BgjobMetrics *metrics, int which)
{
	if (metrics->entry != NULL && metrics->entry->steady_at != 0)
		bgjob_metric_put(metrics, bgjob_metric_seconds(metrics->entry->clock_at), NULL, 0);
}

static void
put_late(BgjobMetrics *metrics, int which)
{
	int64 at_most[BGJOB_DURATION_BOUNDS];
	int64 count = 0;
	int64 sum;

	if (metrics->entry == NULL)
		return;
	sum = (int64) pg_atomic_read_u64(&metrics->entry->totals.late_sum);
	for (int i = 0; i < BGJOB_DURATION_BUCKETS; i++)
	{
		count += (int64) pg_atomic_read_u64(&metrics->entry->totals.late[i]);
		if (i < BGJOB_DURATION_BOUNDS)
			at_most[i] = count;
	}
	bgjob_metric_put_buckets(metrics, at_most, count, sum, NULL, 0);
}

static void
put_missed(BgjobMetrics *metrics, int which)
{
	static const char *const reasons[BGJOB_NMISSED] = {
		[BGJOB_MISSED_NOT_SERVED] = "not_served",
		[BGJOB_MISSED_OVERLAP] = "overlap",
		[BGJOB_MISSED_REFUSED] = "refused",
	};

	for (int i = 0; metrics->entry != NULL && i < BGJOB_NMISSED; i++)
	{
		BgjobLabel label = {"reason", reasons[i]};

		bgjob_metric_put(
			metrics, (double) pg_atomic_read_u64(&metrics->entry->totals.missed[i]), &label, 1);
	}
}

/* ---- the table ---- */

typedef struct Metric
{
	const char *name;
	const char *type;
	const char *help;
	BgjobMetricSamples samples;
	int which;
	bool always; /* also without an entry of the database, and on a standby */
} Metric;

static const Metric all[] = {
	{"bgjob_build_info", "gauge", "Version of bgjob and of the server; always 1.",
	 put_build_info, 0, true},
	{"bgjob_external_workers", "gauge", "External workers that are known, by state.",
	 bgjob_metric_external_workers},
	{"bgjob_job_cpu_seconds_total", "counter",
	 "Processor time that workers of the server have spent on attempts.", bgjob_metric_cpu},
	{"bgjob_job_run_seconds", "histogram", "How long attempts have run.", bgjob_metric_times,
	 BGJOB_TIMES_RUN},
	{"bgjob_job_wait_seconds", "histogram",
	 "How long jobs have waited before an attempt, since they could run.", bgjob_metric_times,
	 BGJOB_TIMES_WAIT},
	{"bgjob_job_wal_bytes_total", "counter",
	 "Write-ahead log that attempts in workers of the server have written.", bgjob_metric_wal},
	{"bgjob_jobs", "gauge",
	 "Jobs by queue and state. Jobs that have succeeded or were deleted are in "
	 "bgjob_jobs_finished_total.",
	 bgjob_metric_jobs},
	{"bgjob_jobs_enqueued_total", "counter", "Jobs that were created.", bgjob_metric_flow,
	 BGJOB_FLOW_ENQUEUED},
	{"bgjob_jobs_finished_total", "counter",
	 "Jobs that have ended, by outcome: succeeded, failed without another retry, or deleted.",
	 bgjob_metric_finished},
	{"bgjob_jobs_interrupted_total", "counter",
	 "Attempts that were interrupted, as by a shutdown, and are made again.", bgjob_metric_flow,
	 BGJOB_FLOW_INTERRUPTED},
	{"bgjob_jobs_lost_total", "counter", "Attempts that have lost their worker or their lease.",
	 bgjob_metric_flow, BGJOB_FLOW_LOST},
	{"bgjob_jobs_retried_total", "counter", "Attempts that have failed and are tried again.",
	 bgjob_metric_flow, BGJOB_FLOW_RETRIED},
	{"bgjob_jobs_throttled_total", "counter",
	 "Times that a job had to wait for a limit, its sequence, its queue or its turn.",
	 bgjob_metric_flow, BGJOB_FLOW_THROTTLED},
	{"bgjob_leases", "gauge", "Jobs that external workers have.", bgjob_metric_leases},
	{"bgjob_limit_closed", "gauge", "Whether the limit is closed.", bgjob_metric_limit,
	 BGJOB_LIMIT_CLOSED},
	{"bgjob_limit_max_running", "gauge", "Jobs that may run under the limit at a time.",
	 bgjob_metric_limit, BGJOB_LIMIT_MAX_RUNNING},
	{"bgjob_limit_rate_period_seconds", "gauge", "Period of the limit's rate.",
	 bgjob_metric_limit, BGJOB_LIMIT_RATE_PERIOD},
	{"bgjob_limit_rate_units", "gauge", "Units of the limit's rate in a period.",
	 bgjob_metric_limit, BGJOB_LIMIT_RATE},
	{"bgjob_limit_rate_used_units", "gauge", "Units of the limit's rate that are used.",
	 bgjob_metric_limit, BGJOB_LIMIT_USED},
	{"bgjob_limit_running", "gauge",
	 "Jobs that run under the limit. Of a pattern: under all its keys.", bgjob_metric_limit,
	 BGJOB_LIMIT_RUNNING},
	{"bgjob_limit_waiting", "gauge",
	 "Jobs that wait at the limit. They are counted up to 10000, and up to 50000 at all "
	 "limits.",
	 bgjob_metric_limit, BGJOB_LIMIT_WAITING},
	{"bgjob_queue_oldest_ready_age_seconds", "gauge",
	 "How long the oldest job of the queue that could run has been waiting; 0: there is none.",
	 bgjob_metric_oldest},
	{"bgjob_queue_paused", "gauge", "Whether the queue is paused.", bgjob_metric_paused},
	{"bgjob_recurring_failing", "gauge",
	 "Whether the last occurrence of the recurring job enqueued no job because of an error.",
	 bgjob_metric_recurring, BGJOB_RECURRING_FAILING},
	{"bgjob_recurring_jobs", "gauge", "Recurring jobs by state.",
	 bgjob_metric_recurring_states},
	{"bgjob_recurring_last_run_timestamp_seconds", "gauge",
	 "When the recurring job has enqueued a job last.", bgjob_metric_recurring,
	 BGJOB_RECURRING_LAST_RUN},
	{"bgjob_recurring_missed_total", "counter",
	 "Occurrences of recurring jobs that enqueued no job when they were due. Those during one "
	 "interruption of service count once for each recurring job.",
	 put_missed},
	{"bgjob_recurring_next_run_timestamp_seconds", "gauge",
	 "When the recurring job is due next.", bgjob_metric_recurring, BGJOB_RECURRING_NEXT_RUN},
	{"bgjob_scheduler_lag_seconds", "histogram",
	 "How late the scheduler has enqueued what was due.", put_late},
	{"bgjob_scheduler_last_round_timestamp_seconds", "gauge",
	 "When the scheduler has begun a round last. An idle one begins a round every 10 seconds.",
	 put_last_round},
	{"bgjob_scheduler_up", "gauge", "Whether a scheduler serves the database.", put_up, 0,
	 true},
	{"bgjob_server_max_workers", "gauge", "Workers that the server may have at present.",
	 bgjob_metric_server_max},
	{"bgjob_server_paused", "gauge", "Whether the server is paused.",
	 bgjob_metric_server_paused},
	{"bgjob_workers", "gauge", "Worker processes by server and state.", bgjob_metric_workers},
};

PG_FUNCTION_INFO_V1(bgjob_metrics);

/* bgjob_internal.metrics() returns the rows of bgjob.metrics that the current user may see. */
Datum
bgjob_metrics(PG_FUNCTION_ARGS)
{
	BgjobMetrics metrics = {.result = (ReturnSetInfo *) fcinfo->resultinfo,
							.entry = bgjob_database_find(MyDatabaseId),
							.now = bgjob_now()};
	const char *database = get_database_name(MyDatabaseId);
	bool primary = metrics.entry != NULL && !RecoveryInProgress();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(all); i++)
	{
		CHECK_FOR_INTERRUPTS();
		metrics.name = all[i].name;
		metrics.type = all[i].type;
		metrics.help = all[i].help;
		metrics.database = database;
		if (primary || all[i].always)
			all[i].samples(&metrics, all[i].which);
	}
	return (Datum) 0;
}
