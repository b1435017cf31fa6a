/*-------------------------------------------------------------------------
 *
 * gateuse.h
 *	  What was spent of rates, out of shared memory and back into it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATEUSE_H
#define BGJOB_BASE_GATEUSE_H

#include "postgres.h"

#include "rules/rate.h"

/* What was spent of the rate of a gate. */
typedef struct BgjobGateUse
{
	int64 gate;
	BgjobRate rate;
	BgjobUse use;
} BgjobGateUse;

/* What was spent of a shorter rate before a start of the server is not kept: nobody starts in the meantime. In microseconds. */
#define BGJOB_SHORT_PERIOD INT64CONST(2000000)

extern bool bgjob_gate_next_unsaved(int *cursor, BgjobGateUse *use);
extern void bgjob_gate_restore_use(const BgjobGateUse *use);

#endif /* BGJOB_BASE_GATEUSE_H */
