/*-------------------------------------------------------------------------
 *
 * enqueue.c
 *	  Enqueues jobs from SQL and from triggers.
 *
 * Everything about a job is checked here, in the caller's transaction and
 * before a row is written: the function and the right to call it, the number,
 * names and types of its arguments, the queue, the times, the role. The options
 * are checked once, into a template. From a template any number of jobs are
 * inserted that differ in their arguments.
 *
 * Runs in the calling session; takes no locks but those of the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/chunkwait.h"
#include "api/continuation.h"
#include "api/enqueue.h"
#include "api/jobkeys.h"
#include "api/queuelength.h"
#include "api/rights.h"
#include "base/captured.h"
#include "base/guc.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/arguments.h"
#include "run/command.h"
#include "run/filter.h"
#include "run/function.h"
#include "run/identity.h"
#include "run/jobkind.h"
#include "run/placeholders.h"
#include "store/bulk.h"
#include "store/count.h"
#include "store/functionconf.h"
#include "store/gateneeds.h"
#include "store/job.h"
#include "store/newjob.h"
#include "store/place.h"
#include "store/release.h"
#include "store/sequence.h"
#include "store/settings.h"
#include "store/summary.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

struct BgjobTemplate
{
	BgjobJob job; /* all but id, position, times, arguments, and what arguments fill */
	Oid func;     /* InvalidOid: kind 'sql' or 'external' */
	const BgjobFunctionConf *conf;
	BgjobJobKeys keys;
	BgjobDuplicate on_duplicate;
	BgjobEvent
		event; /* creates its jobs; decided once, so that all jobs of "bulk" go to the same table */
	TimestampTz run_at;
	BgjobContinuation continuation;
	BgjobChunkWait company;
	bool asked;    /* a review was asked for */
	bool many;     /* there may be many jobs */
	bool awaits;   /* they are created as awaiting */
	bool filtered; /* its jobs have filters */
	BgjobRel *jobs;
	BgjobRel *queue; /* this and the rest are for many jobs */
	BgjobBulk *bulk; /* NULL: each job is inserted by itself */
	BgjobBulk *queue_bulk;
	TimestampTz at; /* the time of the jobs in "bulk" */
	int64 next_id;  /* the next of the ids that were drawn for jobs in "bulk" */
	int ids;        /* how many of these ids are left */
	int expected;   /* how many more jobs may need an id */
};

static void
set_default(BgjobOptionSet *set, BgjobOption option, Datum value)
{
	if (!set->given[option])
		bgjob_option_set(set, option, value);
}

/* Fills in the options: from the call, else the function's configuration, else the settings. */
static void
fill_options(BgjobTemplate *template, BgjobOptionSet *set)
{
	const BgjobFunctionConf *conf = template->conf;
	const char *unique_key = NULL;

	if (conf != NULL)
	{
		if (!set->given[BGJOB_O_UNIQUE_KEY])
			unique_key = bgjob_option_text(&conf->options, BGJOB_O_UNIQUE_KEY);
		bgjob_options_merge(set, &conf->options);
	}
	if (!set->given[BGJOB_O_QUEUE])
		bgjob_option_set(set, BGJOB_O_QUEUE, CStringGetTextDatum("default"));
	set_default(set, BGJOB_O_PRIORITY, Int16GetDatum(0));
	set_default(set, BGJOB_O_MAX_RETRIES, Int32GetDatum(bgjob_max_retries));
	set_default(set, BGJOB_O_ON_DUPLICATE, CharGetDatum(BGJOB_DUPLICATE_SKIP));
	bgjob_options_to_job(set, &template->job);
	bgjob_jobkeys_begin(&template->keys,
						template->job.kind == BGJOB_KIND_EXTERNAL ? BGJOB_ANY_ARGUMENTS
																  : template->func,
						&template->job, unique_key);
	if (conf != NULL && conf->policy != NULL)
		bgjob_job_set(&template->job, BGJOB_C_POLICY_ID,
					  Int64GetDatum(bgjob_settings_store(conf->policy)));
	template->on_duplicate = (BgjobDuplicate) DatumGetChar(set->values[BGJOB_O_ON_DUPLICATE]);
}

/* Fills in the columns that all jobs of a template have in common. */
static void
fill_job(BgjobTemplate *template, const BgjobOptions *options, BgjobOptionSet *set,
		 BgjobKind kind, Oid run_as)
{
	BgjobJob *job = &template->job;
	Jsonb *custom = options->plain_session ? NULL : bgjob_capture_custom();

	memset(job->nulls, true, sizeof(job->nulls));
	job->kind = kind;
	job->run_as = run_as;
	fill_options(template, set);
	job->job = options->job;
	bgjob_job_set(job, BGJOB_C_KIND, CharGetDatum(kind));
	bgjob_job_set(job, BGJOB_C_RUN_AS, ObjectIdGetDatum(run_as));
	if (run_as != GetUserId())
		bgjob_job_set(job, BGJOB_C_ENQUEUED_BY, ObjectIdGetDatum(GetUserId()));
	bgjob_job_set_call(job);
	if (custom != NULL)
		bgjob_job_set(job, BGJOB_C_CUSTOM_SETTINGS, JsonbPGetDatum(custom));
}

/* Returns whether the jobs of a template have a unique_key, maybe one that their arguments fill. */
static bool
has_key(const BgjobTemplate *template)
{
	return !bgjob_job_is_null(&template->job, BGJOB_C_UNIQUE_KEY);
}

/* Reads what the jobs await, and has them created as awaiting if that is not there yet. */
static void
begin_continuation(BgjobTemplate *template, const BgjobOptionSet *set, BgjobCircumstances *what)
{
	BgjobDuplicate duplicate = template->on_duplicate;

	bgjob_continuation_read(set, &template->job, &template->continuation);
	if (!template->continuation.any)
		return;
	if (has_key(template) &&
		(duplicate == BGJOB_DUPLICATE_REPLACE || duplicate == BGJOB_DUPLICATE_RESCHEDULE))
		bgjob_invalid("a job that awaits something cannot replace or reschedule another one",
					  "The other job would not await it.",
					  "Use on_duplicate 'skip', 'error' or 'supersede', or no unique_key.");
	template->awaits = template->continuation.awaited != BGJOB_AWAITED_MET;
	if (!template->awaits)
		return;
	what->awaits = true;
	if (set->given[BGJOB_O_DELAY])
		what->run_at = 0; /* counts from the release */
	if (what->run_at != 0)
		bgjob_job_set_time(&template->job, BGJOB_C_RUN_AT, what->run_at);
}

/*
 * bgjob_template_create checks the options of bgjob_enqueue() and captures
 * the caller's settings. The arguments of the first job choose among
 * overloaded functions; bgjob_template_enqueue() checks them. Errors: 22023 an
 * invalid value, 42883, 42725 and 42501 for the function, 42704, 42501 and 28000
 * for the role.
 */
BgjobTemplate *
bgjob_template_create(const BgjobOptions *options, const Jsonb *first_args)
{
	BgjobTemplate *template = palloc0(sizeof(BgjobTemplate));
	BgjobKind kind = bgjob_kind_by_name(options->kind, options->job);
	Oid run_as = bgjob_role_to_run_as(bgjob_option_text(&options->set, BGJOB_O_RUN_AS),
									  kind != BGJOB_KIND_EXTERNAL);
	BgjobOptionSet set = options->set;
	BgjobCircumstances now = {.at = bgjob_now()};

	bgjob_check_writable("bgjob_enqueue()");
	bgjob_options_check(&set);
	if (options->kept != NULL)
		bgjob_options_merge(&set, options->kept);
	(void) bgjob_options_time(&set, now.at, &now.run_at);
	if (kind == BGJOB_KIND_FUNCTION)
	{
		template->func = options->kind == NULL
							 ? bgjob_function_or_hint(options->job, first_args, run_as)
							 : bgjob_function_resolve(options->job, first_args, run_as);
		template->job.func = bgjob_function_signature(template->func);
		template->conf = bgjob_functionconf_find(template->job.func);
	}
	else if (kind == BGJOB_KIND_EXTERNAL)
		template->conf = bgjob_functionconf_find(bgjob_functionconf_external(options->job));
	fill_job(template, options, &set, kind, run_as);
	begin_continuation(template, &set, &now);
	bgjob_chunkwait_begin(&template->company, template->conf, &set, &template->job, &now);
	template->run_at = now.run_at;
	template->event = bgjob_job_first_event(&now);
	if (!options->plain_session)
		bgjob_job_set(&template->job, BGJOB_C_SETTINGS_ID,
					  Int64GetDatum(bgjob_settings_store(bgjob_capture_listed())));
	template->jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	template->filtered = bgjob_filter_concerns(&template->job, BGJOB_FILTERS_OF_CREATION);
	return template;
}

/*
 * bgjob_check_arguments raises an error unless the arguments match a function,
 * or if that is InvalidOid, a command. Conversion to the types of the arguments,
 * such as domains, may run code that "run_as" controls, so it runs as that role.
 */
void
bgjob_check_arguments(Oid func, const char *command, const Jsonb *args, Oid run_as)
{
	BgjobIdentity before;
	bool own = bgjob_identity_is_own(run_as);

	if (!own)
		bgjob_identity_assume(&before, run_as, true);
	if (OidIsValid(func))
		bgjob_arguments_check(bgjob_function_describe(func), args);
	else
		bgjob_command_check(command, args);
	if (!own)
		bgjob_identity_resume(&before);
}

/* Checks the arguments of one job. */
static void
check_arguments(const BgjobTemplate *template, const Jsonb *args)
{
	if (template->job.kind != BGJOB_KIND_EXTERNAL)
		bgjob_check_arguments(template->func, template->job.job, args, template->job.run_as);
}

/*
 * bgjob_template_job checks the arguments of a job without inserting it. Returns
 * the job without id, times and arguments, and what to do if an unfinished job
 * has its unique_key. Errors as bgjob_template_enqueue().
 */
const BgjobJob *
bgjob_template_job(BgjobTemplate *template, const Jsonb *args, BgjobDuplicate *on_duplicate)
{
	check_arguments(template, args);
	bgjob_jobkeys_fill(&template->keys, &template->job, args);
	*on_duplicate = template->on_duplicate;
	return &template->job;
}

/* Returns whether the jobs of a template cannot run any more, since what they await has ended otherwise. */
static bool
is_hopeless(const BgjobTemplate *template)
{
	return template->awaits && template->continuation.awaited == BGJOB_AWAITED_HOPELESS;
}

/* Inserts the collected rows: the jobs, then their rows in the queue or the schedule. */
static void
flush_bulk(BgjobTemplate *template)
{
	int n;
	const ItemPointerData *tids = bgjob_bulk_flush(template->bulk, &n);
	int64 first = template->job.id - n + 1;

	bgjob_summary_written_many(&template->job, first, n);
	bgjob_job_join(&template->job, first, n);
	bgjob_place_put_many(template->queue_bulk, &template->job, first, tids, n);
}

static void
add_to_bulk(BgjobTemplate *template)
{
	if (bgjob_bulk_add(template->bulk, template->job.values, template->job.nulls))
		flush_bulk(template);
}

/*
 * bgjob_template_expect announces n jobs. If these are many, bgjob_template_enqueue()
 * collects the jobs, and inserts many at a time; bgjob_template_free() inserts the
 * rest. Not if the jobs have a unique_key, since one may exclude the
 * next, or filters, since these may change each job. 53400: their queue has no room for them.
 */
void
bgjob_template_expect(BgjobTemplate *template, int n)
{
	bgjob_chunkwait_end(&template->company, n, &template->run_at, &template->event);
	if (template->event == BGJOB_EV_ENQUEUE || template->company.at != 0)
		bgjob_queuelength_check(template->job.queue, n);
	template->many = n > 1;
	if (n < 2 || has_key(template) || template->filtered || is_hopeless(template) ||
		bgjob_gate_has_any(&template->job) || bgjob_jobkeys_are_gates(&template->keys))
		return;
	template->queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	template->bulk = bgjob_bulk_begin(template->jobs);
	template->queue_bulk = bgjob_bulk_begin(template->queue);
	template->expected = n;
}

static void
end_bulk(BgjobTemplate *template)
{
	flush_bulk(template);
	bgjob_bulk_end(template->bulk);
	bgjob_bulk_end(template->queue_bulk);
	bgjob_rel_close(template->queue);
}

/*
 * Draws an id. Jobs that are inserted together have consecutive ids and the
 * same time: the collected jobs are flushed when the drawn ids are used up.
 */
static int64
draw_id(BgjobTemplate *template)
{
	if (template->bulk == NULL)
		return bgjob_next_id();
	if (template->ids == 0)
	{
		flush_bulk(template);
		template->at = bgjob_now();
		template->ids = Min(Max(template->expected, 1), BGJOB_BULK_ROWS);
		template->next_id = bgjob_next_ids(template->ids, &template->ids);
		template->expected -= template->ids;
	}
	template->ids--;
	return template->next_id++;
}

/* Fills in the columns that differ between the jobs of a template. */
static void
begin_job(BgjobJob *job, int64 id, const Jsonb *args, TimestampTz now)
{
	job->id = job->pos = id;
	job->state = BGJOB_NONE;
	ItemPointerSetInvalid(&job->tid);
	bgjob_job_set(job, BGJOB_C_ID, Int64GetDatum(job->id));
	bgjob_job_set(job, BGJOB_C_CREATED_AT, TimestampTzGetDatum(now));
	if (args != NULL)
		bgjob_job_set(job, BGJOB_C_ARGS, JsonbPGetDatum(args));
	else
		bgjob_job_set_null(job, BGJOB_C_ARGS);
	bgjob_job_set_null(job, BGJOB_C_FOLLOWS);
}

/* Inserts a copy of the job through its filters, which may change it. Returns its id, 0 if a filter canceled it. */
static int64
enqueue_filtered(const BgjobTemplate *template, const Jsonb *args)
{
	BgjobJob job = template->job;
	BgjobCircumstances what = {.at = bgjob_now(),
							   .run_at = template->run_at,
							   .reason = template->company.reason,
							   .on_duplicate = template->on_duplicate,
							   .awaits = template->awaits,
							   .wait = true};

	begin_job(&job, bgjob_next_id(), args, what.at);
	if (bgjob_job_insert(template->jobs, &job, &what))
		return job.id;
	ereport(NOTICE, (errmsg("job \"%s\" was not enqueued: %s",
							bgjob_text_cut(job.job, BGJOB_TITLE_MAX), what.reason)));
	return 0;
}

/* Inserts one job; see bgjob_template_enqueue(). */
static int64
enqueue_one(BgjobTemplate *template, const Jsonb *args)
{
	BgjobJob *job = &template->job;
	BgjobCircumstances what = {.run_at = template->run_at,
							   .on_duplicate = template->on_duplicate,
							   .awaits = template->awaits,
							   .reason = template->company.reason,
							   .wait = true};
	int64 id = draw_id(template);

	what.at = template->bulk != NULL ? template->at : bgjob_now();
	begin_job(job, id, args, what.at);
	if (!bgjob_job_enter(template->jobs, job, &what))
		return job->id;
	bgjob_job_apply_unfiltered(job, what.awaits ? BGJOB_EV_AWAIT : template->event, &what);
	if (template->bulk != NULL)
		add_to_bulk(template);
	else
		bgjob_job_save(template->jobs, job);
	return job->id;
}

/*
 * bgjob_template_enqueue checks the arguments of a job and inserts it. Returns
 * its id; the id of the job that has its unique_key already; 0 if a filter
 * canceled it. Errors: 22023 number or names of the arguments, or the error of
 * their type; 42601 a command that does not parse; 23505 another job has its
 * unique_key and on_duplicate is 'error'.
 */
int64
bgjob_template_enqueue(BgjobTemplate *template, const Jsonb *args)
{
	TimestampTz deadline = DT_NOEND;
	int64 id;

	check_arguments(template, args);
	bgjob_jobkeys_fill(&template->keys, &template->job, args);
	id = template->filtered ? enqueue_filtered(template, args) : enqueue_one(template, args);
	if (id != 0)
		bgjob_chunkwait_note(&template->company);
	if (!template->continuation.any || id == 0)
		return id;
	if (!template->many || !template->asked)
		bgjob_continuation_ask(&template->continuation, id, template->many);
	template->asked = true;
	if (is_hopeless(template))
	{
		CommandCounterIncrement(); /* the job is to be seen */
		(void) bgjob_review_job(id, &deadline);
	}
	return id;
}

/* bgjob_template_wants_all returns whether the function takes all arguments as one json value. */
bool
bgjob_template_wants_all(const BgjobTemplate *template)
{
	return template->func != InvalidOid && bgjob_function_describe(template->func)->whole;
}

/* bgjob_template_free inserts the jobs still collected and frees a template. */
void
bgjob_template_free(BgjobTemplate *template)
{
	if (template->bulk != NULL)
		end_bulk(template);
	bgjob_rel_close(template->jobs);
	pfree(template);
}

/* ---- the SQL functions ---- */

/* Parameters of bgjob_enqueue and bgjob_enqueue_many, in their order. */
enum
{
	P_JOB,
	P_ARGS,
	P_KIND,
	P_OPTIONS
};

/* The detail of the error for a parameter that must not be null. */
#define WHAT_FOR "It determines what the job does, or how."

static const char *
required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	return bgjob_arg_required_text(fcinfo, arg, name, WHAT_FOR);
}

/* Reads the options of a call of bgjob_enqueue() or bgjob_enqueue_many(). */
static void
read_options(FunctionCallInfo fcinfo, BgjobOptions *options)
{
	options->job = required(fcinfo, P_JOB, "job");
	options->kind = bgjob_arg_text(fcinfo, P_KIND);
	options->plain_session = false;
	options->kept = NULL;
	(void) bgjob_args_options(fcinfo, P_OPTIONS, BGJOB_IN_ENQUEUE, &options->set);
	bgjob_option_require(&options->set, BGJOB_O_CONDITION, WHAT_FOR);
}

PG_FUNCTION_INFO_V1(bgjob_enqueue);

/*
 * bgjob_enqueue enqueues one job and returns its id, null if a filter canceled
 * it. The manual lists parameters and defaults; errors as
 * bgjob_template_create() and bgjob_template_enqueue().
 */
Datum
bgjob_enqueue(PG_FUNCTION_ARGS)
{
	Jsonb *args = PG_ARGISNULL(P_ARGS) ? NULL : PG_GETARG_JSONB_P(P_ARGS);
	BgjobOptions options;
	BgjobTemplate *template;
	int64 id;

	bgjob_check_usage();
	read_options(fcinfo, &options);
	template = bgjob_template_create(&options, args);
	bgjob_template_expect(template, 1);
	id = bgjob_template_enqueue(template, args);
	bgjob_template_free(template);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/* Reads the elements of args of bgjob_enqueue_many(). A null element is a job without arguments. */
static void
read_many(FunctionCallInfo fcinfo, Datum **elements, bool **nulls, int *n)
{
	*n = 0;
	if (!PG_ARGISNULL(P_ARGS))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(P_ARGS), JSONBOID, -1, false, TYPALIGN_INT,
						  elements, nulls, n);
}

/* The element of args that is being enqueued, for the context of an error. */
typedef struct Element
{
	int number;      /* from 1 on */
	bool overloaded; /* the first element chose among functions of one name */
} Element;

/* Says which element an error is about, and why it may not fit the function. */
static void
name_element(void *arg)
{
	const Element *element = arg;

	if (element->overloaded && geterrcode() == ERRCODE_INVALID_PARAMETER_VALUE)
		errhint("The first element chose among the functions of that name. Specify the types "
				"of the arguments, and enqueue jobs of different functions separately.");
	errcontext("element %d of args", element->number);
}

PG_FUNCTION_INFO_V1(bgjob_enqueue_many);

/*
 * bgjob_enqueue_many enqueues one job for each element of args, in their order,
 * and returns their ids. Errors as bgjob_enqueue(); then it enqueues none.
 */
Datum
bgjob_enqueue_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobOptions options;
	BgjobTemplate *template;
	MemoryContext per_job;
	Element element = {0};
	ErrorContextCallback context = {.callback = name_element, .arg = &element};
	Datum *elements;
	bool *nulls;
	int n;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_enqueue_many()");
	bgjob_count_early();
	read_options(fcinfo, &options);
	read_many(fcinfo, &elements, &nulls, &n);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	template = bgjob_template_create(&options,
									 n == 0 || nulls[0] ? NULL : DatumGetJsonbP(elements[0]));
	bgjob_template_expect(template, n);
	per_job =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob enqueue", ALLOCSET_DEFAULT_SIZES);
	element.overloaded =
		n > 1 && OidIsValid(template->func) && bgjob_function_is_overloaded(template->job.job);
	context.previous = error_context_stack;
	error_context_stack = &context;
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(per_job);
		Datum id;
		bool isnull = false;

		CHECK_FOR_INTERRUPTS();
		element.number = i + 1;
		id = Int64GetDatum(
			bgjob_template_enqueue(template, nulls[i] ? NULL : DatumGetJsonbP(elements[i])));
		MemoryContextSwitchTo(old);
		if (DatumGetInt64(id) != 0) /* else a filter canceled it */
			tuplestore_putvalues(result->setResult, result->setDesc, &id, &isnull);
		MemoryContextReset(per_job);
	}
	error_context_stack = context.previous;
	MemoryContextDelete(per_job);
	bgjob_template_free(template);
	return (Datum) 0;
}
