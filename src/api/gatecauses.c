/*-------------------------------------------------------------------------
 *
 * gatecauses.c
 *	  Why a job waits at a gate.
 *
 * For bgjob_why() and bgjob.jobs.reason (api/causes.c). What is said of other jobs is their number and state;
 * nothing of those that the current user may not see.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/gatecauses.h"
#include "api/rights.h"
#include "base/running.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/sequencekey.h"

/* bgjob_gate_waits_at returns the gate if the job stands in its line, where it was put last; else 0: it was let through. */
int64
bgjob_gate_waits_at(int64 gate, int64 id, int priority, int64 pos)
{
	BgjobJob job = {.id = id, .priority = priority, .pos = pos};
	int64 sequence = bgjob_gate_kind(gate) == BGJOB_GATE_SEQUENCE ? gate : 0;

	return bgjob_line_has(gate, bgjob_line_place(&job, gate, sequence)) ? gate : 0;
}

/* bgjob_gate_waited_at does so for a job whose row has been read. */
int64
bgjob_gate_waited_at(const BgjobJob *job)
{
	if (job->state != BGJOB_ENQUEUED || bgjob_job_is_null(job, BGJOB_C_GATE))
		return 0;
	return bgjob_gate_waits_at(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_GATE)), job->id,
							   job->priority, job->pos);
}

static bool
is_at(const BgjobSituation *situation, BgjobGateKind kind)
{
	return situation->gate != 0 && bgjob_gate_kind(situation->gate) == kind;
}

/* Describes another job; the state of one that the current user may not see is not told. */
static const char *
describe_job(int64 id)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	const char *text = psprintf("job " INT64_FORMAT, id);
	BgjobJob job;

	if (bgjob_job_read_standing(jobs, id, &job) && bgjob_may_see(job.run_as))
		text = psprintf("%s, which is %s,", text,
						bgjob_state_name(bgjob_slot_is_at(MyDatabaseId, id, NULL)
											 ? BGJOB_PROCESSING
											 : job.state));
	bgjob_rel_close(jobs);
	return text;
}

/* The cause "sequence": a job of its sequence_key stands before it. */
bool
bgjob_cause_sequence(const BgjobSituation *situation, BgjobAnswer *answer)
{
	int64 before;

	if (!is_at(situation, BGJOB_GATE_SEQUENCE))
		return false;
	if (answer == NULL || situation->job == NULL)
		return true;
	before = bgjob_sequence_before(situation->job->run_as, situation->gate, situation->job->id);
	answer->detail =
		before == 0 ? "It is the next of its sequence_key, and about to go on."
					: psprintf("In its sequence, %s comes before it.", describe_job(before));
	answer->hint = before == 0
					   ? NULL
					   : "A failed job keeps its sequence waiting until it is requeued or "
						 "deleted.";
	return true;
}

/* Returns a job that holds a place at a gate; 0: none is known. */
static int64
find_holder(int64 gate)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		const BgjobSlot *slot = &bgjob_registry->slots[i];
		int n = slot->ngates;

		if (!slot->in_use || slot->database != MyDatabaseId)
			continue;
		for (int j = 0; j < Min(n, BGJOB_GATES_MAX); j++)
			if (slot->gates[j] == gate && slot->job != 0)
				return slot->job;
	}
	return 0;
}

/* Says who holds the places of a gate. */
static const char *
describe_holders(const BgjobGateNeed *need, const BgjobGateState *state)
{
	int64 holder = bgjob_registry != NULL ? find_holder(need->gate) : 0;
	const char *what = need->kind == BGJOB_GATE_QUEUE ? "Queue" : "Limit";

	if (need->max_running == 0)
		return psprintf("%s \"%s\" is closed: its max_running is 0.", what, need->name);
	if (holder == 0)
		return psprintf("%s \"%s\" has max_running %d, and %d jobs run.", what, need->name,
						need->max_running, state->running);
	return psprintf("%s \"%s\" has max_running %d, and %d jobs run: one is %s", what,
					need->name, need->max_running, state->running,
					psprintf("job " INT64_FORMAT ".", holder));
}

/* Says why a gate has no room. */
static void
explain_need(const BgjobGateNeed *need, BgjobAnswer *answer)
{
	TimestampTz when = DT_NOEND;
	BgjobGateState state;
	int room = bgjob_gate_room(need, 0, &when);
	TimestampTz closed;

	bgjob_gate_read(need, &state);
	closed = Max(need->closed_until, state.closed_until);
	if (closed > bgjob_now())
	{
		answer->detail = psprintf("Limit \"%s\" is closed.", need->name);
		answer->hint = "An administrator can open it with bgjob_limit_close().";
		answer->until = closed;
	}
	else if (need->max_running >= 0 && state.running >= need->max_running)
		answer->detail = describe_holders(need, &state);
	else if (need->rate.algorithm != BGJOB_RATE_NONE && room == 0)
	{
		answer->detail = psprintf("Limit \"%s\": %d of %d units are used.", need->name,
								  state.used, need->rate.units);
		if (when != DT_NOEND)
			answer->until = when;
	}
	else
		answer->detail =
			psprintf("%s \"%s\": others that have waited longer come before it.",
					 need->kind == BGJOB_GATE_QUEUE ? "Queue" : "Limit", need->name);
}

/* The cause "limit": a limit, or the max_running of its queue, lets no more jobs run. */
bool
bgjob_cause_limit(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	int n;

	if (!is_at(situation, BGJOB_GATE_LIMIT) && !is_at(situation, BGJOB_GATE_QUEUE))
		return false;
	if (answer == NULL || situation->job == NULL)
		return true;
	answer->detail = "The limit has been removed, and the job is about to go on.";
	n = bgjob_gate_needs(situation->job, needs);
	for (int i = 0; i < n; i++)
		if (needs[i].gate == situation->gate)
			explain_need(&needs[i], answer);
	return true;
}

/* The cause "fairness": the jobs of other fairness keys have their turn. */
bool
bgjob_cause_fairness(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!is_at(situation, BGJOB_GATE_FAIR))
		return false;
	if (answer == NULL || situation->job == NULL)
		return true;
	answer->detail =
		psprintf("Workers are shared out between the fairness keys of queue \"%s\"; "
				 "it is not yet the turn of its key.",
				 situation->queue->name);
	answer->hint = "More workers, or a higher weight (bgjob_weight()), let it start earlier.";
	return true;
}
