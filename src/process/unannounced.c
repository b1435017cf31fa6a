/*-------------------------------------------------------------------------
 *
 * unannounced.c
 *	  Finding jobs that were not announced.
 *
 * Rows that came by COMMIT PREPARED after a restart, by hand, or by replication
 * were not announced. The scheduler discovers the lanes that the queue has rows
 * of, and sweeps them (store/sweep.c), at its start, when it is notified
 * (BGJOB_NOTICE_RESCAN), and once in BGJOB_SLOW_POLL, if some transaction has
 * written since the last time. So an idle server has no transactions at all.
 *
 * Steps of the scheduler's round (process/scheduler.c): each is bounded, and
 * returns when it is to be done again by itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/announce.h"
#include "base/awaiters.h"
#include "base/database.h"
#include "base/compat.h"
#include "base/lanes.h"
#include "base/prepared.h"
#include "base/process.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "process/recovery.h"
#include "process/unannounced.h"
#include "rules/clock.h"
#include "store/sidetables.h"
#include "store/sweep.h"
#include "utils/timestamp.h"

/* Seconds between two discoveries, where a role had no room for its lanes. */
#define SEARCH_PAUSE 1

/* Microseconds between two steps along the lanes, which may be very many. */
#define DISCOVER_PAUSE 10000

/* The pause after a step of sweeping the queue, in times of what the step took. */
#define SWEEP_PAUSE 19

static TimestampTz next_poll;
static uint64 polled_at; /* completed transactions, at the last poll */
static uint32 prepared;  /* the prepared transactions with jobs, likewise */
static uint32 unnamed;   /* how many have been prepared without a command, likewise */
static bool unsettled;   /* jobs of a crash, or claims, that another transaction was changing */
static TimestampTz next_search;
static TimestampTz sweep_at = DT_NOEND; /* the next step; DT_NOEND: no sweep is under way */
static bool sweep_wanted = false;       /* another one is to begin */

/* bgjob_unannounced_discover discovers lanes that were not announced: some of them, then a pause. */
TimestampTz
bgjob_unannounced_discover(TimestampTz now)
{
	bool all;

	if (bgjob_discover_is_done())
	{
		if (!bgjob_discover_has_missed() || now < next_search)
			return bgjob_discover_has_missed() ? next_search : DT_NOEND;
		bgjob_discover_anew();
	}
	bgjob_begin();
	all = bgjob_discover();
	bgjob_commit();
	if (!all)
		return now + DISCOVER_PAUSE;
	next_search = now + SEARCH_PAUSE * USECS_PER_SEC;
	return bgjob_discover_has_missed() ? next_search : DT_NOEND;
}

/*
 * bgjob_unannounced_sweep sweeps the queue: a step, then a pause that is
 * longer the longer the step took. With a snapshot held there are millions of
 * dead rows to go over; that must not take a processor. One that is under way
 * comes to its end before the next begins.
 */
TimestampTz
bgjob_unannounced_sweep(TimestampTz now)
{
	instr_time began;
	instr_time took;
	bool more;

	if (!bgjob_discover_is_done() || (sweep_at == DT_NOEND && !sweep_wanted))
		return DT_NOEND;
	if (sweep_at != DT_NOEND && sweep_at > now)
		return sweep_at;
	if (sweep_at == DT_NOEND)
	{
		sweep_wanted = false;
		bgjob_lanes_sweep_anew(MyDatabaseId);
	}
	INSTR_TIME_SET_CURRENT(began);
	bgjob_begin();
	more = bgjob_sweep();
	bgjob_commit();
	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, began);
	sweep_at = DT_NOEND;
	if (more)
		sweep_at = now + SWEEP_PAUSE * (int64) INSTR_TIME_GET_MICROSEC(took);
	return sweep_wanted && !more ? now : sweep_at;
}

/*
 * bgjob_unannounced_scan_unknown scans the queue for roles that have no worker,
 * so that none is started just to find that there is nothing. For external jobs, it wakes
 * sessions in bgjob_await(), which then scan themselves.
 */
TimestampTz
bgjob_unannounced_scan_unknown(TimestampTz now)
{
	BgjobLaneKey any;
	bool all;

	bgjob_awaiters_offer(MyDatabaseId);
	if (bgjob_lanes_unknown(MyDatabaseId, &any, 1) == 0)
		return DT_NOEND;
	bgjob_begin();
	all = bgjob_scan_unknown_lanes(MyDatabaseId);
	bgjob_commit();
	return all ? DT_NOEND : now;
}

/* Has everything scanned if a prepared transaction with jobs may have ended unannounced. */
static void
check_prepared(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	uint32 before = prepared;
	uint32 unnamed_before = unnamed;
	bool strangers = entry->strangers;

	entry->strangers = false; /* not after the look: one may come in between */
	pg_memory_barrier();
	unnamed = pg_atomic_read_u32(&entry->unnamed);
	prepared = bgjob_prepared_all();
	if (strangers && prepared != 0)
		entry->strangers = true;
	if (prepared != before || unnamed != unnamed_before)
		bgjob_announce_unknown(true, !strangers);
}

/* Keeps the table of removed jobs small. */
static void
add_up_totals(void)
{
	bgjob_begin();
	bgjob_total_add_up();
	bgjob_commit();
}

/* Returns false if something that a crash has left behind cannot be recovered yet. */
static bool
recover_from_crash(void)
{
	bool settled = bgjob_recover_inflight();

	return bgjob_recover_claims() && settled;
}

/*
 * bgjob_unannounced_poll has everything scanned again, if any transaction has written
 * since the last time; once in BGJOB_SLOW_POLL.
 */
TimestampTz
bgjob_unannounced_poll(TimestampTz now)
{
	if (now < next_poll)
		return next_poll;
	bgjob_lane_groups_tidy(MyDatabaseId);
	next_poll = now + BGJOB_SLOW_POLL * USECS_PER_SEC;
	if (unsettled)
		unsettled = !recover_from_crash();
	if (bgjob_completed_transactions() == polled_at)
		return next_poll;
	check_prepared();
	add_up_totals();
	bgjob_notify_scheduler(MyDatabaseId, BGJOB_NOTICE_RESCAN); /* the next round, at once */
	return now;
}

/* bgjob_unannounced_begin recovers what a crash has left behind; before the first round. */
void
bgjob_unannounced_begin(void)
{
	unsettled = !recover_from_crash();
	bgjob_awaiters_wake_refused(MyDatabaseId); /* jobs may start again */
	next_poll = bgjob_now() + BGJOB_SLOW_POLL * USECS_PER_SEC;
}

/* bgjob_unannounced_rescan has all lanes discovered and swept again. */
void
bgjob_unannounced_rescan(void)
{
	sweep_wanted = true;
	bgjob_discover_anew();
	polled_at = bgjob_completed_transactions();
}

/* bgjob_unannounced_clock_set forgets times of a clock that has been set; it is "now". */
void
bgjob_unannounced_clock_set(TimestampTz now)
{
	next_poll = next_search = 0;
	if (sweep_at != DT_NOEND)
		sweep_at = now;
}
