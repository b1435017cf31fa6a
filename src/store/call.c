/*-------------------------------------------------------------------------
 *
 * call.c
 *	  The calls of jobs: names and functions, each stored once.
 *
 * Millions of jobs call the same few functions. The row of a job has a number
 * instead of the name that the caller gave and of the function's signature;
 * bgjob_internal.settings has, beside the captured settings,
 *
 *	 {"job": "send_mail", "func": "app.send_mail(integer)"}
 *
 * Commands are not stored here, since each may be different.
 *
 * A backend caches the calls that it stored and read last. It drops the stored
 * ones whenever store/settings.c drops its cache; the read ones stay valid as
 * long as the tables are the same.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "base/json.h"
#include "miscadmin.h"
#include "store/call.h"
#include "store/relation.h"
#include "store/settings.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Number of calls cached each way. */
#define REMEMBERED 64

/* Calls; the strings are one allocation in TopMemoryContext, which begins with job. */
typedef struct Call
{
	int64 id; /* 0: none */
	char *job;
	char *func;
} Call;

static Call stored[REMEMBERED];
static Call read_last[REMEMBERED];
static int next_stored = 0;
static int next_read = 0;
static uint64 stored_since = 0;  /* bgjob_settings_forgotten() at that time */
static Oid read_of = InvalidOid; /* the table of the jobs that they are from */

static void
forget(Call *all)
{
	for (int i = 0; i < REMEMBERED; i++)
	{
		if (all[i].id != 0)
			pfree(all[i].job);
		all[i].id = 0;
	}
}

/* Caches a call, and evicts the oldest. */
static const Call *
remember(Call *all, int *next, int64 id, const char *job, const char *func)
{
	size_t length = strlen(job) + 1;
	char *strings = MemoryContextAlloc(TopMemoryContext, length + strlen(func) + 1);
	Call *one = &all[*next];

	memcpy(strings, job, length);
	strcpy(strings + length, func);
	if (one->id != 0)
		pfree(one->job);
	*one = (Call){id, strings, strings + length};
	*next = (*next + 1) % REMEMBERED;
	return one;
}

/* bgjob_call_store returns the number of a call, and stores a new one. */
int64
bgjob_call_store(const char *job, const char *func)
{
	JsonbParseState *state = NULL;
	uint64 forgotten = bgjob_settings_forgotten();
	int64 id;

	if (stored_since != forgotten)
		forget(stored);
	stored_since = forgotten;
	for (int i = 0; i < REMEMBERED; i++)
		if (stored[i].id != 0 && strcmp(stored[i].job, job) == 0 &&
			strcmp(stored[i].func, func) == 0)
			return stored[i].id;
	bgjob_json_begin(&state);
	bgjob_json_text(&state, "job", job);
	bgjob_json_text(&state, "func", func);
	id = bgjob_settings_store(bgjob_json_end(&state));
	(void) remember(stored, &next_stored, id, job, func);
	return id;
}

/* Returns a string of a stored call; an empty one if the stored value was tampered with. */
static char *
member(const Jsonb *call, const char *key)
{
	JsonbValue value;

	if (call == NULL || !JB_ROOT_IS_OBJECT(call) ||
		getKeyJsonValueFromContainer(&unconstify(Jsonb *, call)->root, key, (int) strlen(key),
									 &value) == NULL ||
		value.type != jbvString)
		return pstrdup("");
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * bgjob_call_read returns job and func of the call with a number, in the
 * current memory context. jobs: the OID of the table that the number is from;
 * it changes when the extension is created again.
 */
void
bgjob_call_read(Oid jobs, int64 id, const char **job, const char **func)
{
	const Call *call = NULL;

	if (read_of != jobs)
		forget(read_last);
	read_of = jobs;
	for (int i = 0; i < REMEMBERED && call == NULL; i++)
		if (read_last[i].id == id && id != 0)
			call = &read_last[i];
	if (call == NULL)
	{
		const Jsonb *json = bgjob_settings_read(id);

		call = remember(read_last, &next_read, id, member(json, "job"), member(json, "func"));
	}
	*job = pstrdup(call->job);
	*func = pstrdup(call->func);
}

/* bgjob_calls_visit calls "visit" for every stored call; the strings are gone after that. */
void
bgjob_calls_visit(BgjobCallVisitor visit, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SETTINGS);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob calls", ALLOCSET_DEFAULT_SIZES);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		MemoryContext old = MemoryContextSwitchTo(per_row);
		const Jsonb *call;
		const char *func;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(rel->slot);
		call = DatumGetJsonbP(rel->slot->tts_values[2]);
		func = member(call, "func");
		if (func[0] != '\0')
			visit(DatumGetInt64(rel->slot->tts_values[0]), member(call, "job"), func, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	MemoryContextDelete(per_row);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}
