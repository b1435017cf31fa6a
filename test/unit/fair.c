/*-------------------------------------------------------------------------
 *
 * fair.c
 *	  Which fairness key is next (src/base/fair.c), with simulated workers.
 *
 * The code is compiled in as it is. Stubs replace its lock, its memory and the clock. A
 * simulation has a clock of its own, some workers, and keys whose jobs take a given time on
 * average. After each test all sums, lists and heaps are compared with the keys.
 *
 * Random numbers have a fixed seed, so every run is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <time.h>

#undef printf
#undef fprintf
#undef snprintf
#undef qsort

#include "../../src/base/fairheap.c"
#include "../../src/base/fairtable.c"
#include "../../src/base/fair.c"

#include "tap.h"

#define DATABASE 5
#define LANE     INT64CONST(77)
#define WORKERS  8
#define LINES    20000

#define SECOND 1000000.0

/* ---- what the server would do ---- */

static TimestampTz current; /* the simulated clock, in µs */
static int locks;

void
LWLockInitialize(LWLock *lock, int tranche)
{
	lock->tranche = tranche;
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	locks++;
	return true;
}

void
LWLockRelease(LWLock *lock)
{
	locks--;
}

int
LWLockNewTrancheId(void)
{
	return 1;
}

void
LWLockRegisterTranche(int tranche, const char *name)
{
}

void *
ShmemInitStruct(const char *name, Size size, bool *found)
{
	static void *memory = NULL;

	free(memory);
	memory = malloc(size);
	*found = false;
	return memory;
}

TimestampTz
GetCurrentTimestamp(void)
{
	return current;
}

/* ---- the random numbers ---- */

static uint64 seed;

static double
fraction(void)
{
	seed = seed * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (double) (seed >> 11) / (double) (UINT64CONST(1) << 53);
}

static int
below(int n)
{
	return (int) (fraction() * n);
}

/* ---- the comparison of the whole state ---- */

/* Counts the nodes of a heap; -1: one is in the wrong order, or not linked as it should be. */
static int
heap_count(const BgjobFairNode *node, const BgjobFairNode *parent)
{
	int left;
	int right;

	if (node == NULL)
		return 0;
	if (node->parent != parent || (parent != NULL && is_before(node, parent)) ||
		rank_of(node->left) < rank_of(node->right) || node->rank != rank_of(node->right) + 1)
		return -1;
	left = heap_count(node->left, node);
	right = heap_count(node->right, node);
	return left < 0 || right < 0 ? -1 : left + right + 1;
}

static int
list_length(dlist_head *list)
{
	int n = 0;
	dlist_iter iter;

	dlist_foreach (iter, list)
		n++;
	return n;
}

typedef struct Sums
{
	int64 waiting;
	int64 running;
	double weights;
	int queued; /* keys with waiting jobs */
} Sums;

static void
add_up(Sums *sums, const BgjobFairKey *key)
{
	sums->waiting += key->waiting;
	sums->running += key->running;
	sums->weights += key->waiting > 0 ? key->weight : 0;
	sums->queued += key->waiting > 0;
}

static bool
lane_is_right(BgjobFairLane *lane)
{
	Sums sums = {0};
	int first = heap_count(lane->first, NULL);
	int light = heap_count(lane->light, NULL);

	for (int i = 0; i < BGJOB_FAIR_KEYS; i++)
		if (table->keys[i].database == lane->database && table->keys[i].lane == lane->lane)
			add_up(&sums, &table->keys[i]);
	for (int i = 0; i < BGJOB_FAIR_OVERFLOW; i++)
		add_up(&sums, &lane->overflow[i]);
	return sums.waiting == lane->waiting && sums.running == lane->running &&
		   fabs(sums.weights - lane->weights) < 1e-6 * (1 + sums.weights) && first >= 0 &&
		   light >= 0 && first + light == sums.queued;
}

/* Returns whether everything fits together. */
static bool
is_sound(void)
{
	int idle_keys = 0, keys = 0, idle_lanes = 0, lanes = 0;
	bool right = locks == 0;

	for (int i = 0; i < BGJOB_FAIR_KEYS; i++)
		if (table->keys[i].database != InvalidOid)
		{
			keys++;
			idle_keys += key_is_idle(&table->keys[i]);
		}
	for (int i = 0; i < BGJOB_FAIR_LANES; i++)
		if (table->lanes[i].database != InvalidOid)
		{
			lanes++;
			idle_lanes += lane_is_idle(&table->lanes[i]);
			right = right && lane_is_right(&table->lanes[i]);
		}
	return right && list_length(&table->idle_keys) == idle_keys &&
		   list_length(&table->free_keys) == BGJOB_FAIR_KEYS - keys &&
		   list_length(&table->idle_lanes) == idle_lanes &&
		   list_length(&table->free_lanes) == BGJOB_FAIR_LANES - lanes;
}

/* ---- simulated workers ---- */

typedef struct Source
{
	double weight;
	double duration; /* of its jobs, in µs */
	bool varies;     /* exponentially distributed */
	int backlog;     /* so many always wait */
	double
		every; /* one comes every so many µs, on average, unless one waits; 0: none but the backlog */
	double next; /* when the next one comes */
	double came; /* when the one that waits has come */
	int waiting;
	double got;     /* µs of workers */
	double longest; /* that one has waited, or that none of the backlog was chosen */
} Source;

typedef struct Worker
{
	int source; /* -1: idle */
	double until;
	double takes;
} Worker;

static Source sources[LINES];
static int nsources;
static Worker workers[64];
static int nworkers;
static double now;

static void
begin(int n)
{
	seed = 42;
	now = 0;
	current = 0;
	nsources = 0;
	nworkers = n;
	memset(sources, 0, sizeof(sources));
	for (int i = 0; i < n; i++)
		workers[i].source = -1;
	bgjob_fair_startup();
}

static Source *
add_source(double weight, double duration, int backlog)
{
	Source *source = &sources[nsources++];

	source->weight = weight;
	source->duration = duration;
	source->backlog = backlog;
	return source;
}

/* The line of source 0 is 1000. */
static int64
line_of(int source)
{
	return 1000 + source;
}

static void
refill(int i)
{
	Source *source = &sources[i];
	int missing = source->backlog - source->waiting;

	if (source->every > 0 && source->next <= now)
	{
		source->next = now + source->every * (0.5 + fraction());
		source->came = source->waiting == 0 ? now : source->came;
		missing = 1 - source->waiting;
	}
	if (missing <= 0)
		return;
	bgjob_fair_filed(DATABASE, LANE, line_of(i), source->weight, missing);
	source->waiting += missing;
}

/* Has a worker that is idle take a job, if one waits. */
static void
take(Worker *worker)
{
	BgjobFairTurn turn;
	Source *source;

	if (!bgjob_fair_next(DATABASE, LANE, &turn))
		return;
	worker->source = (int) (turn.line - line_of(0));
	source = &sources[worker->source];
	source->waiting--;
	source->longest = Max(source->longest, now - source->came);
	if (source->every == 0)
		source->came = now;
	worker->takes = source->varies ? -log(1 - fraction()) * source->duration : source->duration;
	worker->until = now + worker->takes;
	refill(worker->source);
}

static void
end(Worker *worker)
{
	Source *source = &sources[worker->source];

	source->got += worker->takes;
	bgjob_fair_ended(DATABASE, LANE, line_of(worker->source), source->weight,
					 (int64) worker->takes);
	worker->source = -1;
}

/* Returns when something happens next. */
static double
next_event(double until)
{
	for (int i = 0; i < nworkers; i++)
		if (workers[i].source >= 0)
			until = Min(until, workers[i].until);
	for (int i = 0; i < nsources; i++)
		if (sources[i].every > 0)
			until = Min(until, sources[i].next);
	return until;
}

/* Runs the workers until a time, and counts what each source gets from now on. */
static void
run_until(double until)
{
	for (int i = 0; i < nsources; i++)
	{
		sources[i].got = sources[i].longest = 0;
		sources[i].came = now;
		refill(i);
	}
	while (now < until)
	{
		for (int i = 0; i < nworkers; i++)
			if (workers[i].source < 0)
				take(&workers[i]);
		now = next_event(until);
		current = (TimestampTz) now;
		for (int i = 0; i < nworkers; i++)
			if (workers[i].source >= 0 && workers[i].until <= now)
				end(&workers[i]);
		for (int i = 0; i < nsources; i++)
			if (sources[i].every > 0)
				refill(i);
	}
}

/* Says whether the first two sources have shared the time in the ratio of their weights, within 5 %. */
static void
is_shared(double ratio, const char *what)
{
	double have = sources[1].got / sources[0].got;

	if (!is_true(have > ratio * 0.95 && have < ratio * 1.05 && is_sound(), what))
		printf("# 1:%.3f, want 1:%.3f\n", have, ratio);
}

/* ---- the tests ---- */

static void
test_shares(void)
{
	const double ratios[] = {1, 3, 10};

	for (int i = 0; i < lengthof(ratios); i++)
		for (int kind = 0; kind < 4; kind++)
		{
			const char *kinds[] = {"equal durations", "varying durations",
								   "the first one's are longer", "the second one's are longer"};
			char what[100];

			begin(kind == 0 ? 2 : WORKERS);
			add_source(1, kind == 2 ? 100000 : 10000, 50)->varies = kind > 0;
			add_source(ratios[i], kind == 3 ? 100000 : 10000, 50)->varies = kind > 0;
			run_until(20 * SECOND);
			run_until(420 * SECOND);
			snprintf(what, sizeof(what), "weights 1:%d share the time: %s", (int) ratios[i],
					 kinds[kind]);
			is_shared(ratios[i], what);
		}
}

static void
test_weights_change(void)
{
	begin(4);
	add_source(1, 10000, 10);
	add_source(10, 10000, 10);
	run_until(100 * SECOND);
	sources[0].weight = 10;
	sources[1].weight = 1;
	bgjob_fair_weight(DATABASE, LANE, line_of(0), 10);
	bgjob_fair_weight(DATABASE, LANE, line_of(1), 1);
	run_until(102 * SECOND);
	is_shared(0.1, "weights that are exchanged count within two seconds");
	sources[0].weight = sources[1].weight = 0.001;
	run_until(110 * SECOND);
	is_shared(1, "a weight that comes with a job counts");
	sources[1].weight = 1;
	run_until(130 * SECOND);
	sources[0].weight = 1;
	run_until(132 * SECOND);
	is_shared(1, "what a small weight has been charged is no debt at a larger one");
	bgjob_fair_weight(DATABASE, LANE, line_of(0), -1);
	bgjob_fair_weight(DATABASE, LANE, line_of(1), NAN);
	run_until(133 * SECOND);
	is_true(sources[0].got + sources[1].got > 3.9 * SECOND && is_sound(),
			"impossible weights stop nothing");
}

static void
test_lone_key(void)
{
	begin(4);
	add_source(0.01, 10000, 20);
	add_source(100, 10000, 0);
	run_until(50 * SECOND);
	is_true(sources[0].got > 4 * 49.9 * SECOND, "a lone key has all workers");
	sources[1].backlog = 20;
	sources[1].weight = 0.01;
	run_until(60 * SECOND);
	is_shared(1, "it does not pay for that when another one comes");
	sources[1].backlog = 0;
	run_until(200 * SECOND);
	sources[1].backlog = 20;
	run_until(220 * SECOND);
	is_shared(1, "a key that was away gets no more than its share, and no less");
}

/* A flood of keys that always wait, and one or more that do not. */
static void
flood(int n, double duration)
{
	for (int i = 0; i < n; i++)
		add_source(1, duration, 100)->varies = duration > 10000;
}

static void
test_light_key(void)
{
	Source *light;

	begin(2);
	flood(1000, 10000);
	light = add_source(1, 10000, 0);
	light->every = SECOND;
	run_until(60 * SECOND);
	if (!is_true(light->longest <= 10000 && light->got > 50 * 10000 && is_sound(),
				 "a light key beside 1,000 others waits for the end of one job at most"))
		printf("# %.0f µs\n", light->longest);

	begin(2);
	flood(1000, 10000);
	light = add_source(1, 1000, 0);
	light->every = SECOND;
	run_until(60 * SECOND);
	if (!is_true(light->longest <= 10000 && is_sound(), "so does one with short jobs"))
		printf("# %.0f µs\n", light->longest);

	begin(WORKERS);
	flood(1, 10000);
	light = add_source(1, 10000, 0);
	light->every = SECOND;
	run_until(60 * SECOND);
	is_true(light->longest <= 10000 && is_sound(), "so does one beside one that floods");
}

/* Keys that try to be light, but are not. */
static void
test_pretenders(void)
{
	Source *one;
	double got;

	begin(4);
	flood(20, 20000);
	one = add_source(1, 20000, 1);
	one->varies = true;
	run_until(200 * SECOND);
	if (!is_true(one->got < 4 * 200 * SECOND / 21 * 1.1 && is_sound(),
				 "a key with one waiting job at any time gets no more than its share"))
		printf("# %.3f\n", one->got / (4 * 200 * SECOND / 21));

	begin(2);
	flood(1000, 10000);
	one = add_source(1, 10000, 0);
	one->every = 60000;
	run_until(100 * SECOND);
	got = one->got / (100 * SECOND);
	if (!is_true(got < 0.01 && is_sound(), "nor does one that comes back soon"))
		printf("# %.3f\n", got);
}

/* Once its first jobs have ended, a key with long jobs leaves workers to others. */
static void
test_long_jobs(void)
{
	Source *quick;

	begin(WORKERS);
	add_source(1, 10 * SECOND, 20);
	quick = add_source(1, 10000, 20);
	run_until(100 * SECOND);
	run_until(500 * SECOND);
	is_shared(1, "a key with long jobs shares the time");
	if (!is_true(quick->longest < SECOND, "and leaves some workers to short ones at any time"))
		printf("# %.3f s\n", quick->longest / SECOND);
}

static void
test_heavy_keys_live(void)
{
	double heavy = 0, least = 1e30;

	begin(4);
	flood(10, 10000);
	for (int i = 0; i < 1000; i++)
		add_source(1, 10000, 0)->every = SECOND; /* 10 workers would be needed for these */
	run_until(100 * SECOND);
	run_until(200 * SECOND);
	for (int i = 0; i < 10; i++)
	{
		heavy += sources[i].got;
		least = Min(least, sources[i].got);
	}
	if (!is_true(heavy > 4 * 100 * SECOND * 0.48 && least > heavy / 10 * 0.9 && is_sound(),
				 "keys that always wait get half of the time beside any number of light ones"))
		printf("# %.3f of all, the least %.3f of these\n", heavy / (400 * SECOND),
			   least / heavy);
}

/* New keys come faster than they can be served. One that was there before is served. */
static void
test_new_keys(void)
{
	BgjobFairTurn turn;
	int served = 0;

	begin(1);
	bgjob_fair_filed(DATABASE, LANE, 1, 1, 1000);
	for (int i = 0; i < 5000; i++)
	{
		bgjob_fair_filed(DATABASE, LANE, 1000 + i, 1, 2);
		if (!bgjob_fair_next(DATABASE, LANE, &turn))
			break;
		served += turn.line == 1;
		current += 1000;
		bgjob_fair_ended(DATABASE, LANE, turn.line, 1, 1000);
	}
	if (!is_true(served >= 3 && is_sound(), "new keys that come all the time strand nobody"))
		printf("# served %d times\n", served);
}

static void
test_started(void)
{
	begin(1);
	bgjob_fair_started(DATABASE, LANE, line_of(1), 1);
	for (int i = 0; i < 1000; i++)
	{
		bgjob_fair_started(DATABASE, LANE, line_of(1), 1);
		current += 10000;
		bgjob_fair_ended(DATABASE, LANE, line_of(1), 1, 10000);
	}
	now = current;
	add_source(1, 10000, 20);
	add_source(1, 10000, 20);
	run_until(now + SECOND);
	is_shared(1, "who has had idle workers for long does not pay for it");
	for (int i = 0; i < 200; i++)
	{
		bgjob_fair_started(DATABASE, LANE, line_of(0), 1);
		bgjob_fair_ended(DATABASE, LANE, line_of(0), 1, 10000);
	}
	run_until(now + SECOND);
	is_true(sources[0].got == 0 && sources[1].got > 0.9 * SECOND,
			"a job that was started beside waiting ones is charged");
}

/* What a key has got is forgotten when nobody has any jobs, also if its lane is dropped meanwhile. */
static void
test_idle_lane(void)
{
	begin(1);
	bgjob_fair_started(DATABASE, LANE, line_of(1), 1);
	bgjob_fair_ended(DATABASE, LANE, line_of(1), 1, (int64) (100 * SECOND));
	add_source(1, 10000, 20);
	add_source(1, 10000, 20);
	run_until(5 * SECOND);
	is_shared(1, "a lane that was idle has no debts");
	sources[0].backlog = sources[1].backlog = 0;
	run_until(10 * SECOND);
	for (int i = 1; i <= BGJOB_FAIR_LANES; i++)
		bgjob_fair_line(2, i, 1);
	is_true(bgjob_fair_lane_find(DATABASE, LANE) == NULL && is_sound(),
			"the lane that was used longest ago is dropped");
	sources[0].backlog = 20;
	add_source(1, 10000, 20)->waiting = 20;
	bgjob_fair_filed(DATABASE, LANE, line_of(2), 1, 20);
	run_until(12 * SECOND);
	if (!is_true(fabs(sources[0].got - sources[2].got) < 0.1 * SECOND && is_sound(),
				 "a lane that was dropped has none either"))
		printf("# %.3f s and %.3f s\n", sources[0].got / SECOND, sources[2].got / SECOND);
}

static void
test_back(void)
{
	BgjobFairTurn turn, other;
	double before;

	begin(1);
	bgjob_fair_filed(DATABASE, LANE, 1, 1, 2);
	before = bgjob_fair_lane_find(DATABASE, LANE)->first->time;
	is_true(bgjob_fair_next(DATABASE, LANE, &turn) && turn.line == 1, "a job's turn");
	bgjob_fair_back(DATABASE, LANE, &turn, BGJOB_FAIR_WAITS);
	is_true(bgjob_fair_lane_find(DATABASE, LANE)->first->time == before && is_sound(),
			"taken back, it costs nothing");
	is_number(bgjob_fair_lane_find(DATABASE, LANE)->waiting, 2, "and waits again");
	bgjob_fair_next(DATABASE, LANE, &turn);
	bgjob_fair_back(DATABASE, LANE, &turn, BGJOB_FAIR_GONE);
	is_number(bgjob_fair_lane_find(DATABASE, LANE)->waiting, 1,
			  "or does not, when it was deleted");
	is_number(bgjob_fair_lane_find(DATABASE, LANE)->running, 0, "and does not run");
	bgjob_fair_filed(DATABASE, LANE, 1, 1, 3);
	bgjob_fair_next(DATABASE, LANE, &turn);
	bgjob_fair_back(DATABASE, LANE, &turn, BGJOB_FAIR_EMPTY);
	is_true(!bgjob_fair_waits(DATABASE, LANE), "an empty line has no jobs");

	bgjob_fair_at_least(DATABASE, LANE, 1, 1, 3);
	bgjob_fair_at_least(DATABASE, LANE, 1, 1, 2);
	is_number(bgjob_fair_lane_find(DATABASE, LANE)->waiting, 3, "at least three wait");
	bgjob_fair_next(DATABASE, LANE, &turn);
	bgjob_fair_filed(DATABASE, LANE, 1, 1, 1);
	bgjob_fair_next(DATABASE, LANE, &other);
	bgjob_fair_back(DATABASE, LANE, &turn, BGJOB_FAIR_EMPTY);
	is_true(bgjob_fair_waits(DATABASE, LANE),
			"what was filed since is not forgotten when a line was empty");
	bgjob_fair_back(DATABASE, LANE, &other, BGJOB_FAIR_EMPTY);
	is_true(!bgjob_fair_waits(DATABASE, LANE) && is_sound(), "but when it is empty then");
	bgjob_fair_taken(DATABASE, LANE, 1, 5);
	bgjob_fair_ended(DATABASE, LANE, 1, 1, 100);
	bgjob_fair_taken(DATABASE, 99, 1, 1);
	bgjob_fair_ended(DATABASE, 99, 1, 1, 100);
	is_true(!bgjob_fair_waits(DATABASE, LANE) && is_sound(), "no count falls below 0");
}

/* More keys than there is room for, each with one job. Returns how many jobs came, each in its line. */
static int
drain(const int *filed_in, int n)
{
	static int waiting[LINES + BGJOB_FAIR_OVERFLOW];
	BgjobFairTurn turn;
	int came = 0;

	memset(waiting, 0, sizeof(waiting));
	for (int i = 0; i < n; i++)
		waiting[filed_in[i]]++;
	while (bgjob_fair_next(DATABASE, LANE, &turn))
	{
		int line = turn.line > 0 && turn.line <= n
					   ? (int) turn.line - 1
					   : LINES + (int) (turn.line & (BGJOB_FAIR_OVERFLOW - 1));

		came += waiting[line]-- > 0;
		bgjob_fair_ended(DATABASE, LANE, turn.line, 1, 1000);
	}
	return came;
}

static void
test_full(void)
{
	static int filed_in[LINES];
	int shared = 0;
	int filed = 0;

	begin(1);
	for (int i = 0; i < LINES; i++)
	{
		int64 line = bgjob_fair_line(DATABASE, LANE, i + 1);

		filed += bgjob_fair_filed(DATABASE, LANE, line, 1, 1);
		shared += line != i + 1;
		filed_in[i] = line == i + 1 ? i : LINES + (int) (line & (BGJOB_FAIR_OVERFLOW - 1));
	}
	is_number(filed, LINES, "all are filed, though the table is full");
	is_number(shared, LINES - BGJOB_FAIR_KEYS, "those without room share lines");
	is_true(!bgjob_fair_filed(DATABASE, LANE, LINES + 5, 1, 1) && is_sound(),
			"a line without room is refused");
	is_number(drain(filed_in, LINES), LINES, "each job comes from its line");
	is_true(is_sound(), "the table is sound when it was full");
	is_number(bgjob_fair_line(DATABASE, LANE, LINES + 5), LINES + 5,
			  "idle keys make room for others");
}

static void
test_debtors_stay(void)
{
	begin(1);
	bgjob_fair_filed(DATABASE, LANE, 1, 1, 1000);
	bgjob_fair_started(DATABASE, LANE, 2, 1);
	bgjob_fair_ended(DATABASE, LANE, 2, 1, (int64) (100 * SECOND));
	for (int i = 0; i < LINES; i++)
		bgjob_fair_line(DATABASE, LANE, line_of(i));
	is_true(bgjob_fair_key_find(bgjob_fair_lane_find(DATABASE, LANE), 2) != NULL && is_sound(),
			"a key in debt keeps its place when the table is full");
	current += (TimestampTz) (2000 * SECOND);
	for (int i = 0; i < LINES; i++)
		bgjob_fair_line(DATABASE, LANE, line_of(i));
	is_true(bgjob_fair_key_find(bgjob_fair_lane_find(DATABASE, LANE), 2) == NULL && is_sound(),
			"until the debt is forgiven");
}

static void
test_lanes_full(void)
{
	begin(1);
	for (int i = 1; i <= BGJOB_FAIR_LANES; i++)
		bgjob_fair_filed(i % 2 + 1, i, 1, 1, 1);
	is_number(bgjob_fair_line(DATABASE, LANE, 1), BGJOB_FAIR_NONE,
			  "a lane without room has no fairness");
	is_true(!bgjob_fair_filed(DATABASE, LANE, 1, 1, 1) && is_sound(), "nothing can wait in it");
	bgjob_fair_taken(2, 7, 1, 1);
	is_number(bgjob_fair_line(DATABASE, LANE, 1), 1, "an idle lane makes room for another");
	bgjob_fair_forget(1);
	is_true(!bgjob_fair_waits(1, 2) && bgjob_fair_waits(2, 3) && is_sound(),
			"a database is forgotten, another is not");
}

/* Anything at any time, against a plain list of what waits. */
static void
test_anything(void)
{
	static int waiting[3][50];
	static int running[3][50];
	BgjobFairTurn turn;
	bool right = true;

	begin(1);
	for (int i = 0; i < 200000 && right; i++)
	{
		int lane = below(3);
		int line = below(50);
		int n = 1 + below(3);
		bool next;

		switch (below(7))
		{
			case 0:
			case 1:
				bgjob_fair_filed(DATABASE, lane, line, 1 + below(5), n);
				waiting[lane][line] += n;
				break;
			case 2:
				n = Min(n, waiting[lane][line]);
				bgjob_fair_taken(DATABASE, lane, line, n);
				waiting[lane][line] -= n;
				break;
			case 3:
				bgjob_fair_started(DATABASE, lane, line, 1);
				running[lane][line]++;
				break;
			case 4:
				if (running[lane][line] == 0)
					break;
				bgjob_fair_ended(DATABASE, lane, line, 1, below(10000));
				running[lane][line]--;
				break;
			case 5:
				bgjob_fair_weight(DATABASE, lane, line, fraction() * 10);
				break;
			case 6:
				next = bgjob_fair_next(DATABASE, lane, &turn);
				right = next == (bgjob_fair_waits(DATABASE, lane) || next);
				right = right && (!next || waiting[lane][turn.line] > 0);
				if (next && below(2) == 0)
					bgjob_fair_back(DATABASE, lane, &turn, BGJOB_FAIR_WAITS);
				else if (next)
				{
					waiting[lane][turn.line]--;
					running[lane][turn.line]++;
				}
				break;
		}
		current += below(1000);
		right = right && (i % 1000 != 0 || is_sound());
	}
	for (int lane = 0; lane < 3; lane++)
		for (int line = 0; line < 50; line++)
		{
			BgjobFairLane *at = bgjob_fair_lane_find(DATABASE, lane);
			BgjobFairKey *key = at == NULL ? NULL : bgjob_fair_key_find(at, line);

			right = right && waiting[lane][line] == (key == NULL ? 0 : key->waiting) &&
					running[lane][line] == (key == NULL ? 0 : key->running);
		}
	is_true(right, "200,000 random steps in three lanes");
}

/* Reports what next() costs; the worst single one must not be a matter of milliseconds. */
static void
test_cost(void)
{
	BgjobFairTurn turn;
	double all = 0, most = 0;

	begin(1);
	for (int i = 0; i < 10000; i++)
		bgjob_fair_filed(DATABASE, LANE, line_of(i), 1, 100);
	for (int i = 0; i < 100000; i++)
	{
		struct timespec from, to;
		double took;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		bgjob_fair_next(DATABASE, LANE, &turn);
		bgjob_fair_ended(DATABASE, LANE, turn.line, 1, 1000 + below(1000));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		took = (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3;
		all += took;
		most = Max(most, took);
	}
	printf("# 10,000 keys: next() and ended() take %.2f µs, at most %.0f µs\n", all / 100000,
		   most);
	is_true(all / 100000 < 50 && is_sound(),
			"the next of 10,000 keys is found in microseconds");
}

int
main(void)
{
	test_shares();
	test_weights_change();
	test_lone_key();
	test_light_key();
	test_pretenders();
	test_long_jobs();
	test_heavy_keys_live();
	test_new_keys();
	test_started();
	test_idle_lane();
	test_back();
	test_full();
	test_debtors_stay();
	test_lanes_full();
	test_anything();
	test_cost();
	return tap_end();
}
