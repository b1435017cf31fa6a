/*-------------------------------------------------------------------------
 *
 * attemptstats.h
 *	  What the end of an attempt adds to the statistics of its function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_ATTEMPTSTATS_H
#define BGJOB_STORE_ATTEMPTSTATS_H

#include "postgres.h"

#include "base/functionstats.h"
#include "store/job.h"

extern void bgjob_attemptstats_describe(const BgjobJob *job, BgjobEvent event, BgjobState to,
										const BgjobCircumstances *what, BgjobAttempt *attempt);

#endif /* BGJOB_STORE_ATTEMPTSTATS_H */
