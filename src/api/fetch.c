/*-------------------------------------------------------------------------
 *
 * fetch.c
 *	  bgjob_fetch(): gives jobs to an external worker.
 *
 * The claim of a job is the deletion of its row in the queue, as by a worker of the
 * server; instead of performing the job, the transaction inserts a row into
 * bgjob_internal.lease. Nothing else is written, so a job that simply succeeds costs two
 * small rows more than one that the server performs.
 *
 * Jobs are taken from the external lanes (base/lane.h) of all roles whose jobs the caller
 * controls, in the order of the caller's list of queues, then by priority and position.
 * The taker that does so is kept from call to call, as long as the user, its memberships and
 * the groups of lanes stay the same. Items are named in leases before others can scan
 * (base/leasetable.h), and noted as taken at once, so that a rollback gives back also
 * those that have not been claimed yet.
 *
 * A TRANSACTION THAT DOES NOTHING BUT FETCH is not flushed when it commits: a fetch that
 * is lost in a crash is a lost lease. The job is in its queue again, and answers of the worker
 * are refused.
 *
 * The session of the worker, in its transaction. It waits for no lock of a row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/externalargs.h"
#include "api/rights.h"
#include "base/awaiters.h"
#include "base/change.h"
#include "base/database.h"
#include "base/externalworkers.h"
#include "base/guc.h"
#include "base/leasenotes.h"
#include "base/taker.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/external.h"
#include "run/filter.h"
#include "run/outcome.h"
#include "store/claim.h"
#include "store/lanescan.h"
#include "store/lease.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* The most jobs of one call. */
#define MOST_JOBS 10000

/* One call of bgjob_fetch(). */
typedef struct Fetch
{
	const char *worker;
	int wanted;
	int64 lease; /* microseconds */
	int session; /* that the leases are bound to; 0: none */
	BgjobRel *queue;
	BgjobRel *jobs;
	BgjobRel *leases;
	MemoryContext each;
	ReturnSetInfo *result;
	int found;
	bool full; /* there was no room for more leases */

	/* a search through all lanes of a role for some of the caller's queues: see store/lanescan.c */
	int64 own_from; /* PG_INT64_MIN: none is under way */
	Oid own_role;
	uint64 own_noted;
} Fetch;

/* The items of the last step, and their leases; BGJOB_LEASE_NONE: another process has the job. */
static BgjobLaneItem *items = NULL;
static int *numbers = NULL;
static int room = 0;
static int nnamed = 0;
static const BgjobLaneKey *naming = NULL;

static const char *queue_list = ""; /* of the call */

static const char *
current_queues(void)
{
	return queue_list;
}

/* ---- the taker ---- */

static BgjobTaker *taker = NULL;
static Oid taker_user;
static uint64 taker_groups; /* generation of the groups that it was made of */
static bool memberships_changed = false;

static void
on_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	memberships_changed = true;
}

/* Names taken items in leases. Called with the mutex or the scan lock of their lane held. */
static void
name_items(const BgjobLaneItem *taken, int n)
{
	nnamed = n;
	for (int i = 0; i < n; i++)
	{
		numbers[i] = bgjob_lease_name(&naming->group, &taken[i]);
		if (numbers[i] != BGJOB_LEASE_NONE)
			bgjob_lease_note_fetched(numbers[i]);
	}
}

static void
name_taking(const BgjobLaneItem *taken, const BgjobTaking *taking)
{
	naming = &taking->key;
	name_items(taken, taking->n);
}

static void
drop_taker(void)
{
	BgjobTaker *old = taker;

	taker = NULL;
	if (old != NULL)
		bgjob_taker_free(old);
}

/* Makes a taker of the groups of all roles that the current user controls. */
static void
make_taker(void)
{
	BgjobLaneGroupKey *groups;
	Oid *roles;
	int nroles;
	int n = 0;

	drop_taker();
	memberships_changed = false;
	taker_groups = bgjob_lane_groups_generation(); /* before they are read */
	taker_user = GetUserId();
	roles = bgjob_lane_groups_roles(MyDatabaseId, BGJOB_LANE_EXTERNAL, &nroles);
	groups = palloc(Max(nroles, 1) * sizeof(BgjobLaneGroupKey));
	for (int i = 0; i < nroles; i++)
		if (bgjob_may_control(roles[i]))
			bgjob_lane_group_key(&groups[n++], MyDatabaseId, roles[i], BGJOB_LANE_EXTERNAL);
	taker = bgjob_taker_create(groups, n, current_queues, name_taking);
}

/* Sees to it that the taker is one for the current user. */
static void
have_taker(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, on_invalidation, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, on_invalidation, (Datum) 0);
	}
	registered = true;
	if (taker == NULL || taker_user != GetUserId() || memberships_changed ||
		taker_groups != bgjob_lane_groups_generation())
		make_taker();
}

/* ---- one job ---- */

/* Returns the job, as a row of the result. */
static void
put_row(Fetch *fetch, const BgjobJob *job, const BgjobLeaseTerms *terms)
{
	Datum values[7];
	bool nulls[7] = {false};

	values[0] = Int64GetDatum(job->id);
	values[1] = CStringGetTextDatum(job->job);
	nulls[2] = bgjob_job_is_null(job, BGJOB_C_ARGS);
	values[2] = bgjob_job_datum(job, BGJOB_C_ARGS);
	values[3] = CStringGetTextDatum(job->queue);
	values[4] = Int32GetDatum(terms->attempt);
	values[5] = TimestampTzGetDatum(terms->until);
	nulls[6] = bgjob_job_is_null(job, BGJOB_C_PARAMETERS);
	values[6] = bgjob_job_datum(job, BGJOB_C_PARAMETERS);
	tuplestore_putvalues(fetch->result->setResult, fetch->result->setDesc, values, nulls);
}

/* Inserts the lease of a claimed job. */
static void
lease_job(Fetch *fetch, const BgjobJob *job, int number, TimestampTz at)
{
	int64 now = bgjob_steady_now();
	int64 limit = Min(bgjob_time_limit(job), PG_INT64_MAX / 2000);
	BgjobLeaseTerms terms = {.owner = GetUserId(),
							 .worker = fetch->worker,
							 .session = fetch->session,
							 .started_at = at,
							 .until = at + fetch->lease,
							 .ends_at = now + fetch->lease,
							 .deadline = limit == 0 || limit > (PG_INT64_MAX - now) / 1000
											 ? PG_INT64_MAX
											 : now + limit * 1000,
							 .time_limit = limit,
							 .attempt = job->retries + 1,
							 .job_row = &job->tid};
	BgjobLeaseRow row = {.job = job->id,
						 .owner = terms.owner,
						 .lease = fetch->lease,
						 .time_limit = limit,
						 .bound = fetch->session != 0,
						 .started_at = at,
						 .worker = fetch->worker};

	bgjob_lease_insert(fetch->leases, &row);
	terms.row = &fetch->leases->tid;
	terms.logged = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)); /* null is 0 */
	bgjob_lease_set(number, &terms);
	put_row(fetch, job, &terms);
	fetch->found++;
}

/* Claims the job of an item, and begins an attempt at it. */
static void
fetch_item(Fetch *fetch, const BgjobLaneKey *key, const BgjobLaneItem *item, int number,
		   TimestampTz at)
{
	BgjobJob job;
	BgjobGateNeed none[BGJOB_GATES_MAX];
	TimestampTz since;

	if (!bgjob_claim_item(fetch->queue, fetch->jobs, key, item, &job))
	{
		/* Others may take it again, as soon as they find it. */
		(void) bgjob_lease_free(number, bgjob_lease_serial(number), none, &since);
		return;
	}
	if (bgjob_external_start(fetch->jobs, &job, number, fetch->worker, &at))
		lease_job(fetch, &job, number, at);
}

/* ---- a step ---- */

/* Has room for so many items, and for those that a scan finds besides. */
static void
have_items(int n)
{
	if (n + BGJOB_LANE_AHEAD <= room)
		return;
	room = 0;
	if (items != NULL)
	{
		pfree(items);
		pfree(numbers);
		items = NULL;
		numbers = NULL;
	}
	items =
		MemoryContextAlloc(TopMemoryContext, (n + BGJOB_LANE_AHEAD) * sizeof(BgjobLaneItem));
	numbers = MemoryContextAlloc(TopMemoryContext, (n + BGJOB_LANE_AHEAD) * sizeof(int));
	room = n + BGJOB_LANE_AHEAD;
}

/* Fetches the jobs of the items that were named. */
static void
fetch_named(Fetch *fetch, const BgjobLaneKey *key, TimestampTz at)
{
	MemoryContext old = CurrentMemoryContext;

	for (int i = 0; i < nnamed; i++) /* a rollback announces all of them */
		if (numbers[i] != BGJOB_LEASE_NONE)
			bgjob_change_took(key, items[i].pos, items[i].job);
	for (int i = 0; i < nnamed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (numbers[i] == BGJOB_LEASE_NONE)
			continue;
		MemoryContextSwitchTo(fetch->each);
		fetch_item(fetch, key, &items[i], numbers[i], at);
		MemoryContextSwitchTo(old);
		MemoryContextReset(fetch->each);
	}
}

/* Returns whether the caller takes the jobs of a lane. */
static bool
takes(const BgjobLaneKey *key)
{
	return bgjob_queue_level(queue_list, key->queue) >= 0 &&
		   !bgjob_queues_get(key->group.database, key->queue).paused;
}

/*
 * Brings in lanes that a group had no room for: those that come next, or, where the lanes that are there have nothing for the
 * caller, some that the caller takes.
 */
static void
bring_in(Fetch *fetch, const BgjobTaking *taking)
{
	const BgjobLaneGroupKey *group = &taking->key.group;

	if (!taking->none)
	{
		bgjob_lane_bring_in(fetch->queue, group);
		return;
	}
	if (fetch->own_from == PG_INT64_MIN || fetch->own_role != group->role)
	{
		fetch->own_from = PG_INT64_MIN;
		fetch->own_role = group->role;
		fetch->own_noted = taking->noted;
	}
	if (!bgjob_lane_bring_own_in(fetch->queue, group, queue_list, takes, &fetch->own_from))
		return;
	fetch->own_from = PG_INT64_MIN;
	bgjob_taker_found_all(taker, group, fetch->own_noted);
}

/* Takes some jobs, at most as many as there are leases for. False: there are none. */
static bool
step(Fetch *fetch, int most, TimestampTz at)
{
	BgjobTaking taking;
	BgjobTake take;

	nnamed = 0;
	bgjob_taker_want(taker, most);
	take = bgjob_taker_take(taker, items, &taking);
	switch (take)
	{
		case BGJOB_TAKE_NONE:
			return false;
		case BGJOB_TAKE_SCAN:
			(void) bgjob_lane_refill(fetch->queue, &taking.key, items, 0, NULL);
			return true;
		case BGJOB_TAKE_LANES:
			bring_in(fetch, &taking);
			return true;
		case BGJOB_TAKE_ITEMS:
			break;
	}
	fetch_named(fetch, &taking.key, at);
	if (taking.n == most || !taking.more || taking.between)
		return true;
	/* The others of this lane come next: they are the caller's as soon as a scan finds them. */
	nnamed = 0;
	naming = &taking.key;
	(void) bgjob_lane_refill(fetch->queue, &taking.key, items, most - taking.n, name_items);
	fetch_named(fetch, &taking.key, at);
	return true;
}

/* Takes jobs until there are as many as wanted, or no more. */
static void
fetch_all(Fetch *fetch)
{
	TimestampTz at = bgjob_now();

	while (fetch->found < fetch->wanted)
	{
		int most = fetch->wanted - fetch->found;
		int reserved;

		CHECK_FOR_INTERRUPTS();
		have_items(most);
		bgjob_lease_notes_expect(most);
		reserved = Min(bgjob_leases_reserve(bgjob_leases_allowed(GetUserId(), most)), most);
		fetch->full = reserved == 0 && bgjob_taker_has_work(taker);
		if (reserved == 0 || !step(fetch, Min(most, reserved), at))
			break;
	}
	bgjob_leases_unreserve();
	bgjob_external_end_fetch();
}

/* ---- the call ---- */

/* Returns whether jobs may start in this database. */
static bool
jobs_may_start(void)
{
	return bgjob_enabled && bgjob_database_find(MyDatabaseId) != NULL;
}

static int
jobs_wanted(FunctionCallInfo fcinfo, int arg)
{
	int wanted = PG_ARGISNULL(arg) ? 0 : PG_GETARG_INT32(arg);

	if (wanted < 1 || wanted > MOST_JOBS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_jobs must be from 1 to %d", MOST_JOBS),
						errdetail("It is the number of jobs that the worker is given at most."),
						errhint("Give as many as the worker can perform soon.")));
	return wanted;
}

/* Warns that there was no room for all jobs that the caller could have. */
static void
warn_of_full(void)
{
	ereport(
		WARNING,
		(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		 errmsg("out of leases for the jobs of external workers"),
		 errdetail("They have %d jobs.", bgjob_leases_used()),
		 errhint("Increase bgjob.max_leases, or complete jobs before others are fetched.")));
}

static void
begin(Fetch *fetch)
{
	fetch->each =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob fetch", ALLOCSET_DEFAULT_SIZES);
	fetch->jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	fetch->queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	fetch->leases = bgjob_rel_open(BGJOB_TABLE_LEASE);
	bgjob_filter_refresh();
	have_taker();
	bgjob_change_begin();
	bgjob_external_begin_fetch();
}

static void
end(Fetch *fetch)
{
	bgjob_rel_close(fetch->leases);
	bgjob_rel_close(fetch->queue);
	bgjob_rel_close(fetch->jobs);
	MemoryContextDelete(fetch->each);
	if (fetch->full)
		warn_of_full();
}

PG_FUNCTION_INFO_V1(bgjob_fetch);

/*
 * bgjob_fetch(queues, worker, max_jobs, lease) gives at most so many jobs of kind 'external'
 * to a worker: id, job, args, queue, attempt, lease_until, parameters. Errors: 22023 an
 * invalid argument; 42501 no USAGE; 25006 the transaction is read-only; 55000 the library is not
 * preloaded.
 */
Datum
bgjob_fetch(PG_FUNCTION_ARGS)
{
	Fetch fetch = {.result = (ReturnSetInfo *) fcinfo->resultinfo, .own_from = PG_INT64_MIN};
	bool alone;
	bool bound;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_fetch()");
	queue_list = bgjob_external_queues(fcinfo, 0);
	fetch.worker = bgjob_external_worker_name(fcinfo, 1);
	fetch.wanted = jobs_wanted(fcinfo, 2);
	fetch.lease = bgjob_external_lease(fcinfo, 3);
	bgjob_check_preloaded();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!bgjob_external_worker_fetches(GetUserId(), fetch.worker, queue_list, &bound) ||
		!jobs_may_start())
	{
		bgjob_awaiters_fetched(0, true);
		return (Datum) 0;
	}
	fetch.session = bound ? MyProcPid : 0;
	bgjob_leases_ensure();
	alone = !TransactionIdIsValid(GetTopTransactionIdIfAny());
	begin(&fetch);
	fetch_all(&fetch);
	end(&fetch);
	bgjob_awaiters_fetched(fetch.found, fetch.full && fetch.found == 0);
	if (alone)
		bgjob_lease_notes_only_fetched();
	return (Datum) 0;
}
