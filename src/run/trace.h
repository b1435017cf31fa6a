/*-------------------------------------------------------------------------
 *
 * trace.h
 *	  The trace that a job belongs to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_TRACE_H
#define BGJOB_RUN_TRACE_H

#include "postgres.h"

#include "utils/jsonb.h"

extern bool bgjob_traceparent_is_valid(const char *value, int length);
extern void bgjob_trace_begin(const Jsonb *parameters);
extern void bgjob_trace_end(void);

#endif /* BGJOB_RUN_TRACE_H */
