/*-------------------------------------------------------------------------
 *
 * weightconf.c
 *	  The weights of fairness keys, as administrators have configured them.
 *
 * bgjob_internal.weight_conf has a row for each key, or pattern 'prefix*' of keys, whose
 * weight is not 1. Each process caches the table (store/confcache.c).
 *
 * Any process, inside a transaction. A row is locked by its update, as any row is;
 * two sessions that configure the same new key at the same time meet at the unique index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "store/confcache.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/weightconf.h"
#include "utils/builtins.h"

/* Columns of bgjob_internal.weight_conf. */
enum
{
	C_KEY,
	C_VERSION,
	C_WEIGHT,
	C_COUNT
};

/* Reads a weight; 1 if the row says nonsense, since it was written by hand. */
static const void *
read_row(const TupleTableSlot *slot, const char **name)
{
	double *weight = palloc(sizeof(double));

	*name = TextDatumGetCString(slot->tts_values[C_KEY]);
	*weight = DatumGetFloat4(slot->tts_values[C_WEIGHT]);
	if (!isfinite(*weight) || *weight <= 0)
		*weight = 1;
	return weight;
}

static BgjobConfCache cache = {
	.table = BGJOB_TABLE_WEIGHT_CONF, .cached = BGJOB_CACHED_WEIGHTS, .read = read_row};

/* bgjob_weightconf_find returns the weight of a key: its own, else that of the longest pattern that fits it, else 1. */
double
bgjob_weightconf_find(const char *key)
{
	const double *weight = bgjob_confcache_find(&cache, key);

	return weight == NULL ? 1 : *weight;
}

static bool
find_and_lock(BgjobRel *rel, const char *key)
{
	return bgjob_rel_find_locked(rel, "weight_conf_pkey", key);
}

static void
end_change(BgjobRel *rel)
{
	bgjob_confcache_changed(&cache, rel);
	bgjob_rel_close(rel);
	CommandCounterIncrement();
}

/* bgjob_weightconf_set sets the weight of a key or a pattern. */
void
bgjob_weightconf_set(const char *key, float4 weight)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_WEIGHT_CONF);
	bool found = find_and_lock(rel, key);
	ItemPointerData tid = rel->tid;
	Datum values[C_COUNT];
	bool nulls[C_COUNT] = {false};

	values[C_KEY] = CStringGetTextDatum(key);
	values[C_VERSION] = Int64GetDatum(bgjob_next_id());
	values[C_WEIGHT] = Float4GetDatum(weight);
	if (found)
		bgjob_rel_update(rel, &tid, values, nulls);
	else
		bgjob_rel_insert(rel, values, nulls);
	end_change(rel);
}

/* bgjob_weightconf_remove removes the weight of a key or a pattern; false if there is none. */
bool
bgjob_weightconf_remove(const char *key)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_WEIGHT_CONF);
	bool found = find_and_lock(rel, key);

	if (found)
		bgjob_rel_delete_locked(rel, &rel->tid);
	end_change(rel);
	return found;
}
