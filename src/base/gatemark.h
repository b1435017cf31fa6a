/*-------------------------------------------------------------------------
 *
 * gatemark.h
 *	  From where on the lines of gates have rows, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATEMARK_H
#define BGJOB_BASE_GATEMARK_H

#include "postgres.h"

/* A low-water mark as it was read. */
typedef struct BgjobGateMark
{
	int64
		place; /* no row stands before it; PG_INT64_MIN: nothing is known; PG_INT64_MAX: no row stands at all */
	uint64 moment;
} BgjobGateMark;

extern BgjobGateMark bgjob_gate_mark(int64 gate, bool add);
extern void bgjob_gate_mark_advance(int64 gate, const BgjobGateMark *read, int64 first);
extern void bgjob_gate_mark_empty(int64 gate, const BgjobGateMark *read);
extern bool bgjob_gate_line_is_empty(int64 gate);
extern void bgjob_gate_mark_lower(int64 gate, int64 place);

#endif /* BGJOB_BASE_GATEMARK_H */
