/*-------------------------------------------------------------------------
 *
 * failures.c
 *	  bgjob_failures(): the newest failed jobs, grouped by their errors.
 *
 * Searches for failed jobs as bgjob_search() does (store/listing.c), the newest ones up to a number
 * and as long as there is time, and puts each into its group (store/failures.c). So what it
 * costs is bounded, however many jobs have failed, and however many others lie between
 * them; if there may be more, it says so in each row. A group is
 * named by a query that bgjob_search() understands, and which selects all of its jobs,
 * those that were not looked at, too.
 *
 * Who may read the views may call it, and it counts the same jobs. It changes nothing in the
 * database. Runs in the calling session, in its transaction and with its snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/list.h"
#include "api/rights.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "rules/clock.h"
#include "store/failures.h"
#include "store/jobrow.h"
#include "store/listing.h"
#include "store/search.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* The most failed jobs that are looked at. */
#define MOST_JOBS 100000

/* The most queues of a group that are named. */
#define MOST_QUEUES 10

/* The hours of the histogram. */
#define HOURS 24

/* So many bytes of the message of a sample are shown. */
#define SHOWN_MAX 1000

typedef struct FailureGroup
{
	uint64 group; /* the key */
	char *job;
	char *message; /* of the newest job */
	char *pattern;
	char sqlstate[6];
	int64 jobs;
	int64 sample; /* the newest job */
	TimestampTz first_at;
	TimestampTz last_at;
	int nqueues;
	char *queues[MOST_QUEUES];
	int hours[HOURS]; /* the last one is that which ends now */
} FailureGroup;

typedef struct Grouping
{
	HTAB *groups;
	TimestampTz now;
	MemoryContext keep;
	MemoryContext per_row;
} Grouping;

/* ---- grouping ---- */

static void
begin_group(FailureGroup *group, const BgjobFailure *failure, TupleTableSlot *slot,
			TimestampTz finished_at)
{
	bool isnull;

	memset((char *) group + sizeof(group->group), 0, sizeof(*group) - sizeof(group->group));
	group->sample = DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull));
	group->job = pstrdup(failure->job);
	group->message = pstrdup(bgjob_text_cut(failure->message, SHOWN_MAX));
	group->pattern = pstrdup(failure->pattern);
	strlcpy(group->sqlstate, failure->sqlstate, sizeof(group->sqlstate));
	group->first_at = group->last_at = finished_at;
}

static void
add_queue(FailureGroup *group, TupleTableSlot *slot)
{
	bool isnull;
	text *queue = DatumGetTextPP(slot_getattr(slot, BGJOB_C_QUEUE, &isnull));
	int length = VARSIZE_ANY_EXHDR(queue);

	for (int i = 0; i < group->nqueues; i++)
		if ((int) strlen(group->queues[i]) == length &&
			memcmp(group->queues[i], VARDATA_ANY(queue), length) == 0)
			return;
	if (group->nqueues < MOST_QUEUES)
		group->queues[group->nqueues++] = text_to_cstring(queue);
}

/* Counts the hour of a failure, if it is one of the last. */
static void
add_hour(FailureGroup *group, TimestampTz finished_at, TimestampTz now)
{
	int64 ago = Max(now - finished_at, 0) / USECS_PER_HOUR;

	if (ago < HOURS)
		group->hours[HOURS - 1 - ago]++;
}

/* Puts the job whose row is in a slot into its group. */
static void
add_job(TupleTableSlot *slot, void *arg)
{
	Grouping *grouping = arg;
	MemoryContext old = MemoryContextSwitchTo(grouping->per_row);
	BgjobFailure failure;
	bool isnull;
	TimestampTz finished_at =
		DatumGetTimestampTz(slot_getattr(slot, BGJOB_C_FINISHED_AT, &isnull));
	bool has_failed = bgjob_failure_of(slot, &failure);

	MemoryContextSwitchTo(grouping->keep);
	if (has_failed && !isnull)
	{
		bool found;
		FailureGroup *group = hash_search(grouping->groups, &failure.group, HASH_ENTER, &found);

		if (!found)
			begin_group(group, &failure, slot, finished_at);
		group->jobs++;
		group->first_at = Min(group->first_at, finished_at);
		group->last_at = Max(group->last_at, finished_at);
		add_queue(group, slot);
		add_hour(group, finished_at, grouping->now);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(grouping->per_row);
}

static void
begin_grouping(Grouping *grouping)
{
	HASHCTL control = {.keysize = sizeof(uint64),
					   .entrysize = sizeof(FailureGroup),
					   .hcxt = CurrentMemoryContext};

	grouping->groups =
		hash_create("bgjob failures", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	grouping->now = bgjob_now();
	grouping->keep = CurrentMemoryContext;
	grouping->per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob failure", ALLOCSET_DEFAULT_SIZES);
}

/* Groups the newest failed jobs, at most "max" of them, until a deadline. Returns whether these are all. */
static bool
group_jobs(Grouping *grouping, int max, int64 deadline)
{
	BgjobQuery everything = {0};
	BgjobListFilter filter = {.states = BGJOB_STATE_BIT(BGJOB_FAILED),
							  .since = DT_NOBEGIN,
							  .until = DT_NOEND,
							  .before = PG_INT64_MAX,
							  .deadline = deadline,
							  .visit = add_job,
							  .visit_arg = grouping};
	int64 *ids = palloc(max * sizeof(int64));
	BgjobListing *listing;
	bool complete;

	bgjob_list_pass_visible(&filter);
	(void) bgjob_search_prepare(&everything, grouping->now, &filter);
	listing = bgjob_listing_begin(&filter);
	complete =
		bgjob_listing_search(listing, ids, max) < max && bgjob_listing_rest(listing) == 0;
	if (!complete && bgjob_listing_rest(listing) != 0)
	{
		filter.visit = NULL;
		complete =
			bgjob_listing_search(listing, ids, 1) == 0 && bgjob_listing_rest(listing) == 0;
	}
	bgjob_listing_end(listing);
	return complete;
}

/* ---- the result ---- */

/* Compares two groups: the one with more jobs first, then that with the newest failure. */
static int
compare_groups(const void *left, const void *right)
{
	const FailureGroup *a = *(FailureGroup *const *) left;
	const FailureGroup *b = *(FailureGroup *const *) right;

	if (a->jobs != b->jobs)
		return a->jobs > b->jobs ? -1 : 1;
	if (a->last_at != b->last_at)
		return a->last_at > b->last_at ? -1 : 1;
	return a->sample > b->sample ? -1 : a->sample < b->sample;
}

static Datum
queues_of(const FailureGroup *group)
{
	Datum elements[MOST_QUEUES];

	for (int i = 0; i < group->nqueues; i++)
		elements[i] = CStringGetTextDatum(group->queues[i]);
	return PointerGetDatum(
		construct_array(elements, group->nqueues, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
histogram_of(const FailureGroup *group)
{
	Datum elements[HOURS];

	for (int i = 0; i < HOURS; i++)
		elements[i] = Int32GetDatum(group->hours[i]);
	return PointerGetDatum(
		construct_array(elements, HOURS, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static void
put_group(ReturnSetInfo *result, const FailureGroup *group, bool complete)
{
	Datum values[13];
	bool nulls[13] = {false};
	char *name = psprintf("%016llx", (unsigned long long) group->group);

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(group->job);
	values[2] = CStringGetTextDatum(group->sqlstate);
	nulls[2] = group->sqlstate[0] == '\0';
	values[3] = CStringGetTextDatum(group->pattern);
	values[4] = Int64GetDatum(group->jobs);
	values[5] = TimestampTzGetDatum(group->first_at);
	values[6] = TimestampTzGetDatum(group->last_at);
	values[7] = Int64GetDatum(group->sample);
	values[8] = CStringGetTextDatum(group->message);
	values[9] = queues_of(group);
	values[10] = histogram_of(group);
	values[11] = CStringGetTextDatum(psprintf("state:failed failure:%s", name));
	values[12] = BoolGetDatum(complete);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns the groups, in the order of the result. */
static FailureGroup **
sort_groups(const Grouping *grouping, int *n)
{
	long count = hash_get_num_entries(grouping->groups);
	FailureGroup **groups = palloc(Max(count, 1) * sizeof(FailureGroup *));
	HASH_SEQ_STATUS status;
	FailureGroup *group;

	*n = 0;
	hash_seq_init(&status, grouping->groups);
	while ((group = hash_seq_search(&status)) != NULL)
		groups[(*n)++] = group;
	qsort(groups, *n, sizeof(FailureGroup *), compare_groups);
	return groups;
}

/* Returns max_jobs. Raises 22004 if it is null, 22023 if it is out of range. */
static int
max_jobs_arg(FunctionCallInfo fcinfo)
{
	int max;

	bgjob_arg_require(fcinfo, 0, "max_jobs", "It is how many failed jobs are looked at.");
	max = PG_GETARG_INT32(0);
	if (max < 1 || max > MOST_JOBS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_jobs must be between 1 and %d", MOST_JOBS),
						errdetail("The value is %d.", max),
						errhint("The newest failed jobs are looked at.")));
	return max;
}

PG_FUNCTION_INFO_V1(bgjob_failures);

/*
 * bgjob_failures(max_jobs, max_time) returns the groups of the newest failed jobs that the
 * caller sees. Errors: 22023 an argument is out of range; 22004 it is null; 42501 no USAGE.
 */
Datum
bgjob_failures(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Grouping grouping;
	FailureGroup **groups;
	bool complete;
	int64 deadline;
	int max;
	int n;

	bgjob_check_sight();
	max = max_jobs_arg(fcinfo);
	deadline = bgjob_list_deadline_arg(fcinfo, 1);
	InitMaterializedSRF(fcinfo, 0);
	begin_grouping(&grouping);
	complete = group_jobs(&grouping, max, deadline);
	groups = sort_groups(&grouping, &n);
	for (int i = 0; i < n; i++)
		put_group(result, groups[i], complete);
	return (Datum) 0;
}
