/*-------------------------------------------------------------------------
 *
 * listrows.c
 *	  The rows of the view bgjob.jobs for listed ids.
 *
 * The view says what a user sees of a job, so rows are read from it: as the current
 * user, with the active snapshot. A job that a worker has begun, or ended, since the
 * ids were listed may show another state by now than that which was asked for; such rows
 * are left out.
 *
 * The condition is on the id alone, and names its operator, so no search_path and
 * no planner has a choice. Values that are stored out of line are not fetched here.
 *
 * Runs in the session that lists jobs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "store/listrows.h"
#include "utils/array.h"

/* Returns the plan, which stays until the end of the session. */
static SPIPlanPtr
get_plan(void)
{
	static const char *const query =
		"SELECT * FROM bgjob.jobs "
		"WHERE id OPERATOR(pg_catalog.=) ANY ($1) ORDER BY id DESC";
	static SPIPlanPtr plan = NULL;
	Oid types[] = {INT8ARRAYOID};
	SPIPlanPtr made;

	if (plan != NULL)
		return plan;
	made = SPI_prepare(query, lengthof(types), types);
	if (made == NULL || SPI_keepplan(made) != 0)
		elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
	plan = made;
	return plan;
}

static Datum
make_array(const int64 *ids, int n)
{
	Datum *elements = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(ids[i]);
	return PointerGetDatum(
		construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Adds the rows of a result that show the state (NULL: any). Returns their number. */
static int
add_rows(const char *state, Tuplestorestate *to)
{
	TupleDesc desc = SPI_tuptable->tupdesc;
	int column = SPI_fnumber(desc, "state");
	int added = 0;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];

		if (state != NULL && strcmp(SPI_getvalue(tuple, desc, column), state) != 0)
			continue;
		tuplestore_puttuple(to, tuple);
		added++;
	}
	return added;
}

/*
 * bgjob_list_rows adds the rows of bgjob.jobs with these ids to a store, in descending
 * order, if they show a state (NULL: any). Returns their number.
 */
int
bgjob_list_rows(const int64 *ids, int n, const char *state, Tuplestorestate *to)
{
	Datum array = make_array(ids, n);
	int added;
	int result;

	SPI_connect();
	result = SPI_execute_plan(get_plan(), &array, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read bgjob.jobs: %s", SPI_result_code_string(result));
	added = add_rows(state, to);
	SPI_finish();
	return added;
}
