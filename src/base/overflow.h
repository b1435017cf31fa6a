/*-------------------------------------------------------------------------
 *
 * overflow.h
 *	  The lanes of a group that there was no room for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_OVERFLOW_H
#define BGJOB_BASE_OVERFLOW_H

#include "postgres.h"

#include "base/lanegroup.h"

extern bool bgjob_overflow_is_empty(const BgjobLaneGroup *group);
extern void bgjob_overflow_note(BgjobLaneGroup *group, int64 number, int64 count);
extern bool
bgjob_overflow_may_come_in(BgjobLaneGroup *group, const BgjobLane *first, bool named);
extern bool bgjob_overflow_pop(BgjobLaneGroup *group, int64 *number);
extern void bgjob_overflow_put_back(BgjobLaneGroup *group, int64 number);
extern bool
bgjob_overflow_bring_in(BgjobLaneGroup *group, const BgjobLaneKey *key, BgjobLaneTakes takes);

#endif /* BGJOB_BASE_OVERFLOW_H */
