/*-------------------------------------------------------------------------
 *
 * filters.c
 *	  Adds and removes filters.
 *
 * Needs EXECUTE. Everything about a filter is checked when it is added. Its
 * function later runs as the function's owner, in sessions and processes of other
 * roles. So the role that adds a filter must have the privileges of that owner;
 * otherwise it could have a superuser's function run with arguments of its
 * choice.
 *
 * A filter sees jobs and may change them. So only a filter that an administrator
 * adds applies to the jobs of all roles; any other applies to the jobs that the
 * owner of its function controls. EXECUTE gives no further privileges.
 *
 * Runs in the calling session. The change is part of its transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "api/rights.h"
#include "base/change.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "run/function.h"
#include "store/filter.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* The longest name, in bytes. */
#define NAME_MAX_BYTES 255

static char *
required_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	return bgjob_arg_required_text(fcinfo, arg, name,
								   "It names the filter, or determines what it does.");
}

static char *
name_arg(FunctionCallInfo fcinfo)
{
	char *name = required_text(fcinfo, 0, "name");

	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a filter: \"%s\"", name),
						errdetail("It must have 1 to %d bytes.", NAME_MAX_BYTES),
						errhint("Use a name of that length.")));
	return name;
}

static BgjobFilterEvent
event_arg(FunctionCallInfo fcinfo)
{
	char *name = required_text(fcinfo, 1, "event");
	BgjobFilterEvent event;

	if (!bgjob_filter_event_by_name(name, &event))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no event \"%s\"", name),
						errdetail("The event determines when the filter is called."),
						errhint("The events are creating, created, performing, performed, "
								"electing, applied and unapplied.")));
	return event;
}

/* Returns the pattern. Raises 22025 if LIKE would reject it: no job should meet that error. */
static char *
pattern_arg(FunctionCallInfo fcinfo)
{
	char *pattern = required_text(fcinfo, 3, "jobs");
	int backslashes = 0;

	for (int i = strlen(pattern); i > 0 && pattern[i - 1] == '\\'; i--)
		backslashes++;
	if (backslashes % 2 == 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_ESCAPE_SEQUENCE),
						errmsg("jobs must not end with an escape character"),
						errdetail("It is a pattern for LIKE."),
						errhint("Write two backslashes for a literal backslash.")));
	return pattern;
}

/* Raises an error unless a function can be a filter and the caller may add it. Stores the function's owner. */
static void
check_function(Oid func, const char *name, BgjobFilter *filter)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(func));
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	Oid owner = form->proowner;
	bool fits = form->prokind == PROKIND_FUNCTION && !form->proretset &&
				form->prorettype == JSONBOID && form->pronargs == 1 &&
				form->proargtypes.values[0] == JSONBOID;

	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("function \"%s\" cannot be a filter", name),
						errdetail("It must have one parameter of type jsonb and return jsonb."),
						errhint("Declare it as %s(context jsonb) RETURNS jsonb.", name)));
	filter->owner = owner;
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be a member of role \"%s\" to add a filter that calls "
							   "its function",
							   GetUserNameFromId(owner, true)),
						errdetail("A filter runs as the owner of its function."),
						errhint("Have that role, or a superuser, add the filter.")));
}

/* Raises 42501 if the filter of that name belongs to an administrator, or to a role whose privileges the caller lacks. */
static void
check_may_change(const char *name)
{
	BgjobFilter filter;

	if (bgjob_is_administrator() || !bgjob_filter_find(name, &filter))
		return;
	if (filter.everywhere || !has_privs_of_role(GetUserId(), filter.owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for filter \"%s\"", name),
						errdetail("The filter belongs to an administrator or another role.")));
}

PG_FUNCTION_INFO_V1(bgjob_filter);

/*
 * bgjob_filter(name, event, function, jobs, ordering) adds a filter: a function
 * that is called at an event of the jobs that match a pattern. Replaces the
 * filter of that name. Errors: 42501 no EXECUTE, not a member of the function's
 * owner, or the filter of that name belongs to another role; 22004 null; 42883,
 * 42725 no such function, or several; 22023 the function does not take one jsonb
 * and return jsonb, or no such event; 22025 an invalid pattern.
 */
Datum
bgjob_filter(PG_FUNCTION_ARGS)
{
	BgjobFilter filter = {0};
	JsonbValue empty = {.type = jbvObject};
	char *function;
	Oid func;

	bgjob_check_granted("bgjob_filter()");
	filter.name = name_arg(fcinfo);
	check_may_change(filter.name);
	filter.event = event_arg(fcinfo);
	function = required_text(fcinfo, 2, "function");
	filter.jobs = pattern_arg(fcinfo);
	bgjob_arg_require(fcinfo, 4, "ordering", "Filters of an event are called in its order.");
	filter.ordering = PG_GETARG_INT32(4);
	func = bgjob_function_resolve(function, JsonbValueToJsonb(&empty), GetUserId());
	check_function(func, function, &filter);
	filter.everywhere = bgjob_is_administrator();
	filter.func = bgjob_function_signature(func);
	bgjob_filter_put(&filter);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_filter_remove);

/* bgjob_filter_remove(name) removes a filter. Returns false if there is none of that name. */
Datum
bgjob_filter_remove(PG_FUNCTION_ARGS)
{
	char *name;
	bool removed;

	bgjob_check_granted("bgjob_filter_remove()");
	name = required_text(fcinfo, 0, "name");
	check_may_change(name);
	removed = bgjob_filter_delete(name);
	if (!removed)
		ereport(NOTICE, (errmsg("there is no filter \"%s\"", name)));
	PG_RETURN_BOOL(removed);
}

PG_FUNCTION_INFO_V1(bgjob_filters_changed);

/* bgjob_internal.filters_changed(), a trigger, notifies all backends of rows of bgjob_internal.filter that SQL has changed. */
Datum
bgjob_filters_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("this function must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	bgjob_change_cached(BGJOB_CACHED_FILTERS);
	return PointerGetDatum(NULL);
}
