/*-------------------------------------------------------------------------
 *
 * limitkeys.c
 *	  The limits that jobs are under which run or wait at them.
 *
 * A gate is a hash; the names of the limits are in the rows of the jobs. So the keys of
 * patterns that are in use are found from the jobs that workers are at, and from the heads of lines. Lines are
 * looked at up to a number: those of sequences and of fairness keys are among them.
 *
 * Runs in the session that reads bgjob.limits. Locks nothing but the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/running.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/limitconf.h"
#include "store/limitkeys.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* So many lines are looked at, and so many jobs at the head of each; lines are read so many at a time. */
#define LINES_MAX 10000
#define HEAD_MAX  20
#define PORTION   1000

/* Any gate. */
#define ANY_GATE 0

typedef struct Visit
{
	BgjobRel *jobs;
	BgjobLimitSees sees;
	BgjobLimitVisit visit;
	void *arg;
} Visit;

/* Calls a function for each of the limits; returns whether one is that of the gate. */
static bool
visit_limits(Datum limits, int64 gate, const Visit *visit)
{
	Datum *elements;
	bool *nulls;
	bool found = false;
	int n;

	deconstruct_array(DatumGetArrayTypeP(limits), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n && !found; i++)
	{
		char *name = nulls[i] ? pstrdup("") : TextDatumGetCString(elements[i]);
		int length;

		(void) bgjob_limit_units(name, &length);
		name[length] = '\0';
		found = gate != ANY_GATE && bgjob_gate_of(BGJOB_GATE_LIMIT, InvalidOid, name) == gate;
		if (found || gate == ANY_GATE)
			visit->visit(name, visit->arg);
		pfree(name);
	}
	return found;
}

/* Visits the limits of a job, or only the one of a gate. False: there is no such job, or it is not seen, or not under that limit. */
static bool
visit_job(int64 job, int64 gate, const Visit *visit)
{
	TupleTableSlot *slot = visit->jobs->slot;
	bool found = false;
	Datum limits;
	bool isnull;

	if (!bgjob_job_peek(visit->jobs, job, NULL))
		return false;
	if (visit->sees(DatumGetObjectId(slot_getattr(slot, BGJOB_C_RUN_AS, &isnull))))
	{
		limits = slot_getattr(slot, BGJOB_C_LIMITS, &isnull);
		found = !isnull && visit_limits(limits, gate, visit);
	}
	ExecClearTuple(slot);
	return found;
}

static void
visit_running(const Visit *visit)
{
	int n;
	BgjobRunning *running = bgjob_slots_running(MyDatabaseId, &n);

	for (int i = 0; i < n; i++)
		(void) visit_job(running[i].job, ANY_GATE, visit);
	pfree(running);
}

/* Visits the limit that a line is that of, if it is one, and a job at its head is seen. */
static void
visit_line(int64 gate, const Visit *visit)
{
	int64 jobs[HEAD_MAX];
	int n = bgjob_line_jobs(gate, jobs, 1);

	if (n == 0 || visit_job(jobs[0], gate, visit))
		return;
	n = bgjob_line_jobs(gate, jobs, HEAD_MAX);
	for (int i = 1; i < n && !visit_job(jobs[i], gate, visit); i++)
		;
}

static void
visit_lines(const Visit *visit)
{
	int64 *gates = palloc(PORTION * sizeof(int64));
	int64 after = 0;
	int total = 0;
	int n;

	do
	{
		n = bgjob_lines_after(after, total == 0, gates, PORTION);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			visit_line(gates[i], visit);
		}
		total += n;
		after = n > 0 ? gates[n - 1] : after;
	} while (n == PORTION && total < LINES_MAX);
	pfree(gates);
}

/* bgjob_limitkeys_visit calls a function for the limits of running jobs, and for those at which jobs wait, of the roles that are seen. */
void
bgjob_limitkeys_visit(BgjobLimitSees sees, BgjobLimitVisit visit, void *arg)
{
	Visit all = {.sees = sees, .visit = visit, .arg = arg};

	all.jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	visit_running(&all);
	visit_lines(&all);
	bgjob_rel_close(all.jobs);
}

/* bgjob_limits_find returns whether a job is under a limit of a name, and its units. */
bool
bgjob_limits_find(const BgjobJob *job, const char *name, int *units)
{
	Datum *elements;
	bool *nulls;
	int n;

	if (bgjob_job_is_null(job, BGJOB_C_LIMITS))
		return false;
	deconstruct_array(DatumGetArrayTypeP(bgjob_job_datum(job, BGJOB_C_LIMITS)), TEXTOID, -1,
					  false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *limit = nulls[i] ? pstrdup("") : TextDatumGetCString(elements[i]);
		int length;

		*units = bgjob_limit_units(limit, &length);
		if (length == (int) strlen(name) && strncmp(limit, name, length) == 0)
			return true;
	}
	return false;
}
