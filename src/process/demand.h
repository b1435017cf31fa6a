/*-------------------------------------------------------------------------
 *
 * demand.h
 *	  Who has work in a database, and who has workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_DEMAND_H
#define BGJOB_PROCESS_DEMAND_H

#include "postgres.h"

#include "base/servers.h"

/* A role that has work for the workers of a server, or has workers there. */
typedef struct BgjobRoleDemand
{
	Oid role;
	int server; /* its place in the list of servers */
	int64 ready;
	int workers;   /* but for those that are to leave */
	int available; /* of these, those that will take jobs by themselves */
	bool covered;  /* the role has a worker of another server that takes the same jobs */
} BgjobRoleDemand;

/* A server, as of one balance. */
typedef struct BgjobServerDemand
{
	const BgjobServer *server;
	int most;       /* workers that it may have; 0: none, also not for a role that has none */
	int workers;    /* that it has, of all roles */
	int nhungry;    /* roles that have work for it */
	uint64 leavers; /* server->state->leavers before the workers were counted */
	BgjobRoleDemand *next; /* the role that gets no worker; NULL: there is none */
} BgjobServerDemand;

/* One look at a database. */
typedef struct BgjobBalance
{
	int64 now;  /* by the steady clock */
	int64 wake; /* likewise: when to balance again by itself */
	BgjobServerDemand *servers;
	int nservers;
	BgjobRoleDemand *roles;
	int nroles;
	int *places; /* a hash table of 1 + places in roles */
	uint32 mask; /* its size, less 1 */
	int nhungry; /* of all servers */
	int workers; /* likewise */
	int leaving; /* workers that are about to leave */
	int poorest; /* fewest workers of the other databases that want a slot; -1: none wants one */
} BgjobBalance;

/* What is kept of a role and a server from one balance to the next. */
typedef struct BgjobDemandState
{
	Oid role;            /* these must be first */
	uint32 server;       /* its id */
	int64 last_start;    /* of a worker: the role that has waited longest comes first */
	int64 wanting_since; /* it has jobs and no worker; 0: that is not so */
} BgjobDemandState;

extern void bgjob_demand_init(void);
extern void bgjob_demand_begin(BgjobBalance *balance);
extern BgjobDemandState *
bgjob_demand_state(const BgjobBalance *balance, const BgjobRoleDemand *demand);
extern int64
bgjob_demand_wanting_for(const BgjobBalance *balance, const BgjobRoleDemand *demand);
extern BgjobRoleDemand *bgjob_demand_find(BgjobBalance *balance, Oid role, int server);
extern void bgjob_demand_forget(Oid role);
extern bool bgjob_demand_is_there(void);

static inline BgjobServerDemand *
bgjob_demand_of(const BgjobBalance *balance, const BgjobRoleDemand *demand)
{
	return &balance->servers[demand->server];
}

#endif /* BGJOB_PROCESS_DEMAND_H */
