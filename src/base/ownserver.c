/*-------------------------------------------------------------------------
 *
 * ownserver.c
 *	  The server of this worker.
 *
 * A worker belongs to one server for its life; its slot says to which. It takes
 * the queues of the server in the order of the list, none while the server is
 * paused, and leaves after its job when the server has been removed.
 *
 * It asks before each claim, so a change is in force for all claims that begin after
 * the commit of the change. Shared memory is copied only after it has changed: the
 * generation is read before the copy is made, so no change is missed.
 *
 * By workers. Locks: that of base/servers.c, for a copy.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/ownserver.h"
#include "base/servers.h"
#include "base/slot.h"

static uint64 seen = 0; /* the generation of the servers when this was copied: */
static bool configured = false;
static bool others = false; /* the database has other servers */
static BgjobServerConf conf;

/* Copies the configuration again if any server has changed. */
static void
follow(void)
{
	uint64 generation = bgjob_servers_generation();

	if (generation == seen)
		return;
	others = bgjob_servers_count(bgjob_my_slot->database) > 1;
	configured = bgjob_servers_get(bgjob_my_slot->database, bgjob_my_slot->server, &conf);
	seen = generation;
}

/* bgjob_own_server_is_gone returns whether the server of this worker has been removed. */
bool
bgjob_own_server_is_gone(void)
{
	follow();
	return !configured && bgjob_my_slot->server != BGJOB_DEFAULT_SERVER_ID;
}

/* bgjob_own_server_queues returns the list of queues that this worker takes now, like bgjob.queues; an empty one: none. */
const char *
bgjob_own_server_queues(void)
{
	follow();
	if (!configured)
		return bgjob_my_slot->server == BGJOB_DEFAULT_SERVER_ID ? bgjob_queues : "";
	if (conf.paused)
		return "";
	return conf.queues[0] != '\0' ? conf.queues : bgjob_queues;
}

/* bgjob_own_server_has_others returns whether the database has servers besides that of this worker. */
bool
bgjob_own_server_has_others(void)
{
	follow();
	return others;
}

/* bgjob_own_server_takes returns whether this worker takes the jobs of a lane now. Neither allocates nor throws. */
bool
bgjob_own_server_takes(const BgjobLaneKey *key)
{
	return bgjob_queue_level(bgjob_own_server_queues(), key->queue) >= 0 &&
		   !bgjob_queues_get(key->group.database, key->queue).paused;
}

/* bgjob_own_server_name returns the name of the server of this worker; NULL: it is "default", or this process is no worker. */
const char *
bgjob_own_server_name(void)
{
	if (bgjob_my_slot == NULL || bgjob_my_slot->kind != BGJOB_WORKER ||
		bgjob_my_slot->server == BGJOB_DEFAULT_SERVER_ID)
		return NULL;
	return bgjob_my_slot->server_name;
}
