/*-------------------------------------------------------------------------
 *
 * gatecauses.h
 *	  Why a job waits at a gate.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_GATECAUSES_H
#define BGJOB_API_GATECAUSES_H

#include "postgres.h"

#include "api/causes.h"

extern int64 bgjob_gate_waited_at(const BgjobJob *job);
extern int64 bgjob_gate_waits_at(int64 gate, int64 id, int priority, int64 pos);
extern bool bgjob_cause_sequence(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_limit(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_fairness(const BgjobSituation *situation, BgjobAnswer *answer);

#endif /* BGJOB_API_GATECAUSES_H */
