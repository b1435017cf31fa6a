/*-------------------------------------------------------------------------
 *
 * metricqueues.c
 *	  The metrics of queues.
 *
 * A queue has samples of its own if it is among the first BGJOB_METRIC_NAMES_MAX: "default", then those that are
 * configured, by their names, then the first one of each role, the second one of each, and so on, in the order in which
 * they were first counted (base/queuestats.c): so a role with hundreds of queues does not hide those of others. That
 * order changes rarely: a counter that moved between its own samples and those of the rest would seem to
 * have been reset.
 *
 * The numbers of jobs are left out while they are not known.
 *
 * Runs in the session that reads the view.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/counts.h"
#include "api/metrics.h"
#include "api/rights.h"
#include "base/queuestats.h"
#include "base/totals.h"
#include "miscadmin.h"
#include "store/oldest.h"
#include "store/queueconf.h"
#include "store/queuecount.h"
#include "utils/hsearch.h"

/* What is known of a queue, or of the rest. */
typedef struct MetricQueue
{
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled; must be first */
	int rank; /* queues with lower ranks have their own samples: how many its role had before, at least */
	int number; /* of those with the same rank, the lower number */
	bool configured;
	bool paused;
	int64 counts[BGJOB_NTALLIED];
	int64 running;
	TimestampTz oldest;   /* since when its oldest ready job waits; DT_NOEND: there is none */
	BgjobQueueSums *sums; /* NULL: nothing has happened in it */
} MetricQueue;

typedef struct BgjobMetricQueues
{
	HTAB *by_name;
	MetricQueue **list; /* those with samples of their own, by rank */
	int n;
	bool any_rest;
	MetricQueue rest;
	bool counted; /* the jobs are */
} BgjobMetricQueues;

static MetricQueue *
queue_of(BgjobMetricQueues *queues, const char *name)
{
	char key[BGJOB_QUEUE_NAME_SIZE] = {0};
	MetricQueue *queue;
	bool found;

	strlcpy(key, name, sizeof(key));
	queue = hash_search(queues->by_name, key, HASH_ENTER, &found);
	if (!found)
	{
		memset(&queue->rank, 0, sizeof(*queue) - offsetof(MetricQueue, rank));
		queue->rank = PG_INT32_MAX;
		queue->number = (int) hash_get_num_entries(queues->by_name);
		queue->oldest = DT_NOEND;
	}
	return queue;
}

/* ---- collecting ---- */

static void
note_configured(const char *name, const BgjobQueueRow *row, void *arg)
{
	MetricQueue *queue = queue_of(arg, name);

	queue->configured = true;
	queue->paused = row->has_paused && row->paused;
}

static void
note_oldest(const char *name, TimestampTz since, void *arg)
{
	MetricQueue *queue = queue_of(arg, name);

	queue->oldest = Min(queue->oldest, since);
}

/* Adds what has happened to that of a queue. */
static void
add_sums(MetricQueue *queue, const BgjobQueueSums *from)
{
	BgjobQueueSums *into = queue->sums;

	if (into == NULL)
		into = queue->sums = palloc0(sizeof(BgjobQueueSums));
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		into->flows[i] += from->flows[i];
	into->cpu_time += from->cpu_time;
	into->wal_bytes += from->wal_bytes;
	bgjob_histogram_merge(&into->run_time, &from->run_time);
	bgjob_histogram_merge(&into->wait_time, &from->wait_time);
}

/* A role that has been met. */
typedef struct MetricRole
{
	Oid role; /* must be first */
	bool seen;
	int queues; /* how many of its queues have been met */
} MetricRole;

/* Returns what is known of a role. InvalidOid stands for those for which there was no room: who sees all sees them. */
static MetricRole *
role_of(HTAB *roles, Oid oid)
{
	bool found;
	MetricRole *role = hash_search(roles, &oid, HASH_ENTER, &found);

	if (!found)
	{
		role->seen = OidIsValid(oid) ? bgjob_may_see(oid) : bgjob_sees_all();
		role->queues = 0;
	}
	return role;
}

static void
note_sums(BgjobMetricQueues *queues)
{
	HASHCTL info = {
		.keysize = sizeof(Oid), .entrysize = sizeof(MetricRole), .hcxt = CurrentMemoryContext};
	HTAB *roles =
		hash_create("bgjob metric roles", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	BgjobQueueStats stats;
	int position = 0;

	while (bgjob_queue_stats_next(&position, MyDatabaseId, &stats))
	{
		MetricRole *role = role_of(roles, stats.key.role);
		MetricQueue *queue;

		CHECK_FOR_INTERRUPTS();
		if (!role->seen)
			continue;
		queue = queue_of(queues, stats.key.queue);
		queue->rank = Min(queue->rank, role->queues++);
		add_sums(queue, &stats.sums);
	}
	hash_destroy(roles);
}

static void
note_counts(BgjobMetrics *metrics, BgjobMetricQueues *queues)
{
	BgjobQueueCount rest;
	BgjobQueueCount *counts;
	int n = 0;

	counts = bgjob_count_queues_in_memory(metrics->entry, bgjob_metric_sees, NULL,
										  bgjob_sees_all(), &n, &rest);
	queues->counted = counts != NULL;
	if (!queues->counted)
	{
		bgjob_counted_request();
		return;
	}
	for (int i = 0; i < n; i++)
	{
		MetricQueue *queue = queue_of(queues, counts[i].queue);

		memcpy(queue->counts, counts[i].counts, sizeof(queue->counts));
		queue->running = counts[i].running;
	}
	if (!rest.named)
		return;
	queues->any_rest = true;
	memcpy(queues->rest.counts, rest.counts, sizeof(rest.counts));
	queues->rest.running = rest.running;
}

/* Returns which kind of queue comes first. */
static int
precedence(const MetricQueue *queue)
{
	if (strcmp(queue->queue, "default") == 0)
		return 0;
	return queue->configured ? 1 : 2;
}

/* Compares which of two queues goes before the other. */
static int
compare_ranks(const void *a, const void *b)
{
	const MetricQueue *left = *(MetricQueue *const *) a;
	const MetricQueue *right = *(MetricQueue *const *) b;

	if (precedence(left) != precedence(right))
		return precedence(left) - precedence(right);
	if (left->configured)
		return strcmp(left->queue, right->queue);
	if (left->rank != right->rank)
		return left->rank < right->rank ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number;
}

static void
add_to_rest(MetricQueue *rest, const MetricQueue *queue)
{
	for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		rest->counts[kind] += queue->counts[kind];
	rest->running += queue->running;
	rest->paused |= queue->paused;
	rest->oldest = Min(rest->oldest, queue->oldest);
	if (queue->sums != NULL)
		add_sums(rest, queue->sums);
}

/* Decides which queues have samples of their own, and sums up the others. */
static void
rank(BgjobMetricQueues *queues)
{
	int all = (int) hash_get_num_entries(queues->by_name);
	HASH_SEQ_STATUS each;
	MetricQueue *queue;

	queues->list = palloc_extended(all * sizeof(MetricQueue *), MCXT_ALLOC_HUGE);
	hash_seq_init(&each, queues->by_name);
	while ((queue = hash_seq_search(&each)) != NULL)
		if (strcmp(queue->queue, BGJOB_OTHER_QUEUES) == 0)
			add_to_rest(&queues->rest, queue);
		else
			queues->list[queues->n++] = queue;
	queues->any_rest |= queues->n < all;
	qsort(queues->list, queues->n, sizeof(MetricQueue *), compare_ranks);
	for (int i = BGJOB_METRIC_NAMES_MAX; i < queues->n; i++)
	{
		add_to_rest(&queues->rest, queues->list[i]);
		queues->any_rest = true;
	}
	queues->n = Min(queues->n, BGJOB_METRIC_NAMES_MAX);
}

static BgjobMetricQueues *
collect(BgjobMetrics *metrics)
{
	BgjobMetricQueues *queues = metrics->queues;
	HASHCTL info = {.keysize = BGJOB_QUEUE_NAME_SIZE,
					.entrysize = sizeof(MetricQueue),
					.hcxt = CurrentMemoryContext};

	if (queues != NULL)
		return queues;
	queues = metrics->queues = palloc0(sizeof(BgjobMetricQueues));
	queues->by_name =
		hash_create("bgjob metrics", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	strlcpy(queues->rest.queue, BGJOB_METRIC_REST, sizeof(queues->rest.queue));
	queues->rest.oldest = DT_NOEND;
	(void) queue_of(queues, "default");
	bgjob_queueconf_visit(note_configured, queues);
	note_sums(queues);
	note_counts(metrics, queues);
	bgjob_oldest_visit(bgjob_metric_sees, NULL, note_oldest, queues);
	rank(queues);
	return queues;
}

/* Returns the queue with a number, the rest after the others; NULL: there are no more. */
static const MetricQueue *
queue_at(const BgjobMetricQueues *queues, int i)
{
	if (i < queues->n)
		return queues->list[i];
	return i == queues->n && queues->any_rest ? &queues->rest : NULL;
}

/* ---- the metrics ---- */

static const BgjobQueueSums *
sums_of(const MetricQueue *queue)
{
	static const BgjobQueueSums none;

	return queue->sums != NULL ? queue->sums : &none;
}

static void
put_jobs(BgjobMetrics *metrics, const MetricQueue *queue, const char *state, int64 jobs)
{
	BgjobLabel labels[] = {{"queue", queue->queue}, {"state", state}};

	bgjob_metric_put(metrics, (double) Max(jobs, 0), labels, lengthof(labels));
}

/* bgjob_metric_jobs returns the numbers of jobs by queue and state. */
void
bgjob_metric_jobs(BgjobMetrics *metrics, int which)
{
	const BgjobMetricQueues *queues = collect(metrics);
	const MetricQueue *queue;

	for (int i = 0; queues->counted && (queue = queue_at(queues, i)) != NULL; i++)
	{
		const int64 *counts = queue->counts;
		/* A running job is stored as enqueued if it runs in one transaction. */
		int64 running = Min(queue->running, counts[BGJOB_TALLIED_WAITING]);

		put_jobs(metrics, queue, "enqueued", counts[BGJOB_TALLIED_WAITING] - running);
		put_jobs(metrics, queue, "processing", running);
		put_jobs(metrics, queue, "scheduled", counts[BGJOB_TALLIED_SCHEDULED]);
		put_jobs(metrics, queue, "awaiting", counts[BGJOB_TALLIED_AWAITING]);
		put_jobs(metrics, queue, "failed", counts[BGJOB_TALLIED_FAILED]);
	}
}

/* bgjob_metric_oldest returns for how long the oldest ready job of each queue has been waiting. */
void
bgjob_metric_oldest(BgjobMetrics *metrics, int which)
{
	const BgjobMetricQueues *queues = collect(metrics);
	const MetricQueue *queue;

	for (int i = 0; (queue = queue_at(queues, i)) != NULL; i++)
	{
		BgjobLabel label = {"queue", queue->queue};
		double age = 0;

		if (queue->oldest != DT_NOEND)
			age = ((double) metrics->now - (double) queue->oldest) / USECS_PER_SEC;
		bgjob_metric_put(metrics, Max(age, 0), &label, 1);
	}
}

/* bgjob_metric_paused returns which queues are paused; of the rest, whether any is. */
void
bgjob_metric_paused(BgjobMetrics *metrics, int which)
{
	const BgjobMetricQueues *queues = collect(metrics);
	const MetricQueue *queue;

	for (int i = 0; (queue = queue_at(queues, i)) != NULL; i++)
	{
		BgjobLabel label = {"queue", queue->queue};

		bgjob_metric_put(metrics, queue->paused ? 1 : 0, &label, 1);
	}
}

/* Returns a counter of each queue, with one more label unless that is NULL; "value" returns its value. */
static void
put_each(BgjobMetrics *metrics, double (*value)(const BgjobQueueSums *sums, int which),
		 int which, const BgjobLabel *label)
{
	const BgjobMetricQueues *queues = collect(metrics);
	const MetricQueue *queue;

	for (int i = 0; (queue = queue_at(queues, i)) != NULL; i++)
	{
		BgjobLabel labels[] = {{"queue", queue->queue}, {NULL, NULL}};

		if (label != NULL)
			labels[1] = *label;
		bgjob_metric_put(metrics, value(sums_of(queue), which), labels, label != NULL ? 2 : 1);
	}
}

static double
flow_of(const BgjobQueueSums *sums, int which)
{
	return (double) sums->flows[which];
}

static double
cpu_of(const BgjobQueueSums *sums, int which)
{
	return (double) sums->cpu_time / USECS_PER_SEC;
}

static double
wal_of(const BgjobQueueSums *sums, int which)
{
	return (double) sums->wal_bytes;
}

/* bgjob_metric_flow returns what has happened in each queue; "which" is a BgjobFlow. */
void
bgjob_metric_flow(BgjobMetrics *metrics, int which)
{
	put_each(metrics, flow_of, which, NULL);
}

/* bgjob_metric_finished returns how many jobs of each queue have ended, by outcome. */
void
bgjob_metric_finished(BgjobMetrics *metrics, int which)
{
	static const struct
	{
		BgjobFlow flow;
		const char *outcome;
	} outcomes[] = {{BGJOB_FLOW_SUCCEEDED, "succeeded"},
					{BGJOB_FLOW_FAILED, "failed"},
					{BGJOB_FLOW_DELETED, "deleted"}};

	for (int i = 0; i < lengthof(outcomes); i++)
	{
		BgjobLabel label = {"outcome", outcomes[i].outcome};

		put_each(metrics, flow_of, outcomes[i].flow, &label);
	}
}

/* bgjob_metric_cpu returns the processor time that the attempts of each queue have taken. */
void
bgjob_metric_cpu(BgjobMetrics *metrics, int which)
{
	put_each(metrics, cpu_of, 0, NULL);
}

/* bgjob_metric_wal returns how much write-ahead log the attempts of each queue have written. */
void
bgjob_metric_wal(BgjobMetrics *metrics, int which)
{
	put_each(metrics, wal_of, 0, NULL);
}

/* bgjob_metric_times returns a histogram of each queue; "which" is a BgjobTimesMetric. */
void
bgjob_metric_times(BgjobMetrics *metrics, int which)
{
	const BgjobMetricQueues *queues = collect(metrics);
	const MetricQueue *queue;

	for (int i = 0; (queue = queue_at(queues, i)) != NULL; i++)
	{
		const BgjobHistogram *times =
			which == BGJOB_TIMES_RUN ? &sums_of(queue)->run_time : &sums_of(queue)->wait_time;
		BgjobLabel label = {"queue", queue->queue};
		int64 at_most[BGJOB_DURATION_BOUNDS];

		for (int bound = 0; bound < BGJOB_DURATION_BOUNDS; bound++)
			at_most[bound] = bgjob_histogram_at_most(times, BGJOB_DURATION_DOUBLES(bound));
		bgjob_metric_put_buckets(metrics, at_most, times->n, times->sum, &label, 1);
	}
}
