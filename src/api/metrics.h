/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  What the files that make up bgjob.metrics share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_METRICS_H
#define BGJOB_API_METRICS_H

#include "postgres.h"

#include "base/registry.h"
#include "datatype/timestamp.h"
#include "nodes/execnodes.h"

/* So many queues, limits and recurring jobs have samples of their own; the others are summed up under this name. */
#define BGJOB_METRIC_NAMES_MAX 100
#define BGJOB_METRIC_REST      "*"

typedef struct BgjobLabel
{
	const char *name;
	const char *value;
} BgjobLabel;

struct BgjobMetricQueues;
struct BgjobMetricLimits;
struct BgjobMetricRecurring;

/* A reading of the view. What the parts have collected is NULL until a metric asks for it. */
typedef struct BgjobMetrics
{
	ReturnSetInfo *result;
	const char *name; /* the metric whose samples are being returned */
	const char *type;
	const char *help;
	const char *database; /* the label of its samples; NULL: they concern the whole server */
	BgjobDatabase *entry; /* NULL: the server does not know the database */
	TimestampTz now;
	struct BgjobMetricQueues *queues;
	struct BgjobMetricLimits *limits;
	struct BgjobMetricRecurring *recurring;
} BgjobMetrics;

/* Returns the samples of a metric; "which" distinguishes metrics that are alike. */
typedef void (*BgjobMetricSamples)(BgjobMetrics *metrics, int which);

/* metricsamples.c */
extern void
bgjob_metric_put(BgjobMetrics *metrics, double value, const BgjobLabel *labels, int n);
extern void bgjob_metric_put_buckets(BgjobMetrics *metrics, const int64 *at_most, int64 count,
									 int64 sum, const BgjobLabel *labels, int n);
extern bool bgjob_metric_sees(Oid role, void *arg);
extern double bgjob_metric_seconds(TimestampTz at);

/* metricqueues.c */
extern void bgjob_metric_cpu(BgjobMetrics *metrics, int which);
extern void bgjob_metric_finished(BgjobMetrics *metrics, int which);
extern void bgjob_metric_flow(BgjobMetrics *metrics, int which);
extern void bgjob_metric_jobs(BgjobMetrics *metrics, int which);
extern void bgjob_metric_oldest(BgjobMetrics *metrics, int which);
extern void bgjob_metric_paused(BgjobMetrics *metrics, int which);
extern void bgjob_metric_times(BgjobMetrics *metrics, int which);
extern void bgjob_metric_wal(BgjobMetrics *metrics, int which);

typedef enum BgjobTimesMetric
{
	BGJOB_TIMES_RUN,
	BGJOB_TIMES_WAIT
} BgjobTimesMetric;

/* metriclimits.c */
extern void bgjob_metric_limit(BgjobMetrics *metrics, int which);

typedef enum BgjobLimitMetric
{
	BGJOB_LIMIT_CLOSED,
	BGJOB_LIMIT_MAX_RUNNING,
	BGJOB_LIMIT_RATE_PERIOD,
	BGJOB_LIMIT_RATE,
	BGJOB_LIMIT_USED,
	BGJOB_LIMIT_RUNNING,
	BGJOB_LIMIT_WAITING
} BgjobLimitMetric;

/* metricrecurring.c */
extern void bgjob_metric_recurring_states(BgjobMetrics *metrics, int which);
extern void bgjob_metric_recurring(BgjobMetrics *metrics, int which);

typedef enum BgjobRecurringMetric
{
	BGJOB_RECURRING_FAILING,
	BGJOB_RECURRING_LAST_RUN,
	BGJOB_RECURRING_NEXT_RUN
} BgjobRecurringMetric;

/* metricworkers.c */
extern void bgjob_metric_external_workers(BgjobMetrics *metrics, int which);
extern void bgjob_metric_leases(BgjobMetrics *metrics, int which);
extern void bgjob_metric_server_max(BgjobMetrics *metrics, int which);
extern void bgjob_metric_server_paused(BgjobMetrics *metrics, int which);
extern void bgjob_metric_workers(BgjobMetrics *metrics, int which);

#endif /* BGJOB_API_METRICS_H */
