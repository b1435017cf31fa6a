/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Jobs that are to run at a known time.
 *
 * bgjob_internal.schedule has a row for each job in state scheduled, for each role in
 * the order of their times; the row is the lock, as in the queue. The scheduler
 * moves due jobs into the queue, each at a new position: jobs that become due are
 * the newest in their lane.
 *
 * Each role has a line of its own, and all roles whose jobs are due have the
 * same share of the jobs moved at a time: a million due jobs of one role do not
 * delay those of another.
 *
 * The scheduler starts each scan of a line where the last one ended ("after"),
 * so that the dead rows of earlier jobs cost nothing. Jobs that are announced
 * with an earlier time lower "after" (base/change.c), and now and then the
 * scheduler scans from the beginning. Between the lines that it knows, it
 * searches for lines of further roles.
 *
 * Any process, inside a transaction; the lines are the scheduler's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/change.h"
#include "miscadmin.h"
#include "store/schedule.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SCHEDULE_INDEX "schedule_pkey"

/* Number of rows visited for each that may be moved: other transactions may have locked some. */
#define VISITS 5

/* Smallest share of a role in the jobs moved at a time, if there are very many roles. */
#define SMALLEST_SHARE 10

/* Columns of bgjob_internal.schedule. */
enum
{
	S_AT = 1,
	S_JOB,
	S_ROLE,
	S_QUEUE
};

/* Those of its index. */
enum
{
	I_ROLE = 1,
	I_AT,
	I_JOB
};

/* A role's line. */
typedef struct Line
{
	Oid role;
	TimestampTz after_at; /* all jobs up to this one have been visited, except announced ones */
	int64 after_job;
	TimestampTz next; /* nothing is due before */
} Line;

static Line *lines = NULL; /* in the order of their roles */
static int nlines = 0;
static int lines_room = 0;
static bool more_lines = true; /* some may not be known yet */
static bool unfinished =
	false; /* the last call raised an error, and its changes were rolled back */
static Oid served_last = InvalidOid; /* the role whose turn was the last one */

/* bgjob_schedule_insert inserts a job that is to run at a time. */
void
bgjob_schedule_insert(Oid role, TimestampTz at, int64 job, const char *queue)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Datum values[] = {TimestampTzGetDatum(at), Int64GetDatum(job), ObjectIdGetDatum(role),
					  CStringGetTextDatum(queue)};
	bool nulls[lengthof(values)] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	bgjob_change_due(at);
}

/* Sets the keys of the job of a role at a time, or of the jobs that the strategy selects. */
static void
job_keys(ScanKey keys, Oid role, TimestampTz at, StrategyNumber strategy, RegProcedure proc,
		 int64 job)
{
	bgjob_key(&keys[0], I_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], I_AT, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ, TimestampTzGetDatum(at));
	bgjob_key(&keys[2], I_JOB, strategy, proc, Int64GetDatum(job));
}

/* Finds the row of a job, and deletes it if "take". */
static BgjobTaken
schedule_lookup(Oid role, TimestampTz at, int64 job, bool take, TransactionId *holder)
{
	BgjobRel *rel =
		take ? bgjob_rel_open(BGJOB_TABLE_SCHEDULE) : bgjob_rel_open_read(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[3];
	BgjobScan *scan;

	job_keys(keys, role, at, BTEqualStrategyNumber, F_INT8EQ, job);
	scan = bgjob_scan_begin(rel, SCHEDULE_INDEX, snapshot, keys, lengthof(keys));
	if (bgjob_scan_next(scan))
		taken = !take || bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN
																			: BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

/*
 * bgjob_schedule_take takes a job of a role out of the schedule, unless another
 * transaction has it; never waits. The job is the caller's until the transaction
 * ends. *holder as in bgjob_queue_take.
 */
BgjobTaken
bgjob_schedule_take(Oid role, TimestampTz at, int64 job, TransactionId *holder)
{
	return schedule_lookup(role, at, job, true, holder);
}

/* bgjob_schedule_has returns whether a job is in the schedule. */
bool
bgjob_schedule_has(Oid role, TimestampTz at, int64 job)
{
	return schedule_lookup(role, at, job, false, NULL) == BGJOB_TAKEN;
}

/* A pass over the lines, for due jobs. */
typedef struct Pass
{
	BgjobScheduleDue due;
	BgjobRel *rel;
	Snapshot snapshot;
	MemoryContext per_row;
	TimestampTz now;
	TimestampTz blocked_from;
	int moved;
} Pass;

/* Takes a job out of the schedule, if it is still there and no other transaction has it, and calls pass->due. */
static void
visit(Pass *pass, TimestampTz at, int64 id, ItemPointer tid)
{
	MemoryContext old;

	if (!bgjob_rel_fetch(pass->rel, tid, SnapshotSelf))
		return; /* a hook, called for an earlier job, has taken this one out */
	if (!bgjob_rel_delete(pass->rel, tid, NULL))
	{
		pass->blocked_from = Min(pass->blocked_from, at);
		return;
	}
	old = MemoryContextSwitchTo(pass->per_row);
	pass->due(id, pass->now);
	MemoryContextSwitchTo(old);
	MemoryContextReset(pass->per_row);
	pass->moved++;
}

/*
 * Scans a line by the keys while jobs are due. It moves at most "moves" jobs and
 * visits at most *visits, which is lowered. False if it stopped before the end:
 * line->next is the time of the next job.
 */
static bool
scan_line(Pass *pass, Line *line, ScanKey keys, int nkeys, int moves, int *visits)
{
	BgjobScan *scan = bgjob_scan_begin(pass->rel, SCHEDULE_INDEX, pass->snapshot, keys, nkeys);
	bool end = true;

	while (end && bgjob_scan_next(scan))
	{
		TupleTableSlot *slot = pass->rel->slot;
		ItemPointerData tid = slot->tts_tid;
		TimestampTz at;
		int64 job;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		at = DatumGetTimestampTz(slot->tts_values[S_AT - 1]);
		job = DatumGetInt64(slot->tts_values[S_JOB - 1]);
		end = at <= pass->now && moves > pass->moved && *visits > 0;
		if (!end)
			line->next = at;
		else
		{
			line->after_at = at;
			line->after_job = job;
			(*visits)--;
			visit(pass, at, job, &tid);
		}
	}
	bgjob_scan_end(scan);
	return end;
}

/* Moves a role's jobs that are due, at most "share". */
static void
serve_line(Pass *pass, Line *line, int share)
{
	int moves = pass->moved + share;
	int visits = VISITS * share;
	ScanKeyData keys[3];

	job_keys(keys, line->role, line->after_at, BTGreaterStrategyNumber, F_INT8GT,
			 line->after_job);
	if (!scan_line(pass, line, keys, 3, moves, &visits))
		return;
	bgjob_key(&keys[1], I_AT, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
			  TimestampTzGetDatum(line->after_at));
	if (scan_line(pass, line, keys, 2, moves, &visits))
		line->next = DT_NOEND;
}

/* Finds the first role from "from" on, below "below" (NULL: any), that has a job. */
static bool
first_role(Pass *pass, Oid from, const Line *below, Oid *role)
{
	ScanKeyData keys[2];
	BgjobScan *scan;
	bool found;

	bgjob_key(&keys[0], I_ROLE, BTGreaterEqualStrategyNumber, F_OIDGE, ObjectIdGetDatum(from));
	if (below != NULL)
		bgjob_key(&keys[1], I_ROLE, BTLessStrategyNumber, F_OIDLT,
				  ObjectIdGetDatum(below->role));
	scan = bgjob_scan_begin(pass->rel, SCHEDULE_INDEX, pass->snapshot, keys,
							below != NULL ? 2 : 1);
	found = bgjob_scan_next(scan);
	if (found)
	{
		slot_getallattrs(pass->rel->slot);
		*role = DatumGetObjectId(pass->rel->slot->tts_values[S_ROLE - 1]);
	}
	bgjob_scan_end(scan);
	return found;
}

static void
insert_line(int i, Oid role)
{
	if (nlines == lines_room)
	{
		lines_room = Max(64, lines_room * 2);
		lines = lines == NULL ? MemoryContextAlloc(TopMemoryContext, lines_room * sizeof(Line))
							  : repalloc_huge(lines, lines_room * sizeof(Line));
	}
	memmove(&lines[i + 1], &lines[i], (nlines - i) * sizeof(Line));
	lines[i] = (Line){role, DT_NOBEGIN, PG_INT64_MIN, DT_NOBEGIN};
	nlines++;
}

/* Finds unknown lines, between and behind the known ones. */
static void
find_lines(Pass *pass)
{
	Oid from = 0;

	for (int i = 0;; i++)
	{
		const Line *known = i < nlines ? &lines[i] : NULL;
		bool gap = known == NULL || known->role > from;
		Oid role;

		CHECK_FOR_INTERRUPTS();
		if (gap && first_role(pass, from, known, &role))
			insert_line(i, role);
		else if (known == NULL)
			break;
		from = lines[i].role + 1;
		if (from == 0)
			break; /* it was the highest that there can be */
	}
}

/* Serves the lines that have due jobs in turn, with the same share for each. */
static void
serve_lines(Pass *pass, int max)
{
	int first = 0;
	int due = 0;
	int share;

	for (int i = 0; i < nlines; i++)
	{
		due += lines[i].next <= pass->now ? 1 : 0;
		first += lines[i].role <= served_last ? 1 : 0;
	}
	share = Max(SMALLEST_SHARE, max / Max(due, 1));
	for (int i = 0; i < nlines && pass->moved < max; i++)
	{
		Line *line = &lines[(first + i) % nlines];

		if (line->next > pass->now)
			continue;
		serve_line(pass, line, Min(share, max - pass->moved));
		served_last = line->role;
	}
}

/* bgjob_schedule_rescan makes bgjob_schedule_take_due scan everything from the beginning. */
void
bgjob_schedule_rescan(void)
{
	nlines = 0;
	more_lines = true;
}

/* bgjob_schedule_rescan_from makes it scan the jobs that are scheduled from "at" on, of all roles. */
void
bgjob_schedule_rescan_from(TimestampTz at)
{
	for (int i = 0; i < nlines; i++)
	{
		Line *line = &lines[i];

		if (at <= line->after_at)
		{
			line->after_at = at;
			line->after_job = PG_INT64_MIN;
		}
		line->next = Min(line->next, at);
	}
	more_lines = true;
}

/*
 * bgjob_schedule_take_due takes about "max" jobs that are due at "now", and have
 * not been visited yet, out of the schedule, and calls "due" for each. Returns the
 * time when the next job is due (DT_NOEND: there is none; not later than now:
 * there are more). Jobs that another transaction has are skipped, and
 * *blocked_from is lowered to their time.
 */
TimestampTz
bgjob_schedule_take_due(TimestampTz now, int max, TimestampTz *blocked_from,
						BgjobScheduleDue due)
{
	Pass pass = {.due = due, .now = now, .blocked_from = *blocked_from};
	TimestampTz next = DT_NOEND;

	if (unfinished)
		bgjob_schedule_rescan();
	unfinished = true;
	pass.rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	pass.snapshot = bgjob_rel_snapshot(pass.rel);
	pass.per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob due", ALLOCSET_DEFAULT_SIZES);
	if (more_lines)
		find_lines(&pass);
	more_lines = false;
	serve_lines(&pass, max);
	for (int i = 0; i < nlines; i++)
		next = Min(next, lines[i].next);
	UnregisterSnapshot(pass.snapshot);
	MemoryContextDelete(pass.per_row);
	bgjob_rel_close(pass.rel);
	*blocked_from = pass.blocked_from;
	unfinished = false;
	return next;
}

/* Collects the entries that match the keys, up to "max"; returns their new number. */
static int
collect(BgjobRel *rel, Snapshot snapshot, ScanKey keys, int nkeys, BgjobScheduled *places,
		int n, int max)
{
	BgjobScan *scan = bgjob_scan_begin(rel, SCHEDULE_INDEX, snapshot, keys, nkeys);

	while (n < max && bgjob_scan_next(scan))
	{
		TupleTableSlot *slot = rel->slot;

		slot_getallattrs(slot);
		places[n].role = DatumGetObjectId(slot->tts_values[S_ROLE - 1]);
		places[n].at = DatumGetTimestampTz(slot->tts_values[S_AT - 1]);
		places[n++].job = DatumGetInt64(slot->tts_values[S_JOB - 1]);
	}
	bgjob_scan_end(scan);
	return n;
}

/* bgjob_schedule_at reads at most "max" jobs of a role that are to run at a time; returns their number. */
int
bgjob_schedule_at(Oid role, TimestampTz at, BgjobScheduled *places, int max)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	int n;

	job_keys(keys, role, at, BTGreaterStrategyNumber, F_INT8GT, PG_INT64_MIN);
	n = collect(rel, snapshot, keys, 2, places, 0, max);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_schedule_behind reads at most "max" jobs behind an entry of the schedule; returns their number. */
int
bgjob_schedule_behind(const BgjobScheduled *after, BgjobScheduled *places, int max)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	int n;

	job_keys(keys, after->role, after->at, BTGreaterStrategyNumber, F_INT8GT, after->job);
	n = collect(rel, snapshot, keys, 3, places, 0, max);
	bgjob_key(&keys[1], I_AT, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
			  TimestampTzGetDatum(after->at));
	n = collect(rel, snapshot, keys, 2, places, n, max);
	bgjob_key(&keys[0], I_ROLE, BTGreaterStrategyNumber, F_OIDGT,
			  ObjectIdGetDatum(after->role));
	n = collect(rel, snapshot, keys, 1, places, n, max);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_schedule_visit calls a function for each scheduled job; to count them. */
void
bgjob_schedule_visit(BgjobScheduleVisit visit, void *arg)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(rel->slot);
		visit(DatumGetObjectId(rel->slot->tts_values[S_ROLE - 1]),
			  DatumGetTextPP(rel->slot->tts_values[S_QUEUE - 1]), arg);
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}
