/*-------------------------------------------------------------------------
 *
 * list.c
 *	  bgjob_list(): a page of jobs.
 *
 * Checks the arguments, has the ids listed (store/listing.c), and returns their rows
 * of the view bgjob.jobs. Who may read the view may call it, and sees the same rows.
 * It changes nothing in the database, so it also works in read-only transactions
 * and on a standby.
 *
 * Here is also the trigger that tells the map of jobs (base/jobmap.h) what logical
 * replication writes.
 *
 * Runs in the calling session, in its transaction and with its snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "api/counts.h"
#include "api/list.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/change.h"
#include "base/interval.h"
#include "base/jobmap.h"
#include "base/running.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "rules/clock.h"
#include "store/jobrow.h"
#include "store/listing.h"
#include "store/listrows.h"
#include "store/sidetables.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* The most words of a search. */
#define MOST_WORDS 32

/* Parameters of bgjob_list, in their order. */
enum
{
	P_STATE,
	P_QUEUE,
	P_JOB,
	P_TAG,
	P_SEARCH,
	P_RUN_AS,
	P_SINCE,
	P_BEFORE_ID,
	P_MAX_ROWS
};

/* bgjob_list_rows_arg returns an argument max_rows. Raises 22004 if it is null, 22023 if it is out of range. */
int
bgjob_list_rows_arg(FunctionCallInfo fcinfo, int number)
{
	int rows;

	bgjob_arg_require(fcinfo, number, "max_rows", "It is the size of a page.");
	rows = PG_GETARG_INT32(number);
	if (rows < 1 || rows > BGJOB_LIST_MOST)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_rows must be between 1 and %d", BGJOB_LIST_MOST),
						errdetail("The value is %d.", rows),
						errhint("The next page begins with before_id => the last id.")));
	return rows;
}

/* bgjob_list_deadline_arg returns when max_time is over, by the steady clock. Raises 22004 if it is null, 22023 if it is out of range. */
int64
bgjob_list_deadline_arg(FunctionCallInfo fcinfo, int number)
{
	const Interval *max_time;

	bgjob_arg_require(fcinfo, number, "max_time", "It is how long the search may take.");
	max_time = PG_GETARG_INTERVAL_P(number);
	bgjob_check_interval("max_time", max_time, "It is how long the search may take.",
						 "Use '100 ms', or more for a search that may find little.");
	return bgjob_steady_now() + bgjob_interval_microseconds(max_time, DAYS_PER_MONTH);
}

/* Returns the words of a search, in lower case. Raises 22023 if there are too many. */
static List *
words_arg(FunctionCallInfo fcinfo)
{
	char *search = bgjob_arg_text(fcinfo, P_SEARCH);
	List *words = NIL;

	if (search == NULL)
		return NIL;
	search = str_tolower(search, strlen(search), DEFAULT_COLLATION_OID);
	while (*search != '\0')
	{
		char *word = search;

		while (*search != '\0' && !scanner_isspace(*search))
			search++;
		if (search > word)
			words = lappend(words, pnstrdup(word, search - word));
		while (scanner_isspace(*search))
			search++;
	}
	if (list_length(words) > MOST_WORDS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("search has more than %d words", MOST_WORDS),
						errdetail("A job is listed if it has all of them."),
						errhint("Leave some of them out.")));
	return words;
}

/* Returns the role that an argument names, InvalidOid if it is null. Raises 42704 if there is none. */
static Oid
role_arg(FunctionCallInfo fcinfo)
{
	char *name = bgjob_arg_text(fcinfo, P_RUN_AS);

	return name == NULL ? InvalidOid : get_role_oid(name, false);
}

/* bgjob_list_pass_visible has a filter pass the jobs that the current user may see. */
void
bgjob_list_pass_visible(BgjobListFilter *filter)
{
	Oid *roles = palloc(BGJOB_MAP_ALTERNATIVES * sizeof(Oid));

	filter->sees = bgjob_may_see;
	filter->roles = roles;
	filter->nroles = bgjob_roles_seen(roles, BGJOB_MAP_ALTERNATIVES);
	filter->running = bgjob_slots_jobs(MyDatabaseId, &filter->nrunning);
}

static void
read_filter(FunctionCallInfo fcinfo, BgjobListFilter *filter)
{
	BgjobState state = bgjob_arg_state(fcinfo, P_STATE);

	filter->states = state == BGJOB_NONE ? 0 : BGJOB_STATE_BIT(state);
	filter->queue = bgjob_arg_text(fcinfo, P_QUEUE);
	filter->job = bgjob_arg_text(fcinfo, P_JOB);
	filter->tag = bgjob_arg_text(fcinfo, P_TAG);
	filter->words = words_arg(fcinfo);
	filter->run_as = role_arg(fcinfo);
	filter->until = DT_NOEND;
	filter->since = PG_ARGISNULL(P_SINCE) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(P_SINCE);
	filter->before =
		PG_ARGISNULL(P_BEFORE_ID) ? PG_INT64_MAX : Max(PG_GETARG_INT64(P_BEFORE_ID), 0);
	bgjob_list_pass_visible(filter);
}

PG_FUNCTION_INFO_V1(bgjob_list);

/*
 * bgjob_list(state, queue, job, tag, search, run_as, since, before_id, max_rows) returns
 * the newest rows of bgjob.jobs that match. Errors: 22023 no such state, max_rows out
 * of range, too many words; 22004 max_rows is null; 42704 no such role; 42501 no USAGE.
 */
Datum
bgjob_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobListFilter filter = {0};
	BgjobListing *listing;
	const char *state;
	int64 *ids;
	int rows;
	int n;

	bgjob_check_sight();
	rows = bgjob_list_rows_arg(fcinfo, P_MAX_ROWS);
	read_filter(fcinfo, &filter);
	state = bgjob_arg_text(fcinfo, P_STATE);
	InitMaterializedSRF(fcinfo, 0);
	ids = palloc(rows * sizeof(int64));
	listing = bgjob_listing_begin(&filter);
	while (rows > 0 && (n = bgjob_listing_next(listing, ids, rows)) > 0)
		rows -= bgjob_list_rows(ids, n, state, result->setResult);
	bgjob_listing_end(listing);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(bgjob_newest_ids);

/* bgjob_internal.newest_ids(n) returns the ids of the newest jobs that the current user may see, at most n. */
Datum
bgjob_newest_ids(PG_FUNCTION_ARGS)
{
	int most = Min(Max(PG_GETARG_INT32(0), 0), BGJOB_LIST_MOST);
	BgjobListFilter filter = {.since = DT_NOBEGIN, .until = DT_NOEND, .before = PG_INT64_MAX};
	int64 *ids = palloc(Max(most, 1) * sizeof(int64));
	Datum *values = palloc(Max(most, 1) * sizeof(Datum));
	BgjobListing *listing;
	int listed = 0;
	int n;

	bgjob_list_pass_visible(&filter);
	listing = bgjob_listing_begin(&filter);
	while (listed < most && (n = bgjob_listing_next(listing, ids, most - listed)) > 0)
		for (int i = 0; i < n; i++)
			values[listed++] = Int64GetDatum(ids[i]);
	bgjob_listing_end(listing);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, listed, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Notes that there are jobs in no place besides their rows, as after a restore (store/instate.c). */
static void
note_held_back(void)
{
	if (bgjob_restored_here())
		return;
	bgjob_note_restored();
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RESTORED);
}

PG_FUNCTION_INFO_V1(bgjob_note_applied);

/*
 * bgjob_internal.note_applied(), a trigger, tells the map of jobs and the counts of a
 * row that logical replication has changed: triggers for statements do not fire there.
 */
Datum
bgjob_note_applied(PG_FUNCTION_ARGS)
{
	BgjobMapNote anything = {.states = BGJOB_MAP_UNKNOWN};
	TriggerData *trigger;
	HeapTuple row;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("this function must be called as a trigger")));
	trigger = (TriggerData *) fcinfo->context;
	bgjob_count_applied(trigger);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(NULL);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		note_held_back();
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
													 : trigger->tg_trigtuple;
	bgjob_jobmap_note(DatumGetInt64(heap_getattr(
						  row, BGJOB_C_ID, RelationGetDescr(trigger->tg_relation), &isnull)),
					  &anything);
	return PointerGetDatum(NULL);
}
