/*-------------------------------------------------------------------------
 *
 * functionstats.c
 *	  SQL functions on the statistics of functions.
 *
 * The view bgjob.function_stats (src/sql/34_function_stats.sql) shows what
 * bgjob_internal.function_stats() returns: the statistics of this database
 * (base/functionstats.c), of the roles whose jobs the reader may see. Each row is
 * consistent; between two of them jobs may end.
 *
 * Resetting them needs EXECUTE, as the administrative functions do. It changes
 * no table, so it works on a standby and in a read-only transaction, too.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/rights.h"
#include "base/functionstats.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/jobrow.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define COLUMNS 23

/* A row that is being filled in, from left to right. */
typedef struct Row
{
	int n;
	Datum values[COLUMNS];
	bool nulls[COLUMNS];
} Row;

static void
put(Row *row, Datum value)
{
	row->values[row->n++] = value;
}

static void
put_null(Row *row)
{
	row->nulls[row->n++] = true;
}

/* Puts a text, null if it is empty. */
static void
put_text(Row *row, const char *text)
{
	if (text[0] == '\0')
		put_null(row);
	else
		put(row, CStringGetTextDatum(text));
}

/* Puts a time, null if there was none. */
static void
put_time(Row *row, TimestampTz at)
{
	if (at == 0)
		put_null(row);
	else
		put(row, TimestampTzGetDatum(at));
}

/* Puts total, least, greatest, mean and deviation of a series; all but the total are null if it is empty. */
static void
put_moments(Row *row, const BgjobMoments *moments)
{
	put(row, Float8GetDatum(moments->total));
	if (moments->n == 0)
	{
		for (int i = 0; i < 4; i++)
			put_null(row);
		return;
	}
	put(row, Float8GetDatum(moments->min));
	put(row, Float8GetDatum(moments->max));
	put(row, Float8GetDatum(moments->mean));
	put(row, Float8GetDatum(bgjob_moments_deviation(moments)));
}

static const char *
kind_name(uint32 kind)
{
	switch ((BgjobKind) kind)
	{
		case BGJOB_KIND_FUNCTION:
			return "function";
		case BGJOB_KIND_SQL:
			return "sql";
		case BGJOB_KIND_EXTERNAL:
			return "external";
	}
	return ""; /* of a row that was written by hand */
}

/* Fills in a row of the view, in the order of its columns. */
static void
fill_row(Row *row, const BgjobFunctionStats *stats)
{
	const BgjobFunctionSums *sums = &stats->sums;

	memset(row, 0, sizeof(*row));
	put(row, CStringGetTextDatum(stats->name));
	put_text(row, kind_name(stats->key.kind));
	put(row, ObjectIdGetDatum(stats->key.role));
	put(row, Int64GetDatum(sums->jobs));
	put(row, Int64GetDatum(sums->attempts));
	put(row, Int64GetDatum(sums->failures));
	put(row, Int64GetDatum(sums->retries));
	put(row, Int64GetDatum(sums->interruptions));
	put_moments(row, &sums->run_time);
	put_moments(row, &sums->wait_time);
	put_time(row, sums->last_run_at);
	put_time(row, sums->last_failed_at);
	put_text(row, sums->last_sqlstate);
	put_text(row, stats->last_error);
	put(row, TimestampTzGetDatum(stats->since));
	Assert(row->n == COLUMNS);
}

PG_FUNCTION_INFO_V1(bgjob_function_stats);

/* bgjob_internal.function_stats() returns the rows of bgjob.function_stats that the current user may see. */
Datum
bgjob_function_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobFunctionStats stats;
	int position = 0;
	Row row;

	InitMaterializedSRF(fcinfo, 0);
	while (bgjob_function_stats_next(&position, MyDatabaseId, &stats))
	{
		CHECK_FOR_INTERRUPTS();
		if (!bgjob_may_see(stats.key.role))
			continue;
		fill_row(&row, &stats);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(bgjob_function_stats_reset_sql);

/*
 * bgjob_function_stats_reset(job) begins the statistics of this database anew:
 * those of one function or kind of command, of all roles; null: all. Returns how
 * many rows the view loses. Errors: 42501 no EXECUTE.
 */
Datum
bgjob_function_stats_reset_sql(PG_FUNCTION_ARGS)
{
	char *job = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	bgjob_check_usage();
	PG_RETURN_INT64(bgjob_function_stats_reset(MyDatabaseId, job));
}
