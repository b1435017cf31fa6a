/*-------------------------------------------------------------------------
 *
 * functionstats.h
 *	  What the jobs of each function cost, counted in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FUNCTIONSTATS_H
#define BGJOB_BASE_FUNCTIONSTATS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/moments.h"

/* So many bytes of a name and of an error are kept, with the closing zero. */
#define BGJOB_FUNCTION_NAME_SIZE  256
#define BGJOB_FUNCTION_ERROR_SIZE 256

/* Size of an SQLSTATE, with the closing zero. */
#define BGJOB_SQLSTATE_SIZE 6

/* Identifies an entry. Without padding, since it is compared as bytes. */
typedef struct BgjobFunctionKey
{
	Oid database;
	Oid role;    /* that the jobs run as */
	uint64 hash; /* of the whole name */
	uint32 kind; /* of the jobs, a letter of BgjobKind */
	uint32 unused;
} BgjobFunctionKey;

/* An entry as it is now; with another generation, it is another function's. */
typedef struct BgjobFunctionRef
{
	int entry; /* -1: none, nothing is counted */
	uint32 generation;
} BgjobFunctionRef;

/* An attempt that is over, as it is counted. */
typedef struct BgjobAttempt
{
	BgjobFunctionRef function;
	bool ended; /* the job has reached a final state by it */
	bool failed;
	bool retried; /* it failed, and is to be tried again */
	bool interrupted;
	double run_time; /* in milliseconds; negative: not known */
	double wait_time;
	TimestampTz started_at; /* DT_NOBEGIN: not known */
	TimestampTz over_at;
	char sqlstate[BGJOB_SQLSTATE_SIZE]; /* of its error; empty: it has none */
	const char *error;                  /* the message; NULL: it did not fail */
} BgjobAttempt;

/* The sums over attempts. */
typedef struct BgjobFunctionSums
{
	int64 jobs; /* that have ended */
	int64 attempts;
	int64 failures;
	int64 retries;
	int64 interruptions;
	BgjobMoments run_time; /* in milliseconds, of the attempts of which it is known */
	BgjobMoments wait_time;
	TimestampTz last_run_at;    /* start of the attempt that ended last; 0: not known */
	TimestampTz last_failed_at; /* 0: none has failed */
	char last_sqlstate[BGJOB_SQLSTATE_SIZE];
} BgjobFunctionSums;

/* The statistics of a function, or of a kind of command. */
typedef struct BgjobFunctionStats
{
	BgjobFunctionKey key;
	BgjobFunctionSums sums;
	TimestampTz since;
	double usage; /* the least used ones are evicted */
	char name[BGJOB_FUNCTION_NAME_SIZE];
	char last_error[BGJOB_FUNCTION_ERROR_SIZE];
} BgjobFunctionStats;

extern Size bgjob_function_stats_size(void);
extern void bgjob_function_stats_startup(void);
extern bool
bgjob_function_stats_find(Oid role, char kind, const char *name, BgjobFunctionRef *function);
extern void bgjob_function_stats_add(const BgjobAttempt *attempt);
extern void bgjob_function_stats_flush(void);
extern bool bgjob_function_stats_next(int *position, Oid database, BgjobFunctionStats *stats);
extern int64 bgjob_function_stats_reset(Oid database, const char *name);
extern const BgjobFunctionStats *bgjob_function_stats_at(int position);
extern void bgjob_function_stats_restore(const BgjobFunctionStats *stats);

#endif /* BGJOB_BASE_FUNCTIONSTATS_H */
