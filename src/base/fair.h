/*-------------------------------------------------------------------------
 *
 * fair.h
 *	  Which fairness key's job is next, in shared memory.
 *
 * A lane is what the workers are shared out in: a role, a queue and a priority, as a hash that the caller
 * makes. A line is where the jobs of one key in that lane wait, likewise. All functions
 * may be called by any process, also in commit callbacks: they do not throw and do not
 * allocate. Each job goes through these steps:
 *
 *	 enqueued		bgjob_fair_line() returns the line to file it in;
 *	 committed		bgjob_fair_filed(), or, if it went to the queue at once, bgjob_fair_started();
 *	 a worker is free	bgjob_fair_next() returns the line whose first job is next. The job is charged,
 *					and does not wait any more. The caller moves it to the queue;
 *	 ended			bgjob_fair_ended(), once for each job that has been started, or returned by next().
 *
 * Instead of the last step: bgjob_fair_back(), if the job has not been performed. For a job that leaves its line
 * without a turn (it was deleted): bgjob_fair_taken(). Each attempt at a job is one in this sense.
 *
 * What is here are hints. The rows are the truth: bgjob_fair_at_least() makes good what
 * is missing, after a restart of the server or a failure, and back() what is too much.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FAIR_H
#define BGJOB_BASE_FAIR_H

#include "postgres.h"

/* What bgjob_fair_line returns for a job that is not to wait for its turn: there is no room for its lane. */
#define BGJOB_FAIR_NONE INT64CONST(0)

/* An answer of bgjob_fair_next. */
typedef struct BgjobFairTurn
{
	int64 line;
	uint64 moment; /* what has been filed since is not in what the caller reads */
} BgjobFairTurn;

/* Why a job that has been charged is not performed. */
typedef enum BgjobFairBack
{
	BGJOB_FAIR_WAITS, /* it waits in its line again */
	BGJOB_FAIR_GONE,  /* it does not wait: it was deleted, say */
	BGJOB_FAIR_EMPTY  /* there was no job in the line */
} BgjobFairBack;

extern Size bgjob_fair_size(void);
extern void bgjob_fair_startup(void);

extern int64 bgjob_fair_line(Oid database, int64 lane, int64 line);
extern bool bgjob_fair_filed(Oid database, int64 lane, int64 line, double weight, int n);
extern bool bgjob_fair_at_least(Oid database, int64 lane, int64 line, double weight, int n);
extern void bgjob_fair_taken(Oid database, int64 lane, int64 line, int n);
extern bool bgjob_fair_next(Oid database, int64 lane, BgjobFairTurn *turn);
extern void
bgjob_fair_back(Oid database, int64 lane, const BgjobFairTurn *turn, BgjobFairBack why);
extern void bgjob_fair_started(Oid database, int64 lane, int64 line, double weight);
extern void
bgjob_fair_ended(Oid database, int64 lane, int64 line, double weight, int64 microseconds);
extern void bgjob_fair_weight(Oid database, int64 lane, int64 line, double weight);
extern bool bgjob_fair_waits(Oid database, int64 lane);
extern void bgjob_fair_forget(Oid database);

#endif /* BGJOB_BASE_FAIR_H */
