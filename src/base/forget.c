/*-------------------------------------------------------------------------
 *
 * forget.c
 *	  Forgetting a database.
 *
 * When bgjob has left a database, what shared memory has of its lanes, queues, servers,
 * fairness keys, leases and statistics of queues is dropped. Its tables, if they are still there, are the truth:
 * a scheduler that comes back reads them.
 *
 * By the scheduler that leaves, and by the launcher. Locks: those of the modules that
 * are called, one after the other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/externalworkers.h"
#include "base/fair.h"
#include "base/forget.h"
#include "base/lanegroup.h"
#include "base/lease.h"
#include "base/lateanswers.h"
#include "base/queues.h"
#include "base/queuestatstable.h"
#include "base/servers.h"

/* bgjob_forget drops what shared memory has of the jobs and the configuration of a database. */
void
bgjob_forget(Oid database)
{
	bgjob_lane_groups_forget(database, InvalidOid);
	bgjob_queues_forget(database);
	bgjob_servers_forget(database);
	bgjob_fair_forget(database);
	bgjob_leases_forget(database);
	bgjob_external_workers_forget(database);
	bgjob_late_answers_forget(database);
	bgjob_queue_stats_forget(database);
}
