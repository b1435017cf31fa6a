/*-------------------------------------------------------------------------
 *
 * gateneeds.h
 *	  The gates of a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_GATENEEDS_H
#define BGJOB_STORE_GATENEEDS_H

#include "postgres.h"

#include "base/gate.h"
#include "store/jobrow.h"

extern int64 bgjob_gate_of(BgjobGateKind kind, Oid role, const char *name);
extern BgjobGateKind bgjob_gate_kind(int64 gate);
extern int64 bgjob_gate_of_sequence(const BgjobJob *job);
extern bool bgjob_gate_may_need(const BgjobJob *job);
extern bool bgjob_gate_has_any(const BgjobJob *job);
extern int bgjob_gate_needs(const BgjobJob *job, BgjobGateNeed *needs);
extern void bgjob_gate_need_of_limit(const char *name, int units, BgjobGateNeed *need);

#endif /* BGJOB_STORE_GATENEEDS_H */
