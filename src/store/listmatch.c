/*-------------------------------------------------------------------------
 *
 * listmatch.c
 *	  Whether a job's row matches a filter.
 *
 * A filter is first turned into what can be compared cheaply: the name of a job
 * into the numbers of the calls that it means (store/call.h). What the map of jobs knows
 * (base/jobmap.h) is compared by bgjob_matcher_has_names; the reader's rights and the
 * words of a search come after that.
 *
 * Runs in the session that lists jobs, inside a transaction. What the columns of the row
 * say is never evaluated: texts are compared with texts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/call.h"
#include "store/jobname.h"
#include "store/jobrow.h"
#include "store/listmatch.h"
#include "store/summary.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

/* A longer value is not searched for words, in bytes. */
#define SEARCH_MAX (256 * 1024)

/* Roles of which is remembered whether the reader sees their jobs. */
#define REMEMBERED 16

struct BgjobMatcher
{
	const BgjobListFilter *filter;
	Oid jobs; /* the table */
	MemoryContext per_row;

	/* the calls that the name of the job means, in ascending order */
	int64 *calls;
	int ncalls;
	int room;

	struct
	{
		Oid role;
		bool seen;
	} roles[REMEMBERED];
	int next_role;
};

/* ---- the filter ---- */

static int
compare_ids(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

static bool
is_among(int64 id, const int64 *ids, int n)
{
	return n > 0 && bsearch(&id, ids, n, sizeof(int64), compare_ids) != NULL;
}

/* Adds a call if the filter's name means it. */
static void
add_call(int64 id, const char *job, const char *func, void *arg)
{
	BgjobMatcher *matcher = arg;

	if (!bgjob_name_means(matcher->filter->job, job, func))
		return;
	if (matcher->ncalls == matcher->room)
	{
		matcher->room *= 2;
		matcher->calls = repalloc_huge(matcher->calls, matcher->room * sizeof(int64));
	}
	matcher->calls[matcher->ncalls++] = id;
}

static void
find_calls(BgjobMatcher *matcher)
{
	matcher->room = 16;
	matcher->calls = palloc(matcher->room * sizeof(int64));
	bgjob_calls_visit(add_call, matcher);
	qsort(matcher->calls, matcher->ncalls, sizeof(int64), compare_ids);
}

/* bgjob_matcher_create prepares a filter, which stays; "jobs" is the table of the rows. */
BgjobMatcher *
bgjob_matcher_create(const BgjobListFilter *filter, Oid jobs)
{
	BgjobMatcher *matcher = palloc0(sizeof(BgjobMatcher));

	matcher->filter = filter;
	matcher->jobs = jobs;
	matcher->per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob row", ALLOCSET_DEFAULT_SIZES);
	if (filter->job != NULL)
		find_calls(matcher);
	return matcher;
}

/* Fills in the calls of the filter, and a command of that text, unless they are too many. */
static void
probe_calls(const BgjobMatcher *matcher, BgjobMapChoice *choice)
{
	if (matcher->ncalls + 1 > BGJOB_MAP_ALTERNATIVES)
		return;
	for (int i = 0; i < matcher->ncalls; i++)
		bgjob_summary_add_call(&choice->names[choice->n++], matcher->calls[i]);
	bgjob_summary_add_command(&choice->names[choice->n++], strlen(matcher->filter->job));
}

/* bgjob_matcher_probe fills in what the map of jobs is to be asked for. Running jobs may be elsewhere. */
void
bgjob_matcher_probe(const BgjobMatcher *matcher, BgjobMapProbe *probe)
{
	const BgjobListFilter *filter = matcher->filter;

	memset(probe, 0, sizeof(*probe));
	probe->states =
		filter->state == BGJOB_NONE ? BGJOB_MAP_ALL_STATES : UINT64CONST(1) << filter->state;
	probe->since = filter->since;
	if (filter->queue != NULL)
		bgjob_summary_add_queue(&probe->names, filter->queue);
	if (filter->tag != NULL)
		bgjob_summary_add_tag(&probe->names, filter->tag);
	if (filter->job != NULL)
		probe_calls(matcher, &probe->choices[0]);
	if (OidIsValid(filter->run_as))
		bgjob_summary_add_role(&probe->names, filter->run_as);
	else if (filter->nroles <= BGJOB_MAP_ALTERNATIVES)
		for (int i = 0; i < filter->nroles; i++)
			bgjob_summary_add_role(&probe->choices[1].names[probe->choices[1].n++],
								   filter->roles[i]);
}

/* ---- names ---- */

static Datum
column(TupleTableSlot *slot, BgjobColumn number, bool *isnull)
{
	return slot_getattr(slot, number, isnull);
}

static bool
is_text(Datum value, const char *wanted)
{
	size_t length = strlen(wanted);
	const text *is;

	if (toast_raw_datum_size(value) != length + VARHDRSZ)
		return false;
	is = DatumGetTextPP(value);
	return memcmp(VARDATA_ANY(is), wanted, length) == 0;
}

/* Returns the state that bgjob.jobs shows: a job that a worker is at may be stored as enqueued. */
static BgjobState
shown_state(const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	BgjobState state =
		bgjob_state_by_letter(DatumGetChar(column(slot, BGJOB_C_STATE, &isnull)));
	int64 id = DatumGetInt64(column(slot, BGJOB_C_ID, &isnull));

	if (state == BGJOB_ENQUEUED &&
		is_among(id, matcher->filter->running, matcher->filter->nrunning))
		return BGJOB_PROCESSING;
	return state;
}

/* Returns whether a row calls what the filter's name means. */
static bool
has_call(const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	Datum value = column(slot, BGJOB_C_CALL_ID, &isnull);

	if (!isnull)
		return is_among(DatumGetInt64(value), matcher->calls, matcher->ncalls);
	value = column(slot, BGJOB_C_JOB, &isnull);
	return !isnull && is_text(value, matcher->filter->job);
}

/* Returns the elements of an array of texts, and their number. */
static Datum *
elements_of(Datum array, bool **nulls, int *n)
{
	Datum *elements;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  nulls, n);
	return elements;
}

static bool
has_tag(TupleTableSlot *slot, const char *tag)
{
	bool isnull;
	Datum tags = column(slot, BGJOB_C_TAGS, &isnull);
	Datum *elements;
	bool *nulls;
	int n = 0;

	if (isnull)
		return false;
	elements = elements_of(tags, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && is_text(elements[i], tag))
			return true;
	return false;
}

/* Returns whether the fixed columns of a row match; no memory is allocated. */
static bool
has_basics(const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	const BgjobListFilter *filter = matcher->filter;
	bool isnull;

	if (DatumGetTimestampTz(column(slot, BGJOB_C_CREATED_AT, &isnull)) < filter->since)
		return false;
	if (OidIsValid(filter->run_as) &&
		DatumGetObjectId(column(slot, BGJOB_C_RUN_AS, &isnull)) != filter->run_as)
		return false;
	return filter->state == BGJOB_NONE || shown_state(matcher, slot) == filter->state;
}

/* bgjob_matcher_has_names returns whether the row in a slot matches the filter but for its words. */
bool
bgjob_matcher_has_names(BgjobMatcher *matcher, TupleTableSlot *slot)
{
	const BgjobListFilter *filter = matcher->filter;
	MemoryContext old;
	bool isnull;
	bool matches;

	if (!has_basics(matcher, slot))
		return false;
	if (filter->queue == NULL && filter->job == NULL && filter->tag == NULL)
		return true;
	old = MemoryContextSwitchTo(matcher->per_row);
	matches = (filter->queue == NULL ||
			   is_text(column(slot, BGJOB_C_QUEUE, &isnull), filter->queue)) &&
			  (filter->job == NULL || has_call(matcher, slot)) &&
			  (filter->tag == NULL || has_tag(slot, filter->tag));
	MemoryContextSwitchTo(old);
	MemoryContextReset(matcher->per_row);
	return matches;
}

/* bgjob_matcher_is_seen returns whether the reader sees the job whose row is in a slot. */
bool
bgjob_matcher_is_seen(BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	Oid role = DatumGetObjectId(column(slot, BGJOB_C_RUN_AS, &isnull));
	bool seen;

	for (int i = 0; i < REMEMBERED; i++)
		if (matcher->roles[i].role == role)
			return matcher->roles[i].seen;
	seen = matcher->filter->sees(role);
	matcher->roles[matcher->next_role].role = role;
	matcher->roles[matcher->next_role].seen = seen;
	matcher->next_role = (matcher->next_role + 1) % REMEMBERED;
	return seen;
}

/* ---- words ---- */

/* Removes from a list the words that are in a text. */
static List *
strike(List *words, const char *text)
{
	char *lower = str_tolower(text, strlen(text), DEFAULT_COLLATION_OID);
	List *rest = NIL;
	ListCell *cell;

	foreach (cell, words)
		if (strstr(lower, lfirst(cell)) == NULL)
			rest = lappend(rest, lfirst(cell));
	return rest;
}

/* Does so for a column; what is null or too long has no words. */
static List *
strike_column(List *words, TupleTableSlot *slot, BgjobColumn number)
{
	bool isnull;
	Datum value = column(slot, number, &isnull);
	Jsonb *json;
	Datum *elements;
	bool *nulls;
	int n;

	if (words == NIL || isnull || toast_raw_datum_size(value) > SEARCH_MAX)
		return words;
	switch (number)
	{
		case BGJOB_C_ARGS:
		case BGJOB_C_ERROR:
			json = DatumGetJsonbP(value);
			return strike(words, JsonbToCString(NULL, &json->root, VARSIZE(json)));
		case BGJOB_C_TAGS:
			elements = elements_of(value, &nulls, &n);
			for (int i = 0; i < n; i++)
				if (!nulls[i])
					words = strike(words, TextDatumGetCString(elements[i]));
			return words;
		default:
			return strike(words, TextDatumGetCString(value));
	}
}

/* Does so for the name of the job, as given and as found. */
static List *
strike_name(List *words, const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	Datum call = column(slot, BGJOB_C_CALL_ID, &isnull);
	const char *job;
	const char *func;

	if (isnull)
		return strike_column(words, slot, BGJOB_C_JOB);
	bgjob_call_read(matcher->jobs, DatumGetInt64(call), &job, &func);
	return strike(strike(words, job), func);
}

/* Does so for the reason of the job's state. */
static List *
strike_reason(List *words, TupleTableSlot *slot)
{
	bool isnull;
	char letter = DatumGetChar(column(slot, BGJOB_C_STATE, &isnull));

	switch (bgjob_state_by_letter(letter))
	{
		case BGJOB_PROCESSING:
			return words;
		case BGJOB_ENQUEUED:
		case BGJOB_SCHEDULED:
		case BGJOB_AWAITING:
			return strike_column(words, slot, BGJOB_C_ENTRY_REASON);
		default:
			return strike_column(words, slot, BGJOB_C_REASON);
	}
}

/* bgjob_matcher_has_words returns whether the row in a slot has all words of the filter. */
bool
bgjob_matcher_has_words(BgjobMatcher *matcher, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(matcher->per_row);
	List *words = strike_name(matcher->filter->words, matcher, slot);
	bool has_all;

	words = strike_column(words, slot, BGJOB_C_TAGS);
	words = strike_column(words, slot, BGJOB_C_ARGS);
	words = strike_reason(words, slot);
	words = strike_column(words, slot, BGJOB_C_ERROR);
	has_all = words == NIL;
	MemoryContextSwitchTo(old);
	MemoryContextReset(matcher->per_row);
	return has_all;
}
