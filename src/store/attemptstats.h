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
extern void
bgjob_attemptstats_note_flows(const BgjobJob *job, BgjobState from, BgjobEvent event,
							  const BgjobCircumstances *what, bool ends_attempt);

#endif /* BGJOB_STORE_ATTEMPTSTATS_H */
