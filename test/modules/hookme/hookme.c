/*-------------------------------------------------------------------------
 *
 * hookme.c
 *	  Hooks of bgjob in C, as in another extension.
 *
 * An example, also used by the tests. The hooks log their calls, and answer if the
 * name of the job's queue requests it. To be listed in shared_preload_libraries,
 * before or after bgjob. Each hook calls the previous one, so that several
 * libraries can be loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "extension/bgjob/bgjob.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static BgjobHooks former;

static void
say(const BgjobHookJob *job)
{
	ereport(LOG, (errmsg_internal("hookme: %s %s in %s: %s from %s to %s, %s, %s", job->event,
								  job->job, job->queue, job->state,
								  job->from != NULL ? job->from : "nothing",
								  job->to != NULL ? job->to : "nothing",
								  job->result != NULL  ? "with a result"
								  : job->error != NULL ? "with an error"
													   : "without outcome",
								  job->id != 0 ? "with id" : "without id")));
}

static Jsonb *
answer(const char *json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* Returns the answer of the previous hook, if there is one. */
static Jsonb *
ask_former(BgjobHook hook, const BgjobHookJob *job)
{
	return hook != NULL ? hook(job) : NULL;
}

static Jsonb *
on_creating(const BgjobHookJob *job)
{
	say(job);
	if (strcmp(job->queue, "c-cancel") == 0)
		return answer("{\"cancel\": \"C does not want it\"}");
	if (strcmp(job->queue, "c-change") == 0)
		return answer("{\"queue\": \"c-changed\", \"priority\": 7}");
	if (strcmp(job->queue, "c-wrong") == 0)
		return answer("{\"queue\": \"No Good\"}");
	if (strcmp(job->queue, "c-raise") == 0)
		ereport(ERROR, (errcode(ERRCODE_RAISE_EXCEPTION), errmsg("C says no")));
	return ask_former(former.creating, job);
}

static Jsonb *
on_created(const BgjobHookJob *job)
{
	say(job);
	return ask_former(former.created, job);
}

static Jsonb *
on_performing(const BgjobHookJob *job)
{
	say(job);
	if (strcmp(job->queue, "c-stop") == 0)
		return answer("{\"cancel\": \"C stops it\"}");
	return ask_former(former.performing, job);
}

static Jsonb *
on_performed(const BgjobHookJob *job)
{
	say(job);
	return ask_former(former.performed, job);
}

static Jsonb *
on_electing(const BgjobHookJob *job)
{
	say(job);
	if (strcmp(job->queue, "c-elect") == 0 && strcmp(job->state, "failed") == 0)
		return answer("{\"state\": \"deleted\", \"reason\": \"C prefers that\"}");
	return ask_former(former.electing, job);
}

static Jsonb *
on_applied(const BgjobHookJob *job)
{
	say(job);
	return ask_former(former.applied, job);
}

static Jsonb *
on_unapplied(const BgjobHookJob *job)
{
	say(job);
	return ask_former(former.unapplied, job);
}

/* _PG_init is called when the library is loaded. */
void
_PG_init(void)
{
	BgjobHooks *hooks = bgjob_hooks();

	former = *hooks;
	hooks->creating = on_creating;
	hooks->created = on_created;
	hooks->performing = on_performing;
	hooks->performed = on_performed;
	hooks->electing = on_electing;
	hooks->applied = on_applied;
	hooks->unapplied = on_unapplied;
}
