/*-------------------------------------------------------------------------
 *
 * gating.c
 *	  Letting jobs through their gates.
 *
 * base/gate.c says what gates are, and why no place is left empty. A job needs a place at each of
 * its gates to run; which they are is in store/gateneeds.c. It waits in the line of one of them,
 * the first at which it finds no room, and stands in no other line meanwhile: it holds no place while it waits. When its turn comes there,
 * and another of its gates has no room, it goes on to the line of that one.
 *
 * FOUR MOMENTS. (1) A job becomes ready: bgjob_gating_file() decides whether it goes to the queue or into a line. (2) A worker
 * has claimed it: bgjob_gating_enter() acquires the places; where that fails, bgjob_gating_bounce() puts
 * the job into the line of the gate that is full. That is no attempt. (3) An attempt ends: bgjob_gating_settle()
 * takes the next jobs of the lines to the queue, in the transaction that ends it. (4) The scheduler
 * looks at a line (process/gates.c): bgjob_gating_admit(). Only (2) decides what runs; the others look at counts that may have changed since.
 *
 * A SEQUENCE has one place, and a job may run only if none with a lower id stands in the
 * sequence (store/sequencekey.c). So a job that has failed, or waits for a retry, keeps the others waiting without
 * holding a place.
 *
 * The column "gate" of a job is the line that it was put into last. If it is null, the job is in the queue; if not, it is in
 * that line, or was let through and is in the queue (store/place.c).
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/fair.h"
#include "base/gatechange.h"
#include "base/leasenotes.h"
#include "base/gatemark.h"
#include "base/queues.h"
#include "miscadmin.h"
#include "store/gateline.h"
#include "store/gateneeds.h"
#include "store/gating.h"
#include "store/queue.h"
#include "store/sequence.h"
#include "store/sequencekey.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A look at a line goes along at most so many jobs that it cannot let through. */
#define LOOK_AT_MOST 64

/* ---- is there room ---- */

/* Returns whether a job with a lower id stands in the job's sequence. */
static bool
has_predecessor(const BgjobJob *job, int64 gate)
{
	return bgjob_sequence_before(job->run_as, gate, job->id) != 0;
}

/* Returns whether a waiter of a gate's line goes before a job that comes from another line. */
static bool
has_better_waiter(const BgjobJob *job, const BgjobGateNeed *need)
{
	int64 first;

	return bgjob_gate_has_waiters(need->gate) && bgjob_line_first(need->gate, &first) &&
		   first < bgjob_line_place(job, need->gate, bgjob_gate_of_sequence(job));
}

/*
 * Returns whether the waiters of a gate go before a job. A new job stands behind all of them. One that comes from the
 * line of another gate only behind those with a better place: else the jobs of two full lines that need both gates
 * would give way to each other for ever. The order of a sequence is that of its table.
 */
static bool
gives_way(const BgjobJob *job, const BgjobGateNeed *need, int64 taken_from)
{
	if (need->kind == BGJOB_GATE_SEQUENCE || need->gate == taken_from)
		return false;
	return taken_from == 0 ? bgjob_gate_has_waiters(need->gate) : has_better_waiter(job, need);
}

/* Returns whether a gate has room for a job, besides those that this transaction has let through. */
static bool
has_room(const BgjobJob *job, const BgjobGateNeed *need, int64 taken_from, TimestampTz *when)
{
	int room;

	*when = DT_NOEND;
	if (need->kind == BGJOB_GATE_SEQUENCE && has_predecessor(job, need->gate))
		return false;
	if (need->kind == BGJOB_GATE_FAIR && taken_from != need->line &&
		bgjob_fair_waits(MyDatabaseId, need->gate))
		return false;
	room = bgjob_gate_room(need, bgjob_lease_notes_freed(need->gate), when);
	if (room != PG_INT32_MAX && room <= bgjob_change_gate_count(need->gate))
		return false;
	return need->kind == BGJOB_GATE_FAIR || !gives_way(job, need, taken_from);
}

/* Returns the first of a job's gates that has no room; -1: all have. */
static int
first_without_room(const BgjobJob *job, const BgjobGateNeed *needs, int n, int64 taken_from,
				   TimestampTz *when)
{
	for (int i = 0; i < n; i++)
		if (!has_room(job, &needs[i], taken_from, when))
			return i;
	return -1;
}

/* Returns the line in which a job waits at a gate. */
static int64
line_of(const BgjobGateNeed *need)
{
	return need->kind == BGJOB_GATE_FAIR ? need->line : need->gate;
}

/* Notes that a job goes to the queue; from the line "taken_from", or 0. */
static void
note_passed(const BgjobGateNeed *needs, int n, int64 taken_from)
{
	for (int i = 0; i < n; i++)
		bgjob_change_gate_passed(&needs[i], taken_from == needs[i].line);
}

/* Counts that a job has to wait since others run, or have run; a pause, or a turn, is none of that. */
static void
note_throttled(const BgjobJob *job, const BgjobGateNeed *full)
{
	if (full->kind != BGJOB_GATE_FAIR && full->kind != BGJOB_GATE_PAUSE)
		bgjob_change_flow(job->run_as, job->queue, BGJOB_FLOW_THROTTLED);
}

/* ---- a job becomes ready ---- */

/*
 * bgjob_gating_file decides whether a job that becomes ready waits at a gate, and sets its column for that. The caller
 * has locked the job, writes its row, and puts it into its place.
 */
void
bgjob_gating_file(BgjobJob *job)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	TimestampTz when;
	int n;
	int full;

	bgjob_job_set_null(job, BGJOB_C_GATE);
	if (!bgjob_gate_may_need(job))
		return;
	n = bgjob_gate_needs(job, needs);
	if (n > 0 && needs[0].kind == BGJOB_GATE_SEQUENCE)
	{
		bgjob_sequence_enter(job->run_as, needs[0].gate, job->id);
		CommandCounterIncrement(); /* others of this transaction may stand there, too */
	}
	full = first_without_room(job, needs, n, 0, &when);
	if (full < 0 || needs[full].deletes) /* a worker deletes it */
	{
		note_passed(needs, n, 0);
		return;
	}
	bgjob_job_set(job, BGJOB_C_GATE, Int64GetDatum(line_of(&needs[full])));
	bgjob_change_gate_filed(&needs[full]);
	note_throttled(job, &needs[full]);
}

/* bgjob_gating_pass lets a job that becomes ready again go to the queue, whoever waits at its gates. */
void
bgjob_gating_pass(BgjobJob *job)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];

	bgjob_job_set_null(job, BGJOB_C_GATE);
	if (bgjob_gate_may_need(job))
		note_passed(needs, bgjob_gate_needs(job, needs), 0);
}

/*
 * bgjob_gating_pass_back notes that a job which was let through has been taken out of the queue, and not by a
 * worker: the places that were kept for it are others'.
 */
void
bgjob_gating_pass_back(const BgjobJob *job)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	int n = bgjob_gate_may_need(job) ? bgjob_gate_needs(job, needs) : 0;

	for (int i = 0; i < n; i++)
		bgjob_change_gate_passed_back(&needs[i]);
}

/* ---- a worker has claimed it ---- */

/*
 * bgjob_gating_enter acquires a place at each gate of a job that this process has claimed; *now, which is
 * the caller's, becomes the time of that, when the job starts. False: *full is one that has no room, and no place is held.
 */
bool
bgjob_gating_enter(const BgjobJob *job, TimestampTz *now, BgjobGateNeed *full)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	int n = bgjob_gate_needs(job, needs);
	int which;

	if (n == 0)
		return true;
	which = bgjob_gates_acquire(needs, n, now);
	if (which < 0 && needs[0].kind == BGJOB_GATE_SEQUENCE &&
		has_predecessor(job, needs[0].gate))
	{
		bgjob_gates_release();
		which = 0;
	}
	if (which >= 0)
		*full = needs[which];
	return which < 0;
}

/* Puts a job that this transaction has taken out of its place into the line of a gate. */
static void
put_into_line(BgjobRel *jobs, BgjobJob *job, const BgjobGateNeed *need)
{
	int64 line = line_of(need);

	bgjob_job_set(job, BGJOB_C_GATE, Int64GetDatum(line));
	bgjob_rel_update_taken(jobs, &job->tid, job->values, job->nulls, job->external);
	job->tid = jobs->tid;
	bgjob_line_insert(line, bgjob_line_place(job, line, bgjob_gate_of_sequence(job)), job);
	bgjob_change_gate_filed(need);
}

/* bgjob_gating_bounce has a job that was claimed, but found no room, wait at the gate that is full. */
void
bgjob_gating_bounce(BgjobRel *jobs, BgjobJob *job, const BgjobGateNeed *full)
{
	put_into_line(jobs, job, full);
	note_throttled(job, full);
}

/* ---- from a line to the queue ---- */

/* What became of the first job of a line. */
typedef enum Turn
{
	TURN_ADMITTED,
	TURN_MOVED, /* on to the line of another gate */
	TURN_GONE,  /* the row stood for no job */
	TURN_BUSY,
	TURN_FULL /* there is no room at this gate */
} Turn;

/* The job of a row of a line, and what it needs. */
typedef struct Waiter
{
	BgjobJob job;
	bool stands; /* else the row stands for no job */
	int n;
	BgjobGateNeed needs[BGJOB_GATES_MAX];
} Waiter;

static void
read_waiter(BgjobRel *jobs, const BgjobLineRow *row, int64 line, Waiter *waiter)
{
	BgjobJob *job = &waiter->job;
	ItemPointerData tid = row->job_tid;

	waiter->stands =
		(bgjob_job_read_at(jobs, &tid, row->job, job) || bgjob_job_read(jobs, row->job, job)) &&
		job->state == BGJOB_ENQUEUED && !bgjob_job_is_null(job, BGJOB_C_GATE) &&
		DatumGetInt64(bgjob_job_datum(job, BGJOB_C_GATE)) == line;
	waiter->n = waiter->stands ? bgjob_gate_needs(job, waiter->needs) : 0;
}

/* Returns what a waiter needs of a lane of fairness keys, if it waits in the line of one; else NULL. */
static const BgjobGateNeed *
turn_of(const Waiter *waiter, int64 line)
{
	const BgjobGateNeed *last = &waiter->needs[waiter->n - 1];

	return waiter->n > 0 && last->kind == BGJOB_GATE_FAIR && last->line == line ? last : NULL;
}

/* Returns the gate of a queue that is paused, which has no room. */
static void
need_of_pause(const BgjobJob *job, BgjobGateNeed *need)
{
	*need = (BgjobGateNeed){.kind = BGJOB_GATE_PAUSE,
							.gate = bgjob_gate_of(BGJOB_GATE_PAUSE, InvalidOid, job->queue),
							.max_running = 0,
							.name = job->queue};
}

/* Finds the gate that a waiter must wait at; false: it may go to the queue. */
static bool
find_full(const Waiter *waiter, int64 line, BgjobGateNeed *full, TimestampTz *when)
{
	int which;

	if (bgjob_queues_get(MyDatabaseId, waiter->job.queue).paused)
	{
		need_of_pause(&waiter->job, full);
		*when = DT_NOEND;
		return true;
	}
	which = first_without_room(&waiter->job, waiter->needs, waiter->n, line, when);
	if (which >= 0)
		*full = waiter->needs[which];
	return which >= 0 && !full->deletes;
}

/*
 * Gives a job that has its turn the last position of the queue. Several jobs are ahead of the external
 * workers: by its own position, it would wait behind those of keys that have had more.
 */
static void
put_last(BgjobRel *jobs, BgjobJob *job)
{
	job->pos = bgjob_next_id();
	bgjob_job_set(job, BGJOB_C_POS, Int64GetDatum(job->pos));
	bgjob_rel_update_taken(jobs, &job->tid, job->values, job->nulls, job->external);
	job->tid = jobs->tid;
}

/* Has the job of a row go on, if it may. */
static Turn
take_turn(BgjobRel *jobs, BgjobLineScan *scan, BgjobLineRow *row, int64 line, Waiter *waiter,
		  TimestampTz *when)
{
	BgjobGateNeed full;
	bool waits = waiter->stands && find_full(waiter, line, &full, when);

	if (waits && line_of(&full) == line)
		return TURN_FULL;
	if (!bgjob_line_take_row(scan, row))
		return TURN_BUSY;
	if (turn_of(waiter, line) == NULL) /* else it was counted when the turn was given */
		bgjob_change_gate_took(line);
	if (!waiter->stands)
		return TURN_GONE;
	if (waits)
	{
		put_into_line(jobs, &waiter->job, &full);
		/* Who gets the room here is up to the turns then: others need not be moved there, too. */
		return full.kind == BGJOB_GATE_FAIR ? TURN_ADMITTED : TURN_MOVED;
	}
	if (turn_of(waiter, line) != NULL && waiter->job.kind == BGJOB_KIND_EXTERNAL)
		put_last(jobs, &waiter->job);
	bgjob_queue_insert(&waiter->job);
	note_passed(waiter->needs, waiter->n, line);
	return TURN_ADMITTED;
}

/* Looks at one row; where keys take turns, has the lane looked at instead. */
static Turn
look_at_row(BgjobRel *jobs, BgjobLineScan *scan, BgjobLineRow *row, int64 line,
			BgjobAdmitted *result)
{
	Waiter waiter;
	const BgjobGateNeed *turn;

	read_waiter(jobs, row, line, &waiter);
	turn = turn_of(&waiter, line);
	if (turn == NULL)
		return take_turn(jobs, scan, row, line, &waiter, &result->when);
	(void) bgjob_fair_at_least(MyDatabaseId, turn->gate, line, turn->weight, 1);
	result->lane = turn->gate;
	return TURN_FULL;
}

/* Goes along a line, and has jobs go on as long as there is room. */
static void
admit_along(BgjobRel *jobs, BgjobLineScan *line, const BgjobLineLook *look,
			BgjobAdmitted *result)
{
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob gate", ALLOCSET_DEFAULT_SIZES);
	BgjobLineRow row;
	bool full = false;
	int passed_by = 0;

	while (!full && result->admitted < look->most && passed_by < look->pass_by)
	{
		MemoryContext old;
		Turn turn;

		CHECK_FOR_INTERRUPTS();
		if (!bgjob_line_next(line,
							 &row)) /* outside of "each": a scan keeps what it allocates */
		{
			result->empty = !result->busy;
			break;
		}
		old = MemoryContextSwitchTo(each);
		turn = look_at_row(jobs, line, &row, line->gate, result);
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
		full = turn == TURN_FULL;
		result->busy = result->busy || turn == TURN_BUSY;
		if (turn == TURN_ADMITTED)
			result->admitted++;
		else
			passed_by++;
	}
	result->more = !full && !result->empty;
	MemoryContextDelete(each);
}

/* bgjob_gating_admit lets at most so many of the jobs in a gate's line go on as there is room for. */
void
bgjob_gating_admit(int64 gate, const BgjobLineLook *look, BgjobAdmitted *result)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobLineScan line;

	memset(result, 0, sizeof(*result));
	result->when = DT_NOEND;
	bgjob_line_begin(&line, gate, look->whole ? BGJOB_LINE_HEAD : BGJOB_LINE_MARK);
	admit_along(jobs, &line, look, result);
	bgjob_line_end(&line);
	bgjob_rel_close(jobs);
	if (result->empty)
		bgjob_gate_found_empty(gate, line.mark.moment);
}

/* ---- turns of fairness keys ---- */

/* Has the job of a row go on, if it may; the weight of its key is as it is configured now. */
static Turn
give_turn_to(BgjobRel *jobs, BgjobLineScan *scan, BgjobLineRow *row, int64 lane,
			 const BgjobFairTurn *now, BgjobAdmitted *result)
{
	Waiter waiter;
	const BgjobGateNeed *need;
	Turn turn;

	read_waiter(jobs, row, now->line, &waiter);
	need = turn_of(&waiter, now->line);
	if (need != NULL)
		bgjob_fair_weight(MyDatabaseId, lane, now->line, need->weight);
	turn = take_turn(jobs, scan, row, now->line, &waiter, &result->when);
	/* What memory knows of the line may be too little: after a restart, say. */
	if (turn == TURN_ADMITTED && need != NULL && bgjob_line_next(scan, row))
		(void) bgjob_fair_at_least(MyDatabaseId, lane, now->line, need->weight, 1);
	return turn;
}

/*
 * Gives the first job of the line whose turn it is to the queue. Jobs that others have taken are passed by: where many attempts end
 * at the same time, each lets another job go on.
 */
static Turn
give_turn(BgjobRel *jobs, int64 lane, const BgjobFairTurn *now, BgjobAdmitted *result)
{
	BgjobLineScan scan;
	BgjobLineRow row;
	Turn turn = TURN_GONE;
	int passed_by = 0;

	bgjob_line_begin(&scan, now->line, BGJOB_LINE_NEW_MARK);
	while (passed_by < LOOK_AT_MOST && bgjob_line_next(&scan, &row))
	{
		turn = give_turn_to(jobs, &scan, &row, lane, now, result);
		passed_by++;
		if (turn != TURN_BUSY)
			break;
	}
	bgjob_line_end(&scan);
	if (turn != TURN_ADMITTED)
		bgjob_fair_back(MyDatabaseId, lane, now,
						passed_by == 0                           ? BGJOB_FAIR_EMPTY
						: turn == TURN_FULL || turn == TURN_BUSY ? BGJOB_FAIR_WAITS
																 : BGJOB_FAIR_GONE);
	return turn;
}

/* bgjob_gating_give_turns lets at most so many jobs of a lane of fairness keys go on as there is room for, by turns. */
void
bgjob_gating_give_turns(int64 lane, int most, BgjobAdmitted *result)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob turn", ALLOCSET_DEFAULT_SIZES);
	Turn turn = TURN_GONE;
	int passed_by = 0;
	BgjobFairTurn now;

	memset(result, 0, sizeof(*result));
	result->when = DT_NOEND;
	while (turn != TURN_FULL && turn != TURN_BUSY && result->admitted < most &&
		   passed_by < LOOK_AT_MOST && bgjob_fair_next(MyDatabaseId, lane, &now))
	{
		MemoryContext old = MemoryContextSwitchTo(each);

		CHECK_FOR_INTERRUPTS();
		turn = give_turn(jobs, lane, &now, result);
		if (turn == TURN_ADMITTED)
			result->admitted++;
		else
			passed_by++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	result->busy = turn == TURN_BUSY;
	result->empty = !bgjob_fair_waits(MyDatabaseId, lane);
	result->more = turn != TURN_FULL && !result->empty;
	MemoryContextDelete(each);
	bgjob_rel_close(jobs);
}

/* ---- an attempt ends ---- */

/* bgjob_gating_leave_sequence has a job leave its sequence, since it is over. */
void
bgjob_gating_leave_sequence(const BgjobJob *job)
{
	BgjobGateNeed need = {
		.kind = BGJOB_GATE_SEQUENCE, .gate = bgjob_gate_of_sequence(job), .max_running = 1};

	BgjobSequenceLeft left = bgjob_sequence_leave(job->run_as, need.gate, job->id);

	/*
	 * If this process holds the place, who has entered since the job was claimed waits there, and is known to; who enters
	 * from now on is seen when the place is given back.
	 */
	if (left == BGJOB_SEQUENCE_OTHERS ||
		(left == BGJOB_SEQUENCE_NO_OTHERS &&
		 (!bgjob_gate_is_own(need.gate) || bgjob_gate_has_waiters(need.gate))))
		bgjob_change_gate_left(&need);
}

/* Lets the next job that waits at a gate go on; what is left is the scheduler's. */
static void
admit_next(int64 gate, bool fair)
{
	BgjobLineLook look = {.most = 1, .pass_by = LOOK_AT_MOST};
	BgjobAdmitted result;

	if (fair)
		bgjob_gating_give_turns(gate, 1, &result);
	else
		bgjob_gating_admit(gate, &look, &result);
	if (result.busy || (result.more && result.admitted == 0))
		bgjob_change_gate_ask(gate);
}

/*
 * Returns whether another job may get the place that the running transaction gives back: a sequence has been looked at when its job left it,
 * a rate has no places, and most limits have nobody wait.
 */
static bool
is_for_others(const BgjobGateNeed *need)
{
	if (need->kind == BGJOB_GATE_FAIR)
		return true;
	return need->kind != BGJOB_GATE_SEQUENCE && need->max_running >= 0 &&
		   (!bgjob_gate_line_is_empty(need->gate) || bgjob_change_gate_has_placed(need->gate));
}

/* Lets a job go on for each place of these that the running transaction gives back. */
static void
admit_for(const BgjobGateNeed *needs, int n)
{
	for (int i = 0; i < n; i++)
		if (is_for_others(&needs[i]))
			admit_next(needs[i].gate, needs[i].kind == BGJOB_GATE_FAIR);
}

/* Does so for the places of the leases that it ends. */
static void
settle_leases(void)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	uint64 serial;
	int number;
	int note = 0;

	while ((note = bgjob_lease_notes_ending(note, &number, &serial)) >= 0)
		admit_for(needs, bgjob_lease_get_gates(number, serial, needs));
}

/*
 * bgjob_gating_settle lets jobs go on for which the running transaction makes room: it ends an attempt, or jobs have
 * left their sequences. When it begins to commit.
 */
void
bgjob_gating_settle(void)
{
	const BgjobGateNeed *own;
	int64 left;
	int n = bgjob_gates_are_ending() ? bgjob_gates_own(&own) : 0;

	while (bgjob_change_gate_take_left(&left))
	{
		CommandCounterIncrement(); /* that they have left is to be seen */
		admit_next(left, false);
	}
	admit_for(own, n);
	settle_leases();
}
