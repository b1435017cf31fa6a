/*-------------------------------------------------------------------------
 *
 * rowmatch.c
 *	  Comparing the columns of a job's row with texts.
 *
 * What bgjob_list (store/listmatch.c) and bgjob_search (store/search.c) have in common.
 * Texts are compared with texts, byte by byte; nothing that a row says is evaluated. A
 * name of a job is turned into the numbers of the calls that it means (store/call.h)
 * once, and rows are compared with these.
 *
 * Runs in the session that looks for jobs, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "store/call.h"
#include "store/jobname.h"
#include "store/rowmatch.h"
#include "store/summary.h"
#include "utils/array.h"
#include "utils/builtins.h"

static int
compare_ids(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* bgjob_is_among returns whether an id is among others, in ascending order. */
bool
bgjob_is_among(int64 id, const int64 *ids, int n)
{
	return n > 0 && bsearch(&id, ids, n, sizeof(int64), compare_ids) != NULL;
}

/* bgjob_text_is returns whether a value of type text is a string. It is only fetched if it is as long. */
bool
bgjob_text_is(Datum value, const char *wanted)
{
	size_t length = strlen(wanted);
	const text *is;

	if (toast_raw_datum_size(value) != length + VARHDRSZ)
		return false;
	is = DatumGetTextPP(value);
	return memcmp(VARDATA_ANY(is), wanted, length) == 0;
}

/* bgjob_text_elements returns the elements of an array of texts, and their number. */
Datum *
bgjob_text_elements(Datum array, bool **nulls, int *n)
{
	Datum *elements;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  nulls, n);
	return elements;
}

/* bgjob_row_has_text returns whether a column of type text is a string. */
bool
bgjob_row_has_text(TupleTableSlot *slot, BgjobColumn column, const char *wanted)
{
	bool isnull;
	Datum value = slot_getattr(slot, column, &isnull);

	return !isnull && bgjob_text_is(value, wanted);
}

/* bgjob_row_has_tag returns whether a job has a tag. */
bool
bgjob_row_has_tag(TupleTableSlot *slot, const char *tag)
{
	bool isnull;
	Datum tags = slot_getattr(slot, BGJOB_C_TAGS, &isnull);
	Datum *elements;
	bool *nulls;
	int n = 0;

	if (isnull)
		return false;
	elements = bgjob_text_elements(tags, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i] && bgjob_text_is(elements[i], tag))
			return true;
	return false;
}

/* Adds a call if the name means it. */
static void
add_call(int64 id, const char *job, const char *func, void *arg)
{
	BgjobCallsMeant *calls = arg;

	if (!bgjob_name_means(calls->job, job, func))
		return;
	if (calls->n == calls->room)
	{
		calls->room *= 2;
		calls->ids = repalloc_huge(calls->ids, calls->room * sizeof(int64));
	}
	calls->ids[calls->n++] = id;
}

/* bgjob_calls_meant finds what the name of a job means; the name stays. */
void
bgjob_calls_meant(const char *job, BgjobCallsMeant *calls)
{
	calls->job = job;
	calls->n = 0;
	calls->room = 16;
	calls->ids = palloc(calls->room * sizeof(int64));
	bgjob_calls_visit(add_call, calls);
	qsort(calls->ids, calls->n, sizeof(int64), compare_ids);
}

/* bgjob_calls_probe fills in what the map of jobs is to be asked for, unless that is too much. */
void
bgjob_calls_probe(const BgjobCallsMeant *calls, BgjobMapChoice *choice)
{
	if (calls->n + 1 > BGJOB_MAP_ALTERNATIVES)
		return;
	for (int i = 0; i < calls->n; i++)
		bgjob_summary_add_call(&choice->names[choice->n++], calls->ids[i]);
	bgjob_summary_add_command(&choice->names[choice->n++], strlen(calls->job));
}

/* bgjob_calls_has returns whether a job calls what the name means. */
bool
bgjob_calls_has(const BgjobCallsMeant *calls, TupleTableSlot *slot)
{
	bool isnull;
	Datum value = slot_getattr(slot, BGJOB_C_CALL_ID, &isnull);

	if (!isnull)
		return bgjob_is_among(DatumGetInt64(value), calls->ids, calls->n);
	return bgjob_row_has_text(slot, BGJOB_C_JOB, calls->job);
}
