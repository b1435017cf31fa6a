/*-------------------------------------------------------------------------
 *
 * filtercall.h
 *	  Calling filters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FILTERCALL_H
#define BGJOB_RUN_FILTERCALL_H

#include "postgres.h"

#include "run/filter.h"

/*
 * Takes the answer of a filter, which is an object, and changes what the next
 * one receives of the job. "filter" is its name, for messages. Errors that this
 * raises count as the filter's. False: no other filter is to be called.
 */
typedef bool (*BgjobFilterAnswer)(const char *filter, Jsonb *answer, BgjobHookJob *hook_job,
								  void *arg);

extern bool bgjob_filter_is_guarded(void);
extern void bgjob_filter_call(BgjobFilterEvent event, const BgjobJob *job,
							  BgjobHookJob *hook_job, BgjobFilterAnswer answer, void *arg);
extern ErrorData *bgjob_filter_guard(void (*action)(void *), void *arg);
extern void bgjob_filter_read(const char *filter, Jsonb *answer, const char *const *keys,
							  int nkeys, JsonbValue *values);
extern char *bgjob_filter_text(const char *filter, const char *key, const JsonbValue *value);

#endif /* BGJOB_RUN_FILTERCALL_H */
