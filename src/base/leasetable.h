/*-------------------------------------------------------------------------
 *
 * leasetable.h
 *	  The table of leases in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LEASETABLE_H
#define BGJOB_BASE_LEASETABLE_H

#include "postgres.h"

#include "base/console.h"
#include "base/gate.h"
#include "base/lane.h"
#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "storage/lwlock.h"

#define BGJOB_LEASE_NONE (-1)

/* Longest name of an external worker, in bytes. */
#define BGJOB_WORKER_NAME_MAX  63
#define BGJOB_WORKER_NAME_SIZE (BGJOB_WORKER_NAME_MAX + 1)

typedef enum BgjobLeasePhase
{
	BGJOB_LEASE_FREE,
	BGJOB_LEASE_PENDING, /* the transaction that fetches the job has not committed */
	BGJOB_LEASE_HELD
} BgjobLeasePhase;

/* A lease. What functions return is a copy. */
typedef struct BgjobLease
{
	uint64 serial; /* no other lease has the same; 0: none */
	int number;    /* of the lease in the table */
	Oid database;
	int64 job;
	BgjobLeasePhase phase;
	Oid role;  /* that the job runs as */
	int64 pos; /* of the job in the queue */

	/* set when the job has been claimed; until then the owner is InvalidOid */
	Oid owner; /* the role that fetched it */
	char worker[BGJOB_WORKER_NAME_SIZE];
	int attempt;
	int session; /* the pid of the session that the lease is bound to; 0: it counts alone */
	bool lost;   /* that session has ended */
	TimestampTz started_at;
	TimestampTz until;       /* as the worker was told */
	int64 ends_at;           /* the same, by the steady clock */
	int64 deadline;          /* of the attempt, by the steady clock; PG_INT64_MAX: none */
	int64 time_limit;        /* of the attempt, in milliseconds; 0: none */
	ItemPointerData row;     /* its row in bgjob_internal.lease */
	ItemPointerData job_row; /* that of the job when it was fetched: a hint */

	/* the output of the attempt */
	int logged; /* lines of earlier attempts */
	int lines;
	uint32 log_bytes; /* of these lines */
	bool log_cut;     /* nothing more is taken */
	bool has_progress;
	double percent;
	char message[BGJOB_PROGRESS_MESSAGE_MAX + 1];

	int ngates; /* at which it holds a place */
	int gates;  /* the first of them; private to leasetable.c */
} BgjobLease;

/* What a fetch knows of a claimed job. */
typedef struct BgjobLeaseTerms
{
	Oid owner;
	const char *worker;
	int session;
	TimestampTz started_at;
	TimestampTz until;
	int64 ends_at;
	int64 deadline;
	int64 time_limit;
	int attempt;
	int logged;
	const ItemPointerData *row;
	const ItemPointerData *job_row;
} BgjobLeaseTerms;

extern Size bgjob_leases_size(void);
extern void bgjob_leases_startup(void);

/* of the process that fetches or ends */
extern LWLock *bgjob_leases_load_lock(void);
extern int bgjob_leases_reserve(int n);
extern void bgjob_leases_unreserve(void);
extern int bgjob_lease_name(const BgjobLaneGroupKey *group, const BgjobLaneItem *item);
extern void bgjob_lease_set(int index, const BgjobLeaseTerms *terms);
extern bool bgjob_lease_set_gates(int index, const BgjobGateNeed *needs, int n);
extern int bgjob_lease_get_gates(int index, uint64 serial, BgjobGateNeed *needs);
extern uint64 bgjob_lease_serial(int index);
extern bool bgjob_lease_hold(int index, int64 *ends_at);
extern int bgjob_lease_free(int index, uint64 serial, BgjobGateNeed *needs, TimestampTz *since);

/* of any process */
extern BgjobLease *
bgjob_lease_lock(Oid database, int64 job, uint64 serial, LWLockMode mode, LWLock **lock);
extern void
bgjob_leases_each(Oid database, void (*visit)(BgjobLease *lease, void *arg), void *arg);
extern int bgjob_leases_used(void);
extern int bgjob_leases_allowed(Oid owner, int wanted);

#endif /* BGJOB_BASE_LEASETABLE_H */
