/*-------------------------------------------------------------------------
 *
 * gatetable.h
 *	  The entries of gates in shared memory; for base/gate.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATETABLE_H
#define BGJOB_BASE_GATETABLE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/rate.h"
#include "storage/lwlock.h"

#define BGJOB_GATE_PARTITIONS 64
#define BGJOB_GATE_ENTRIES    512 /* in a partition */
#define BGJOB_GATE_USES       128 /* in a partition: gates whose rate is in use */

/* The room for the name of a limit; a longer one is not kept. */
#define BGJOB_GATE_NAME_SIZE 64

/* No entry, no use. */
#define BGJOB_GATE_NOTHING (-1)

/*
 * A job that was let through counts for so long, unless it is claimed; in microseconds of the steady clock. At a
 * turn among fairness keys longer, since there it waits for a worker, and others should not.
 */
#define BGJOB_HANDED_LASTS INT64CONST(1000000)
#define BGJOB_TURN_LASTS   INT64CONST(60000000)

typedef struct BgjobGateEntry
{
	int64 gate;
	Oid database;
	int next; /* in the chain of its bucket, or of free ones; BGJOB_GATE_NOTHING: the last */
	int running;
	int handed;
	int64 handed_at;     /* by the steady clock */
	bool fair;           /* the gate is a lane of fairness keys */
	int waiting;         /* about so many wait: see above */
	int use;             /* what is spent of its rate; BGJOB_GATE_NOTHING: nothing */
	TimestampTz look_at; /* the scheduler looks at its line then; 0: it does not */
	TimestampTz closed_until;
	int64
		mark; /* no row of the line stands before that place: base/gatemark.c; of a sequence: base/sequencemark.c */
	uint64 epoch; /* of the mark of a sequence */
	uint64 moment;
	BgjobRate rate;                  /* as it was when something was spent last */
	bool unsaved;                    /* something was spent since the scheduler has saved it */
	char name[BGJOB_GATE_NAME_SIZE]; /* of a limit; empty: it is not known, or too long */
} BgjobGateEntry;

typedef struct BgjobGatePartition
{
	LWLock lock;
	int heads[BGJOB_GATE_ENTRIES];
	int free;
	int free_use;
	uint64 moment; /* the last one that was given to an entry */
	BgjobGateEntry entries[BGJOB_GATE_ENTRIES];
	int next_use[BGJOB_GATE_USES];
	BgjobUse uses[BGJOB_GATE_USES];
} BgjobGatePartition;

extern Size bgjob_gate_table_size(void);
extern void bgjob_gate_table_startup(void);

extern TimestampTz bgjob_gate_memory_since(void);
extern uint64 bgjob_gate_new_epoch(void);
extern int bgjob_gate_partition_number(int64 gate);
extern BgjobGatePartition *bgjob_gate_partition(int number);
extern BgjobGatePartition *bgjob_gate_partition_of(int64 gate);
extern BgjobGateEntry *bgjob_gate_find(BgjobGatePartition *partition, int64 gate);
extern BgjobGateEntry *
bgjob_gate_find_or_add(BgjobGatePartition *partition, int64 gate, TimestampTz now);
extern bool
bgjob_gate_have_use(BgjobGatePartition *partition, BgjobGateEntry *entry, TimestampTz now);
extern bool bgjob_gate_use_is_free(BgjobGatePartition *partition, TimestampTz now);
extern int bgjob_gate_handed(const BgjobGateEntry *entry);
extern bool bgjob_gate_is_idle(const BgjobGatePartition *partition, const BgjobGateEntry *entry,
							   TimestampTz now);
extern void bgjob_gate_set_name(BgjobGateEntry *entry, const char *name);
extern int bgjob_gate_names(char (*names)[BGJOB_GATE_NAME_SIZE], int room, TimestampTz now);

#endif /* BGJOB_BASE_GATETABLE_H */
