/*-------------------------------------------------------------------------
 *
 * life.h
 *	  Signs of life: see life.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_LIFE_H
#define BGJOB_WORKER_LIFE_H

#include "worker/pipeline.h"

extern void life_soon(void);
extern int64_t life_due(void);
extern void life_send(bool ask_whether_bound);
extern void life_told(const PGresult *result);
extern void life_ended(const PipelineEnd *end);

#endif
