/*-------------------------------------------------------------------------
 *
 * lease.h
 *	  The jobs that external workers have fetched.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LEASE_H
#define BGJOB_STORE_LEASE_H

#include "postgres.h"

#include "base/lease.h"
#include "store/jobrow.h"
#include "store/taken.h"

/* The reason of a job whose lease was lost begins with this; the name of the worker and the cause follow. */
#define BGJOB_LOST_REASON "Lost by worker "

/* A row of bgjob_internal.lease. */
typedef struct BgjobLeaseRow
{
	int64 job;
	Oid owner;
	int64 lease;      /* microseconds */
	int64 time_limit; /* milliseconds; 0: none */
	bool bound;
	TimestampTz started_at;
	const char *worker;
} BgjobLeaseRow;

extern void bgjob_leases_ensure(void);
extern void bgjob_lease_insert(BgjobRel *rel, const BgjobLeaseRow *row);
extern BgjobTaken bgjob_lease_take(const BgjobLease *lease, TransactionId *holder);
extern BgjobTaken bgjob_lease_take_of(int64 job, TransactionId *holder);
extern bool bgjob_lease_holds(int64 job);
extern int64 *bgjob_leases_unknown(int *n);

#endif /* BGJOB_STORE_LEASE_H */
