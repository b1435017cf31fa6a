/*-------------------------------------------------------------------------
 *
 * underway.h
 *	  The attempt at a job that is under way in this process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_UNDERWAY_H
#define BGJOB_RUN_UNDERWAY_H

#include "postgres.h"

#include "run/attemptfilters.h"
#include "run/outcome.h"
#include "store/job.h"
#include "tcop/cmdtag.h"

/* The attempt that is under way. */
typedef struct BgjobUnderway
{
	BgjobJob job;
	bool claimed;  /* the slot names the job, and "job" is filled in */
	bool settling; /* no attempt: an event of the job was left to this worker (run/pending.c) */
	bool committed; /* the claim is committed: the job is stored as processing */
	TimestampTz started_at;
	int64 time_limit;   /* of the attempt, in milliseconds; 0: none */
	int company;        /* so many others are performed in the same call (run/chunk.c) */
	bool give_back;     /* announce the job once the slot no longer names it */
	bool pause;         /* but not at once */
	bool changed;       /* the job itself may have changed its row */
	bool ran;           /* its function or command has been called */
	bool logged;        /* as a statement */
	CommandTag command; /* its kind, once it has been parsed */
	BgjobEnding ending;
	BgjobDecision decision; /* of filters, which do not want it performed */
} BgjobUnderway;

extern BgjobUnderway bgjob_underway;

extern const BgjobJob *bgjob_underway_job(void);
extern void bgjob_underway_read_row(BgjobRel *jobs, BgjobJob *job);
extern void bgjob_underway_save_row(BgjobRel *jobs, BgjobJob *job);

#endif /* BGJOB_RUN_UNDERWAY_H */
