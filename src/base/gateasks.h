/*-------------------------------------------------------------------------
 *
 * gateasks.h
 *	  What the scheduler of a database is to look at: lines of gates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATEASKS_H
#define BGJOB_BASE_GATEASKS_H

#include "postgres.h"

extern Size bgjob_gate_asks_size(void);
extern void bgjob_gate_asks_startup(void);

extern void bgjob_gate_ask(Oid database, int64 gate);
extern void bgjob_gate_note_lines(Oid database);
extern void bgjob_gate_set_lines(bool lines);
extern bool bgjob_gate_have_lines(void);
extern int bgjob_gate_take_asked(int64 *gates, int max, bool *all);

#endif /* BGJOB_BASE_GATEASKS_H */
