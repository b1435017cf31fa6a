/*-------------------------------------------------------------------------
 *
 * place.h
 *	  Where a job stands besides its own row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_PLACE_H
#define BGJOB_STORE_PLACE_H

#include "postgres.h"

#include "store/bulk.h"
#include "store/jobrow.h"
#include "store/taken.h"

typedef enum BgjobPlace
{
	BGJOB_PLACE_NONE, /* in its own row alone */
	BGJOB_PLACE_QUEUE,
	BGJOB_PLACE_GATE, /* in the line of a gate; or in the queue, if it was let through */
	BGJOB_PLACE_SCHEDULE,
	BGJOB_PLACE_AWAITING,
	BGJOB_PLACE_CLAIM,
	BGJOB_PLACE_FAILURE
} BgjobPlace;

#define BGJOB_NPLACES (BGJOB_PLACE_FAILURE + 1)

extern BgjobPlace bgjob_place_of_state(BgjobState state);
extern BgjobPlace bgjob_place_of(const BgjobJob *job);
extern bool bgjob_place_is_lock(BgjobPlace place);
extern void bgjob_place_put(const BgjobJob *job);
extern void bgjob_place_put_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
								 const ItemPointerData *tids, int n);
extern BgjobTaken bgjob_place_take(const BgjobJob *job, TransactionId *holder);
extern bool bgjob_place_has(const BgjobJob *job);
extern void bgjob_place_leave(BgjobPlace place, int64 job);

#endif /* BGJOB_STORE_PLACE_H */
