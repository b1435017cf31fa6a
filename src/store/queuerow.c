/*-------------------------------------------------------------------------
 *
 * queuerow.c
 *	  The rows of bgjob_internal.queue and of its index.
 *
 * A row has the lane of its job twice: as queue and priority, and as the number
 * that stands for both, and for the kind of worker, in the index (bgjob_lane_number). The position is usually
 * the id of the job; then the id is not stored as well.
 *
 * For the files of this folder that read or write bgjob_internal.queue. No locks, no state.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lanegroup.h"
#include "miscadmin.h"
#include "store/queuerow.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* bgjob_queue_keys makes keys for the index: equal role and lane, and the given comparison of the position. */
void
bgjob_queue_keys(ScanKey keys, Oid role, int64 lane, StrategyNumber strategy,
				 RegProcedure compare, int64 pos)
{
	bgjob_key(&keys[0], BGJOB_QI_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], BGJOB_QI_LANE, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(lane));
	bgjob_key(&keys[2], BGJOB_QI_POS, strategy, compare, Int64GetDatum(pos));
}

/* bgjob_queue_row_lane returns the lane of the row in a slot, by its queue, its priority and the kind that its number says. */
void
bgjob_queue_row_lane(TupleTableSlot *slot, BgjobLaneKey *key)
{
	BgjobLaneGroupKey group;

	slot_getallattrs(slot);
	bgjob_lane_group_key(
		&group, MyDatabaseId, DatumGetObjectId(slot->tts_values[BGJOB_Q_ROLE - 1]),
		bgjob_lane_number_kind(DatumGetInt64(slot->tts_values[BGJOB_Q_LANE - 1])));
	bgjob_lane_key(key, &group, TextDatumGetCString(slot->tts_values[BGJOB_Q_QUEUE - 1]),
				   DatumGetInt16(slot->tts_values[BGJOB_Q_PRIORITY - 1]));
}

/* bgjob_queue_row_is_of returns whether the row in a slot, which has the role of a lane, belongs to it. */
bool
bgjob_queue_row_is_of(TupleTableSlot *slot, const BgjobLaneKey *key)
{
	const text *queue;

	slot_getallattrs(slot);
	queue = DatumGetTextPP(slot->tts_values[BGJOB_Q_QUEUE - 1]);
	return DatumGetInt16(slot->tts_values[BGJOB_Q_PRIORITY - 1]) == key->priority &&
		   bgjob_lane_number_kind(DatumGetInt64(slot->tts_values[BGJOB_Q_LANE - 1])) ==
			   key->group.kind &&
		   VARSIZE_ANY_EXHDR(queue) == strlen(key->queue) &&
		   memcmp(VARDATA_ANY(queue), key->queue, VARSIZE_ANY_EXHDR(queue)) == 0;
}

/* bgjob_queue_row_job returns the job of the row in a slot, all of whose columns have been read. */
int64
bgjob_queue_row_job(TupleTableSlot *slot)
{
	return DatumGetInt64(slot->tts_values[slot->tts_isnull[BGJOB_Q_JOB - 1] ? BGJOB_Q_POS - 1
																			: BGJOB_Q_JOB - 1]);
}
