/*-------------------------------------------------------------------------
 *
 * batchjobs.h
 *	  The jobs of a batch that its members do not tell.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_BATCHJOBS_H
#define BGJOB_STORE_BATCHJOBS_H

#include "postgres.h"

extern bool bgjob_job_could_not_run(int64 id);
extern int bgjob_batch_succeeded(int64 batch, int64 *after, int64 *jobs, int max);

#endif /* BGJOB_STORE_BATCHJOBS_H */
