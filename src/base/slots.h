/*-------------------------------------------------------------------------
 *
 * slots.h
 *	  How many of the server's background workers a database or a role may have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SLOTS_H
#define BGJOB_BASE_SLOTS_H

#include "postgres.h"

/* What a process is needed for; a later value leaves more slots free. */
typedef enum BgjobNeed
{
	BGJOB_NEED_DATABASE, /* a database that has none */
	BGJOB_NEED_ROLE,     /* a role that has none, in a database that has some */
	BGJOB_NEED_LOAN,     /* one more, for jobs that have been short so far */
	BGJOB_NEED_MORE      /* one more */
} BgjobNeed;

extern int bgjob_slots_most(BgjobNeed need);
extern int bgjob_slots_workers(void);
extern int bgjob_slots_allowed(Oid database);
extern int bgjob_slots_may_have(Oid database, int has, int allowed);
extern bool bgjob_slots_for_scheduler(void);
extern int bgjob_slots_poorest(Oid database);
extern bool bgjob_slots_is_richest(Oid database);
extern void bgjob_slots_want(Oid database, int workers);
extern int bgjob_slots_worker_limit(BgjobNeed need);

#endif /* BGJOB_BASE_SLOTS_H */
