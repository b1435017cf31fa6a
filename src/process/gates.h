/*-------------------------------------------------------------------------
 *
 * gates.h
 *	  Looking at the lines of gates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_GATES_H
#define BGJOB_PROCESS_GATES_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_gates_begin(void);
extern void bgjob_gates_end(void *arg);
extern void bgjob_gates_rescan(void);
extern void bgjob_gates_clock_set(void);
extern TimestampTz bgjob_gates_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_GATES_H */
