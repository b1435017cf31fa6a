/*-------------------------------------------------------------------------
 *
 * filtercall.c
 *	  Calling filters.
 *
 * A filter's function runs in the transaction of the event that it is called for,
 * as its owner, as if it were SECURITY DEFINER with a pinned search_path; where
 * the session is not its owner's, as a security-restricted operation
 * (run/identity.c): nothing of it, such as a deferred trigger, a cursor or a
 * temporary table, is left to run or be found later, under another identity. An
 * error that it raises is that of the operation.
 *
 * RECURSION. While a filter runs, no filter or hook is called for the jobs that it
 * enqueues or changes: a filter that enqueues a job whose creation calls
 * the same filter would not end. The count of running filters is restored on
 * an error, too. A filter may change the job that it is called for only by
 * its answer, since the row is about to be written: bgjob_job_check_reserved.
 *
 * GUARDED. A worker that records a failure, or settles what the scheduler has
 * left to it (run/pending.c), must come to an end with it. There a filter is
 * called in a subtransaction, whose error the caller handles, always as
 * a security-restricted operation, and is canceled after FILTER_LIMIT.
 *
 * Any process, inside a transaction; the scheduler calls hooks alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "run/filter.h"
#include "run/filtercall.h"
#include "run/filtercontext.h"
#include "run/identity.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* Time limit of a filter in a process that users cannot cancel, in seconds. */
#define FILTER_LIMIT 5

static bool guarded = false; /* see above */
static bool raised = false;  /* the error that is on its way is a filter's */
static volatile sig_atomic_t limit_reached = false;

/* bgjob_filter_is_guarded returns whether the caller is within bgjob_filter_guard. */
bool
bgjob_filter_is_guarded(void)
{
	return guarded;
}

/* ---- limit in time ---- */

static void
on_limit(void)
{
	limit_reached = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Returns whether users cannot cancel this process: bgjob's own, but for workers that perform a job. */
static bool
is_limited(void)
{
	return guarded || (bgjob_my_slot != NULL && bgjob_my_slot->phase != BGJOB_PHASE_PERFORMING);
}

static TimeoutId
limit_timer(void)
{
	static TimeoutId timer = MAX_TIMEOUTS;

	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, on_limit);
	return timer;
}

static void
start_limit(void)
{
	limit_reached = false;
	enable_timeout_every(
		limit_timer(), TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FILTER_LIMIT * 1000),
		1000);
}

/* Ends the limit, and returns whether it was reached. A cancel that it caused must hit nothing else. */
static bool
stop_limit(void)
{
	disable_timeout(limit_timer(), false);
	if (limit_reached && !ShutdownRequestPending)
		QueryCancelPending = false;
	return limit_reached;
}

/* ---- one call ---- */

/*
 * Returns the function of a filter and its owner. Raises 42883 if it was dropped,
 * 42501 if it belongs to another role now, which may not have written it for this. It
 * is read from the catalogs, since the caller may lack rights to its schema.
 */
static Oid
find_function(const BgjobFilter *filter, Oid *owner)
{
	char *name = pnstrdup(filter->func, strrchr(filter->func, '(') - filter->func);
	List *names = bgjob_qualified_name(name);
	Oid argument = JSONBOID;
	oidvector *arguments = buildoidvector(&argument, 1);
	Oid schema = get_namespace_oid(strVal(linitial(names)), true);
	HeapTuple tuple = SearchSysCache3(PROCNAMEARGSNSP, PointerGetDatum(strVal(llast(names))),
									  PointerGetDatum(arguments), ObjectIdGetDatum(schema));
	Form_pg_proc form;
	Oid func = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		form = (Form_pg_proc) GETSTRUCT(tuple);
		if (form->prorettype == JSONBOID && !form->proretset &&
			form->prokind == PROKIND_FUNCTION)
			func = form->oid;
		*owner = form->proowner;
		ReleaseSysCache(tuple);
	}
	if (!OidIsValid(func))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s of filter \"%s\" does not exist", filter->func,
							   filter->name),
						errdetail("It has been dropped, or no longer returns jsonb."),
						errhint("Create it, or remove the filter with "
								"bgjob_filter_remove().")));
	if (*owner != filter->owner)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("function %s of filter \"%s\" belongs to another role than when "
							   "the filter was added",
							   filter->func, filter->name),
						errdetail("A filter runs as the owner of its function."),
						errhint("Add the filter again with bgjob_filter().")));
	return func;
}

static Jsonb *
call_function(Oid func, Jsonb *context)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo info;
	Datum result;

	fmgr_info(func, &info);
	InitFunctionCallInfoData(*fcinfo, &info, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(context);
	fcinfo->args[0].isnull = false;
	CommandCounterIncrement(); /* it sees the changes of the filter before, and those that it is called for */
	PushActiveSnapshot(GetTransactionSnapshot());
	result = FunctionCallInvoke(fcinfo);
	PopActiveSnapshot();
	return fcinfo->isnull ? NULL : DatumGetJsonbPCopy(result);
}

/*
 * Calls the function of a filter as its owner. Identity and settings, including
 * those that it SETs, are restored here, or by the abort if it raises an error.
 */
static Jsonb *
call_filter(const BgjobFilter *filter, const BgjobHookJob *hook_job)
{
	Jsonb *context = bgjob_filter_context(hook_job);
	Oid owner;
	Oid func = find_function(filter, &owner);
	BgjobIdentity before;
	Jsonb *answer;

	bgjob_identity_assume(&before, owner, guarded);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	answer = call_function(func, context);
	bgjob_identity_resume(&before);
	return answer;
}

/* The filter that is called, for messages. */
typedef struct Called
{
	const char *name;
	const BgjobHookJob *hook_job;
} Called;

static void
add_context(void *arg)
{
	const Called *called = arg;

	errcontext("bgjob filter \"%s\", %s job " INT64_FORMAT " (%s)", called->name,
			   called->hook_job->event, called->hook_job->id, called->hook_job->job);
}

/* Passes a filter's answer to the caller's function, and returns its result. Raises 22023 if it is neither null nor an object. */
static bool
take_answer(const char *name, Jsonb *said, BgjobHookJob *hook_job, BgjobFilterAnswer answer,
			void *arg)
{
	JsonbValue scalar;

	if (said == NULL || answer == NULL)
		return true;
	if (JB_ROOT_IS_SCALAR(said) && JsonbExtractScalar(&said->root, &scalar) &&
		scalar.type == jbvNull)
		return true;
	if (!JB_ROOT_IS_OBJECT(said))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("filter \"%s\" must return null or a JSON object", name),
						errdetail("The object has the changes to the job."),
						errhint("Return null for no change.")));
	return answer(name, said, hook_job, arg);
}

/* Calls a filter, or with none the hook. False: another one is not to be called. */
static bool
call(const BgjobFilter *filter, BgjobHook hook, BgjobHookJob *hook_job,
	 BgjobFilterAnswer answer, void *arg)
{
	Called called = {filter != NULL ? filter->name : "(C)", hook_job};
	ErrorContextCallback context = {.callback = add_context, .arg = &called};
	MemoryContext caller = CurrentMemoryContext;
	volatile bool limited = is_limited();
	volatile bool go_on = true;

	context.previous = error_context_stack;
	error_context_stack = &context;
	bgjob_filters_running++;
	if (limited)
		start_limit();
	PG_TRY();
	{
		Jsonb *said = filter != NULL ? call_filter(filter, hook_job) : hook(hook_job);

		go_on = take_answer(called.name, said, hook_job, answer, arg);
	}
	PG_CATCH();
	{
		bgjob_filters_running--;
		bgjob_job_reserved = 0;
		raised = true;
		if (limited && stop_limit() && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(caller);
			FlushErrorState();
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("canceling filter \"%s\" after %d s", called.name, FILTER_LIMIT),
					 errdetail("Outside of job attempts, a filter may take at most %d s.",
							   FILTER_LIMIT),
					 errhint("Have the filter enqueue a job for long work.")));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (limited)
		(void) stop_limit();
	bgjob_filters_running--;
	error_context_stack = context.previous;
	return go_on;
}

/*
 * bgjob_filter_call calls the hook and the filters of an event that are for a
 * job, in their order, and passes their answers to "answer"; NULL: the answers
 * are ignored. Errors: 42883 the function of a filter was dropped; 22023 an invalid
 * answer; any error of a filter.
 */
void
bgjob_filter_call(BgjobFilterEvent event, const BgjobJob *job, BgjobHookJob *hook_job,
				  BgjobFilterAnswer answer, void *arg)
{
	BgjobHook hook = bgjob_filter_hook(event);
	List *filters = bgjob_filters_of(event, job);
	bool go_on = true;
	ListCell *cell;

	hook_job->event = bgjob_filter_event_name(event);
	if ((BGJOB_FILTER(event) & BGJOB_FILTERS_OF_STATES) != 0 || guarded)
		bgjob_job_reserved = hook_job->id;
	if (hook != NULL)
		go_on = call(NULL, hook, hook_job, answer, arg);
	foreach (cell, filters)
		go_on = go_on && call(lfirst(cell), NULL, hook_job, answer, arg);
	bgjob_job_reserved = 0;
}

/* Returns whether this worker has accepted a request about its job. */
static bool
is_asked(void)
{
	return bgjob_my_slot != NULL && bgjob_slot_request_seen() != BGJOB_REQUEST_NONE;
}

/*
 * bgjob_filter_guard does something that calls filters in a subtransaction.
 * Returns the error of a filter, copied; then nothing has been done. Any other
 * error is rethrown, and so is an error that a request to leave has caused.
 */
ErrorData *
bgjob_filter_guard(void (*action)(void *), void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	raised = false;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	guarded = true;
	PG_TRY();
	{
		action(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		guarded = false;
		if (!raised || ShutdownRequestPending || is_asked())
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	guarded = false;
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	if (bgjob_filter_in_scheduler())
		LockReleaseSession(USER_LOCKMETHOD); /* advisory ones that it may have left */
	return error;
}

/* ---- answers ---- */

/* Raises 22023 for a key that an answer must not have. */
static void
refuse_key(const char *filter, const JsonbValue *key, const char *const *keys, int nkeys)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < nkeys; i++)
		appendStringInfo(&known, "%s\"%s\"",
						 i == 0           ? ""
						 : i == nkeys - 1 ? " and "
										  : ", ",
						 keys[i]);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("filter \"%s\" returned an unknown key: \"%s\"", filter,
						   pnstrdup(key->val.string.val, key->val.string.len)),
					errdetail("The keys of this event are %s.", known.data),
					errhint("Return null to change nothing.")));
}

/*
 * bgjob_filter_read reads an answer: values[i] becomes the value of keys[i],
 * null where there is none. 22023: another key.
 */
void
bgjob_filter_read(const char *filter, Jsonb *answer, const char *const *keys, int nkeys,
				  JsonbValue *values)
{
	JsonbIterator *iterator = JsonbIteratorInit(&answer->root);
	JsonbIteratorToken token;
	JsonbValue key;

	for (int i = 0; i < nkeys; i++)
		values[i].type = jbvNull;
	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		int i = 0;

		if (token != WJB_KEY)
			continue;
		while (i < nkeys && (strlen(keys[i]) != key.val.string.len ||
							 memcmp(keys[i], key.val.string.val, key.val.string.len) != 0))
			i++;
		if (i == nkeys)
			refuse_key(filter, &key, keys, nkeys);
		(void) JsonbIteratorNext(&iterator, &values[i], true);
	}
}

/* bgjob_filter_text returns a text of an answer, NULL for null. 22023: it is something else. */
char *
bgjob_filter_text(const char *filter, const char *key, const JsonbValue *value)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter \"%s\" returned an invalid value of \"%s\"", filter, key),
				 errdetail("It must be a string."), errhint("Write a string, or null.")));
	return pnstrdup(value->val.string.val, value->val.string.len);
}
