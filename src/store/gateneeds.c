/*-------------------------------------------------------------------------
 *
 * gateneeds.c
 *	  The gates of a job.
 *
 * Which they are, and what is configured of them, is read each time: both may change while the job waits. A limit that
 * no bgjob_limit() names any more is none.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/fair.h"
#include "base/lanegroup.h"
#include "base/queues.h"
#include "base/registry.h"
#include "base/servers.h"
#include "base/slot.h"
#include "base/slots.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/gateneeds.h"
#include "store/limitconf.h"
#include "store/weightconf.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* So many jobs with fairness keys are ahead of the external workers, besides those that one call asks for. */
#define EXTERNAL_AHEAD 8

/* The kind of a gate is in the highest bits; so it is in those of the lines of fairness keys, also of shared ones (base/fairtable.c). */
#define KIND_SHIFT 61

static int64
with_kind(uint64 hash, BgjobGateKind kind)
{
	return (int64) ((hash >> (64 - KIND_SHIFT)) | (uint64) kind << KIND_SHIFT);
}

/* bgjob_gate_of returns the gate of a name; "role" is that of a sequence_key, else InvalidOid. */
int64
bgjob_gate_of(BgjobGateKind kind, Oid role, const char *name)
{
	return with_kind(
		hash_bytes_extended((const unsigned char *) name, (int) strlen(name), role), kind);
}

/* bgjob_gate_kind returns the kind of a gate, or of the line of a fairness key. */
BgjobGateKind
bgjob_gate_kind(int64 gate)
{
	return (BgjobGateKind) ((uint64) gate >> KIND_SHIFT);
}

/* bgjob_gate_of_sequence returns the gate of a job's sequence_key; 0: it has none. */
int64
bgjob_gate_of_sequence(const BgjobJob *job)
{
	if (bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY))
		return 0;
	return bgjob_gate_of(BGJOB_GATE_SEQUENCE, job->run_as,
						 bgjob_job_text(job, BGJOB_C_SEQUENCE_KEY));
}

/* bgjob_gate_may_need returns whether a job may have gates; for most it costs four tests. */
bool
bgjob_gate_may_need(const BgjobJob *job)
{
	return !bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY) ||
		   !bgjob_job_is_null(job, BGJOB_C_LIMITS) ||
		   !bgjob_job_is_null(job, BGJOB_C_FAIRNESS_KEY) || bgjob_queues_limited();
}

/* bgjob_gate_has_any returns whether a job has gates, or names some: its queue is looked up, its limits are not. */
bool
bgjob_gate_has_any(const BgjobJob *job)
{
	return !bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY) ||
		   !bgjob_job_is_null(job, BGJOB_C_LIMITS) ||
		   !bgjob_job_is_null(job, BGJOB_C_FAIRNESS_KEY) ||
		   (bgjob_queues_limited() &&
			bgjob_queues_get(MyDatabaseId, job->queue).max_running >= 0);
}

/* bgjob_gate_need_of_limit describes what a job needs of a limit; without bounds if there is none of that name. */
void
bgjob_gate_need_of_limit(const char *name, int units, BgjobGateNeed *need)
{
	const BgjobLimitConf *conf = bgjob_limitconf_find(name);

	*need = (BgjobGateNeed){.kind = BGJOB_GATE_LIMIT,
							.gate = bgjob_gate_of(BGJOB_GATE_LIMIT, InvalidOid, name),
							.max_running = -1,
							.units = units,
							.name = name};
	if (conf == NULL)
		return;
	need->max_running = conf->max_running;
	need->rate = conf->rate;
	need->closed_until = conf->closed_until;
	need->deletes = conf->deletes;
}

/* Adds what a job needs of its limits. An element is a name, or name=units. */
static int
add_limits(const BgjobJob *job, BgjobGateNeed *needs, int n)
{
	Datum *elements;
	int nelements;

	deconstruct_array(DatumGetArrayTypeP(bgjob_job_datum(job, BGJOB_C_LIMITS)), TEXTOID, -1,
					  false, TYPALIGN_INT, &elements, NULL, &nelements);
	for (int i = 0; i < nelements && n < BGJOB_GATES_MAX; i++)
	{
		char *name = TextDatumGetCString(elements[i]);
		char *equals = strrchr(name, '=');
		int units = 1;

		if (equals != NULL)
		{
			units = Max(atoi(equals + 1), 1);
			*equals = '\0';
		}
		bgjob_gate_need_of_limit(name, units, &needs[n]);
		if (needs[n].max_running >= 0 || needs[n].rate.algorithm != BGJOB_RATE_NONE)
			n++;
	}
	return n;
}

/* Returns the lane of a job: its key competes with those of other jobs there. */
static int64
lane_of(const BgjobJob *job)
{
	return bgjob_gate_of(BGJOB_GATE_FAIR, job->run_as,
						 psprintf("%s %d%s", job->queue, job->priority,
								  job->kind == BGJOB_KIND_EXTERNAL ? " external" : ""));
}

/* Returns how many workers there are for a job's role and queue; *more: there may be another one. */
static int
workers_for(const BgjobJob *job, bool *more)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	BgjobLaneGroupKey key;
	const BgjobLaneGroup *group;
	BgjobServerSet servers;
	int workers;

	*more = false;
	if (entry == NULL)
		return 0;
	bgjob_servers_taking(MyDatabaseId, job->queue, &servers);
	if (!servers.all)
	{
		*more = !servers.saturated;
		return bgjob_count_workers_of(MyDatabaseId, job->run_as, &servers);
	}
	bgjob_lane_group_key(&key, MyDatabaseId, job->run_as, BGJOB_LANE_INTERNAL);
	group = bgjob_lane_group(&key);
	workers = group != NULL ? group->nworkers : 0;
	*more = workers < bgjob_slots_allowed(MyDatabaseId) &&
			pg_atomic_read_u32(&entry->server.saturated) == 0;
	return workers;
}

/*
 * Returns how many jobs of a lane of external workers are let through: besides those that run, some that
 * wait for the next calls of bgjob_fetch(). How many workers there are is not known.
 */
static int
external_turns(const BgjobJob *job, int64 lane)
{
	BgjobLaneGroupKey key;
	BgjobLaneGroup *group;

	bgjob_lane_group_key(&key, MyDatabaseId, job->run_as, BGJOB_LANE_EXTERNAL);
	group = bgjob_registry != NULL ? bgjob_lane_group(&key) : NULL;
	return bgjob_gate_running(lane) + EXTERNAL_AHEAD +
		   (group != NULL ? (int) pg_atomic_read_u32(&group->wanted) : 0);
}

/*
 * Returns how many jobs of a lane are let through: as many as there are workers, and, if there may be more
 * workers, one more, which has the scheduler start one. Else a job whose turn it is would wait behind that
 * one, whose position is lower, and behind the next one again.
 */
static int
turns(const BgjobJob *job)
{
	bool more;
	int workers = workers_for(job, &more);

	return workers == 0 || more ? workers + 1 : workers;
}

/* Describes a job's turn among the fairness keys of its lane. False: there is no room to note that. */
static bool
need_of_turn(const BgjobJob *job, BgjobGateNeed *need)
{
	const char *key = bgjob_job_text(job, BGJOB_C_FAIRNESS_KEY);
	int64 lane = lane_of(job);
	int64 line = with_kind(
		hash_bytes_extended((const unsigned char *) key, (int) strlen(key), (uint64) lane),
		BGJOB_GATE_FAIR);

	*need = (BgjobGateNeed){
		.kind = BGJOB_GATE_FAIR,
		.gate = lane,
		.max_running =
			job->kind == BGJOB_KIND_EXTERNAL ? external_turns(job, lane) : turns(job),
		.weight = bgjob_weightconf_find(key),
		.line = bgjob_registry == NULL ? BGJOB_FAIR_NONE
									   : bgjob_fair_line(MyDatabaseId, lane, line),
		.name = key};
	return need->line != BGJOB_FAIR_NONE;
}

/* bgjob_gate_needs lists what a job needs of its gates, at most BGJOB_GATES_MAX; returns their number. */
int
bgjob_gate_needs(const BgjobJob *job, BgjobGateNeed *needs)
{
	int n = 0;

	if (!bgjob_job_is_null(job, BGJOB_C_SEQUENCE_KEY))
		needs[n++] = (BgjobGateNeed){.kind = BGJOB_GATE_SEQUENCE,
									 .gate = bgjob_gate_of_sequence(job),
									 .max_running = 1,
									 .name = bgjob_job_text(job, BGJOB_C_SEQUENCE_KEY)};
	if (bgjob_queues_limited())
	{
		BgjobQueueConf conf = bgjob_queues_get(MyDatabaseId, job->queue);

		if (conf.max_running >= 0)
			needs[n++] =
				(BgjobGateNeed){.kind = BGJOB_GATE_QUEUE,
								.gate = bgjob_gate_of(BGJOB_GATE_QUEUE, InvalidOid, job->queue),
								.max_running = conf.max_running,
								.name = job->queue};
	}
	if (!bgjob_job_is_null(job, BGJOB_C_LIMITS))
		n = add_limits(job, needs, n);
	if (!bgjob_job_is_null(job, BGJOB_C_FAIRNESS_KEY) && n < BGJOB_GATES_MAX &&
		need_of_turn(job, &needs[n]))
		n++;
	return n;
}
