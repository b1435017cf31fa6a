/*-------------------------------------------------------------------------
 *
 * group.h
 *	  Several jobs of one queue in one transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_GROUP_H
#define BGJOB_RUN_GROUP_H

#include "postgres.h"

#include "store/job.h"

typedef struct BgjobGroup
{
	bool begun;   /* the running transaction is that of a group */
	bool chunk;   /* it is performed in one call (run/chunk.c) */
	bool is_over; /* no other job may follow in it */
} BgjobGroup;

extern BgjobGroup bgjob_group;

extern void bgjob_group_init(void);
extern bool bgjob_group_fits(const BgjobJob *job);
extern void bgjob_group_perform(BgjobRel *jobs);
extern void bgjob_group_end(bool failed, bool singly);

#endif /* BGJOB_RUN_GROUP_H */
