/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The filters that there are, as this backend knows them.
 *
 * bgjob_internal.filter is read when a backend first needs it, and again whenever the
 * server says that the table has changed (store/filter.c): so a change is seen
 * by every session from its commit on, by the one that makes it at once, and
 * the same goes for its rollback and for DROP and CREATE EXTENSION. As long as
 * there is no filter, all that is left is the test of a static variable, and
 * of the hooks of other libraries (include/bgjob.h), which are not announced.
 *
 * A list that has been given out stays valid while filters are called: they
 * are not asked for while one runs (run/filtercall.c), so nothing is read again.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/committing.h"
#include "base/slot.h"
#include "catalog/pg_collation.h"
#include "run/filter.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"

int bgjob_filter_events = BGJOB_FILTERS_STALE;
const BgjobHooks *bgjob_filter_hooks = NULL;
int bgjob_filters_running = 0;

static MemoryContext context = NULL; /* of the filters */
static List *filters[BGJOB_NFILTER_EVENTS];
static Oid table = InvalidOid; /* InvalidOid: not known, or being read */

/* bgjob_filter_init finds the hooks; once, when the library is loaded. */
void
bgjob_filter_init(void)
{
	bgjob_filter_hooks = bgjob_hooks();
}

static void
on_invalidation(Datum arg, Oid relation)
{
	if (relation == table || relation == InvalidOid || table == InvalidOid)
		bgjob_filter_events |= BGJOB_FILTERS_STALE;
}

/*
 * bgjob_filter_refresh has filters that were committed together with the job which
 * a worker has just claimed called for it: the server's own message may come
 * later than the job (base/change.c).
 */
void
bgjob_filter_refresh(void)
{
	static uint32 seen = 0;

	if (bgjob_cached_may_differ(BGJOB_CACHED_FILTERS, &seen))
		bgjob_filter_events |= BGJOB_FILTERS_STALE;
}

/* Filters of an event are called in the order of these numbers, then of their names. */
static int
compare(const ListCell *a, const ListCell *b)
{
	const BgjobFilter *first = lfirst(a);
	const BgjobFilter *second = lfirst(b);

	if (first->ordering != second->ordering)
		return first->ordering < second->ordering ? -1 : 1;
	return strcmp(first->name, second->name);
}

/* Puts the filters that were read to their events. */
static void
sort_filters(List *all)
{
	ListCell *cell;
	int events = 0;

	memset(filters, 0, sizeof(filters));
	foreach (cell, all)
	{
		BgjobFilter *filter = lfirst(cell);

		filters[filter->event] = lappend(filters[filter->event], filter);
		events |= BGJOB_FILTER(filter->event);
	}
	for (int i = 0; i < BGJOB_NFILTER_EVENTS; i++)
		list_sort(filters[i], compare);
	bgjob_filter_events |= events;
}

/* Reads the filters, unless they have not changed since. */
static void
refresh(void)
{
	static bool registered = false;
	MemoryContext old;

	if ((bgjob_filter_events & BGJOB_FILTERS_STALE) == 0)
		return;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(on_invalidation, (Datum) 0);
		registered = true;
	}
	if (context == NULL)
		context =
			AllocSetContextCreate(TopMemoryContext, "bgjob filters", ALLOCSET_SMALL_SIZES);
	memset(filters, 0, sizeof(filters));
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	table = InvalidOid;
	PG_TRY();
	{
		Oid found;
		List *all;

		bgjob_filter_events =
			0; /* before reading: what changes meanwhile is read the next time */
		all = bgjob_filters_read(&found);
		table = found;
		sort_filters(all);
	}
	PG_CATCH();
	{
		bgjob_filter_events = BGJOB_FILTERS_STALE;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

static bool
is_like(const char *text, const char *pattern)
{
	return DatumGetBool(DirectFunctionCall2Coll(
		textlike, C_COLLATION_OID, CStringGetTextDatum(text), CStringGetTextDatum(pattern)));
}

/*
 * Returns whether a filter is for a job. The pattern is for the job as the caller named
 * it, or for the function that this means. A filter that no administrator has
 * added is for the jobs that the owner of its function controls.
 */
static bool
matches(const BgjobFilter *filter, const BgjobJob *job)
{
	if (!filter->everywhere && !has_privs_of_role(filter->owner, job->run_as))
		return false;
	return strcmp(filter->jobs, "%") == 0 || is_like(job->job, filter->jobs) ||
		   (job->func != NULL && is_like(job->func, filter->jobs));
}

/* bgjob_filter_is_running returns whether a filter runs now. */
bool
bgjob_filter_is_running(void)
{
	return bgjob_filters_running > 0;
}

/* bgjob_filter_in_scheduler returns whether this is a scheduler, which calls hooks, guarded, and no filters. */
bool
bgjob_filter_in_scheduler(void)
{
	return bgjob_my_slot != NULL && bgjob_my_slot->kind == BGJOB_SCHEDULER;
}

/* bgjob_filter_hook returns the hook of an event; NULL: there is none. */
BgjobHook
bgjob_filter_hook(BgjobFilterEvent event)
{
	switch (event)
	{
		case BGJOB_CREATING:
			return bgjob_filter_hooks->creating;
		case BGJOB_CREATED:
			return bgjob_filter_hooks->created;
		case BGJOB_PERFORMING:
			return bgjob_filter_hooks->performing;
		case BGJOB_PERFORMED:
			return bgjob_filter_hooks->performed;
		case BGJOB_ELECTING:
			return bgjob_filter_hooks->electing;
		case BGJOB_APPLIED:
			return bgjob_filter_hooks->applied;
		case BGJOB_UNAPPLIED:
			return bgjob_filter_hooks->unapplied;
	}
	return NULL;
}

/* bgjob_filter_is_written returns whether a function that was configured with bgjob_filter() is to be called for a job. */
bool
bgjob_filter_is_written(const BgjobJob *job, int events)
{
	refresh();
	for (int event = 0; event < BGJOB_NFILTER_EVENTS; event++)
	{
		ListCell *cell;

		if ((events & BGJOB_FILTER(event)) == 0)
			continue;
		foreach (cell, filters[event])
			if (matches(lfirst(cell), job))
				return true;
	}
	return false;
}

/* bgjob_filter_concerns_slowly does what bgjob_filter_concerns does where there may be a filter. */
bool
bgjob_filter_concerns_slowly(const BgjobJob *job, int events)
{
	if (bgjob_filter_is_running())
		return false;
	for (int event = 0; event < BGJOB_NFILTER_EVENTS; event++)
		if ((events & BGJOB_FILTER(event)) != 0 &&
			bgjob_filter_hook((BgjobFilterEvent) event) != NULL)
			return true;
	return bgjob_filter_is_written(job, events);
}

/*
 * bgjob_filters_of returns the filters of an event that are for a job, in their
 * order; none in the scheduler, which leaves jobs that have some to a worker
 * (run/pending.c).
 */
List *
bgjob_filters_of(BgjobFilterEvent event, const BgjobJob *job)
{
	List *found = NIL;
	ListCell *cell;

	if (bgjob_filter_in_scheduler())
		return NIL;
	refresh();
	foreach (cell, filters[event])
		if (matches(lfirst(cell), job))
			found = lappend(found, lfirst(cell));
	return found;
}
