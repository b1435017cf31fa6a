/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  The filters that there are, as this backend knows them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FILTER_H
#define BGJOB_RUN_FILTER_H

#include "postgres.h"

#include "include/bgjob.h"
#include "store/filter.h"
#include "store/job.h"

/* Sets of events. */
#define BGJOB_FILTER(event) (1 << (event))
#define BGJOB_FILTERS_OF_STATES                                                                \
	(BGJOB_FILTER(BGJOB_ELECTING) | BGJOB_FILTER(BGJOB_APPLIED) | BGJOB_FILTER(BGJOB_UNAPPLIED))
#define BGJOB_FILTERS_OF_CREATION                                                              \
	(BGJOB_FILTER(BGJOB_CREATING) | BGJOB_FILTER(BGJOB_CREATED) |                              \
	 BGJOB_FILTER(BGJOB_ELECTING) | BGJOB_FILTER(BGJOB_APPLIED))
#define BGJOB_FILTERS_OF_ATTEMPTS                                                              \
	(BGJOB_FILTER(BGJOB_PERFORMING) | BGJOB_FILTER(BGJOB_PERFORMED) | BGJOB_FILTERS_OF_STATES)

/* Not an event: the filters must be read again. */
#define BGJOB_FILTERS_STALE (1 << BGJOB_NFILTER_EVENTS)

/* Private to the next function: the events that there are filters for. */
extern int bgjob_filter_events;
extern const BgjobHooks *bgjob_filter_hooks;

/* So many filters run, one within the other. */
extern int bgjob_filters_running;

extern void bgjob_filter_init(void);
extern void bgjob_filter_refresh(void);
extern bool bgjob_filter_concerns_slowly(const BgjobJob *job, int events);
extern bool bgjob_filter_is_running(void);
extern bool bgjob_filter_in_scheduler(void);
extern bool bgjob_filter_is_written(const BgjobJob *job, int events);
extern List *bgjob_filters_of(BgjobFilterEvent event, const BgjobJob *job);
extern BgjobHook bgjob_filter_hook(BgjobFilterEvent event);

/* bgjob_filter_any returns whether there may be a filter of any kind. This is all that bgjob does where there is none. */
static inline bool
bgjob_filter_any(void)
{
	const BgjobHooks *hooks = bgjob_filter_hooks;

	return bgjob_filter_events != 0 || hooks->creating != NULL || hooks->created != NULL ||
		   hooks->performing != NULL || hooks->performed != NULL || hooks->electing != NULL ||
		   hooks->applied != NULL || hooks->unapplied != NULL;
}

/* bgjob_filter_concerns returns whether a filter of one of these events is to be called for a job. */
static inline bool
bgjob_filter_concerns(const BgjobJob *job, int events)
{
	return bgjob_filter_any() && bgjob_filter_concerns_slowly(job, events);
}

#endif /* BGJOB_RUN_FILTER_H */
