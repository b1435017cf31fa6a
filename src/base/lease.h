/*-------------------------------------------------------------------------
 *
 * lease.h
 *	  Leases: which external worker has which job, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LEASE_H
#define BGJOB_BASE_LEASE_H

#include "postgres.h"

#include "base/leasetable.h"

/* What becomes of a line of the log. */
typedef enum BgjobLogged
{
	BGJOB_LOGGED,
	BGJOB_LOGGED_CUT, /* the log is full: another line is to say so */
	BGJOB_LOGGED_NOT  /* that has been said */
} BgjobLogged;

/* Called for a lease with its lock held; must not throw. */
typedef void (*BgjobLeaseVisit)(const BgjobLease *lease, void *arg);

extern bool bgjob_lease_note_end(Oid database, int64 ends_at);
extern void bgjob_lease_announce_end(Oid database, int64 ends_at);
extern bool bgjob_lease_is_there(Oid database, int64 job);
extern bool bgjob_lease_find(Oid database, int64 job, BgjobLease *lease);
extern int bgjob_lease_index(Oid database, int64 job, uint64 serial);
extern bool bgjob_lease_is_over(const BgjobLease *lease);
extern bool bgjob_lease_extend(const BgjobLease *lease, int64 microseconds, TimestampTz *until);
extern int bgjob_lease_add_line(const BgjobLease *lease, Size bytes, BgjobLogged *logged);
extern bool
bgjob_lease_set_progress(const BgjobLease *lease, double percent, const char *message);
extern void bgjob_leases_visit(Oid database, BgjobLeaseVisit visit, void *arg);
extern BgjobLease *bgjob_leases_list(Oid database, int *n);
extern int bgjob_leases_count(Oid database, Oid owner, const char *worker);
extern void bgjob_leases_lose(Oid database, int session);
extern void bgjob_leases_unbind(Oid database, Oid owner, const char *worker);
extern void bgjob_leases_forget(Oid database);

#endif /* BGJOB_BASE_LEASE_H */
