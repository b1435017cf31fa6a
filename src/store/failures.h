/*-------------------------------------------------------------------------
 *
 * failures.h
 *	  The group that a failure falls into.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_FAILURES_H
#define BGJOB_STORE_FAILURES_H

#include "postgres.h"

#include "executor/tuptable.h"

/* So many bytes of the pattern of a message tell failures apart. */
#define BGJOB_PATTERN_MAX 400

/* A failure: of which function or command, and of what kind. */
typedef struct BgjobFailure
{
	uint64
		group; /* a hash of the name and types of the function, the SQLSTATE and the pattern */
	const char *job;     /* the name that was given, or the beginning of the command */
	const char *message; /* as raised */
	char pattern[BGJOB_PATTERN_MAX];
	char sqlstate[6];
} BgjobFailure;

extern bool bgjob_failure_of(TupleTableSlot *slot, BgjobFailure *failure);

#endif /* BGJOB_STORE_FAILURES_H */
