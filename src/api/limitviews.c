/*-------------------------------------------------------------------------
 *
 * limitviews.c
 *	  The SQL function that returns the rows of bgjob.limits.
 *
 * One row for each limit and each pattern, and one for each key of a pattern that is in use. Every role sees which
 * limits are configured, and how they are used. A key may come from the arguments of a job: it is shown to who sees such a
 * job that runs or waits, or the jobs of all roles.
 *
 * Runs in the session that reads the view. The numbers are those of this moment, not of the
 * session's snapshot. Locks: those of base/gatetable.c, to copy names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/rights.h"
#include "base/gate.h"
#include "base/gatetable.h"
#include "base/registry.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/limitconf.h"
#include "store/limitkeys.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* The columns of a row. */
enum
{
	C_NAME,
	C_MAX_RUNNING,
	C_RUNNING,
	C_WAITING,
	C_RATE,
	C_PER,
	C_ALGORITHM,
	C_USED,
	C_CLOSED_UNTIL,
	C_ON_LIMIT,
	C_COUNT
};

static const char *const algorithms[] = {
	[BGJOB_RATE_FIXED_WINDOW] = "fixed_window",
	[BGJOB_RATE_SLIDING_WINDOW] = "sliding_window",
	[BGJOB_RATE_TOKEN_BUCKET] = "token_bucket",
};

/* What is configured of a limit. */
static void
fill_configured(const BgjobLimitConf *conf, Datum *values, bool *nulls)
{
	values[C_MAX_RUNNING] = Int32GetDatum(conf->max_running);
	nulls[C_MAX_RUNNING] = conf->max_running < 0;
	values[C_ON_LIMIT] = CStringGetTextDatum(conf->deletes ? "delete" : "wait");
	nulls[C_ON_LIMIT] = false;
	if (conf->rate.algorithm == BGJOB_RATE_NONE)
		return;
	values[C_RATE] = Int32GetDatum(conf->rate.units);
	values[C_PER] = IntervalPGetDatum(conf->per);
	values[C_ALGORITHM] = CStringGetTextDatum(algorithms[conf->rate.algorithm]);
	nulls[C_RATE] = nulls[C_PER] = nulls[C_ALGORITHM] = false;
}

/* How a limit is used. Returns until when it is closed in shared memory. */
static TimestampTz
fill_used(const char *name, Datum *values, bool *nulls)
{
	BgjobGateNeed need;
	BgjobGateState state;

	bgjob_gate_need_of_limit(name, 1, &need);
	bgjob_gate_read(&need, &state);
	values[C_RUNNING] = Int32GetDatum(state.running);
	values[C_WAITING] = Int64GetDatum(bgjob_line_count(need.gate, PG_INT64_MAX));
	values[C_USED] = Int32GetDatum(state.used);
	nulls[C_RUNNING] = nulls[C_WAITING] = false;
	nulls[C_USED] = need.rate.algorithm == BGJOB_RATE_NONE;
	return state.closed_until;
}

/* Adds the row of a limit or of a key. A pattern is used by its keys. */
static void
add_row(ReturnSetInfo *result, const char *name, const BgjobLimitConf *conf)
{
	Datum values[C_COUNT] = {0};
	bool nulls[C_COUNT];
	TimestampTz closed_until = conf->closed_until;

	memset(nulls, true, sizeof(nulls));
	values[C_NAME] = CStringGetTextDatum(name);
	nulls[C_NAME] = false;
	fill_configured(conf, values, nulls);
	if (!bgjob_is_pattern(name))
		closed_until = Max(closed_until, fill_used(name, values, nulls));
	values[C_CLOSED_UNTIL] = TimestampTzGetDatum(closed_until);
	nulls[C_CLOSED_UNTIL] = closed_until <= bgjob_now();
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* ---- keys of patterns ---- */

/* A key that has been met. */
typedef struct LimitKey
{
	char name[BGJOB_LIMIT_NAME_MAX + 1]; /* zero-filled; must be first */
} LimitKey;

static void
note_key(const char *name, void *arg)
{
	LimitKey key = {0};

	strlcpy(key.name, name, sizeof(key.name));
	(void) hash_search(arg, &key, HASH_ENTER, NULL);
}

/* Notes the keys that shared memory knows. */
static void
note_keys_in_memory(HTAB *keys)
{
	char(*names)[BGJOB_GATE_NAME_SIZE] = NULL;
	int room = 0;
	int n = bgjob_gate_names(NULL, 0, bgjob_now());

	while (n > room)
	{
		room = n + n / 8;
		names = palloc_extended((Size) room * sizeof(*names), MCXT_ALLOC_HUGE);
		n = bgjob_gate_names(names, room, bgjob_now());
	}
	for (int i = 0; i < n; i++)
		note_key(names[i], keys);
}

/* Adds the rows of the keys in use that the reader may see. */
static void
add_keys(ReturnSetInfo *result)
{
	HASHCTL info = {.keysize = sizeof(LimitKey),
					.entrysize = sizeof(LimitKey),
					.hcxt = CurrentMemoryContext};
	HTAB *keys = hash_create("bgjob limits", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	HASH_SEQ_STATUS all;
	const LimitKey *key;

	bgjob_limitkeys_visit(bgjob_may_see, note_key, keys);
	if (bgjob_registry != NULL && bgjob_sees_all())
		note_keys_in_memory(keys);
	hash_seq_init(&all, keys);
	while ((key = hash_seq_search(&all)) != NULL)
	{
		const BgjobLimitConf *conf = bgjob_limitconf_find(key->name);

		if (conf != NULL && conf->pattern && strcmp(conf->name, key->name) != 0)
			add_row(result, key->name, conf);
	}
}

static bool
any_pattern(List *limits)
{
	ListCell *cell;

	foreach (cell, limits)
		if (((const BgjobLimitConf *) lfirst(cell))->pattern)
			return true;
	return false;
}

PG_FUNCTION_INFO_V1(bgjob_limit_rows);

/* bgjob_internal.limits() returns the rows of bgjob.limits that the current user may see. */
Datum
bgjob_limit_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List *limits;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	limits = bgjob_limitconf_list();
	foreach (cell, limits)
	{
		const BgjobLimitConf *conf = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		add_row(result, conf->name, conf);
	}
	if (any_pattern(limits))
		add_keys(result);
	return (Datum) 0;
}
