/*-------------------------------------------------------------------------
 *
 * metricrecurring.c
 *	  The metrics of recurring jobs.
 *
 * A recurring job has samples of its own if it is among the first BGJOB_METRIC_NAMES_MAX that were added, of those that
 * the reader sees. Of the others the samples say how many fail, when the last one ran, and when the first one
 * is due.
 *
 * Runs in the session that reads the view: one pass over the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/metrics.h"
#include "miscadmin.h"
#include "store/recurringlist.h"

typedef enum MetricState
{
	STATE_ACTIVE,
	STATE_PAUSED,
	STATE_FAILING
} MetricState;

#define NSTATES (STATE_FAILING + 1)

/* A recurring job, or the rest. */
typedef struct MetricRecurring
{
	int64 id;
	char *name;
	char *owner;
	int failing; /* how many are, 0 or 1; of the rest more */
	TimestampTz last_run_at;
	TimestampTz next_at;
} MetricRecurring;

typedef struct BgjobMetricRecurring
{
	MetricRecurring first[BGJOB_METRIC_NAMES_MAX]; /* by their ids */
	int n;
	bool any_rest;
	MetricRecurring rest;
	int64 states[NSTATES];
	Oid owner; /* the last one that was met, and whether the reader sees what is its */
	bool seen;
} BgjobMetricRecurring;

static void
add_to_rest(BgjobMetricRecurring *all, const MetricRecurring *job)
{
	MetricRecurring *rest = &all->rest;

	all->any_rest = true;
	rest->failing += job->failing;
	rest->last_run_at = Max(rest->last_run_at, job->last_run_at);
	if (job->next_at != 0)
		rest->next_at = rest->next_at == 0 ? job->next_at : Min(rest->next_at, job->next_at);
}

/* Adds a recurring job to the first ones at its place; the last one there may go to the rest instead. */
static void
add(BgjobMetricRecurring *all, const BgjobRecurringState *state)
{
	MetricRecurring job = {.id = state->id,
						   .failing = state->failing,
						   .last_run_at = state->last_run_at,
						   .next_at = state->next_at};
	int at = all->n;

	if (all->n == BGJOB_METRIC_NAMES_MAX)
	{
		const MetricRecurring *last = &all->first[all->n - 1];

		add_to_rest(all, last->id < job.id ? &job : last);
		if (last->id < job.id)
			return;
		all->n--;
		at--;
	}
	job.name = pstrdup(state->name);
	job.owner = GetUserNameFromId(state->owner, true);
	if (job.owner == NULL)
		job.owner = psprintf("%u", state->owner); /* it was dropped */
	for (; at > 0 && all->first[at - 1].id > job.id; at--)
		all->first[at] = all->first[at - 1];
	all->first[at] = job;
	all->n++;
}

static void
note(const BgjobRecurringState *state, void *arg)
{
	BgjobMetricRecurring *all = arg;

	if (all->owner != state->owner)
		all->seen = bgjob_metric_sees(state->owner, NULL);
	all->owner = state->owner;
	if (!all->seen)
		return;
	all->states[state->failing ? STATE_FAILING : state->active ? STATE_ACTIVE : STATE_PAUSED]++;
	add(all, state);
}

static const BgjobMetricRecurring *
collect(BgjobMetrics *metrics)
{
	BgjobMetricRecurring *all = metrics->recurring;

	if (all != NULL)
		return all;
	all = metrics->recurring = palloc0(sizeof(BgjobMetricRecurring));
	all->rest.name = BGJOB_METRIC_REST;
	bgjob_recurring_visit(note, all);
	return all;
}

/* bgjob_metric_recurring_states returns how many recurring jobs there are in each state. */
void
bgjob_metric_recurring_states(BgjobMetrics *metrics, int which)
{
	static const char *const names[NSTATES] = {
		[STATE_ACTIVE] = "active", [STATE_PAUSED] = "paused", [STATE_FAILING] = "failing"};
	const BgjobMetricRecurring *all = collect(metrics);

	for (int i = 0; i < NSTATES; i++)
	{
		BgjobLabel label = {"state", names[i]};

		bgjob_metric_put(metrics, (double) all->states[i], &label, 1);
	}
}

static void
put_recurring(BgjobMetrics *metrics, const MetricRecurring *job, int which)
{
	BgjobLabel labels[] = {{"recurring_job", job->name}, {"owner", job->owner}};
	int n = job->owner != NULL
				? 2
				: 1; /* the rest has none, and so is told from a job of that name */
	TimestampTz at = which == BGJOB_RECURRING_LAST_RUN ? job->last_run_at : job->next_at;

	if (which == BGJOB_RECURRING_FAILING)
		bgjob_metric_put(metrics, job->failing, labels, n);
	else if (at != 0)
		bgjob_metric_put(metrics, bgjob_metric_seconds(at), labels, n);
}

/* bgjob_metric_recurring returns a metric of each recurring job; "which" is a BgjobRecurringMetric. */
void
bgjob_metric_recurring(BgjobMetrics *metrics, int which)
{
	const BgjobMetricRecurring *all = collect(metrics);

	for (int i = 0; i < all->n; i++)
		put_recurring(metrics, &all->first[i], which);
	if (all->any_rest)
		put_recurring(metrics, &all->rest, which);
}
