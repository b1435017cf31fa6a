/*-------------------------------------------------------------------------
 *
 * announce.h
 *	  Telling at once that jobs can be performed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_ANNOUNCE_H
#define BGJOB_BASE_ANNOUNCE_H

#include "postgres.h"

#include "base/lanegroup.h"
#include "base/registry.h"
#include "datatype/timestamp.h"

/* So many rows of a lane are announced one by one; of more, the lowest position. */
#define BGJOB_ANNOUNCE_FEW 8

extern void bgjob_announce(const BgjobLaneKey *lane, int64 pos, int64 job);
extern void bgjob_announce_again(const BgjobLaneKey *key, const BgjobLaneItem *items,
								 int64 count, int64 lowest);
extern void bgjob_announce_lane(const BgjobGroupRest *rest, BgjobLaneKey *lane);
extern void bgjob_announce_rest(const BgjobGroupRest *rest, bool singly);
extern void bgjob_announce_due(TimestampTz due);
extern void bgjob_announce_unknown(bool committed, bool counted);
extern void bgjob_wake_for(const BgjobLaneKey *key, int64 count);

#endif /* BGJOB_BASE_ANNOUNCE_H */
