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

extern int64
bgjob_unique_enter(BgjobRel *jobs, const BgjobJob *job, const BgjobCircumstances *what);
extern int64 bgjob_unique_try_reenter(const BgjobJob *job);
extern void bgjob_unique_reenter(const BgjobJob *job);
extern void bgjob_unique_leave(const BgjobJob *job);

#endif /* BGJOB_STORE_UNIQUE_H */
