/*-------------------------------------------------------------------------
 *
 * search.c
 *	  bgjob_search(): the newest jobs that match what a user has typed.
 *
 * Reads the query (rules/query.h), has it searched for (store/listing.h), and returns
 * ids: bgjob_list() and the views show what there is to see of them. Who may read the
 * views may call it, and finds the same jobs. It changes nothing in the database, so it
 * also works in read-only transactions and on a standby.
 *
 * What a search costs is bounded by max_time, whatever the query: the caller is told how
 * many jobs were looked through, and where to go on.
 *
 * Runs in the calling session, in its transaction and with its snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "api/list.h"
#include "api/rights.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "rules/clock.h"
#include "rules/query.h"
#include "store/search.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Parameters of bgjob_search, in their order. */
enum
{
	P_QUERY,
	P_BEFORE_ID,
	P_MAX_ROWS,
	P_MAX_TIME,
	P_SEARCH_ARGS
};

/* Raises 22023 for a query that is not understood. */
static void
refuse(const char *text, const BgjobQueryError *error)
{
	int at = pg_mbstrlen_with_len(text, (int) error->position) + 1;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 error->qualifier == NULL
				 ? errmsg("invalid query for jobs")
				 : errmsg("invalid value of \"%s\" in a query for jobs", error->qualifier),
			 errdetail("At character %d: %s", at, error->message), errhint("%s", error->hint)));
}

/* Returns the query that an argument is. Raises 22004 if it is null, 22023 if it is not understood. */
static BgjobQuery *
query_arg(FunctionCallInfo fcinfo)
{
	BgjobQuery *query = palloc(sizeof(BgjobQuery));
	BgjobQueryError error;
	char *text;

	bgjob_arg_require(fcinfo, P_QUERY, "query", "It says which jobs are looked for.");
	text = bgjob_arg_text(fcinfo, P_QUERY);
	if (!bgjob_query_parse(pstrdup(text), query, &error))
		refuse(text, &error);
	return query;
}

/* Returns whether arguments are searched. Raises 22004 if that is null, 22023 if they are not, but the query has a condition on them. */
static bool
search_args_arg(FunctionCallInfo fcinfo, const BgjobQuery *query)
{
	bool searched;

	bgjob_arg_require(fcinfo, P_SEARCH_ARGS, "search_args",
					  "It is whether arguments are searched.");
	searched = PG_GETARG_BOOL(P_SEARCH_ARGS);
	for (int i = 0; i < query->nterms && !searched; i++)
		if (query->terms[i].qualifier == BGJOB_Q_ARGS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("arguments of jobs are not searched"),
					 errdetail("The query has a condition on them, but search_args is false."),
					 errhint("Leave out what begins with \"args\".")));
	return searched;
}

/* Makes the one row of the result. */
static Datum
make_result(FunctionCallInfo fcinfo, const int64 *ids, int n, int64 looked_through, int64 rest)
{
	Datum *elements = palloc(Max(n, 1) * sizeof(Datum));
	Datum values[3];
	bool nulls[3] = {false};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(ids[i]);
	values[0] = PointerGetDatum(
		construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = Int64GetDatum(looked_through);
	values[2] = Int64GetDatum(rest);
	nulls[2] = rest == 0;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(bgjob_search);

/*
 * bgjob_search(query, before_id, max_rows, max_time, search_args) returns the ids of the newest
 * jobs that match, how many were looked through, and the before_id to go on with (null: all
 * were). Errors: 22023 the query is not understood, max_rows or max_time is out of range; 22004
 * one of them is null; 42704 no such role; 42501 no USAGE.
 */
Datum
bgjob_search(PG_FUNCTION_ARGS)
{
	BgjobListFilter filter = {.since = DT_NOBEGIN, .until = DT_NOEND, .before = PG_INT64_MAX};
	BgjobListing *listing;
	BgjobQuery *query;
	int64 *ids;
	int rows;
	int n;
	Datum result;

	bgjob_check_sight();
	query = query_arg(fcinfo);
	rows = bgjob_list_rows_arg(fcinfo, P_MAX_ROWS);
	filter.deadline = bgjob_list_deadline_arg(fcinfo, P_MAX_TIME);
	filter.hides_args = !search_args_arg(fcinfo, query);
	if (!PG_ARGISNULL(P_BEFORE_ID))
		filter.before = Max(PG_GETARG_INT64(P_BEFORE_ID), 0);
	bgjob_list_pass_visible(&filter);
	ids = palloc(rows * sizeof(int64));
	if (!bgjob_search_prepare(query, bgjob_now(), &filter))
		return make_result(fcinfo, ids, 0, 0, 0);
	listing = bgjob_listing_begin(&filter);
	n = bgjob_listing_search(listing, ids, rows);
	result = make_result(fcinfo, ids, n, bgjob_listing_looked_through(listing),
						 bgjob_listing_rest(listing));
	bgjob_listing_end(listing);
	return result;
}
