/*-------------------------------------------------------------------------
 *
 * search.c
 *	  Whether a job's row matches a query.
 *
 * A query (rules/query.h) is first turned into what can be compared cheaply. States, times
 * and words go into the filter of the listing (store/listing.h), the other terms stay
 * here. Some of them the map of jobs knows (base/jobmap.h): the queue, the name of the
 * job, the role, the tags, the batch and the recurring job, where they are not negated. These lead the listing to the
 * ranges of ids where such jobs may be; rows there are compared with all terms.
 *
 * A term of which nothing is known in a row does not hold, and its negation does: a job
 * without a sequence_key is found by -sequence:a.
 *
 * Runs in the session that searches, inside a transaction. What a row says is never
 * evaluated: texts are compared with texts, numbers in JSON with numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lease.h"
#include "base/running.h"
#include "base/servers.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "store/failures.h"
#include "store/rowmatch.h"
#include "store/search.h"
#include "store/searchjson.h"
#include "store/summary.h"
#include "store/words.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/formatting.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* A term of a query, prepared. */
typedef struct Term
{
	const BgjobTerm *term;
	BgjobCallsMeant calls; /* of JOB */
	Oid *roles;            /* of ROLE, as many as values */
	const char *word;      /* of ERROR, and of ARGS without a path: in lower case */
	Numeric number;        /* of ARGS, if the value is one */
} Term;

struct BgjobSearch
{
	MemoryContext per_row;
	const int64 *running; /* jobs that workers are at, in ascending order */
	int nrunning;
	int64 *ids; /* of the first term with ids, in ascending order; NULL: there is none */
	int nids;
	int nterms;
	Term terms[BGJOB_QUERY_TERMS];
};

/* ---- preparing ---- */

/* Returns a point in time: the zone of one without is that of the session. */
static TimestampTz
time_of(const BgjobMoment *moment, TimestampTz now)
{
	struct pg_tm tm = {.tm_year = moment->year,
					   .tm_mon = moment->month,
					   .tm_mday = moment->day,
					   .tm_hour = moment->hour,
					   .tm_min = moment->minute,
					   .tm_sec = moment->second,
					   .tm_isdst = -1};
	int west = -moment->zone;
	TimestampTz time;

	if (moment->ago >= 0)
		return now - moment->ago;
	if (!moment->has_zone)
		west = DetermineTimeZoneOffset(&tm, session_timezone);
	if (tm2timestamp(&tm, moment->microsecond, &west, &time) != 0)
		elog(ERROR, "could not compute a time"); /* the years 1 to 9999 are within range */
	return time;
}

/* Adds a term with a time to a filter. What is not since a time is until it. */
static void
prepare_time(const BgjobTerm *term, TimestampTz now, BgjobListFilter *filter)
{
	TimestampTz time = time_of(&term->moment, now);

	if ((term->qualifier == BGJOB_Q_SINCE) != term->negated)
		filter->since = Max(filter->since, time);
	else
		filter->until = Min(filter->until, time);
}

/* Adds a term with states to a filter. */
static void
prepare_states(const BgjobTerm *term, BgjobListFilter *filter)
{
	uint64 states = 0;

	for (int i = 0; i < term->nvalues; i++)
		states |= BGJOB_STATE_BIT(term->values[i].number);
	if (term->negated)
		states = BGJOB_MAP_ALL_STATES & ~states;
	filter->states = filter->states == 0 ? states : filter->states & states;
}

static char *
lower_of(const BgjobQueryText *text)
{
	return str_tolower(text->text, text->length, DEFAULT_COLLATION_OID);
}

/* Adds a term that is a word. */
static void
prepare_word(const BgjobTerm *term, BgjobListFilter *filter)
{
	if (term->negated)
		filter->unwanted = lappend(filter->unwanted, lower_of(term->values));
	else
		filter->words = lappend(filter->words, lower_of(term->values));
}

static int
compare_ids(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* Keeps the ids of a term for bgjob_search_ids. */
static void
prepare_ids(BgjobSearch *search, const BgjobTerm *term)
{
	if (term->negated || search->ids != NULL)
		return;
	search->ids = palloc(term->nvalues * sizeof(int64));
	for (int i = 0; i < term->nvalues; i++)
		search->ids[search->nids++] = term->values[i].number;
	qsort(search->ids, search->nids, sizeof(int64), compare_ids);
}

static Numeric
number_of(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(
		numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* Prepares another term. Raises 42704 for a role that there is not. */
static void
prepare_term(BgjobSearch *search, const BgjobTerm *term)
{
	Term *to = &search->terms[search->nterms++];

	to->term = term;
	switch (term->qualifier)
	{
		case BGJOB_Q_JOB:
			bgjob_calls_meant(term->values[0].text, &to->calls);
			break;
		case BGJOB_Q_ROLE:
			to->roles = palloc(term->nvalues * sizeof(Oid));
			for (int i = 0; i < term->nvalues; i++)
				to->roles[i] = get_role_oid(term->values[i].text, false);
			break;
		case BGJOB_Q_ID:
			prepare_ids(search, term);
			break;
		case BGJOB_Q_ERROR:
			to->word = lower_of(term->values);
			break;
		case BGJOB_Q_ARGS:
			if (term->npath == 0)
				to->word = lower_of(term->values);
			else if (term->values[0].kind == BGJOB_VALUE_NUMBER)
				to->number = number_of(term->values[0].text);
			break;
		default:
			break;
	}
}

/*
 * bgjob_search_prepare adds a query to a filter that passes all jobs that the reader sees.
 * "now" is the time from which the query counts back; the query stays. False: no
 * job can match. Raises 42704 for a role that there is not.
 */
bool
bgjob_search_prepare(const BgjobQuery *query, TimestampTz now, BgjobListFilter *filter)
{
	BgjobSearch *search = palloc0(sizeof(BgjobSearch));
	bool has_states = false;

	for (int i = 0; i < query->nterms; i++)
	{
		const BgjobTerm *term = &query->terms[i];

		switch (term->qualifier)
		{
			case BGJOB_Q_WORD:
				prepare_word(term, filter);
				break;
			case BGJOB_Q_SINCE:
			case BGJOB_Q_UNTIL:
				prepare_time(term, now, filter);
				break;
			case BGJOB_Q_STATE:
				if (has_states && filter->states == 0)
					break; /* there is none left */
				prepare_states(term, filter);
				has_states = true;
				break;
			default:
				prepare_term(search, term);
		}
	}
	search->per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob search", ALLOCSET_DEFAULT_SIZES);
	search->running = filter->running;
	search->nrunning = filter->nrunning;
	filter->search = search;
	return !has_states || filter->states != 0;
}

/* bgjob_search_ids returns the only ids that can match, in ascending order; NULL: there is no such restriction. */
const int64 *
bgjob_search_ids(const BgjobSearch *search, int *n)
{
	*n = search->nids;
	return search->ids;
}

/* Returns whether the map of jobs knows what a term is about. */
static bool
is_mapped(const BgjobTerm *term)
{
	switch (term->qualifier)
	{
		case BGJOB_Q_BATCH:
		case BGJOB_Q_JOB:
		case BGJOB_Q_QUEUE:
		case BGJOB_Q_RECURRING:
		case BGJOB_Q_ROLE:
		case BGJOB_Q_TAG:
			return !term->negated;
		default:
			return false;
	}
}

/* Adds the values of a term to a choice that is free, if there are not too many. */
static void
probe_choice(const Term *term, BgjobMapChoice *choice)
{
	if (choice->n > 0 || term->term->nvalues > BGJOB_MAP_ALTERNATIVES)
		return;
	for (int i = 0; i < term->term->nvalues; i++)
	{
		BgjobMapNames *names = &choice->names[choice->n++];

		if (term->roles != NULL)
			bgjob_summary_add_role(names, term->roles[i]);
		else if (term->term->qualifier == BGJOB_Q_BATCH)
			bgjob_summary_add_batch(names, term->term->values[i].number);
		else
			bgjob_summary_add_queue(names, term->term->values[i].text);
	}
}

static void
probe_term(const Term *term, BgjobMapProbe *probe)
{
	switch (term->term->qualifier)
	{
		case BGJOB_Q_TAG:
		case BGJOB_Q_RECURRING: /* counts as a tag */
			bgjob_summary_add_tag(&probe->names, term->term->values[0].text);
			break;
		case BGJOB_Q_JOB:
			if (probe->choices[BGJOB_MAP_OF_CALLS].n == 0)
				bgjob_calls_probe(&term->calls, &probe->choices[BGJOB_MAP_OF_CALLS]);
			break;
		case BGJOB_Q_ROLE:
			probe_choice(term, &probe->choices[BGJOB_MAP_OF_ROLES]);
			break;
		case BGJOB_Q_QUEUE:
			probe_choice(term, &probe->choices[BGJOB_MAP_OF_QUEUES]);
			break;
		case BGJOB_Q_BATCH:
			probe_choice(term, &probe->choices[BGJOB_MAP_OF_BATCHES]);
			break;
		default:
			break;
	}
}

/* bgjob_search_probe adds what the map of jobs can be asked for. */
void
bgjob_search_probe(const BgjobSearch *search, BgjobMapProbe *probe)
{
	for (int i = 0; i < search->nterms; i++)
		if (is_mapped(search->terms[i].term))
			probe_term(&search->terms[i], probe);
}

/* ---- comparing ---- */

/* Returns whether a column of type text is one of the values of a term. */
static bool
has_value(const BgjobTerm *term, TupleTableSlot *slot, BgjobColumn column)
{
	for (int i = 0; i < term->nvalues; i++)
		if (bgjob_row_has_text(slot, column, term->values[i].text))
			return true;
	return false;
}

/* Returns whether a column of type bigint is. */
static bool
has_number(const BgjobTerm *term, TupleTableSlot *slot, BgjobColumn column)
{
	bool isnull;
	int64 is = DatumGetInt64(slot_getattr(slot, column, &isnull));

	for (int i = 0; !isnull && i < term->nvalues; i++)
		if (term->values[i].number == is)
			return true;
	return false;
}

static bool
has_role(const Term *term, TupleTableSlot *slot)
{
	bool isnull;
	Oid role = DatumGetObjectId(slot_getattr(slot, BGJOB_C_RUN_AS, &isnull));

	for (int i = 0; i < term->term->nvalues; i++)
		if (term->roles[i] == role)
			return true;
	return false;
}

/* Returns whether a job is under a limit. An element is a name, or name=units. */
static bool
has_limit(const char *name, TupleTableSlot *slot)
{
	bool isnull;
	Datum limits = slot_getattr(slot, BGJOB_C_LIMITS, &isnull);
	Datum *elements;
	bool *nulls;
	int n = 0;

	if (isnull)
		return false;
	elements = bgjob_text_elements(limits, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *element = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		char *equals = element == NULL ? NULL : strrchr(element, '=');

		if (equals != NULL)
			*equals = '\0';
		if (element != NULL && strcmp(element, name) == 0)
			return true;
	}
	return false;
}

/* Returns whether the current or last attempt at a job is, or was, made at a server. */
static bool
has_server(const BgjobSearch *search, const char *name, TupleTableSlot *slot)
{
	char running[BGJOB_WORKER_NAME_SIZE];
	bool isnull;
	int64 id = DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull));

	if (bgjob_is_among(id, search->running, search->nrunning) &&
		bgjob_running_server(MyDatabaseId, id, running, sizeof(running)))
		return strcmp(running, name) == 0;
	(void) slot_getattr(slot, BGJOB_C_STARTED_AT, &isnull);
	if (isnull)
		return false;
	(void) slot_getattr(slot, BGJOB_C_SERVER, &isnull);
	if (isnull)
		return strcmp(name, BGJOB_DEFAULT_SERVER) == 0;
	return bgjob_row_has_text(slot, BGJOB_C_SERVER, name);
}

/* ---- JSON ---- */

/* Returns a column of type jsonb; NULL: it is null. */
static Jsonb *
json_column(TupleTableSlot *slot, BgjobColumn column)
{
	bool isnull;
	Datum value = slot_getattr(slot, column, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

static bool
has_args(const Term *term, Jsonb *args)
{
	if (args == NULL)
		return false;
	if (term->term->npath == 0)
		return bgjob_words_has_json(term->word, args);
	return bgjob_json_has_value(args, term->term, term->number);
}

/* ---- terms ---- */

/* Returns whether a term, without its negation, holds. */
static bool
holds(const BgjobSearch *search, const Term *prepared, TupleTableSlot *slot)
{
	const BgjobTerm *term = prepared->term;
	BgjobFailure failure;

	switch (term->qualifier)
	{
		case BGJOB_Q_ARGS:
			return has_args(prepared, json_column(slot, BGJOB_C_ARGS));
		case BGJOB_Q_BATCH:
			return has_number(term, slot, BGJOB_C_BATCH_ID);
		case BGJOB_Q_ERROR:
			return bgjob_json_has_error(json_column(slot, BGJOB_C_ERROR), prepared->word);
		case BGJOB_Q_FAILURE:
			return bgjob_failure_of(slot, &failure) &&
				   failure.group == (uint64) term->values[0].number;
		case BGJOB_Q_ID:
			return has_number(term, slot, BGJOB_C_ID);
		case BGJOB_Q_JOB:
			return bgjob_calls_has(&prepared->calls, slot);
		case BGJOB_Q_LIMIT:
			return has_limit(term->values[0].text, slot);
		case BGJOB_Q_QUEUE:
			return has_value(term, slot, BGJOB_C_QUEUE);
		case BGJOB_Q_RECURRING:
			return has_value(term, slot, BGJOB_C_RECURRING_NAME);
		case BGJOB_Q_ROLE:
			return has_role(prepared, slot);
		case BGJOB_Q_SEQUENCE:
			return has_value(term, slot, BGJOB_C_SEQUENCE_KEY);
		case BGJOB_Q_SERVER:
			return has_server(search, term->values[0].text, slot);
		case BGJOB_Q_SQLSTATE:
			return bgjob_json_has_sqlstate(json_column(slot, BGJOB_C_ERROR), term);
		case BGJOB_Q_TAG:
			return bgjob_row_has_tag(slot, term->values[0].text);
		case BGJOB_Q_UNIQUE:
			return has_value(term, slot, BGJOB_C_UNIQUE_KEY);
		case BGJOB_Q_WORD:
		case BGJOB_Q_SINCE:
		case BGJOB_Q_STATE:
		case BGJOB_Q_UNTIL:
			break; /* are in the filter */
	}
	return true;
}

/* Returns whether the terms hold of which the map knows, or all others. */
static bool
all_hold(BgjobSearch *search, TupleTableSlot *slot, bool mapped)
{
	MemoryContext old = MemoryContextSwitchTo(search->per_row);
	bool hold = true;

	for (int i = 0; hold && i < search->nterms; i++)
	{
		const Term *term = &search->terms[i];

		if (is_mapped(term->term) == mapped)
			hold = holds(search, term, slot) != term->term->negated;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(search->per_row);
	return hold;
}

/* bgjob_search_has_names returns whether the row in a slot matches as far as the map of jobs knows about it. */
bool
bgjob_search_has_names(BgjobSearch *search, TupleTableSlot *slot)
{
	return all_hold(search, slot, true);
}

/* bgjob_search_has_rest returns whether it matches the rest of the query, but for words. */
bool
bgjob_search_has_rest(BgjobSearch *search, TupleTableSlot *slot)
{
	return all_hold(search, slot, false);
}
