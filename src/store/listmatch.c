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
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store/call.h"
#include "store/jobrow.h"
#include "store/listmatch.h"
#include "store/rowmatch.h"
#include "store/search.h"
#include "store/summary.h"
#include "store/words.h"
#include "utils/array.h"
#include "utils/builtins.h"
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

	BgjobCallsMeant calls; /* what the name of the job means */

	struct
	{
		Oid role;
		bool seen;
	} roles[REMEMBERED];
	int next_role;
};

/* ---- the filter ---- */

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
		bgjob_calls_meant(filter->job, &matcher->calls);
	return matcher;
}

static void
probe_roles_seen(const BgjobListFilter *filter, BgjobMapChoice *choice)
{
	for (int i = 0; i < filter->nroles; i++)
		bgjob_summary_add_role(&choice->names[choice->n++], filter->roles[i]);
}

/* bgjob_matcher_probe fills in what the map of jobs is to be asked for. Running jobs may be elsewhere. */
void
bgjob_matcher_probe(const BgjobMatcher *matcher, BgjobMapProbe *probe)
{
	const BgjobListFilter *filter = matcher->filter;

	memset(probe, 0, sizeof(*probe));
	probe->states = filter->states == 0 ? BGJOB_MAP_ALL_STATES : filter->states;
	probe->since = filter->since;
	if (filter->queue != NULL)
		bgjob_summary_add_queue(&probe->names, filter->queue);
	if (filter->tag != NULL)
		bgjob_summary_add_tag(&probe->names, filter->tag);
	if (filter->job != NULL)
		bgjob_calls_probe(&matcher->calls, &probe->choices[BGJOB_MAP_OF_CALLS]);
	if (filter->search != NULL)
		bgjob_search_probe(filter->search, probe);
	if (OidIsValid(filter->run_as))
		bgjob_summary_add_role(&probe->names, filter->run_as);
	else if (filter->nroles <= BGJOB_MAP_ALTERNATIVES)
		probe_roles_seen(filter, &probe->choices[BGJOB_MAP_OF_ROLES_SEEN]);
}

/* ---- names ---- */

/* Returns the state that bgjob.jobs shows: a job that a worker is at may be stored as enqueued. */
static BgjobState
shown_state(const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	BgjobState state =
		bgjob_state_by_letter(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull)));
	int64 id = DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull));

	if (state == BGJOB_ENQUEUED &&
		bgjob_is_among(id, matcher->filter->running, matcher->filter->nrunning))
		return BGJOB_PROCESSING;
	return state;
}

/* Returns whether the fixed columns of a row match; no memory is allocated. */
static bool
has_basics(const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	const BgjobListFilter *filter = matcher->filter;
	bool isnull;
	TimestampTz created_at =
		DatumGetTimestampTz(slot_getattr(slot, BGJOB_C_CREATED_AT, &isnull));

	if (created_at < filter->since || created_at >= filter->until)
		return false;
	if (OidIsValid(filter->run_as) &&
		DatumGetObjectId(slot_getattr(slot, BGJOB_C_RUN_AS, &isnull)) != filter->run_as)
		return false;
	return filter->states == 0 ||
		   (filter->states & BGJOB_STATE_BIT(shown_state(matcher, slot))) != 0;
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
	if (filter->search != NULL && !bgjob_search_has_names(filter->search, slot))
		return false;
	if (filter->queue == NULL && filter->job == NULL && filter->tag == NULL)
		return true;
	old = MemoryContextSwitchTo(matcher->per_row);
	matches = (filter->queue == NULL ||
			   bgjob_text_is(slot_getattr(slot, BGJOB_C_QUEUE, &isnull), filter->queue)) &&
			  (filter->job == NULL || bgjob_calls_has(&matcher->calls, slot)) &&
			  (filter->tag == NULL || bgjob_row_has_tag(slot, filter->tag));
	MemoryContextSwitchTo(old);
	MemoryContextReset(matcher->per_row);
	return matches;
}

/* bgjob_matcher_is_seen returns whether the reader sees the job whose row is in a slot. */
bool
bgjob_matcher_is_seen(BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	Oid role = DatumGetObjectId(slot_getattr(slot, BGJOB_C_RUN_AS, &isnull));
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

/* Removes from a list of words those that are in a column; what is null or too long has no words. */
static List *
strike_column(List *words, TupleTableSlot *slot, BgjobColumn number)
{
	bool isnull;
	Datum value = slot_getattr(slot, number, &isnull);
	Datum *elements;
	bool *nulls;
	int n;

	if (words == NIL || isnull || toast_raw_datum_size(value) > SEARCH_MAX)
		return words;
	switch (number)
	{
		case BGJOB_C_ARGS:
		case BGJOB_C_ERROR:
			return bgjob_words_strike_json(words, DatumGetJsonbP(value));
		case BGJOB_C_TAGS:
			elements = bgjob_text_elements(value, &nulls, &n);
			for (int i = 0; i < n; i++)
				if (!nulls[i])
					words = bgjob_words_strike(words, TextDatumGetCString(elements[i]));
			return words;
		default:
			return bgjob_words_strike(words, TextDatumGetCString(value));
	}
}

/* Does so for the name of the job, as given and as found. */
static List *
strike_name(List *words, const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	bool isnull;
	Datum call = slot_getattr(slot, BGJOB_C_CALL_ID, &isnull);
	const char *job;
	const char *func;

	if (isnull)
		return strike_column(words, slot, BGJOB_C_JOB);
	bgjob_call_read(matcher->jobs, DatumGetInt64(call), &job, &func);
	return bgjob_words_strike(bgjob_words_strike(words, job), func);
}

/* Does so for the reason of the job's state. */
static List *
strike_reason(List *words, TupleTableSlot *slot)
{
	bool isnull;
	char letter = DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull));

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

/* Removes the words that are anywhere in the row from a list. */
static List *
strike_row(List *words, const BgjobMatcher *matcher, TupleTableSlot *slot)
{
	words = strike_name(words, matcher, slot);
	words = strike_column(words, slot, BGJOB_C_TAGS);
	if (!matcher->filter->hides_args)
		words = strike_column(words, slot, BGJOB_C_ARGS);
	words = strike_reason(words, slot);
	return strike_column(words, slot, BGJOB_C_ERROR);
}

/* bgjob_matcher_has_words returns whether the row in a slot has all words of the filter, and none of those unwanted. */
bool
bgjob_matcher_has_words(BgjobMatcher *matcher, TupleTableSlot *slot)
{
	const BgjobListFilter *filter = matcher->filter;
	MemoryContext old = MemoryContextSwitchTo(matcher->per_row);
	bool has_all = strike_row(filter->words, matcher, slot) == NIL;

	if (has_all && filter->unwanted != NIL)
		has_all = list_length(strike_row(filter->unwanted, matcher, slot)) ==
				  list_length(filter->unwanted);
	MemoryContextSwitchTo(old);
	MemoryContextReset(matcher->per_row);
	return has_all;
}
