/*-------------------------------------------------------------------------
 *
 * jobkeys.c
 *	  The keys and limits of jobs, with placeholders for their arguments.
 *
 * unique_key (as configured for a function), sequence_key, fairness_key and limits may have
 * placeholders, such as 'tenant:{tenant_id}' (run/placeholders.h). They are filled when a job is
 * created; its row has the filled texts. What an argument contributes is never read
 * again: it is neither a placeholder nor the = before the units of a limit.
 *
 * A limit is given as 'name' or 'name=units'. It is stored so, the units left out if they
 * are 1 and the name has no = (bgjob_limit_units reads it).
 *
 * Runs in the session that enqueues or configures; and in the scheduler where a hook
 * changes the limits of a job. Reads the configuration of limits from a cache; locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/jobkeys.h"
#include "api/limits.h"
#include "api/options.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "run/placeholders.h"
#include "store/limitconf.h"
#include "store/weightconf.h"
#include "utils/array.h"
#include "utils/builtins.h"

StaticAssertDecl(BGJOB_FAIRNESS_KEY_MAX == BGJOB_LIMIT_NAME_MAX, "keys of one length");

/* Fills a text with arguments; all that it names must be there. */
static char *
fill(Oid func, const char *text, const Jsonb *args)
{
	return bgjob_placeholders_fill(func, text, args, true);
}

/* ---- limits ---- */

/* Returns the elements of limits, which are checked: a row may have been edited by hand. *n is their number. */
static Datum *
elements_of(Datum array, int *n)
{
	Datum *elements;
	bool *nulls;

	bgjob_check_limits(array);
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, n);
	return elements;
}

/* Returns the units that a text says. */
static int
read_units(const char *limit, const char *text)
{
	size_t length = strlen(text);
	int64 units = length <= 10 ? strtol(text, NULL, 10) : 0;

	if (length == 0 || strspn(text, "0123456789") != length || units < 1 ||
		units > PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid units \"%s\" of limit \"%s\"",
							   bgjob_text_cut(text, BGJOB_TITLE_MAX),
							   bgjob_text_cut(limit, BGJOB_TITLE_MAX)),
						errdetail("The units of a limit are a whole number from 1 to %d.",
								  PG_INT32_MAX),
						errhint("Write limits as in 'openai=1200', or without units for 1.")));
	return (int) units;
}

/* Raises 22023 unless a filled name is that of a limit. */
static void
check_name(const char *name)
{
	bgjob_check_limit_name(name);
	if (bgjob_limitconf_find(name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("limit \"%s\" does not exist", name),
						errdetail("No limit has this name, and no pattern of limits fits it."),
						errhint("Have an administrator add it with bgjob_limit().")));
}

/* Returns a limit as it is stored. */
static text *
to_store(const char *name, int units)
{
	if (units == 1 && strchr(name, '=') == NULL)
		return cstring_to_text(name);
	return cstring_to_text(psprintf("%s=%d", name, units));
}

/* Raises 22023 if a name is among the n before it. */
static void
check_new(char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], names[n]) == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("limit \"%s\" is given twice", names[n]),
							errdetail("A job is under a limit once."),
							errhint("Give the sum of the units.")));
}

/* Fills and checks limits: splits each at its last =, then fills both parts. Returns them as they are stored; 0: none. */
static Datum
fill_limits(Datum limits, Oid func, const Jsonb *args)
{
	Datum stored[BGJOB_LIMITS_MAX];
	char *names[BGJOB_LIMITS_MAX];
	int n;
	Datum *elements = elements_of(limits, &n);

	for (int i = 0; i < n; i++)
	{
		char *limit = TextDatumGetCString(elements[i]);
		const char *equals = bgjob_placeholders_last(limit, '=');
		int units = 1;

		if (equals != NULL)
			units = read_units(limit, fill(func, equals + 1, args));
		names[i] = fill(func, equals == NULL ? limit : pnstrdup(limit, equals - limit), args);
		check_name(names[i]);
		check_new(names, i);
		stored[i] = PointerGetDatum(to_store(names[i], units));
	}
	if (n == 0)
		return (Datum) 0;
	return PointerGetDatum(construct_array(stored, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Returns literal limits, in which nothing is a placeholder, as templates of themselves. */
static Datum
escape_limits(Datum limits)
{
	Datum escaped[BGJOB_LIMITS_MAX];
	int n;
	Datum *elements = elements_of(limits, &n);

	for (int i = 0; i < n; i++)
	{
		StringInfoData doubled;

		initStringInfo(&doubled);
		for (const char *at = TextDatumGetCString(elements[i]); *at != '\0'; at++)
		{
			if (*at == '{' || *at == '}')
				appendStringInfoChar(&doubled, *at);
			appendStringInfoChar(&doubled, *at);
		}
		escaped[i] = CStringGetTextDatum(doubled.data);
	}
	return PointerGetDatum(construct_array(escaped, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * bgjob_jobkeys_literal checks the limits that a filter gives to a job, in which
 * nothing is a placeholder: the filter may return those that it was given.
 */
void
bgjob_jobkeys_literal(BgjobOptionSet *set, BgjobJob *job)
{
	Datum limits;

	if (!set->given[BGJOB_O_LIMITS])
		return;
	limits = fill_limits(escape_limits(set->values[BGJOB_O_LIMITS]), InvalidOid, NULL);
	set->values[BGJOB_O_LIMITS] = limits;
	set->given[BGJOB_O_LIMITS] = limits != (Datum) 0;
	if (limits == (Datum) 0)
		bgjob_job_set_null(job, BGJOB_C_LIMITS);
}

/* ---- the jobs of a template ---- */

static bool
has_braces(const char *text)
{
	return text != NULL && strpbrk(text, "{}") != NULL;
}

static bool
any_has_braces(Datum limits)
{
	int n;
	Datum *elements = elements_of(limits, &n);
	bool any = false;

	for (int i = 0; i < n; i++)
		any |= has_braces(TextDatumGetCString(elements[i]));
	return any;
}

/* Takes a text that is to be filled from a job's column; NULL: there is none. */
static const char *
take(const BgjobJob *job, BgjobColumn column)
{
	return bgjob_job_is_null(job, column) ? NULL
										  : TextDatumGetCString(bgjob_job_datum(job, column));
}

/* Fills a column that is a key. */
static void
fill_key(const BgjobJobKeys *keys, const char *name, const char *text, BgjobJob *job,
		 BgjobColumn column, const Jsonb *args)
{
	const char *key;

	if (text == NULL)
		return;
	key = fill(keys->func, text, args);
	bgjob_check_key(name, key);
	bgjob_job_set(job, column, CStringGetTextDatum(key));
}

/* Fills what no argument decides, once for all jobs. */
static void
fill_constants(BgjobJobKeys *keys, BgjobJob *job)
{
	BgjobJobKeys constant = {.func = keys->func};

	if (!has_braces(keys->sequence_key))
	{
		constant.sequence_key = keys->sequence_key;
		keys->sequence_key = NULL;
	}
	if (!has_braces(keys->fairness_key))
	{
		constant.fairness_key = keys->fairness_key;
		keys->fairness_key = NULL;
	}
	if (keys->limits != (Datum) 0 && !any_has_braces(keys->limits))
	{
		constant.limits = keys->limits;
		keys->limits = (Datum) 0;
	}
	bgjob_jobkeys_fill(&constant, job, NULL);
}

/*
 * bgjob_jobkeys_begin begins to fill the keys and limits of jobs. "job" has the texts as they
 * were given; "unique_key" is the one of the function's configuration, NULL if the call gives one, or
 * there is none. 22023 for a text without placeholders that is not allowed.
 */
void
bgjob_jobkeys_begin(BgjobJobKeys *keys, Oid func, BgjobJob *job, const char *unique_key)
{
	keys->func = func;
	keys->unique_key = unique_key;
	keys->sequence_key = take(job, BGJOB_C_SEQUENCE_KEY);
	keys->fairness_key = take(job, BGJOB_C_FAIRNESS_KEY);
	keys->limits = (Datum) 0;
	if (!bgjob_job_is_null(job, BGJOB_C_LIMITS))
		keys->limits = bgjob_job_datum(job, BGJOB_C_LIMITS);
	fill_constants(keys, job);
}

/* bgjob_jobkeys_are_gates returns whether some are filled for each job that decide when it may run. */
bool
bgjob_jobkeys_are_gates(const BgjobJobKeys *keys)
{
	return keys->sequence_key != NULL || keys->fairness_key != NULL || keys->limits != 0;
}

/* bgjob_jobkeys_fill sets the keys and limits of a job that has these arguments. 22023 if one is not allowed. */
void
bgjob_jobkeys_fill(const BgjobJobKeys *keys, BgjobJob *job, const Jsonb *args)
{
	if (keys->unique_key != NULL)
	{
		const char *key = bgjob_placeholders_fill(keys->func, keys->unique_key, args, false);

		bgjob_check_unique_key(key);
		bgjob_job_set(job, BGJOB_C_UNIQUE_KEY, CStringGetTextDatum(key));
	}
	fill_key(keys, "sequence_key", keys->sequence_key, job, BGJOB_C_SEQUENCE_KEY, args);
	fill_key(keys, "fairness_key", keys->fairness_key, job, BGJOB_C_FAIRNESS_KEY, args);
	if (keys->limits != (Datum) 0)
	{
		Datum limits = fill_limits(keys->limits, keys->func, args);

		if (limits == (Datum) 0)
			bgjob_job_set_null(job, BGJOB_C_LIMITS);
		else
			bgjob_job_set(job, BGJOB_C_LIMITS, limits);
	}
}

/* ---- the configuration of a function ---- */

static void
check_places(Oid func, const BgjobOptionSet *set, BgjobOption option)
{
	if (set->given[option])
		bgjob_placeholders_check(func, bgjob_option_text(set, option));
}

static void
check_limit(Oid func, const char *limit)
{
	const char *equals = bgjob_placeholders_last(limit, '=');

	bgjob_placeholders_check(func, limit);
	if (equals == limit || limit[0] == '\0')
		bgjob_invalid("the name of a limit is empty", "An element of limits is 'name=units'.",
					  "Write limits as in 'openai=1200', or without units for 1.");
	if (equals != NULL && !has_braces(equals + 1))
		(void) read_units(limit, equals + 1);
}

/* bgjob_jobkeys_check raises 22023 if the configured keys or limits of a function are not allowed, as far as can be seen without arguments. */
void
bgjob_jobkeys_check(Oid func, const BgjobOptionSet *set)
{
	Datum *elements;
	int n = 0;

	check_places(func, set, BGJOB_O_UNIQUE_KEY);
	check_places(func, set, BGJOB_O_SEQUENCE_KEY);
	check_places(func, set, BGJOB_O_FAIRNESS_KEY);
	if (!set->given[BGJOB_O_LIMITS])
		return;
	elements = elements_of(set->values[BGJOB_O_LIMITS], &n);
	for (int i = 0; i < n; i++)
		check_limit(func, TextDatumGetCString(elements[i]));
}
