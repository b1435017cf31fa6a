/*-------------------------------------------------------------------------
 *
 * creationfilters.c
 *	  Calls the filters around the creation of a job.
 *
 * store/job.c calls insert_job for every new job that may have filters, whether SQL
 * or a recurring job enqueues it. "creating" is called before anything is written; changes
 * by its filters are checked like the caller's own options. "created" is called
 * after the row has been inserted, in the same transaction.
 *
 * Runs in the enqueueing session. Jobs of recurring jobs come from the scheduler,
 * which leaves a job with filters to a worker (run/pending.c). There filters are
 * guarded (run/filtercall.c): if one raises an error, the job is inserted as
 * failed. If a hook changes the arguments in the scheduler, they are not checked
 * against the function, since the check may run users' code; the worker checks
 * them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/creationfilters.h"
#include "api/enqueue.h"
#include "api/jobkeys.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "run/failure.h"
#include "run/filtercall.h"
#include "run/filtercontext.h"
#include "run/function.h"
#include "run/pending.h"
#include "run/statefilters.h"
#include "store/job.h"
#include "store/newjob.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* A job that is being created. */
typedef struct Creation
{
	BgjobJob *job;
	BgjobCircumstances *what;
	const char *canceled; /* a filter's reason to cancel it, else NULL */
} Creation;

/* Keys of a filter's answer to "creating": these, then the options that filters may change. */
enum
{
	K_CANCEL,
	K_ARGS,
	K_OPTIONS
};

#define MOST_KEYS (K_OPTIONS + BGJOB_NOPTIONS)

static const char *keys[MOST_KEYS] = {"cancel", "args"};
static BgjobOption options_of[MOST_KEYS]; /* the option of each key from K_OPTIONS on */
static int nkeys = K_OPTIONS;

/* Adds the keys that are options. */
static void
make_keys(void)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (bgjob_options[option].places & BGJOB_IN_CREATING)
		{
			keys[nkeys] = bgjob_options[option].name;
			options_of[nkeys++] = (BgjobOption) option;
		}
}

static void
refuse_value(const char *filter, int key, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("filter \"%s\" returned an invalid value of \"%s\"", filter, keys[key]),
			 errdetail("%s", detail), errhint("Return null to keep the present value.")));
}

/* ---- changes by a filter ---- */

static int
read_number(const char *filter, int key, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		refuse_value(filter, key, "It must be a number.");
	return pg_strtoint32(
		DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
}

/* Returns a text[] with the elements of a JSON array of strings. */
static Datum
read_texts(const char *filter, int key, const JsonbValue *value)
{
	ArrayBuildState *texts = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	Jsonb *array = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue element;

	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
		refuse_value(filter, key, "It must be an array of strings.");
	iterator = JsonbIteratorInit(&array->root);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString)
			refuse_value(filter, key, "It must be an array of strings.");
		accumArrayResult(texts,
						 PointerGetDatum(cstring_to_text_with_len(element.val.string.val,
																  element.val.string.len)),
						 false, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(texts, CurrentMemoryContext);
}

/* Sets an option from the value of its key. The value must not be null. */
static void
read_option(const char *filter, int key, const JsonbValue *value, BgjobOptionSet *set)
{
	BgjobOption option = options_of[key];

	switch (bgjob_options[option].type)
	{
		case INT4OID:
			bgjob_option_set(set, option, Int32GetDatum(read_number(filter, key, value)));
			break;
		case TEXTARRAYOID:
			bgjob_option_set(set, option, read_texts(filter, key, value));
			break;
		case INTERVALARRAYOID:
			bgjob_option_from_text(
				set, option,
				OidOutputFunctionCall(F_ARRAY_OUT, read_texts(filter, key, value)));
			break;
		case JSONBOID:
			bgjob_option_set(
				set, option,
				JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, value))));
			break;
		default:
			bgjob_option_from_text(set, option, bgjob_filter_text(filter, keys[key], value));
			break;
	}
}

/* Replaces the arguments of a job. */
static void
change_args(BgjobJob *job, Jsonb *args)
{
	bgjob_job_set(job, BGJOB_C_ARGS, JsonbPGetDatum(args));
	if (bgjob_filter_in_scheduler())
		return;
	if (job->kind == BGJOB_KIND_EXTERNAL)
		return;
	bgjob_check_arguments(job->func != NULL ? bgjob_function_find(job->func) : InvalidOid,
						  job->job, args, job->run_as);
}

/* ---- calling ---- */

/* Describes the job for filters, with the changes of earlier filters. */
static void
describe(const Creation *creation, BgjobHookJob *hook_job)
{
	const BgjobCircumstances *what = creation->what;
	bool later = what->run_at > what->at;

	bgjob_filter_describe(hook_job, creation->job, later ? BGJOB_SCHEDULED : BGJOB_ENQUEUED);
	hook_job->event = bgjob_filter_event_name(BGJOB_CREATING);
	hook_job->id = 0;
	hook_job->has_run_at = later;
	hook_job->run_at = what->run_at;
}

/* Applies the answer of one filter of "creating". Returns false if it cancels the job. */
static bool
take_answer(const char *filter, Jsonb *answer, BgjobHookJob *hook_job, void *arg)
{
	Creation *creation = arg;
	JsonbValue values[MOST_KEYS];
	BgjobOptionSet set = {0};

	bgjob_filter_read(filter, answer, keys, nkeys, values);
	creation->canceled = bgjob_filter_text(filter, keys[K_CANCEL], &values[K_CANCEL]);
	if (creation->canceled != NULL)
		return false;
	for (int key = K_OPTIONS; key < nkeys; key++)
		if (values[key].type != jbvNull)
			read_option(filter, key, &values[key], &set);
	bgjob_jobkeys_literal(&set, creation->job);
	bgjob_options_change(&set, creation->job, creation->what);
	if (values[K_ARGS].type != jbvNull)
		change_args(creation->job, JsonbValueToJsonb(&values[K_ARGS]));
	describe(creation, hook_job);
	return true;
}

static void
tell_created(const BgjobJob *job)
{
	BgjobHookJob hook_job;

	if (!bgjob_filter_concerns(job, BGJOB_FILTER(BGJOB_CREATED)))
		return;
	CommandCounterIncrement(); /* lets filters see the job */
	bgjob_filter_describe(&hook_job, job, job->state);
	bgjob_filter_call(BGJOB_CREATED, job, &hook_job, NULL, NULL);
}

/* Inserts a job unless a filter cancels it. An action for bgjob_filter_guard(). */
static void
create(void *arg)
{
	Creation *creation = arg;
	BgjobJob *job = creation->job;
	BgjobCircumstances *what = creation->what;
	BgjobHookJob hook_job;
	BgjobRel *rel;
	bool is_new;

	describe(creation, &hook_job);
	bgjob_filter_call(BGJOB_CREATING, job, &hook_job, take_answer, creation);
	if (creation->canceled != NULL)
		return;
	/* Opened here: its indexes must not stay open beyond the guard's subtransaction. */
	rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	is_new = bgjob_job_enter(rel, job, what);
	if (is_new)
	{
		bgjob_job_apply(job, bgjob_job_first_event(what), what);
		bgjob_job_save(rel, job);
	}
	bgjob_rel_close(rel);
	if (is_new)
		tell_created(job);
}

/* Inserts a job where no caller would receive a filter's error. An error makes it a failed job. */
static void
create_guarded(BgjobRel *rel, Creation *creation)
{
	BgjobJob *job = creation->job;
	BgjobJob before = *job;
	BgjobCircumstances what = *creation->what;
	ErrorData *error = bgjob_filter_guard(create, creation);

	if (error == NULL)
		return;
	*job = before;
	creation->canceled = NULL;
	ereport(WARNING,
			(errmsg("a filter of job " INT64_FORMAT " (%s) raised an error: %s", job->id,
					bgjob_text_cut(job->job, BGJOB_TITLE_MAX), error->message),
			 errdetail("The job is marked as failed.")));
	what.error = bgjob_failure_json(error);
	what.reason = error->message;
	bgjob_job_fail_new(job, &what);
	bgjob_job_save(rel, job);
}

/* Inserts a job whose filters a worker will call, unless another job has its unique_key. */
static void
leave_to_worker(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what)
{
	if (!bgjob_job_enter(rel, job, what))
		return;
	(void) bgjob_pending_leave(job, BGJOB_EV_ENQUEUE, what);
	bgjob_job_save(rel, job);
}

/* Inserts a job through its filters. Returns false if it has none. */
static bool
insert_job(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what, bool *is_in)
{
	Creation creation = {.job = job, .what = what};

	if (!bgjob_filter_concerns(job, BGJOB_FILTERS_OF_CREATION))
		return false;
	if (bgjob_pending_is_for_worker(job, BGJOB_FILTERS_OF_CREATION))
	{
		leave_to_worker(rel, job, what);
		*is_in = true;
		return true;
	}
	if ((what->guarded || bgjob_filter_in_scheduler()) && !bgjob_filter_is_guarded())
		create_guarded(rel, &creation);
	else
		create(&creation);
	*is_in = creation.canceled == NULL;
	if (!*is_in)
		what->reason = creation.canceled;
	return true;
}

/* bgjob_filters_install installs the calls of filters. Called once, when the library is loaded. */
void
bgjob_filters_install(void)
{
	bgjob_filter_init();
	make_keys();
	bgjob_job_filters.apply = bgjob_statefilters_apply;
	bgjob_job_filters.insert = insert_job;
}
