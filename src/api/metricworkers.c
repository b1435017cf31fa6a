/*-------------------------------------------------------------------------
 *
 * metricworkers.c
 *	  The metrics of servers, workers and external workers.
 *
 * A database has at most BGJOB_SERVERS_OF_DATABASE servers, so each is a label. External workers, whose names are chosen by
 * clients, are only counted.
 *
 * Runs in the session that reads the view. Slots are read without a lock, as in api/serverviews.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/metrics.h"
#include "base/externalworkers.h"
#include "base/lease.h"
#include "base/slots.h"
#include "miscadmin.h"
#include "store/serverconf.h"

typedef enum WorkerState
{
	WORKER_BUSY,
	WORKER_IDLE,
	WORKER_LEAVING
} WorkerState;

#define NSTATES (WORKER_LEAVING + 1)

static const char *const state_names[NSTATES] = {
	[WORKER_BUSY] = "busy", [WORKER_IDLE] = "idle", [WORKER_LEAVING] = "leaving"};

/* Counts the workers of a server, by state, that the reader sees. Returns how many there are. */
static int
count_workers(const char *server, int64 *states)
{
	int n = 0;

	memset(states, 0, NSTATES * sizeof(int64));
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		const BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != MyDatabaseId ||
			strcmp(slot->server_name, server) != 0)
			continue;
		n++;
		if (slot->pid == 0 || !bgjob_metric_sees(slot->role, NULL))
			continue;
		states[slot->retire || slot->term ? WORKER_LEAVING
			   : slot->job != 0           ? WORKER_BUSY
										  : WORKER_IDLE]++;
	}
	return n;
}

/* bgjob_metric_workers returns how many workers each server has in each state. */
void
bgjob_metric_workers(BgjobMetrics *metrics, int which)
{
	int n;
	const BgjobServer *servers = bgjob_serverconf_list(&n);

	for (int i = 0; i < n; i++)
	{
		int64 states[NSTATES];

		(void) count_workers(servers[i].name, states);
		for (int state = 0; state < NSTATES; state++)
		{
			BgjobLabel labels[] = {{"server", servers[i].name}, {"state", state_names[state]}};

			bgjob_metric_put(metrics, (double) states[state], labels, lengthof(labels));
		}
	}
}

/* bgjob_metric_server_max returns how many workers each server may have at present. */
void
bgjob_metric_server_max(BgjobMetrics *metrics, int which)
{
	int n;
	const BgjobServer *servers = bgjob_serverconf_list(&n);

	for (int i = 0; i < n; i++)
	{
		const BgjobServerConf *conf = &servers[i].conf;
		BgjobLabel label = {"server", servers[i].name};
		int64 states[NSTATES];
		int has = count_workers(servers[i].name, states);
		int allowed = conf->workers != 0 ? conf->workers : bgjob_slots_allowed(MyDatabaseId);

		bgjob_metric_put(metrics, bgjob_slots_may_have(MyDatabaseId, has, allowed), &label, 1);
	}
}

/* bgjob_metric_server_paused returns which servers are paused. */
void
bgjob_metric_server_paused(BgjobMetrics *metrics, int which)
{
	int n;
	const BgjobServer *servers = bgjob_serverconf_list(&n);

	for (int i = 0; i < n; i++)
	{
		BgjobLabel label = {"server", servers[i].name};

		bgjob_metric_put(metrics, servers[i].conf.paused ? 1 : 0, &label, 1);
	}
}

/* bgjob_metric_external_workers returns how many external workers that the reader sees are known, by state. */
void
bgjob_metric_external_workers(BgjobMetrics *metrics, int which)
{
	static const char *const names[] = {[BGJOB_EXTERNAL_GO_ON] = "active",
										[BGJOB_EXTERNAL_QUIET] = "quiet",
										[BGJOB_EXTERNAL_TERMINATE] = "terminating"};
	int64 counts[lengthof(names)] = {0};
	int n;
	const BgjobExternalWorker *workers = bgjob_external_workers_list(MyDatabaseId, &n);

	for (int i = 0; i < n; i++)
		if (bgjob_metric_sees(workers[i].role, NULL))
			counts[workers[i].command]++;
	for (int i = 0; i < lengthof(names); i++)
	{
		BgjobLabel label = {"state", names[i]};

		bgjob_metric_put(metrics, (double) counts[i], &label, 1);
	}
}

/* bgjob_metric_leases returns how many jobs that the reader sees external workers have. */
void
bgjob_metric_leases(BgjobMetrics *metrics, int which)
{
	int64 count = 0;

	if (bgjob_leases_used() > 0)
	{
		int n;
		BgjobLease *leases = bgjob_leases_list(MyDatabaseId, &n);

		for (int i = 0; i < n; i++)
			count += bgjob_metric_sees(leases[i].role, NULL);
		pfree(leases);
	}
	bgjob_metric_put(metrics, (double) count, NULL, 0);
}
