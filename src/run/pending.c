/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Events that the scheduler leaves to a worker, because of their filters.
 *
 * The scheduler serves all roles, is a superuser's process, and calls nothing
 * that a role has written. An event of a job that has filters is therefore not
 * carried out there: a delayed job comes due, a recurring job creates one, a job
 * has lost its worker. The scheduler writes the event into the job's row (column
 * pending) and puts the job into its queue, where it counts as enqueued. Its
 * place there is the claim to it, as for any job. A worker of the job's role
 * that claims such a job does not perform it: it settles the event, with the
 * filters, in one transaction, and the job goes on from there.
 *
 * Any other event meanwhile (the job is deleted, say) replaces the pending one. Filters are notified then that the job leaves the
 * state that they last knew it in.
 *
 * A filter that ends its worker each time it is called must not be called for
 * ever: once a job has crashed bgjob.max_crashes times, the scheduler carries
 * its events out itself, without filters. So it does for jobs of roles that have
 * been dropped, which no worker can serve.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/guc.h"
#include "base/json.h"
#include "base/text.h"
#include "catalog/pg_authid.h"
#include "rules/clock.h"
#include "run/filter.h"
#include "run/filtercall.h"
#include "run/pending.h"
#include "store/newjob.h"
#include "store/recurring.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Names of the events that can be pending, as column pending has them. */
static const char *const event_names[BGJOB_NEVENTS] = {
	[BGJOB_EV_ENQUEUE] = "create",      [BGJOB_EV_DUE] = "due",
	[BGJOB_EV_FAIL] = "fail",           [BGJOB_EV_RETRY] = "retry",
	[BGJOB_EV_INTERRUPT] = "interrupt", [BGJOB_EV_DELETE] = "delete",
	[BGJOB_EV_REQUEUE] = "requeue",     [BGJOB_EV_RESCHEDULE] = "reschedule",
	[BGJOB_EV_RELEASE] = "release",
};

/* ---- the column ---- */

static void
add_time(JsonbParseState **state, const char *key, TimestampTz at)
{
	if (at != 0)
		bgjob_json_number(state, key, int64_to_numeric(at));
}

/* An event and its circumstances; times are the server's microseconds. */
static Jsonb *
describe(BgjobState from, BgjobEvent event, const BgjobCircumstances *what)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_text(&state, "event", event_names[event]);
	if (from != BGJOB_NONE)
		bgjob_json_text(&state, "from", bgjob_state_name(from));
	if (what->reason != NULL)
		bgjob_json_text(&state, "reason", bgjob_text_cut(what->reason, BGJOB_REASON_MAX));
	if (what->error != NULL)
		bgjob_json_member(&state, "error", what->error);
	if (what->elected)
		bgjob_json_text(&state, "elected", "true");
	add_time(&state, "run_at", what->run_at);
	add_time(&state, "started_at", what->started_at);
	add_time(&state, "worker_pid", what->worker_pid);
	if (what->server != NULL)
		bgjob_json_text(&state, "server", what->server);
	return bgjob_json_end(&state);
}

static bool
get(const Jsonb *pending, const char *key, enum jbvType type, JsonbValue *value)
{
	return JB_ROOT_IS_OBJECT(pending) &&
		   getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &pending->root), key,
										(int) strlen(key), value) != NULL &&
		   value->type == type;
}

static const char *
get_text(const Jsonb *pending, const char *key)
{
	JsonbValue value;

	if (!get(pending, key, jbvString, &value))
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* Returns a number; 0 where there is none, or one that is too large. */
static int64
get_number(const Jsonb *pending, const char *key)
{
	JsonbValue value;
	char *digits;
	char *end;
	int64 number;

	if (!get(pending, key, jbvNumeric, &value))
		return 0;
	digits =
		DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
	errno = 0;
	number = strtoi64(digits, &end, 10);
	return errno == 0 && *end == '\0' ? number : 0;
}

/* Returns a time, likewise. */
static TimestampTz
get_time(const Jsonb *pending, const char *key)
{
	TimestampTz at = get_number(pending, key);

	return IS_VALID_TIMESTAMP(at) ? at : 0;
}

/* Returns the event of that name; BGJOB_NEVENTS: none can be pending that is called so. */
static BgjobEvent
event_of(const Jsonb *pending)
{
	const char *name = get_text(pending, "event");

	for (int event = 0; name != NULL && event < BGJOB_NEVENTS; event++)
		if (event_names[event] != NULL && strcmp(event_names[event], name) == 0)
			return (BgjobEvent) event;
	return BGJOB_NEVENTS;
}

static BgjobState
state_of(const Jsonb *pending)
{
	const char *name = get_text(pending, "from");

	return name != NULL ? bgjob_state_by_name(name) : BGJOB_NONE;
}

/* ---- in the scheduler ---- */

/* Returns whether a worker of the job's role can call filters of one of these events, and there are some. */
static bool
is_for_worker(const BgjobJob *job, int events)
{
	return job->crashes < bgjob_max_crashes && bgjob_filter_is_written(job, events) &&
		   SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(job->run_as));
}

/*
 * bgjob_pending_is_for_worker returns whether one of these events must be left
 * to a worker: this is the scheduler, the job has filters, and a worker could
 * call them.
 */
bool
bgjob_pending_is_for_worker(const BgjobJob *job, int events)
{
	return bgjob_filter_in_scheduler() && is_for_worker(job, events);
}

/*
 * bgjob_pending_leave leaves an event to a worker of the job's role, if it must
 * be left. The caller saves the job (bgjob_job_save). False: nothing is done.
 */
bool
bgjob_pending_leave(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	int events =
		event == BGJOB_EV_ENQUEUE ? BGJOB_FILTERS_OF_CREATION : BGJOB_FILTERS_OF_STATES;
	BgjobState from = job->state;
	Jsonb *pending;

	if (event_names[event] == NULL ||
		!(what->leave ? is_for_worker(job, events) : bgjob_pending_is_for_worker(job, events)))
		return false;
	if (bgjob_job_is_pending(job))
		from = bgjob_pending_from(job);
	else if (from == BGJOB_ENQUEUED && what->started_at != 0)
		from = BGJOB_PROCESSING;
	/* A job that was interrupted while it was settled is settled again. */
	if (bgjob_job_is_pending(job) && event == BGJOB_EV_INTERRUPT)
		pending = bgjob_job_jsonb(job, BGJOB_C_PENDING);
	else
		pending = describe(from, event, what);
	bgjob_job_put_off(job, pending, what);
	return true;
}

/* ---- in others ---- */

/*
 * bgjob_pending_from returns the state that filters last knew a job in which has
 * a pending event. A job that is being created has none: it counts as enqueued.
 */
BgjobState
bgjob_pending_from(const BgjobJob *job)
{
	BgjobState from = state_of(bgjob_job_jsonb(job, BGJOB_C_PENDING));

	return from == BGJOB_NONE || bgjob_state_is_final(from) ? BGJOB_ENQUEUED : from;
}

/* Creates the job of an occurrence that was left to this worker; its row is there already. */
static void
create(BgjobRel *jobs, BgjobJob *job, BgjobCircumstances *what)
{
	what->on_duplicate = BGJOB_DUPLICATE_SKIP; /* it has its key already */
	if (bgjob_job_insert(jobs, job, what))
		return;
	bgjob_job_remove(jobs, job);
	bgjob_recurring_refused(job, what->reason);
}

/* Returns the state that a job has again when its event is settled. */
static BgjobState
state_again(BgjobEvent event, BgjobState from)
{
	if (event == BGJOB_EV_ENQUEUE)
		return BGJOB_NONE;
	/* An attempt whose claim is not committed is stored as enqueued. */
	return from == BGJOB_SCHEDULED || from == BGJOB_AWAITING ? from : BGJOB_ENQUEUED;
}

/*
 * bgjob_pending_settle applies the pending event of a job that this worker has
 * claimed, with all filters: guarded (run/filtercall.c), so that an error of theirs
 * fails the one job. Writes the job's row. An event that cannot happen
 * (a row that was written by hand) leaves the job in its queue, without it.
 */
void
bgjob_pending_settle(BgjobRel *jobs, BgjobJob *job)
{
	const Jsonb *pending = bgjob_job_jsonb(job, BGJOB_C_PENDING);
	BgjobEvent event = event_of(pending);
	BgjobState from = state_of(pending);
	BgjobCircumstances what = {.at = bgjob_now(), .guarded = true};
	JsonbValue error;

	what.reason = get_text(pending, "reason");
	what.elected = get_text(pending, "elected") != NULL;
	what.run_at = get_time(pending, "run_at");
	what.started_at = get_time(pending, "started_at");
	what.worker_pid = (int) get_number(pending, "worker_pid");
	what.server = get_text(pending, "server");
	if (get(pending, "error", jbvBinary, &error))
		what.error = JsonbValueToJsonb(&error);
	if (what.started_at == 0 && from == BGJOB_PROCESSING &&
		!bgjob_job_is_null(job, BGJOB_C_STARTED_AT))
		what.started_at = DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_STARTED_AT));

	bgjob_job_resume(job, event == BGJOB_NEVENTS ? BGJOB_ENQUEUED : state_again(event, from));
	if (event == BGJOB_EV_ENQUEUE)
		create(jobs, job, &what);
	else if (event == BGJOB_NEVENTS || !bgjob_job_can(job, event, &what))
	{
		job->to_place = true;
		bgjob_job_save(jobs, job);
	}
	else
	{
		bgjob_job_apply(job, event, &what);
		bgjob_job_save(jobs, job);
	}
}
