/*-------------------------------------------------------------------------
 *
 * inflight.h
 *	  Which jobs were being performed when the server crashed, and whose
 *	  process crashed it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_INFLIGHT_H
#define BGJOB_BASE_INFLIGHT_H

#include "postgres.h"

#include "base/servers.h"
#include "datatype/timestamp.h"

/* The verdict on a job that was in flight at a crash. */
typedef enum BgjobVerdict
{
	BGJOB_BYSTANDER, /* its worker was ended because another process crashed */
	BGJOB_CULPRIT    /* its worker was the one that crashed */
} BgjobVerdict;

typedef struct BgjobInflightRecord
{
	int64 job;
	int64 pos;
	TimestampTz started_at;
	int pid;                             /* of its worker */
	char server[BGJOB_SERVER_NAME_SIZE]; /* likewise */
	int jobs;                            /* performed in one call, of which this is the first */
	BgjobVerdict verdict;
	int entry; /* for bgjob_inflight_settled */
} BgjobInflightRecord;

extern void bgjob_inflight_startup(void);
extern void bgjob_inflight_attach(int slot, const char *server);
extern void bgjob_inflight_tell_parallel(int slot);
extern void bgjob_inflight_assign(int cell, void *extra);
extern void bgjob_inflight_begin(Oid database, int64 job, int64 pos, int jobs, TimestampTz now);
extern void bgjob_inflight_end(void);
extern void bgjob_inflight_mark_bystander(void);
extern int bgjob_inflight_records(Oid database, BgjobInflightRecord *records, int max);
extern void bgjob_inflight_forget(Oid database);
extern void bgjob_inflight_settled(const BgjobInflightRecord *records, int nrecords);

#endif /* BGJOB_BASE_INFLIGHT_H */
