/*-------------------------------------------------------------------------
 *
 * leases.c
 *	  Leases of external workers that are over.
 *
 * The scheduler ends a lease when its time is over, when the time limit of the attempt has
 * passed, or when the session that it is bound to has ended (base/lease.h); what becomes of the job is
 * decided in run/external.c. It sleeps until the first lease is over; who fetches, or shortens a
 * lease, tells it if that is earlier (bgjob_lease_announce_end).
 *
 * It never waits: if the row of a lease is locked, its worker is about to end the attempt, and the
 * lease is looked at again later.
 *
 * The jobs of a role that is dropped fail: no worker controls them any more.
 *
 * Memory and table may differ after a prepared transaction has ended leases, and where memory had no
 * room for all after a start of the server. Both are compared then.
 *
 * By the scheduler. Times are those of the steady clock, but for what a step returns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/database.h"
#include "base/lanegroup.h"
#include "base/lease.h"
#include "base/leasenotes.h"
#include "base/process.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "process/latenotes.h"
#include "process/leases.h"
#include "process/recovery.h"
#include "process/roles.h"
#include "rules/clock.h"
#include "run/external.h"
#include "store/leased.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* So many leases are ended in one transaction. */
#define BATCH 100

/* When a lease is looked at again that another transaction has, in microseconds. */
#define BUSY_PAUSE 100000

static bool to_check = false; /* memory is to be compared with the table */

static bool roles_changed = true; /* one may have been dropped since they were looked at */

static void
on_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_changed = true;
}

/* bgjob_leases_begin has the leases read from their table before any job is started. */
void
bgjob_leases_begin(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterSyscacheCallback(AUTHOID, on_invalidation, (Datum) 0);
	registered = true;
	bgjob_begin();
	bgjob_leases_ensure();
	bgjob_commit();
	to_check = true;
}

/* bgjob_leases_check has memory compared with the table. */
void
bgjob_leases_check(void)
{
	to_check = true;
}

/* ---- what is over ---- */

/* The leases that are over, some of them if there are many. */
typedef struct Over
{
	int64 now;
	BgjobLease *leases;
	int n;
	bool more;
	int64 next; /* when the first of the others is over */
} Over;

static void
find_over(const BgjobLease *lease, void *arg)
{
	Over *over = arg;
	int64 at = lease->lost ? 0 : Min(lease->ends_at, lease->deadline);

	if (lease->phase != BGJOB_LEASE_HELD)
		return;
	if (at > over->now)
		over->next = Min(over->next, at);
	else if (over->n < BATCH)
		over->leases[over->n++] = *lease;
	else
		over->more = true;
}

/* Ends a lease. False: another transaction is about to do so. */
static bool
end_lease(BgjobRel *jobs, const BgjobLease *lease)
{
	BgjobJob job;

	switch (bgjob_lease_take(lease, NULL))
	{
		case BGJOB_BUSY:
			return false;
		case BGJOB_NOT_THERE:
			bgjob_lease_note_ended(lease->number, lease->serial);
			break;
		case BGJOB_TAKEN:
			if (bgjob_leased_read(jobs, lease, &job))
				bgjob_external_lose(jobs, lease, &job);
			break;
	}
	CommandCounterIncrement();
	return true;
}

/* Ends the leases that were found, in one transaction. Returns whether all could be ended. */
static bool
end_found(const Over *over)
{
	BgjobRel *jobs;
	bool all = true;

	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	for (int i = 0; i < over->n; i++)
		all = end_lease(jobs, &over->leases[i]) && all;
	bgjob_rel_close(jobs);
	bgjob_commit();
	return all;
}

/* ---- memory and table ---- */

/* Frees a lease whose row has gone. */
static void
check_row(const BgjobLease *lease)
{
	if (lease->phase == BGJOB_LEASE_HELD && !bgjob_lease_holds(lease->job))
		bgjob_lease_note_ended(lease->number, lease->serial);
}

/* Has a job go back that has the row of a lease, and none in memory. */
static void
take_back(BgjobRel *jobs, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Lost with its lease"};
	BgjobJob job;

	if (bgjob_lease_is_there(MyDatabaseId, id) ||
		bgjob_lease_take_of(id, NULL) != BGJOB_TAKEN || !bgjob_job_read(jobs, id, &job) ||
		job.kind != BGJOB_KIND_EXTERNAL || job.state != BGJOB_ENQUEUED)
		return;
	what.started_at = what.at;
	bgjob_job_apply(&job, BGJOB_EV_INTERRUPT, &what);
	bgjob_job_save(jobs, &job);
}

static void
check(void)
{
	BgjobRel *jobs;
	BgjobLease *leases;
	int64 *unknown;
	int n;

	to_check = false;
	bgjob_begin();
	bgjob_change_begin();
	leases = bgjob_leases_list(MyDatabaseId, &n);
	for (int i = 0; i < n; i++)
		check_row(&leases[i]);
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	unknown = bgjob_leases_unknown(&n);
	for (int i = 0; i < n; i++)
		take_back(jobs, unknown[i]);
	bgjob_rel_close(jobs);
	bgjob_commit();
}

/* ---- roles that are dropped ---- */

/* Fails the jobs of a role, and forgets its lanes; should more of them still be committed, these come back. */
static bool
fail_jobs_of(Oid role)
{
	bool all = bgjob_fail_jobs_of_role(role);

	if (all)
		bgjob_lane_groups_forget(MyDatabaseId, role);
	return all;
}

/* Fails the external jobs of roles that have been dropped: no worker controls them. Returns whether all are done. */
static bool
fail_jobs_of_dropped(void)
{
	Oid *roles;
	int n;
	bool all = true;

	roles_changed = false;
	roles = bgjob_lane_groups_roles(MyDatabaseId, BGJOB_LANE_EXTERNAL, &n);
	for (int i = 0; i < n; i++)
		if (!bgjob_role_exists(roles[i]))
			all = fail_jobs_of(roles[i]) && all;
	roles_changed = roles_changed || !all;
	pfree(roles);
	return all;
}

/* ---- the step ---- */

/* Returns when something is to be done by the steady clock, as the step returns it. */
static TimestampTz
wake_at(TimestampTz now, int64 at)
{
	int64 rest = at - bgjob_steady_now();

	return at == PG_INT64_MAX || rest >= DT_NOEND - now ? DT_NOEND : now + Max(rest, 0);
}

/* Ends the leases that are over. */
static TimestampTz
serve_leases(TimestampTz now)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	Over over = {.now = bgjob_steady_now(), .next = PG_INT64_MAX};
	int64 low;
	bool all;

	if (to_check)
		check();
	if (roles_changed && !fail_jobs_of_dropped())
		bgjob_notify_scheduler(MyDatabaseId, 0); /* to go on at once */
	low = (int64) pg_atomic_exchange_u64(&entry->low_lease, (uint64) PG_INT64_MAX);
	if (low > over.now)
	{
		(void) bgjob_lease_note_end(MyDatabaseId, low);
		return wake_at(now, low);
	}
	over.leases = palloc(BATCH * sizeof(BgjobLease));
	bgjob_leases_visit(MyDatabaseId, find_over, &over);
	all = over.n == 0 || end_found(&over);
	pfree(over.leases);
	if (!all)
		over.next = Min(over.next, over.now + BUSY_PAUSE);
	else if (over.more)
		over.next = over.now;
	(void) bgjob_lease_note_end(MyDatabaseId, over.next);
	return wake_at(now, over.next);
}

/* bgjob_leases_serve ends the leases that are over, and notes late answers. */
TimestampTz
bgjob_leases_serve(TimestampTz now)
{
	TimestampTz leases = serve_leases(now);
	TimestampTz notes = bgjob_latenotes_serve(now);

	return Min(leases, notes);
}
