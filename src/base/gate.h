/*-------------------------------------------------------------------------
 *
 * gate.h
 *	  Gates: who holds a place at them, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATE_H
#define BGJOB_BASE_GATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/rate.h"

/* What a gate is of. A job needs a place at each of its gates, in this order. */
typedef enum BgjobGateKind
{
	BGJOB_GATE_SEQUENCE, /* the jobs of a sequence_key */
	BGJOB_GATE_PAUSE,    /* a queue that is paused */
	BGJOB_GATE_QUEUE,    /* a queue with max_running */
	BGJOB_GATE_LIMIT,    /* a limit, or one key of a pattern */
	BGJOB_GATE_FAIR      /* a turn among fairness keys */
} BgjobGateKind;

/* At most so many gates are a job's: its limits, and one of each other kind. */
#define BGJOB_GATES_MAX 20

/* What a job needs of a gate. */
typedef struct BgjobGateNeed
{
	BgjobGateKind kind;
	int64 gate;
	int max_running; /* so many may hold a place; -1: any number */
	BgjobRate rate;
	int units;                /* of the rate */
	TimestampTz closed_until; /* as configured; 0: it is open */
	bool deletes;             /* a job that finds no room is deleted */
	double weight;            /* of a fairness key */
	int64
		line; /* where a job with a fairness key waits; else jobs wait in the line of the gate */
	const char *name; /* of a limit, queue or key; valid as long as the job is */
} BgjobGateNeed;

/* What is known of a gate. */
typedef struct BgjobGateState
{
	int running;
	int used;                 /* of the rate, in the window that counts now */
	TimestampTz closed_until; /* by bgjob_limit_close(); 0: it is not */
} BgjobGateState;

extern int bgjob_gates_acquire(const BgjobGateNeed *needs, int n, TimestampTz *now);
extern int bgjob_gates_own(const BgjobGateNeed **needs);
extern void bgjob_gates_end_at_commit(void);
extern bool bgjob_gates_are_ending(void);
extern void bgjob_gates_committed(void);
extern void bgjob_gates_aborted(void);
extern void bgjob_gates_release(void);
extern void
bgjob_gates_give_back(const BgjobGateNeed *needs, int n, TimestampTz since, bool passed_on);
extern void bgjob_gates_pass(void);
extern void bgjob_gates_hold(const BgjobGateNeed *needs, int n, TimestampTz since);

extern int bgjob_gate_room(const BgjobGateNeed *need, int freed, TimestampTz *when);
extern int bgjob_gate_running(int64 gate);
extern bool bgjob_gate_has_waiters(int64 gate);
extern void bgjob_gate_changed(const BgjobGateNeed *need, int passed, int filed, int taken);
extern void bgjob_gate_found_empty(int64 gate, uint64 moment);
extern void bgjob_gate_promise(int64 gate, TimestampTz when);
extern void bgjob_gate_read(const BgjobGateNeed *need, BgjobGateState *state);
extern void bgjob_gate_close(const BgjobGateNeed *need, TimestampTz until);
extern void bgjob_gate_correct(int64 gate, int units);

extern bool bgjob_gate_is_own(int64 gate);

#endif /* BGJOB_BASE_GATE_H */
