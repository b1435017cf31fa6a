/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  bgjob's shared memory, as a whole.
 *
 * The parts (registry, lanes, waiters, statistics, the in-flight file) know their own
 * sizes and contents; this file puts them into the server's start. Where the
 * library is not in shared_preload_libraries none of it exists, and
 * bgjob_registry stays NULL: other code tests for that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/awaiterlist.h"
#include "base/chunkwaits.h"
#include "base/console.h"
#include "base/dependants.h"
#include "base/externalworkers.h"
#include "base/fair.h"
#include "base/functionstats.h"
#include "base/statsfile.h"
#include "base/inflight.h"
#include "base/gateasks.h"
#include "base/gatetable.h"
#include "base/jobmap.h"
#include "base/lanegroup.h"
#include "base/lease.h"
#include "base/lateanswers.h"
#include "base/queues.h"
#include "base/queuestatstable.h"
#include "base/preparedmoves.h"
#include "base/registry.h"
#include "base/reviews.h"
#include "base/servers.h"
#include "base/shmem.h"
#include "base/tally.h"
#include "base/waiters.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static void
request(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(bgjob_registry_size());
	RequestAddinShmemSpace(bgjob_queues_size());
	RequestAddinShmemSpace(bgjob_servers_size());
	RequestAddinShmemSpace(bgjob_lane_groups_size());
	RequestAddinShmemSpace(bgjob_tallies_size());
	RequestAddinShmemSpace(bgjob_prepared_moves_size());
	RequestAddinShmemSpace(bgjob_waiters_size());
	RequestAddinShmemSpace(bgjob_awaiters_size());
	RequestAddinShmemSpace(bgjob_console_size());
	RequestAddinShmemSpace(bgjob_function_stats_size());
	RequestAddinShmemSpace(bgjob_queue_stats_size());
	RequestAddinShmemSpace(bgjob_jobmap_size());
	RequestAddinShmemSpace(bgjob_dependants_size());
	RequestAddinShmemSpace(bgjob_reviews_size());
	RequestAddinShmemSpace(bgjob_fair_size());
	RequestAddinShmemSpace(bgjob_gate_table_size());
	RequestAddinShmemSpace(bgjob_gate_asks_size());
	RequestAddinShmemSpace(bgjob_chunkwaits_size());
	RequestAddinShmemSpace(bgjob_leases_size());
	RequestAddinShmemSpace(bgjob_external_workers_size());
	RequestAddinShmemSpace(bgjob_late_answers_size());
}

static void
startup(void)
{
	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	bgjob_registry_startup();
	bgjob_queues_startup();
	bgjob_servers_startup();
	bgjob_lane_groups_startup();
	bgjob_tallies_startup();
	bgjob_prepared_moves_startup();
	bgjob_waiters_startup();
	bgjob_awaiters_startup();
	bgjob_console_startup();
	bgjob_function_stats_startup();
	bgjob_queue_stats_startup();
	bgjob_stats_files_startup();
	bgjob_jobmap_startup();
	bgjob_dependants_startup();
	bgjob_reviews_startup();
	bgjob_fair_startup();
	bgjob_gate_table_startup();
	bgjob_gate_asks_startup();
	bgjob_chunkwaits_startup();
	bgjob_leases_startup();
	bgjob_external_workers_startup();
	bgjob_late_answers_startup();
	bgjob_inflight_startup();
	LWLockRelease(AddinShmemInitLock);
}

/* bgjob_shmem_install asks for shared memory; by _PG_init in the postmaster. */
void
bgjob_shmem_install(void)
{
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}
