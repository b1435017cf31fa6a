/*-------------------------------------------------------------------------
 *
 * views.c
 *	  SQL functions that return the parts of the views from shared memory.
 *
 * The views (src/sql/30_views.sql) join bgjob's tables with the functions here:
 * workers and their jobs. (The counts of jobs are in api/counts.c and
 * api/queueviews.c, servers in api/serverviews.c.) A view calls functions as the role that reads it, so every role
 * may call them, and they return no more than the views: workers whose role the
 * reader may see, and sums over all.
 *
 * Runs in the session that reads a view. Each slot is read under its mutex, so
 * each row is consistent, and no job shows at two workers. Otherwise rows need
 * not be consistent with each other or with the tables: a job may end between
 * the two reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "access/htup_details.h"
#include "api/rights.h"
#include "base/chunkjobs.h"
#include "base/console.h"
#include "base/lanegroup.h"
#include "base/lease.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/interval.h"
#include "base/registry.h"
#include "base/running.h"
#include "base/slots.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/call.h"
#include "store/instate.h"
#include "store/jobrow.h"
#include "store/queue.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* So many roles a statement keeps in mind. */
#define NSIGHTS 16

/*
 * What the current user may see, kept for the rows of one statement: to ask for the rights
 * of a role that is not the user's costs a look into the catalogs.
 */
typedef struct Sights
{
	Oid reader;
	Oid roles[NSIGHTS]; /* each at its number modulo NSIGHTS */
	bool sees[NSIGHTS];
	int64 job; /* the last one; 0: none */
	bool sees_job;
} Sights;

/* Returns whether the current user sees the jobs of a role. */
static bool
sees_role(Oid role, void *arg)
{
	Sights *sights = arg;
	int i = role % NSIGHTS;

	if (sights->reader != GetUserId())
		*sights = (Sights){.reader = GetUserId()};
	if (sights->roles[i] != role || role == InvalidOid)
	{
		sights->sees[i] = bgjob_may_see(role);
		sights->roles[i] = role;
	}
	return sights->sees[i];
}

/* Returns the memory for that of a function call, for all rows of a statement. */
static Sights *
sights_of(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Sights));
	return fcinfo->flinfo->fn_extra;
}

PG_FUNCTION_INFO_V1(bgjob_may_see_sql);

/* bgjob_internal.may_see(role) returns whether the current user sees the jobs of a role. */
Datum
bgjob_may_see_sql(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(sees_role(PG_GETARG_OID(0), sights_of(fcinfo)));
}

PG_FUNCTION_INFO_V1(bgjob_may_see_job);

/* bgjob_internal.may_see_job(job) returns whether the current user sees a job; false if there is none. */
Datum
bgjob_may_see_job(PG_FUNCTION_ARGS)
{
	int64 job = PG_GETARG_INT64(0);
	Sights *sights = sights_of(fcinfo);

	if (sights->reader != GetUserId() || sights->job != job || job == 0)
	{
		Oid role = bgjob_job_role(job);
		bool sees = OidIsValid(role) && sees_role(role, sights);

		sights->reader = GetUserId();
		sights->job = job;
		sights->sees_job = sees;
	}
	PG_RETURN_BOOL(sights->sees_job);
}

PG_FUNCTION_INFO_V1(bgjob_call_name);

/* bgjob_internal.call_name(call_id) returns the name of the function that a job calls; null if it is not stored. */
Datum
bgjob_call_name(PG_FUNCTION_ARGS)
{
	const char *job;
	const char *func;

	bgjob_call_read(bgjob_table_oid(BGJOB_TABLE_JOB), PG_GETARG_INT64(0), &job, &func);
	if (job[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(job));
}

PG_FUNCTION_INFO_V1(bgjob_in_queue_sql);

/* bgjob_internal.in_queue(role, queue, priority, pos, kind) returns whether the queue has a job at that position and the caller sees the role's jobs. */
Datum
bgjob_in_queue_sql(PG_FUNCTION_ARGS)
{
	Oid role = PG_GETARG_OID(0);
	BgjobLaneGroupKey group;
	BgjobLaneKey lane;

	if (!bgjob_may_see(role))
		PG_RETURN_BOOL(false);
	bgjob_lane_group_key(&group, MyDatabaseId, role,
						 PG_GETARG_CHAR(4) == BGJOB_KIND_EXTERNAL ? BGJOB_LANE_EXTERNAL
																  : BGJOB_LANE_INTERNAL);
	bgjob_lane_key(&lane, &group, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT16(2));
	PG_RETURN_BOOL(bgjob_queue_has(&lane, PG_GETARG_INT64(3)));
}

PG_FUNCTION_INFO_V1(bgjob_later_sql);

/* bgjob_internal.later(at, span) returns a time plus an interval, null if that is out of range. */
Datum
bgjob_later_sql(PG_FUNCTION_ARGS)
{
	TimestampTz later = bgjob_time_plus(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INTERVAL_P(1));

	if (TIMESTAMP_NOT_FINITE(later))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(later);
}

/* A copy of a worker's slot. */
typedef struct Worker
{
	int index; /* of its slot */
	BgjobSlot slot;
} Worker;

/* Copies a slot under its mutex if it belongs to a worker of this database. */
static bool
copy_worker(BgjobSlot *slot, BgjobSlot *copy)
{
	if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != MyDatabaseId ||
		slot->pid == 0)
		return false;
	SpinLockAcquire(&slot->mutex);
	*copy = *slot;
	SpinLockRelease(&slot->mutex);
	return true;
}

/*
 * Reads the workers of this database, one after the other. A job may move from
 * one worker to another meanwhile and be seen at both: the later read counts.
 */
static Worker *
read_workers(int *n)
{
	int nslots = bgjob_registry != NULL ? bgjob_registry->nslots : 0;
	Worker *workers = palloc(Max(nslots, 1) * sizeof(Worker));

	*n = 0;
	for (int i = 0; i < nslots; i++)
	{
		Worker *worker = &workers[*n];

		if (!copy_worker(&bgjob_registry->slots[i], &worker->slot))
			continue;
		worker->index = i;
		for (int j = 0; j < *n; j++)
			if (workers[j].slot.job == worker->slot.job)
				workers[j].slot.job = 0;
		(*n)++;
	}
	return workers;
}

/* Returns the unshared resident memory of a process in bytes, 0 if the kernel does not report it. */
static int64
private_memory(pid_t pid)
{
	char path[64];
	long pages = 0;
	long shared = 0;
	FILE *statm;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int) pid);
	statm = fopen(path, "r");
	if (statm == NULL)
		return 0;
	if (fscanf(statm, "%*s %ld %ld", &pages, &shared) != 2)
		pages = shared = 0;
	fclose(statm);
	return (int64) (pages - shared) * getpagesize();
}

/* Sets the progress of the worker's job and its message: two values, null if the job reported none. */
static void
get_progress(const Worker *worker, int64 job, Datum *values, bool *nulls)
{
	BgjobOutput output;

	nulls[0] = nulls[1] = true;
	if (!bgjob_console_read_progress(worker->index, job, &output) || !output.has_progress)
		return;
	values[0] = DirectFunctionCall1(float8_numeric, Float8GetDatum(output.percent));
	values[1] = CStringGetTextDatum(output.message);
	nulls[0] = false;
	nulls[1] = output.message[0] == '\0';
}

PG_FUNCTION_INFO_V1(bgjob_worker_slots);

/*
 * bgjob_internal.worker_slots() returns the workers of this database that the
 * current user may see: pid, role, started_at, job (null: none), job_started_at,
 * jobs_done, retiring, memory, server.
 */
Datum
bgjob_worker_slots(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	Worker *workers;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	workers = read_workers(&n);
	for (int i = 0; i < n; i++)
	{
		const BgjobSlot *slot = &workers[i].slot;
		Datum values[9];
		bool nulls[9] = {false};

		if (!bgjob_may_see(slot->role))
			continue;
		values[0] = Int32GetDatum(slot->pid);
		values[1] = ObjectIdGetDatum(slot->role);
		values[2] = TimestampTzGetDatum(slot->started_at);
		values[3] = Int64GetDatum(slot->job);
		nulls[3] = slot->job == 0;
		values[4] = TimestampTzGetDatum(slot->job_started_at);
		nulls[4] = slot->job == 0 || slot->job_started_at == 0;
		values[5] = Int64GetDatum(slot->jobs_done);
		values[6] = BoolGetDatum(slot->retire || slot->term);
		values[7] = Int64GetDatum(private_memory(slot->pid));
		values[8] = CStringGetTextDatum(slot->server_name);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(bgjob_running_jobs);

/* A job, and the worker that is at it. */
typedef struct At
{
	int64 job;
	const Worker *worker;
} At;

/* By job, the worker that was read later first. */
static int
compare_at(const void *left, const void *right)
{
	const At *a = left;
	const At *b = right;

	if (a->job != b->job)
		return a->job < b->job ? -1 : 1;
	return a->worker > b->worker ? -1 : a->worker < b->worker;
}

/* Returns the jobs that workers are at and the current user may see, chunks included, sorted. A job may be there more than once. */
static At *
read_running(const Worker *workers, int nworkers, int *n)
{
	int64 *chunk = palloc(BGJOB_GROUP_MAX * sizeof(int64));
	At *all = palloc((BGJOB_GROUP_MAX + 1) * (Size) Max(nworkers, 1) * sizeof(At));

	*n = 0;
	for (int i = 0; i < nworkers; i++)
	{
		const BgjobSlot *slot = &workers[i].slot;
		int count;

		if (slot->job == 0 || !bgjob_may_see(slot->role))
			continue;
		all[(*n)++] = (At){slot->job, &workers[i]};
		count = bgjob_chunk_jobs(&bgjob_registry->slots[workers[i].index], chunk);
		for (int j = 0; j < count; j++)
			all[(*n)++] = (At){chunk[j], &workers[i]};
	}
	qsort(all, *n, sizeof(At), compare_at);
	pfree(chunk);
	return all;
}

/* Returns the job of a lease as a row. */
static void
put_leased(ReturnSetInfo *result, const BgjobLease *lease)
{
	Datum values[6];
	bool nulls[6] = {false};

	values[0] = Int64GetDatum(lease->job);
	values[1] = Int32GetDatum(lease->session);
	nulls[1] = lease->session == 0;
	values[2] = TimestampTzGetDatum(lease->started_at);
	nulls[2] = lease->started_at == 0;
	nulls[3] = nulls[4] = true;
	if (lease->has_progress)
	{
		values[3] = DirectFunctionCall1(float8_numeric, Float8GetDatum(lease->percent));
		values[4] = CStringGetTextDatum(lease->message);
		nulls[3] = false;
		nulls[4] = lease->message[0] == '\0';
	}
	values[5] = CStringGetTextDatum(lease->worker);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns the jobs that external workers have, and the current user may see. */
static void
put_all_leased(ReturnSetInfo *result)
{
	int n;
	BgjobLease *leases;

	if (bgjob_leases_used() == 0)
		return;
	leases = bgjob_leases_list(MyDatabaseId, &n);
	for (int i = 0; i < n; i++)
		if (bgjob_may_see(leases[i].role))
			put_leased(result, &leases[i]);
	pfree(leases);
}

/*
 * bgjob_internal.running_jobs() returns the jobs that workers are at, external ones too, as far as the
 * current user may see them: job, pid, started_at, progress and its message, server.
 */
Datum
bgjob_running_jobs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	Worker *workers;
	At *running;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	workers = read_workers(&n);
	running = read_running(workers, n, &n);
	for (int i = 0; i < n; i++)
	{
		const BgjobSlot *slot = &running[i].worker->slot;
		Datum values[6];
		bool nulls[6] = {false};

		if (i > 0 && running[i - 1].job == running[i].job)
			continue;
		values[0] = Int64GetDatum(running[i].job);
		values[1] = Int32GetDatum(slot->pid);
		values[2] = TimestampTzGetDatum(slot->job_started_at);
		nulls[2] = slot->job_started_at == 0;
		get_progress(running[i].worker, running[i].job, &values[3], &nulls[3]);
		values[5] = CStringGetTextDatum(slot->server_name);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	put_all_leased(result);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(bgjob_is_running_sql);

/* bgjob_internal.is_running(job) returns whether a worker is at a job, and the current user sees the jobs of its role. */
Datum
bgjob_is_running_sql(PG_FUNCTION_ARGS)
{
	int64 job = PG_GETARG_INT64(0);
	int nslots = bgjob_registry != NULL ? bgjob_registry->nslots : 0;
	BgjobLease lease;
	BgjobSlot slot;

	if (bgjob_lease_find(MyDatabaseId, job, &lease))
		PG_RETURN_BOOL(bgjob_may_see(lease.role));
	for (int i = 0; i < nslots; i++)
	{
		BgjobSlot *at = &bgjob_registry->slots[i];

		if (job != 0 && (at->job == job || bgjob_chunk_has(at, job)) &&
			copy_worker(at, &slot) && (slot.job == job || slot.chunk > 0))
			PG_RETURN_BOOL(bgjob_may_see(slot.role));
	}
	PG_RETURN_BOOL(false);
}

PG_FUNCTION_INFO_V1(bgjob_job_ids);

/*
 * bgjob_internal.job_ids(states) returns the ids of the jobs in these states that the
 * current user may see, and perhaps of some others. Only states that are listed
 * (store/instate.c); 22023 for any other.
 */
Datum
bgjob_job_ids(PG_FUNCTION_ARGS)
{
	Sights sights = {InvalidOid};
	uint32 states = 0;
	BgjobIds ids;
	Datum *names;
	int n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &n);
	for (int i = 0; i < n; i++)
	{
		const char *name = TextDatumGetCString(names[i]);
		BgjobState state = bgjob_state_by_name(name);

		if (!bgjob_state_is_listed(state))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("jobs in state \"%s\" are not listed", name)));
		states |= 1u << state;
	}
	bgjob_ids_init(&ids);
	bgjob_ids_in_states(&ids, states, sees_role, &sights);
	if ((states & (1u << BGJOB_PROCESSING)) != 0)
	{
		const int64 *running = bgjob_slots_jobs(MyDatabaseId, &n);

		for (int i = 0; i < n; i++)
			bgjob_ids_add(&ids, running[i]);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(ids.ids, ids.n, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Returns the log lines of one job as rows. */
static void
put_lines(ReturnSetInfo *result, int64 job, const BgjobOutput *output)
{
	for (int i = 0; i < output->nlines; i++)
	{
		bool nulls[5] = {false};
		Datum values[5] = {Int64GetDatum(job), Int32GetDatum(output->first_seq + i),
						   TimestampTzGetDatum(output->lines[i].at),
						   CStringGetTextDatum(output->lines[i].level),
						   CStringGetTextDatum(output->lines[i].message)};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(bgjob_worker_logs);

/* bgjob_internal.worker_logs() returns the log lines of the running jobs that the current user may see: job, seq, at, level, message. */
Datum
bgjob_worker_logs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	Worker *workers;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	workers = read_workers(&n);
	for (int i = 0; i < n; i++)
	{
		const BgjobSlot *slot = &workers[i].slot;
		int index = workers[i].index;
		BgjobOutput output;

		if (slot->job != 0 && bgjob_console_in_use(index) && bgjob_may_see(slot->role) &&
			bgjob_console_read(index, slot->job, &output))
			put_lines(result, slot->job, &output);
	}
	return (Datum) 0;
}
