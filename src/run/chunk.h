/*-------------------------------------------------------------------------
 *
 * chunk.h
 *	  Several jobs of one function in one call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_CHUNK_H
#define BGJOB_RUN_CHUNK_H

#include "postgres.h"

#include "store/job.h"

extern bool bgjob_chunk_may_begin(const BgjobJob *job);
extern bool bgjob_chunk_collect(BgjobRel *jobs);
extern void bgjob_chunk_perform(BgjobRel *jobs);
extern bool bgjob_chunk_answer(void);

#endif /* BGJOB_RUN_CHUNK_H */
