/*-------------------------------------------------------------------------
 *
 * metriclimits.c
 *	  The metrics of limits.
 *
 * A limit has samples of its own if it is among the first BGJOB_METRIC_NAMES_MAX by name. Those of a pattern are the sums over
 * its keys in use; the keys, which may come from the arguments of jobs, are no labels. Every role
 * sees which limits there are and how they are used, as in bgjob.limits.
 *
 * Counting who waits reads a row for each job, so it ends at WAITING_MAX for a limit, and at
 * WAITING_MAX_OF_ALL for all.
 *
 * Runs in the session that reads the view. Locks: those of base/gatetable.c, for a moment each.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/metrics.h"
#include "base/gate.h"
#include "base/gatetable.h"
#include "miscadmin.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/limitconf.h"

#define WAITING_MAX        10000
#define WAITING_MAX_OF_ALL 50000

/* A limit, or the rest. */
typedef struct MetricLimit
{
	const char *name;
	const BgjobLimitConf *conf; /* NULL: of the rest */
	int64 running;
	int64 waiting;
	int64 used;
	int closed; /* how many limits are, 0 or 1; of the rest more */
} MetricLimit;

typedef struct BgjobMetricLimits
{
	MetricLimit *limits; /* by name */
	int n;
	MetricLimit *rest; /* behind them; NULL: there is none */
	int64 countable;   /* so many waiting jobs may still be counted */
} BgjobMetricLimits;

/* Compares two names. The pattern of all limits comes last: it has the name of the rest, so if there is a rest it is part of it. */
static int
compare_names(const void *a, const void *b)
{
	const char *left = ((const MetricLimit *) a)->name;
	const char *right = ((const MetricLimit *) b)->name;
	int last_left = strcmp(left, BGJOB_METRIC_REST) == 0;
	int last_right = strcmp(right, BGJOB_METRIC_REST) == 0;

	return last_left != last_right ? last_left - last_right : strcmp(left, right);
}

/* Adds how a limit, or a key, is used. */
static void
add_use(BgjobMetricLimits *limits, MetricLimit *limit, const char *name, TimestampTz now)
{
	int64 most = Min(limits->countable, WAITING_MAX);
	BgjobGateNeed need;
	BgjobGateState state;
	int64 waiting;

	CHECK_FOR_INTERRUPTS();
	bgjob_gate_need_of_limit(name, 1, &need);
	bgjob_gate_read(&need, &state);
	waiting = most > 0 ? bgjob_line_count(need.gate, most) : 0;
	limits->countable -= waiting;
	limit->running += state.running;
	limit->used += state.used;
	limit->waiting += waiting;
	limit->closed += Max(state.closed_until, limit->conf->closed_until) > now;
}

static void
add_to_rest(MetricLimit *rest, const MetricLimit *limit)
{
	rest->running += limit->running;
	rest->waiting += limit->waiting;
	rest->closed += limit->closed;
}

static bool
add_limits(BgjobMetricLimits *limits, List *confs)
{
	bool any_pattern = false;
	ListCell *cell;

	foreach (cell, confs)
	{
		const BgjobLimitConf *conf = lfirst(cell);

		limits->limits[limits->n++] = (MetricLimit){.name = conf->name, .conf = conf};
		any_pattern |= conf->pattern;
	}
	qsort(limits->limits, limits->n, sizeof(MetricLimit), compare_names);
	return any_pattern;
}

/* Adds the keys in use to their patterns. */
static void
add_keys(BgjobMetricLimits *limits, TimestampTz now)
{
	char(*names)[BGJOB_GATE_NAME_SIZE] = NULL;
	int room = 0;
	int n = bgjob_gate_names(NULL, 0, now);

	while (n > room)
	{
		room = n + n / 8;
		names = palloc_extended((Size) room * sizeof(*names), MCXT_ALLOC_HUGE);
		n = bgjob_gate_names(names, room, now);
	}
	for (int i = 0; i < n; i++)
	{
		const BgjobLimitConf *conf = bgjob_limitconf_find(names[i]);
		MetricLimit key = {.name = conf != NULL ? conf->name : NULL};
		MetricLimit *limit;

		if (conf == NULL || !conf->pattern || strcmp(conf->name, names[i]) == 0)
			continue;
		limit = bsearch(&key, limits->limits, limits->n, sizeof(MetricLimit), compare_names);
		if (limit != NULL)
			add_use(limits, limit, names[i], now);
	}
}

static BgjobMetricLimits *
collect(BgjobMetrics *metrics)
{
	BgjobMetricLimits *limits = metrics->limits;
	List *confs;
	bool any_pattern;

	if (limits != NULL)
		return limits;
	limits = metrics->limits = palloc0(sizeof(BgjobMetricLimits));
	confs = bgjob_limitconf_list();
	limits->limits =
		palloc_extended((list_length(confs) + 1) * sizeof(MetricLimit), MCXT_ALLOC_HUGE);
	limits->countable = WAITING_MAX_OF_ALL;
	any_pattern = add_limits(limits, confs);
	for (int i = 0; i < limits->n; i++)
		if (!limits->limits[i].conf->pattern)
			add_use(limits, &limits->limits[i], limits->limits[i].name, metrics->now);
		else
			limits->limits[i].closed = limits->limits[i].conf->closed_until > metrics->now;
	if (any_pattern)
		add_keys(limits, metrics->now);
	if (limits->n > BGJOB_METRIC_NAMES_MAX)
	{
		MetricLimit rest = {.name = BGJOB_METRIC_REST};

		for (int i = BGJOB_METRIC_NAMES_MAX; i < limits->n; i++)
			add_to_rest(&rest, &limits->limits[i]);
		limits->n = BGJOB_METRIC_NAMES_MAX;
		limits->rest = &limits->limits[limits->n];
		*limits->rest = rest;
	}
	return limits;
}

/* Sets the value of a metric; false: the limit has none. */
static bool
value_of(const MetricLimit *limit, int which, double *value)
{
	const BgjobLimitConf *conf = limit->conf;
	bool has_rate = conf != NULL && conf->rate.algorithm != BGJOB_RATE_NONE;

	switch ((BgjobLimitMetric) which)
	{
		case BGJOB_LIMIT_CLOSED:
			*value = conf == NULL ? limit->closed : limit->closed > 0;
			return true;
		case BGJOB_LIMIT_MAX_RUNNING:
			*value = conf != NULL ? conf->max_running : -1;
			return *value >= 0;
		case BGJOB_LIMIT_RATE_PERIOD:
			*value = has_rate ? (double) conf->rate.per / USECS_PER_SEC : 0;
			return has_rate;
		case BGJOB_LIMIT_RATE:
			*value = has_rate ? conf->rate.units : 0;
			return has_rate;
		case BGJOB_LIMIT_USED:
			*value = (double) limit->used;
			return has_rate;
		case BGJOB_LIMIT_RUNNING:
			*value = (double) limit->running;
			return true;
		case BGJOB_LIMIT_WAITING:
			*value = (double) limit->waiting;
			return true;
	}
	return false;
}

static void
put_limit(BgjobMetrics *metrics, const MetricLimit *limit, int which)
{
	BgjobLabel label = {"limit", limit->name};
	double value;

	if (value_of(limit, which, &value))
		bgjob_metric_put(metrics, value, &label, 1);
}

/* bgjob_metric_limit returns a metric of each limit; "which" is a BgjobLimitMetric. */
void
bgjob_metric_limit(BgjobMetrics *metrics, int which)
{
	const BgjobMetricLimits *limits = collect(metrics);

	for (int i = 0; i < limits->n; i++)
		put_limit(metrics, &limits->limits[i], which);
	if (limits->rest != NULL)
		put_limit(metrics, limits->rest, which);
}
