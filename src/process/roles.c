/*-------------------------------------------------------------------------
 *
 * roles.c
 *	  What the scheduler knows of the roles that have jobs.
 *
 * A role whose workers cannot connect (NOLOGIN since, CONNECT revoked), or cannot
 * take jobs (a damaged table), is paused, longer each time, up to a minute, with
 * one message; then one worker tries. When a worker of the role serves, that is
 * forgotten.
 *
 * By the scheduler, in its own memory. Times are those of the steady clock, so
 * setting the clock neither ends nor prolongs a pause.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/process.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "process/roles.h"
#include "rules/clock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define LONGEST_PAUSE 60 /* seconds */

static HTAB *roles;

/* bgjob_roles_init prepares a scheduler; once. */
void
bgjob_roles_init(void)
{
	HASHCTL info = {
		.keysize = sizeof(Oid), .entrysize = sizeof(BgjobRoleState), .hcxt = TopMemoryContext};

	roles = hash_create("bgjob roles", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* bgjob_role_state returns the state of a role; it is created with zeros. */
BgjobRoleState *
bgjob_role_state(Oid role)
{
	bool found;
	BgjobRoleState *state = hash_search(roles, &role, HASH_ENTER, &found);

	if (!found)
	{
		memset(state, 0, sizeof(*state));
		state->role = role;
	}
	return state;
}

/* bgjob_role_exists returns whether a role has not been dropped. In a transaction of its own. */
bool
bgjob_role_exists(Oid role)
{
	bool exists;

	bgjob_begin();
	exists = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
	bgjob_commit();
	return exists;
}

/* Returns the name of a role for a message; "?" if it has been dropped. In a transaction of its own. */
static const char *
name_of(Oid role)
{
	const char *name;

	bgjob_begin();
	name = GetUserNameFromId(role, true);
	bgjob_commit();
	return name != NULL ? name : "?";
}

/* Pauses a role after a failure of a worker. Failures during the pause count as the same one. */
static void
pause_role(BgjobRoleState *state)
{
	int64 now = bgjob_steady_now();

	if (state->paused_until > now)
		return;
	state->failures++;
	state->paused_until =
		now + Min(1 << Min(state->failures - 1, 6), LONGEST_PAUSE) * USECS_PER_SEC;
}

/* bgjob_role_failed_start notes that a worker of a role left before it could serve. */
void
bgjob_role_failed_start(Oid role)
{
	BgjobRoleState *state = bgjob_role_state(role);

	if (!bgjob_role_exists(role))
		return; /* its jobs are failed before the next worker is started */
	if (state->failures == 0)
		ereport(
			WARNING,
			(errmsg("could not start a worker for role \"%s\"", name_of(role)),
			 errdetail("The jobs of the role wait. See the previous message of the worker for "
					   "the cause."),
			 errhint("The role must have LOGIN, and CONNECT on the database.")));
	pause_role(state);
}

/* bgjob_role_failed_claims notes that a worker left because it could not take jobs. */
void
bgjob_role_failed_claims(const BgjobSlot *slot)
{
	BgjobRoleState *state = bgjob_role_state(slot->role);

	if (state->failures == 0)
		ereport(LOG, (errmsg("a worker for role \"%s\" cannot take jobs", name_of(slot->role)),
					  errdetail("See the previous message of the worker for the cause. New "
								"workers are started "
								"at growing intervals. Repeated failures are not logged.")));
	state->failure = slot->failure;
	pause_role(state);
}

/* bgjob_role_serves forgets the failures of a role if a worker of it serves. */
void
bgjob_role_serves(const BgjobSlot *slot)
{
	BgjobRoleState *state = hash_search(roles, &slot->role, HASH_FIND, NULL);

	if (state == NULL || state->failures == 0 || !slot->ready)
		return;
	if (state->failure != 0 && (slot->failure != 0 || slot->jobs_done == 0))
		return; /* the worker has taken no job yet */
	state->failures = 0;
	state->failure = 0;
	state->paused_until = 0;
}

/* bgjob_role_is_failing returns whether workers of a role have failed, and none has served since. */
bool
bgjob_role_is_failing(Oid role)
{
	BgjobRoleState *state = hash_search(roles, &role, HASH_FIND, NULL);

	return state != NULL && state->failures > 0;
}

/* bgjob_role_is_paused returns whether no worker is to be started for a role now; *wake is lowered to the end of the pause. */
bool
bgjob_role_is_paused(Oid role, int64 now, int64 *wake)
{
	BgjobRoleState *state = hash_search(roles, &role, HASH_FIND, NULL);

	if (state == NULL || state->paused_until <= now)
		return false;
	*wake = Min(*wake, state->paused_until);
	return true;
}

/* bgjob_role_forget forgets a role that has been dropped. */
void
bgjob_role_forget(Oid role)
{
	(void) hash_search(roles, &role, HASH_REMOVE, NULL);
}
