/*-------------------------------------------------------------------------
 *
 * chunkjobs.h
 *	  The jobs that a worker performs in one call, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_CHUNKJOBS_H
#define BGJOB_BASE_CHUNKJOBS_H

#include "postgres.h"

#include "base/registry.h"

extern void bgjob_chunk_begin(int first);
extern bool bgjob_chunk_next(void);
extern void bgjob_chunk_drop(void);
extern bool bgjob_chunk_cut(BgjobGroupRest *rest);
extern void bgjob_chunk_keep(void);

extern bool bgjob_chunk_has(BgjobSlot *slot, int64 job);
extern int bgjob_chunk_jobs(BgjobSlot *slot, int64 *jobs);
extern bool bgjob_chunk_name(BgjobSlot *slot, int64 job);

#endif /* BGJOB_BASE_CHUNKJOBS_H */
