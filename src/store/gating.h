/*-------------------------------------------------------------------------
 *
 * gating.h
 *	  Letting jobs through their gates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_GATING_H
#define BGJOB_STORE_GATING_H

#include "postgres.h"

#include "base/gate.h"
#include "store/jobrow.h"

/* How bgjob_gating_admit looks at a line. */
typedef struct BgjobLineLook
{
	int most;    /* so many jobs go on at most */
	int pass_by; /* so many others are looked at */
	bool whole;  /* from its head on, whatever memory says */
} BgjobLineLook;

/* What bgjob_gating_admit has found. */
typedef struct BgjobAdmitted
{
	int admitted;
	bool empty;       /* nobody stands in the line any more */
	bool busy;        /* another transaction has one of its jobs */
	bool more;        /* others may follow at once */
	TimestampTz when; /* there is no room before; DT_NOEND: before a place is freed */
	int64 lane;       /* whose turns decide about the line; 0: none */
} BgjobAdmitted;

extern void bgjob_gating_file(BgjobJob *job);
extern void bgjob_gating_pass(BgjobJob *job);
extern bool bgjob_gating_enter(const BgjobJob *job, TimestampTz *now, BgjobGateNeed *full);
extern void bgjob_gating_bounce(BgjobRel *jobs, BgjobJob *job, const BgjobGateNeed *full);
extern void bgjob_gating_pass_back(const BgjobJob *job);
extern void bgjob_gating_leave_sequence(const BgjobJob *job);
extern void bgjob_gating_admit(int64 gate, const BgjobLineLook *look, BgjobAdmitted *result);
extern void bgjob_gating_give_turns(int64 lane, int most, BgjobAdmitted *result);
extern void bgjob_gating_settle(void);

#endif /* BGJOB_STORE_GATING_H */
