/*-------------------------------------------------------------------------
 *
 * chunkwait.h
 *	  Has jobs wait for others that they can be performed with, when they are enqueued.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CHUNKWAIT_H
#define BGJOB_API_CHUNKWAIT_H

#include "postgres.h"

#include "base/chunkwaits.h"
#include "store/functionconf.h"
#include "store/job.h"

typedef struct BgjobChunkWait
{
	BgjobChunkKey key;
	int size;
	int64 wait;         /* in microseconds */
	TimestampTz at;     /* 0: they do not wait */
	const char *reason; /* for their history, NULL: none */
} BgjobChunkWait;

extern void
bgjob_chunkwait_begin(BgjobChunkWait *company, const BgjobFunctionConf *conf,
					  const BgjobOptionSet *set, const BgjobJob *job, BgjobCircumstances *what);
extern void
bgjob_chunkwait_end(BgjobChunkWait *company, int n, TimestampTz *run_at, BgjobEvent *event);
extern void bgjob_chunkwait_note(const BgjobChunkWait *company);

#endif /* BGJOB_API_CHUNKWAIT_H */
