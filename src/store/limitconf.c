/*-------------------------------------------------------------------------
 *
 * limitconf.c
 *	  The configuration of limits by administrators.
 *
 * bgjob_internal.limit_conf has a row for each limit, and for each pattern 'prefix*', of
 * which each key is a limit of its own. Each process caches the table (store/confcache.c).
 *
 * Any process, inside a transaction. A row is locked by its update, as any row is;
 * two sessions that configure the same new limit at the same time meet at the unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/interval.h"
#include "store/confcache.h"
#include "store/limitconf.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.limit_conf. */
enum
{
	C_NAME,
	C_VERSION,
	C_MAX_RUNNING,
	C_RATE,
	C_PER,
	C_ALGORITHM,
	C_ON_LIMIT,
	C_CLOSED_UNTIL,
	C_COUNT
};

/* The letters that are stored. */
static const char letters[] = {
	[BGJOB_RATE_NONE] = 's',
	[BGJOB_RATE_FIXED_WINDOW] = 'f',
	[BGJOB_RATE_SLIDING_WINDOW] = 's',
	[BGJOB_RATE_TOKEN_BUCKET] = 't',
};

/* Returns the algorithm of a letter; the default for one that was written by hand. */
static BgjobRateAlgorithm
algorithm_of(char letter)
{
	if (letter == letters[BGJOB_RATE_FIXED_WINDOW])
		return BGJOB_RATE_FIXED_WINDOW;
	if (letter == letters[BGJOB_RATE_TOKEN_BUCKET])
		return BGJOB_RATE_TOKEN_BUCKET;
	return BGJOB_RATE_SLIDING_WINDOW;
}

/* Reads the rate of a row; none if the row says nonsense, since it was written by hand. */
static void
read_rate(const TupleTableSlot *slot, BgjobRate *rate)
{
	rate->algorithm = BGJOB_RATE_NONE;
	if (slot->tts_isnull[C_RATE] || slot->tts_isnull[C_PER])
		return;
	rate->units = DatumGetInt32(slot->tts_values[C_RATE]);
	rate->per = Min(
		bgjob_interval_microseconds(DatumGetIntervalP(slot->tts_values[C_PER]), DAYS_PER_MONTH),
		BGJOB_LIMIT_PER_MAX);
	if (rate->units > 0 && rate->per > 0)
		rate->algorithm = algorithm_of(DatumGetChar(slot->tts_values[C_ALGORITHM]));
}

static const void *
read_row(const TupleTableSlot *slot, const char **name)
{
	BgjobLimitConf *limit = palloc0(sizeof(BgjobLimitConf));

	limit->name = *name = TextDatumGetCString(slot->tts_values[C_NAME]);
	limit->pattern = bgjob_is_pattern(limit->name);
	limit->version = DatumGetInt64(slot->tts_values[C_VERSION]);
	limit->max_running = -1;
	if (!slot->tts_isnull[C_MAX_RUNNING])
		limit->max_running = Max(DatumGetInt32(slot->tts_values[C_MAX_RUNNING]), 0);
	read_rate(slot, &limit->rate);
	if (limit->rate.algorithm != BGJOB_RATE_NONE)
		limit->per =
			DatumGetIntervalP(datumCopy(slot->tts_values[C_PER], false, sizeof(Interval)));
	limit->deletes = DatumGetChar(slot->tts_values[C_ON_LIMIT]) == 'd';
	if (!slot->tts_isnull[C_CLOSED_UNTIL])
		limit->closed_until = DatumGetTimestampTz(slot->tts_values[C_CLOSED_UNTIL]);
	return limit;
}

static BgjobConfCache cache = {
	.table = BGJOB_TABLE_LIMIT_CONF, .cached = BGJOB_CACHED_LIMITS, .read = read_row};

/*
 * bgjob_limitconf_find returns the limit of a name: the one with this name, else the
 * longest pattern that fits it; NULL: there is none. Valid in this transaction.
 */
const BgjobLimitConf *
bgjob_limitconf_find(const char *name)
{
	return bgjob_confcache_find(&cache, name);
}

/* bgjob_limitconf_list returns all limits and patterns, in no order. */
List *
bgjob_limitconf_list(void)
{
	return bgjob_confcache_list(&cache);
}

/*
 * bgjob_limit_units splits an element of the column limits of a job, 'name=units', and returns
 * the units; *name_length is the length of the name. The last = counts: a name may have some if units follow.
 */
int
bgjob_limit_units(const char *text, int *name_length)
{
	const char *equals = strrchr(text, '=');
	long units;

	if (equals == NULL)
	{
		*name_length = (int) strlen(text);
		return 1;
	}
	*name_length = (int) (equals - text);
	units = strtol(equals + 1, NULL, 10);
	return units > 0 && units <= PG_INT32_MAX ? (int) units : 1;
}

static bool
find_and_lock(BgjobRel *rel, const char *name)
{
	return bgjob_rel_find_locked(rel, "limit_conf_pkey", name);
}

static void
end_change(BgjobRel *rel)
{
	bgjob_confcache_changed(&cache, rel);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

/* Fills in a row; not when it is closed. */
static void
fill(Datum *values, bool *nulls, const char *name, const BgjobLimitChange *change)
{
	values[C_NAME] = CStringGetTextDatum(name);
	values[C_VERSION] = Int64GetDatum(bgjob_next_id());
	values[C_MAX_RUNNING] = Int32GetDatum(change->max_running);
	nulls[C_MAX_RUNNING] = change->max_running < 0;
	values[C_RATE] = Int32GetDatum(change->rate);
	nulls[C_RATE] = change->rate == 0;
	values[C_PER] = IntervalPGetDatum(change->per);
	nulls[C_PER] = change->per == NULL;
	values[C_ALGORITHM] = CharGetDatum(letters[change->algorithm]);
	values[C_ON_LIMIT] = CharGetDatum(change->deletes ? 'd' : 'w');
}

/* bgjob_limitconf_set configures a limit, or replaces the one of its name, which stays closed if it is. */
void
bgjob_limitconf_set(const char *name, const BgjobLimitChange *change)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LIMIT_CONF);
	bool found = find_and_lock(rel, name);
	ItemPointerData tid = rel->tid;
	Datum values[C_COUNT];
	bool nulls[C_COUNT] = {false};

	fill(values, nulls, name, change);
	nulls[C_CLOSED_UNTIL] = true;
	values[C_CLOSED_UNTIL] = (Datum) 0;
	if (found)
		values[C_CLOSED_UNTIL] =
			slot_getattr(rel->slot, C_CLOSED_UNTIL + 1, &nulls[C_CLOSED_UNTIL]);
	if (found)
		bgjob_rel_update(rel, &tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	end_change(rel);
}

/* bgjob_limitconf_remove removes a limit; false if there is none of that name. */
bool
bgjob_limitconf_remove(const char *name)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LIMIT_CONF);
	bool found = find_and_lock(rel, name);

	if (found)
		bgjob_rel_delete_locked(rel, &rel->tid);
	end_change(rel);
	return found;
}

/* bgjob_limitconf_close closes a limit, or the keys of a pattern, until a time; false if there is none of that name. */
bool
bgjob_limitconf_close(const char *name, TimestampTz until)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LIMIT_CONF);
	bool found = find_and_lock(rel, name);
	ItemPointerData tid = rel->tid;
	Datum values[C_COUNT];
	bool nulls[C_COUNT];

	if (found)
	{
		slot_getallattrs(rel->slot);
		memcpy(values, rel->slot->tts_values, sizeof(values));
		memcpy(nulls, rel->slot->tts_isnull, sizeof(nulls));
		values[C_NAME] = CStringGetTextDatum(name);
		if (!nulls[C_PER])
			values[C_PER] = datumCopy(values[C_PER], false, sizeof(Interval));
		values[C_VERSION] = Int64GetDatum(bgjob_next_id());
		values[C_CLOSED_UNTIL] = TimestampTzGetDatum(until);
		nulls[C_CLOSED_UNTIL] = false;
		bgjob_rel_update(rel, &tid, values, nulls);
	}
	end_change(rel);
	return found;
}
