/*-------------------------------------------------------------------------
 *
 * metricsamples.c
 *	  Returning the samples of bgjob.metrics.
 *
 * For the files that have the values (api/metrics.c, api/metric*.c): a sample is a row, with the name, type and
 * help of the metric that is being returned, and the label of the database.
 *
 * Runs in the session that reads the view. Locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/metrics.h"
#include "api/rights.h"
#include "base/totals.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* At most so many labels has a sample. */
#define LABELS_MAX 6

/* The columns of a row. */
enum
{
	C_NAME,
	C_LABELS,
	C_VALUE,
	C_HELP,
	C_TYPE,
	C_COUNT
};

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	(void) pushJsonbValue(state, token, &value);
}

/* Returns labels as an object, with that of the database. */
static Datum
labels_datum(const char *database, const BgjobLabel *labels, int n)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (database != NULL)
	{
		push_string(&state, WJB_KEY, "database");
		push_string(&state, WJB_VALUE, database);
	}
	for (int i = 0; i < n; i++)
	{
		push_string(&state, WJB_KEY, labels[i].name);
		push_string(&state, WJB_VALUE, labels[i].value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(object));
}

static void
put_named(BgjobMetrics *metrics, const char *name, double value, const BgjobLabel *labels,
		  int n)
{
	bool nulls[C_COUNT] = {false};
	Datum values[C_COUNT] = {[C_NAME] = CStringGetTextDatum(name),
							 [C_LABELS] = labels_datum(metrics->database, labels, n),
							 [C_VALUE] = Float8GetDatum(value),
							 [C_HELP] = CStringGetTextDatum(metrics->help),
							 [C_TYPE] = CStringGetTextDatum(metrics->type)};

	tuplestore_putvalues(metrics->result->setResult, metrics->result->setDesc, values, nulls);
	for (int i = C_NAME; i < C_COUNT; i++)
		if (i != C_VALUE)
			pfree(DatumGetPointer(values[i]));
}

/* bgjob_metric_put returns a sample of the metric that is being returned, with these labels and that of the database. */
void
bgjob_metric_put(BgjobMetrics *metrics, double value, const BgjobLabel *labels, int n)
{
	put_named(metrics, metrics->name, value, labels, n);
}

/* Returns the upper bound of a bucket, in seconds, as a label: without zeros at the end. */
static const char *
bound_label(int bucket, char *text, Size size)
{
	char *end;

	if (bucket == BGJOB_DURATION_BOUNDS)
		return "+Inf";
	snprintf(text, size, "%.6f", (double) BGJOB_DURATION_BOUND(bucket) / USECS_PER_SEC);
	for (end = text + strlen(text); end[-1] == '0'; end--)
		end[-1] = '\0';
	return text;
}

/*
 * bgjob_metric_put_buckets returns the samples of a histogram: for each bound of base/totals.h how many
 * durations there were of at most that, and their number and sum, in microseconds. The array of labels
 * has room for one more.
 */
void
bgjob_metric_put_buckets(BgjobMetrics *metrics, const int64 *at_most, int64 count, int64 sum,
						 const BgjobLabel *labels, int n)
{
	char name[NAMEDATALEN * 2];
	BgjobLabel with[LABELS_MAX];
	char text[32];

	Assert(n < LABELS_MAX);
	memcpy(with, labels, n * sizeof(BgjobLabel));
	snprintf(name, sizeof(name), "%s_bucket", metrics->name);
	for (int i = 0; i < BGJOB_DURATION_BUCKETS; i++)
	{
		with[n] = (BgjobLabel){"le", bound_label(i, text, sizeof(text))};
		put_named(metrics, name, (double) (i < BGJOB_DURATION_BOUNDS ? at_most[i] : count),
				  with, n + 1);
	}
	snprintf(name, sizeof(name), "%s_sum", metrics->name);
	put_named(metrics, name, (double) sum / USECS_PER_SEC, labels, n);
	snprintf(name, sizeof(name), "%s_count", metrics->name);
	put_named(metrics, name, (double) count, labels, n);
}

/* bgjob_metric_sees returns whether the reader may see what is a role's; a callback. */
bool
bgjob_metric_sees(Oid role, void *arg)
{
	return bgjob_may_see(role);
}

/* bgjob_metric_seconds returns a time as seconds since 1970. */
double
bgjob_metric_seconds(TimestampTz at)
{
	return (double) at / USECS_PER_SEC +
		   (double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}
