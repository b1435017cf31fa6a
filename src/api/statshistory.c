/*-------------------------------------------------------------------------
 *
 * statshistory.c
 *	  SQL functions on histograms, for the view bgjob.stats_history.
 *
 * The view (src/sql/34_stats_history.sql) reads the tables of the history (store/statshistory.c) by
 * SQL, so that the planner chooses what is read: histograms of several roles, and of the hours of a day,
 * are added up by an aggregate, and its result asked for percentiles. A histogram
 * is a bytea as rules/histogram.c packs it. Bytes that are none, which only a superuser can write into the tables,
 * are understood as far as possible.
 *
 * Runs in the calling session; reads no table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "fmgr.h"
#include "rules/histogram.h"

static void
merge(BgjobHistogram *histogram, const bytea *packed)
{
	(void) bgjob_histogram_merge_packed(histogram, (const uint8 *) VARDATA_ANY(packed),
										(int) VARSIZE_ANY_EXHDR(packed));
}

PG_FUNCTION_INFO_V1(bgjob_histogram_add_sql);

/* bgjob_internal.histogram_add(state, histogram) adds a histogram, null: none, to the state of the aggregate. */
Datum
bgjob_histogram_add_sql(PG_FUNCTION_ARGS)
{
	BgjobHistogram *state;
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "histogram_add() called outside of an aggregate");
	state = PG_ARGISNULL(0) ? MemoryContextAllocZero(context, sizeof(BgjobHistogram))
							: (BgjobHistogram *) PG_GETARG_POINTER(0);
	if (!PG_ARGISNULL(1))
		merge(state, PG_GETARG_BYTEA_PP(1));
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(bgjob_histogram_end_sql);

/* bgjob_internal.histogram_end(state) returns the histogram of the aggregate; null: there were no rows. */
Datum
bgjob_histogram_end_sql(PG_FUNCTION_ARGS)
{
	bytea *packed;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	packed = palloc(VARHDRSZ + BGJOB_HISTOGRAM_PACKED_MAX);
	SET_VARSIZE(packed, VARHDRSZ + bgjob_histogram_pack((BgjobHistogram *) PG_GETARG_POINTER(0),
														(uint8 *) VARDATA(packed)));
	PG_RETURN_BYTEA_P(packed);
}

PG_FUNCTION_INFO_V1(bgjob_histogram_percentile_sql);

/* bgjob_internal.histogram_percentile(histogram, fraction) returns a percentile in milliseconds; null: the histogram is empty. */
Datum
bgjob_histogram_percentile_sql(PG_FUNCTION_ARGS)
{
	BgjobHistogram histogram = {0};
	double percentile;

	merge(&histogram, PG_GETARG_BYTEA_PP(0));
	percentile = bgjob_histogram_percentile(&histogram, PG_GETARG_FLOAT8(1));
	if (percentile < 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(percentile / 1000);
}
