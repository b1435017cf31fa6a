/*-------------------------------------------------------------------------
 *
 * gatechange.h
 *	  Noting what the running transaction does at gates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATECHANGE_H
#define BGJOB_BASE_GATECHANGE_H

#include "postgres.h"

#include "base/gate.h"

extern void bgjob_change_gate_passed(const BgjobGateNeed *need, bool turn);
extern void bgjob_change_gate_passed_back(const BgjobGateNeed *need);
extern void bgjob_change_gate_filed(const BgjobGateNeed *need);
extern void bgjob_change_gate_took(int64 line);
extern void bgjob_change_gate_placed(int64 line, int64 place);
extern bool bgjob_change_gate_has_placed(int64 line);
extern void bgjob_change_gate_displaced(int64 line, int64 place);
extern void bgjob_change_gate_ask(int64 gate);
extern void bgjob_change_gate_left(const BgjobGateNeed *need);
extern void bgjob_change_sequence_entered(int64 gate, int64 job);
extern void bgjob_change_sequence_left(int64 gate, int64 job);
extern bool bgjob_change_gate_take_left(int64 *gate);
extern int bgjob_change_gate_count(int64 gate);

#endif /* BGJOB_BASE_GATECHANGE_H */
