/*-------------------------------------------------------------------------
 *
 * idle.h
 *	  The workers of a lane group, and those of them that wait for work.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_IDLE_H
#define BGJOB_BASE_IDLE_H

#include "postgres.h"

#include "base/lanegroup.h"
#include "base/registry.h"

extern void bgjob_idle_join(void);
extern void bgjob_idle_set(bool idle);
extern BgjobSlot *bgjob_idle_take(BgjobLaneGroup *group, const BgjobServerSet *servers);
extern BgjobSlot *bgjob_idle_first(BgjobLaneGroup *group, const BgjobServerSet *servers);
extern bool bgjob_idle_retire(BgjobSlot *slot);

#endif /* BGJOB_BASE_IDLE_H */
