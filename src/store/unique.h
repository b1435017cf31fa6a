/*-------------------------------------------------------------------------
 *
 * unique.h
 *	  One job at a time for a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_UNIQUE_H
#define BGJOB_STORE_UNIQUE_H

#include "postgres.h"

#include "store/job.h"

/* Longest key, in bytes. */
#define BGJOB_UNIQUE_KEY_MAX 1000

/* What becomes of a job when another one with its key has not finished; the letters are stored. */
typedef enum BgjobDuplicate
{
	BGJOB_DUPLICATE_SKIP = 's',
	BGJOB_DUPLICATE_REPLACE = 'r',
	BGJOB_DUPLICATE_RESCHEDULE = 'd',
	BGJOB_DUPLICATE_ERROR = 'e'
} BgjobDuplicate;

extern int64
bgjob_unique_enter(BgjobRel *jobs, const BgjobJob *job, const BgjobCircumstances *what,
				   BgjobDuplicate on_duplicate, bool wait);
extern void bgjob_unique_reenter(const BgjobJob *job);
extern void bgjob_unique_leave(const BgjobJob *job);

#endif /* BGJOB_STORE_UNIQUE_H */
