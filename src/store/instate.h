/*-------------------------------------------------------------------------
 *
 * instate.h
 *	  The ids of the jobs in a state, without reading all jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_INSTATE_H
#define BGJOB_STORE_INSTATE_H

#include "postgres.h"

#include "rules/state.h"
#include "storage/block.h"
#include "utils/snapshot.h"

/* A growing list of ids. */
typedef struct BgjobIds
{
	Datum *ids; /* as the elements of an array */
	int n;
	int max;
} BgjobIds;

extern bool bgjob_state_is_listed(BgjobState state);
extern void bgjob_ids_init(BgjobIds *ids);
extern void bgjob_ids_add(BgjobIds *ids, int64 id);
/* Returns whether the jobs of a role are wanted. */
typedef bool (*BgjobSees)(Oid role, void *arg);

extern void bgjob_ids_in_states(BgjobIds *ids, uint32 states, BgjobSees sees, void *arg);
extern bool bgjob_ids_if_few(BgjobIds *ids, BgjobState state, BlockNumber most,
							 Snapshot snapshot, BgjobSees sees, void *arg);

#endif /* BGJOB_STORE_INSTATE_H */
