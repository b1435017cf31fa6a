/*-------------------------------------------------------------------------
 *
 * gates.c
 *	  Looking at the lines of gates.
 *
 * A step of the scheduler's round (process/scheduler.c). It lets jobs through at gates that other processes
 * have asked for (base/gate.h), and at those whose rate allows more starts from a known time on, or which are closed until then.
 * As long as jobs wait at gates, it also goes through all lines, PORTION of them each SWEEP_PAUSE: nobody
 * tells of a prepared transaction that ends, or of a job that was let through and then deleted. When a limit is
 * configured, and after a start, it goes through all of them without a pause.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/fair.h"
#include "base/gate.h"
#include "base/gateasks.h"
#include "base/process.h"
#include "base/sequencemark.h"
#include "miscadmin.h"
#include "process/gates.h"
#include "rules/clock.h"
#include "store/gateline.h"
#include "store/gating.h"
#include "store/limituse.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* So many gates are looked at in one transaction. */
#define PORTION 100

/* So many jobs are let through at once. */
#define ADMIT_MAX 1000

/* So many that may not go on are passed by: an open transaction may have deleted as many at the head of a line. */
#define PASS_BY_MAX 20000

/* Gates that are looked at again at a known time; of more, all lines are. */
#define TIMERS 16384

/* The pause between two portions of lines while nobody has asked, and between two savings; in microseconds. */
#define SWEEP_PAUSE USECS_PER_SEC
#define SAVE_PAUSE  USECS_PER_SEC

/* The pause before a line is looked at again whose job another transaction has; and the shortest for rates. */
#define BUSY_PAUSE  50000
#define SHORT_PAUSE 5000

typedef struct Timer
{
	int64 gate;
	TimestampTz when;
} Timer;

static Timer timers[TIMERS];
static int ntimers = 0;
static bool all_wanted = false;
static bool sweeping = false; /* through the lines, without a pause */
static int64 swept;           /* up to this gate */
static bool at_first = true;  /* it begins with the first gate */
static TimestampTz next_sweep = DT_NOEND;
static TimestampTz next_save = DT_NOBEGIN;
static bool under_way =
	false; /* still, when the next step begins: an error has ended this one */

/* bgjob_gates_rescan has all lines looked at. */
void
bgjob_gates_rescan(void)
{
	all_wanted = true;
}

/* bgjob_gates_begin prepares a scheduler, before the first worker starts. */
void
bgjob_gates_begin(void)
{
	bgjob_begin();
	bgjob_limituse_load(bgjob_now());
	bgjob_sequence_marks_renew();
	bgjob_commit();
	bgjob_gates_rescan();
}

/* Saves what has been spent of rates, for the next start of the server; at most so many. Returns whether there is more. */
static bool
save(int most)
{
	static BgjobGateUse use;
	int cursor = 0;
	int n = 0;

	while (n < most && bgjob_gate_next_unsaved(&cursor, &use))
	{
		if (n++ == 0)
			bgjob_begin();
		bgjob_limituse_save(&use);
	}
	if (n > 0)
		bgjob_commit();
	return n == most;
}

/* bgjob_gates_end saves what has been spent since the last time. */
void
bgjob_gates_end(void *arg)
{
	while (save(PORTION))
		CHECK_FOR_INTERRUPTS();
}

/* bgjob_gates_clock_set forgets times of a clock that has been set. */
void
bgjob_gates_clock_set(void)
{
	ntimers = 0;
	next_save = DT_NOBEGIN;
	bgjob_gates_rescan();
}

/* ---- timers ---- */

/* Has a gate looked at again at a time. */
static void
set_timer(int64 gate, TimestampTz when)
{
	for (int i = 0; i < ntimers; i++)
		if (timers[i].gate == gate)
		{
			timers[i].when = Min(timers[i].when, when);
			return;
		}
	if (ntimers < TIMERS)
		timers[ntimers++] = (Timer){gate, when};
	else
		next_sweep = Min(next_sweep, when);
}

/* Takes one timer that has run off. */
static bool
take_timer(TimestampTz now, int64 *gate)
{
	for (int i = 0; i < ntimers; i++)
		if (timers[i].when <= now)
		{
			*gate = timers[i].gate;
			timers[i] = timers[--ntimers];
			return true;
		}
	return false;
}

static TimestampTz
next_timer(void)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < ntimers; i++)
		next = Min(next, timers[i].when);
	return next;
}

/* ---- looking ---- */

/* Looks at one line. */
static void
look(int64 gate, bool whole, TimestampTz now)
{
	BgjobLineLook how = {.most = ADMIT_MAX, .pass_by = PASS_BY_MAX, .whole = whole};
	BgjobAdmitted result;

	if (bgjob_fair_waits(MyDatabaseId, gate))
		bgjob_gating_give_turns(gate, ADMIT_MAX, &result);
	else
		bgjob_gating_admit(gate, &how, &result);
	if (result.lane != 0)
		set_timer(result.lane, now);
	if (result.empty)
		return;
	next_sweep = Min(next_sweep, now + SWEEP_PAUSE);
	if (result.busy)
		set_timer(gate, now + BUSY_PAUSE);
	else if (result.more)
		set_timer(gate, now);
	else if (result.when != DT_NOEND)
	{
		TimestampTz when = Max(result.when, now + SHORT_PAUSE);

		set_timer(gate, when);
		bgjob_gate_promise(gate, when);
	}
}

/* Looks at some lines in one transaction. */
static void
look_at(const int64 *gates, int n, bool whole, TimestampTz now)
{
	if (n == 0)
		return;
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "letting jobs through gates");
	for (int i = 0; i < n; i++)
		look(gates[i], whole, now);
	bgjob_commit();
}

/* Looks at the next lines of all of them. */
static void
sweep(TimestampTz now)
{
	int64 gates[PORTION];
	int n;

	if (all_wanted)
	{
		all_wanted = false;
		sweeping = at_first = true;
		bgjob_sequence_marks_renew(); /* a prepared transaction may have ended */
	}
	if (!sweeping && next_sweep > now)
		return;
	if (at_first)
		bgjob_gate_set_lines(false);
	bgjob_begin();
	n = bgjob_lines_after(swept, at_first, gates, PORTION);
	bgjob_commit();
	if (n > 0)
		bgjob_gate_set_lines(true);
	next_sweep = DT_NOEND;
	at_first = n < PORTION;
	sweeping = sweeping && !at_first;
	if (n > 0)
		swept = gates[n - 1];
	look_at(gates, n, true, now);
}

/* bgjob_gates_serve lets jobs through that may go on. */
TimestampTz
bgjob_gates_serve(TimestampTz now)
{
	int64 gates[PORTION];
	bool more;
	int n;

	if (under_way)
		all_wanted = true;
	under_way = true;
	n = bgjob_gate_take_asked(gates, PORTION, &all_wanted);
	more = n == PORTION;
	look_at(gates, n, false, now);
	for (n = 0; n < PORTION && take_timer(now, &gates[n]); n++)
		;
	more = more || n == PORTION;
	look_at(gates, n, false, now);
	sweep(now);
	if (next_save <= now)
	{
		next_save = now + SAVE_PAUSE;
		(void) save(PORTION);
	}
	if (bgjob_gate_have_lines())
		next_sweep = Min(next_sweep, now + SWEEP_PAUSE);
	under_way = false;
	if (more || sweeping || all_wanted)
		return now;
	return Min(next_timer(), next_sweep);
}
