/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  Claiming jobs.
 *
 * The claim is the deletion of the job's row in bgjob_internal.queue, in the transaction
 * that performs the job. A worker never waits: it skips a row that another
 * transaction has locked. If the worker's transaction aborts, the row is there again.
 *
 * The lanes name the jobs to claim (base/taker.h); base/lane.c says why no job is
 * stranded and none claimed twice. A remembered ctid is checked against the row's
 * key before it is trusted, since after a vacuum it may point to another row.
 *
 * By workers; of the server's sessions only bgjob_claim_item. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/announce.h"
#include "base/chunkjobs.h"
#include "base/groupitems.h"
#include "base/ownserver.h"
#include "base/slot.h"
#include "base/taker.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "store/claim.h"
#include "store/lanescan.h"
#include "store/queue.h"
#include "store/queuerow.h"
#include "store/relation.h"
#include "utils/snapmgr.h"

/*
 * Reads an item's row of the queue, if the ctid still points to it. *tid is the
 * tid of the job when the row was written. No snapshot is taken: the deletion
 * of the row decides the claim.
 */
static bool
claim_read_row(BgjobRel *rel, const BgjobLaneItem *item, const BgjobLaneKey *key,
			   ItemPointerData *tid)
{
	ItemPointerData at = item->tid;
	Datum *values;
	bool found;

	if (!bgjob_rel_fetch(rel, &at, SnapshotSelf))
		return false;
	slot_getallattrs(rel->slot);
	values = rel->slot->tts_values;
	found = DatumGetInt64(values[BGJOB_Q_POS - 1]) == item->pos &&
			bgjob_queue_row_job(rel->slot) == item->job &&
			DatumGetObjectId(values[BGJOB_Q_ROLE - 1]) == key->group.role &&
			bgjob_queue_row_is_of(rel->slot, key);
	*tid = *(ItemPointer) DatumGetPointer(values[BGJOB_Q_TID - 1]);
	ExecClearTuple(rel->slot);
	return found;
}

/* The items that this worker has taken. In a group, an item has the same index as in the slot's group. */
static BgjobLaneItem taken[BGJOB_GROUP_MAX + BGJOB_LANE_AHEAD];
static BgjobTaking taking;
static bool is_popped = false; /* a single item, not claimed yet */

static BgjobTaker *taker = NULL;

static int current; /* the index of the claimed one */

/* Names items of a group in this worker's slot. */
static void
name_in_group(const BgjobLaneItem *items, int n)
{
	bgjob_group_items_add(items, n);
}

/* Names the items being taken in this worker's slot. */
static void
name_in_slot(const BgjobLaneItem *items, const BgjobTaking *now)
{
	if (now->group_size == 1)
	{
		bgjob_slot_begin(items[0].job, items[0].pos);
		return;
	}
	bgjob_group_items_begin(now->key.group.role, now->key.queue, now->key.priority);
	name_in_group(items, now->n);
}

/* Wakes another worker for the lane of the taken items, which has more. */
static void
wake_next(void)
{
	BgjobServerSet servers;

	bgjob_servers_taking(taking.key.group.database, taking.key.queue, &servers);
	(void) bgjob_wake_worker(taking.key.group.database, taking.key.group.role, &servers);
}

/* bgjob_claim_init prepares a worker; called once. */
void
bgjob_claim_init(void)
{
	BgjobLaneGroupKey own;

	bgjob_lane_group_key(&own, bgjob_my_slot->database, bgjob_my_slot->role,
						 BGJOB_LANE_INTERNAL);
	taker = bgjob_taker_create(&own, 1, bgjob_own_server_queues, name_in_slot);
}

/* bgjob_claim_has_work returns whether there may be a job for this worker. */
bool
bgjob_claim_has_work(void)
{
	return bgjob_taker_has_work(taker);
}

typedef enum Claimed
{
	CLAIMED,
	NOT_CLAIMED, /* another transaction was faster */
	DOES_NOT_FIT /* the job cannot be in this group */
} Claimed;

/*
 * Claims the job of one item: reads the job, and deletes its row from the queue.
 * The job is found by the tid that it had when it was enqueued; by its id, if
 * VACUUM FULL has moved it or a retry has updated it.
 */
static Claimed
claim_item(BgjobRel *rel, BgjobRel *jobs, const BgjobLaneKey *key, const BgjobLaneItem *item,
		   BgjobJob *job, BgjobFits fits)
{
	ItemPointerData at = item->tid;
	ItemPointerData tid;
	bool in_place = claim_read_row(rel, item, key, &tid);

	if ((!in_place || !bgjob_job_read_at(jobs, &tid, item->job, job)) &&
		!bgjob_job_read(jobs, item->job, job))
	{
		if (bgjob_queue_take(key, item->pos, NULL) == BGJOB_TAKEN)
			ereport(LOG, (errmsg("removed job " INT64_FORMAT " from queue \"%s\"", item->job,
								 key->queue),
						  errdetail("The job no longer exists.")));
		return NOT_CLAIMED;
	}
	if (fits != NULL && !fits(job))
		return DOES_NOT_FIT;
	if (!(in_place && bgjob_rel_delete(rel, &at, NULL)) &&
		(bgjob_queue_take(key, item->pos, NULL) != BGJOB_TAKEN ||
		 !bgjob_job_refresh(jobs, job))) /* it may have been away meanwhile */
		return NOT_CLAIMED;
	/* A queue row that was written by hand, and matches no enqueued job, is not performed. */
	return job->state == BGJOB_ENQUEUED && job->pos == item->pos ? CLAIMED : NOT_CLAIMED;
}

/*
 * bgjob_claim_item claims the job of an item that this process has taken from a lane; "rel" is
 * the queue. Never waits. False: another transaction was faster.
 */
bool
bgjob_claim_item(BgjobRel *rel, BgjobRel *jobs, const BgjobLaneKey *key,
				 const BgjobLaneItem *item, BgjobJob *job)
{
	return claim_item(rel, jobs, key, item, job, NULL) == CLAIMED;
}

/*
 * Claims the next job of the taken items; false if there is none. If true, the
 * worker's slot names the job, and interrupts are held.
 */
static bool
claim_next(BgjobRel *rel, BgjobRel *jobs, BgjobJob *job, BgjobFits fits)
{
	int next;

	for (;;)
	{
		Claimed claimed;

		CHECK_FOR_INTERRUPTS();
		if (fits != NULL && bgjob_taker_has_better(taker, &taking.key))
			return false;
		HOLD_INTERRUPTS();
		next = bgjob_group_items_next();
		if (next < 0)
			break;
		bgjob_slot_begin(taken[next].job, taken[next].pos);
		claimed = claim_item(rel, jobs, &taking.key, &taken[next], job, fits);
		if (claimed == CLAIMED)
		{
			current = next;
			bgjob_slot_claimed();
			return true;
		}
		bgjob_slot_end(false);
		if (claimed == DOES_NOT_FIT)
		{
			bgjob_group_items_keep();
			break;
		}
		RESUME_INTERRUPTS();
	}
	RESUME_INTERRUPTS();
	return false;
}

/*
 * bgjob_claim_next claims the next job of the group that this worker has
 * begun. False if there is none, if the job does not fit, or if a job that
 * goes first has arrived. Otherwise as bgjob_claim.
 */
bool
bgjob_claim_next(BgjobRel *jobs, BgjobJob *job, BgjobFits fits)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	bool claimed = claim_next(rel, jobs, job, fits);

	bgjob_rel_close(rel);
	return claimed;
}

/* How far this worker has come in its search for lanes that it takes; "noted" of the group when the search began. */
static int64 own_from = PG_INT64_MIN;
static uint64 own_noted;

/*
 * Brings in lanes that the group had no room for. Where other servers take most of them,
 * and this worker has nothing to take, it searches for lanes of its own.
 */
static void
bring_in(BgjobRel *rel)
{
	const BgjobLaneGroupKey *group = &taking.key.group;

	if (!taking.none || !bgjob_own_server_has_others())
	{
		bgjob_lane_bring_in(rel, group);
		return;
	}
	if (own_from == PG_INT64_MIN)
		own_noted = taking.noted;
	if (!bgjob_lane_bring_own_in(rel, group, bgjob_own_server_queues(), bgjob_own_server_takes,
								 &own_from))
		return;
	own_from = PG_INT64_MIN;
	bgjob_taker_found_all(taker, group, own_noted);
}

/*
 * bgjob_claim claims the next job for this worker: its row is deleted
 * from the queue by the running transaction, this worker's slot names it, and
 * *job holds its row of bgjob_internal.job. Interrupts are held then: as soon as
 * the slot names the job, an interrupt may be meant for the job. The caller
 * resumes them when it can handle that. False if there is no job. *group: more
 * jobs may be performed in the same transaction (bgjob_claim_next), and the
 * caller must end the slot's group.
 */
bool
bgjob_claim(BgjobRel *jobs, BgjobJob *job, bool *group)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	bool claimed = false;

	*group = false;
	while (!claimed)
	{
		BgjobTake take;

		CHECK_FOR_INTERRUPTS();
		HOLD_INTERRUPTS();
		take = bgjob_taker_take(taker, taken, &taking);
		is_popped = take == BGJOB_TAKE_ITEMS && taking.group_size == 1;
		if (take != BGJOB_TAKE_ITEMS)
		{
			RESUME_INTERRUPTS();
			if (take == BGJOB_TAKE_NONE)
				break;
			if (take == BGJOB_TAKE_SCAN)
				(void) bgjob_lane_refill(rel, &taking.key, taken, 0, NULL);
			else
				bring_in(rel);
			continue;
		}
		if (taking.more &&
			!taking.in_chunk) /* each worker wakes the next, as long as there is work */
			wake_next();
		*group = taking.group_size > 1 && !taking.in_chunk;
		if (taking.group_size > 1)
		{
			RESUME_INTERRUPTS(); /* the slot names no job yet */
			if (*group && taking.n < taking.group_size)
				(void) bgjob_lane_refill(rel, &taking.key, taken + taking.n,
										 taking.group_size - taking.n, name_in_group);
			claimed = claim_next(rel, jobs, job, NULL);
			continue;
		}
		claimed = claim_item(rel, jobs, &taking.key, &taken[0], job, NULL) == CLAIMED;
		is_popped = false;
		if (claimed)
			bgjob_slot_claimed();
		else
		{
			bgjob_slot_end(false);
			RESUME_INTERRUPTS();
		}
	}
	bgjob_rel_close(rel);
	return claimed;
}

/* ---- chunks ---- */

/*
 * bgjob_claim_begin_chunk begins a chunk of at most "size" jobs with the claimed job. False:
 * the job is to be performed by itself, since a chunk has failed.
 */
bool
bgjob_claim_begin_chunk(int size)
{
	if (taking.alone)
		return false;
	bgjob_taker_note_chunk(&taking.key, size);
	if (taking.group_size == 1)
	{
		bgjob_group_items_begin(taking.key.group.role, taking.key.queue, taking.key.priority);
		bgjob_group_items_add(taken, 1);
		current = 0;
	}
	bgjob_chunk_begin(current);
	memmove(taken, taken + current, (lengthof(taken) - current) * sizeof(BgjobLaneItem));
	return true;
}

/* Takes more items of the chunk's lane, of which the first "n" are taken; at most "most". False: there are none. */
static bool
take_more(BgjobRel *rel, int n, int most)
{
	most = Min(most, BGJOB_GROUP_MAX - n);
	if (most <= 0)
		return false;
	if (bgjob_taker_take_more(&taking.key, taken + n, most, name_in_group) > 0)
		return true;
	return bgjob_lane_refill(rel, &taking.key, taken + n, most, name_in_group) > 0;
}

/*
 * Claims the job that was shown last. It is the one behind the first "n" of the chunk.
 * NOT_CLAIMED: it is no longer in the chunk, and so the one behind it takes its index.
 */
static Claimed
claim_shown(BgjobRel *rel, BgjobRel *jobs, int n, BgjobJob *job, BgjobFits fits)
{
	Claimed claimed = claim_item(rel, jobs, &taking.key, &taken[n], job, fits);

	if (claimed == DOES_NOT_FIT)
		bgjob_chunk_keep();
	else if (claimed == NOT_CLAIMED)
	{
		bgjob_chunk_drop();
		memmove(taken + n, taken + n + 1, (lengthof(taken) - n - 1) * sizeof(BgjobLaneItem));
	}
	return claimed;
}

/*
 * bgjob_claim_company claims the job that follows the "n" jobs of the chunk; "wanted" is how
 * many items to take where the next one is not known. The slot still names the first job.
 * False if there is none, or it does not fit.
 */
bool
bgjob_claim_company(BgjobRel *jobs, int n, int wanted, BgjobJob *job, BgjobFits fits)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Claimed claimed = NOT_CLAIMED;

	while (claimed == NOT_CLAIMED)
	{
		CHECK_FOR_INTERRUPTS();
		if (!bgjob_chunk_next() && !(take_more(rel, n, wanted) && bgjob_chunk_next()))
			break;
		claimed = claim_shown(rel, jobs, n, job, fits);
	}
	bgjob_rel_close(rel);
	return claimed == CLAIMED;
}

/*
 * bgjob_claim_end_company gives back what was taken and is not in the chunk, and wakes a
 * worker for what follows. alone: the first job has remained alone, and is in no chunk.
 */
void
bgjob_claim_end_company(bool alone)
{
	BgjobGroupRest rest;
	bool any =
		alone ? bgjob_group_items_end(bgjob_my_slot, false, &rest) : bgjob_chunk_cut(&rest);

	if (any)
		bgjob_announce_rest(&rest, false);
	else if (bgjob_taker_has_work(taker))
		wake_next();
}

/* bgjob_claim_no_chunk does so if the claimed job turns out to be one that is in no chunk. */
void
bgjob_claim_no_chunk(void)
{
	if (!taking.in_chunk)
		return;
	bgjob_taker_note_chunk(&taking.key, 0);
	bgjob_claim_end_company(true);
}

/* bgjob_claim_give_back announces the job that this worker had taken again, after its claim failed. */
void
bgjob_claim_give_back(void)
{
	if (is_popped)
		bgjob_announce_again(&taking.key, &taken[0], 1, taken[0].pos);
	is_popped = false;
}
