/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  The table of filters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_FILTER_H
#define BGJOB_STORE_FILTER_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* The events that filters are called at, in the order of the hooks in include/bgjob.h. */
typedef enum BgjobFilterEvent
{
	BGJOB_CREATING,
	BGJOB_CREATED,
	BGJOB_PERFORMING,
	BGJOB_PERFORMED,
	BGJOB_ELECTING,
	BGJOB_APPLIED,
	BGJOB_UNAPPLIED
} BgjobFilterEvent;

#define BGJOB_NFILTER_EVENTS (BGJOB_UNAPPLIED + 1)

/* A row of bgjob_internal.filter. */
typedef struct BgjobFilter
{
	const char *name;
	BgjobFilterEvent event;
	const char *func; /* schema.name(types) */
	const char *jobs; /* a pattern for LIKE */
	int ordering;
	Oid owner;       /* of the function, when the filter was added */
	bool everywhere; /* added by an administrator: applies to the jobs of all roles */
} BgjobFilter;

extern const char *bgjob_filter_event_name(BgjobFilterEvent event);
extern bool bgjob_filter_event_by_name(const char *name, BgjobFilterEvent *event);

extern List *bgjob_filters_read(Oid *table);
extern void bgjob_filter_put(const BgjobFilter *filter);
extern bool bgjob_filter_find(const char *name, BgjobFilter *filter);
extern bool bgjob_filter_delete(const char *name);

#endif /* BGJOB_STORE_FILTER_H */
