/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  Gates: who holds a place at them, in shared memory.
 *
 * A limit, the jobs of a sequence_key and a queue with max_running are gates. A worker that
 * has claimed a job acquires a place at each of its gates, all or none, and holds them until
 * the transaction that ends the attempt has committed and released its locks. That alone decides how many jobs run: whatever
 * else is said here and in store/gating.c only decides where a job waits. The places that a process
 * holds are in its own memory (and in its slot, for the views); it gives them back when it exits.
 * After a crash nobody holds any.
 *
 * A gate is a hash of its name, and has an entry here at least while there is something to remember:
 * a place is held, a job was let through and has not been claimed yet (handed), or what was spent of a
 * rate still counts. "waiting" is a hint that jobs stand in the gate's line: others that come then
 * stand behind them.
 *
 * WHY NO PLACE IS LEFT EMPTY while a job waits for it. A job waits as a row in the line of one gate
 * (store/gateline.c). The process that frees a place takes the next job of the line to the queue
 * in the transaction that ends the attempt. It misses those whose rows are not committed yet. So a transaction that
 * has put a job into a line looks here after its commit: if the gate has room, it asks the scheduler to look; if not,
 * somebody holds a place, and it notes in the entry that somebody waits. Whoever frees a place without passing it on reads that
 * under the same lock, and asks the scheduler. One of them comes second and sees the other. A job that
 * was let through and is not claimed within BGJOB_HANDED_LASTS (it was deleted, there is no worker) no longer counts.
 * The scheduler also goes through all lines slowly (process/gates.c): for prepared transactions, and
 * whatever else has told nobody.
 *
 * LOCKS. The entries are in partitions, each with an LWLock, held for a microsecond. Acquiring at several
 * gates locks their partitions in ascending order. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/fair.h"
#include "base/gate.h"
#include "base/gateasks.h"
#include "base/gatetable.h"
#include "base/gateuse.h"
#include "base/guc.h"
#include "base/leasetable.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

/* The places that this process holds. */
static BgjobGateNeed held[BGJOB_GATES_MAX];
static TimestampTz held_since;
static int nheld = 0;
static bool ending = false; /* the commit of the running transaction ends that */

/* ---- room ---- */

static bool
has_rate(const BgjobGateNeed *need)
{
	return need->rate.algorithm != BGJOB_RATE_NONE;
}

/* Returns how many units a start takes: never more than can be had at all. */
static int
units_of(const BgjobGateNeed *need)
{
	return Min(Max(need->units, 1), need->rate.units);
}

/* Returns until when a gate is closed; 0: it is open. */
static TimestampTz
closed_until(const BgjobGateEntry *entry, const BgjobGateNeed *need, TimestampTz now)
{
	TimestampTz until = Max(need->closed_until, entry != NULL ? entry->closed_until : 0);

	return until > now ? until : 0;
}

/* Returns until when nothing is known of what was spent of a rate; 0: it is known. */
static TimestampTz
unknown_until(const BgjobGateEntry *entry, const BgjobGateNeed *need, TimestampTz now)
{
	TimestampTz since = bgjob_gate_memory_since();

	if ((entry != NULL && entry->use != BGJOB_GATE_NOTHING) ||
		need->rate.per > BGJOB_SHORT_PERIOD || now < since || now - since >= need->rate.per)
		return 0;
	return since + need->rate.per;
}

/* Returns how many starts a rate allows now. */
static int
starts_of(const BgjobGatePartition *partition, const BgjobGateEntry *entry,
		  const BgjobGateNeed *need, TimestampTz now)
{
	static const BgjobUse unused;
	const BgjobUse *use = entry != NULL && entry->use != BGJOB_GATE_NOTHING
							  ? &partition->uses[entry->use]
							  : &unused;

	if (unknown_until(entry, need, now) != 0)
		return 0;
	return bgjob_rate_free(use, &need->rate, now) / units_of(need);
}

/* Returns how many more may hold a place, and start, at this moment; "freed" places count as free. */
static int
room_of(const BgjobGatePartition *partition, const BgjobGateEntry *entry,
		const BgjobGateNeed *need, int freed, TimestampTz now)
{
	int room = PG_INT32_MAX;

	if (closed_until(entry, need, now) != 0)
		return 0;
	if (need->max_running >= 0)
		room = Max(need->max_running - (entry != NULL ? entry->running - freed : 0), 0);
	if (has_rate(need))
		room = Min(room, starts_of(partition, entry, need, now));
	return room;
}

/* Returns when a gate that has no room for one more is to be looked at again; DT_NOEND: when a place is freed. */
static TimestampTz
room_when(const BgjobGatePartition *partition, const BgjobGateEntry *entry,
		  const BgjobGateNeed *need, TimestampTz now)
{
	TimestampTz when = closed_until(entry, need, now);

	if (when != 0)
		return when;
	if (need->max_running >= 0 && entry != NULL && entry->running >= need->max_running)
		return DT_NOEND;
	if (has_rate(need) && unknown_until(entry, need, now) != 0)
		when = unknown_until(entry, need, now);
	else if (has_rate(need) && entry != NULL && entry->use != BGJOB_GATE_NOTHING)
		when = bgjob_rate_when(&partition->uses[entry->use], &need->rate, units_of(need), now);
	if (entry != NULL && bgjob_gate_handed(entry) > 0) /* they may not come */
		when = Max(when, now + BGJOB_HANDED_LASTS);
	return when != 0 ? when : DT_NOEND;
}

/* Returns whether there is no room to note what is spent of a rate. The partition is locked exclusively. */
static bool
lacks_memory(BgjobGatePartition *partition, const BgjobGateEntry *entry,
			 const BgjobGateNeed *need, TimestampTz now)
{
	return has_rate(need) && (entry == NULL || entry->use == BGJOB_GATE_NOTHING) &&
		   !bgjob_gate_use_is_free(partition, now);
}

/* bgjob_gate_is_own returns whether this process holds a place at a gate. */
bool
bgjob_gate_is_own(int64 gate)
{
	for (int i = 0; i < nheld; i++)
		if (held[i].gate == gate)
			return true;
	return false;
}

/* Returns how many jobs can run at a time at most: in workers of the server, and, if there are any, external ones. */
static int
most_running(void)
{
	return bgjob_registry->nslots + (bgjob_leases_used() > 0 ? bgjob_max_leases : 0);
}

/*
 * bgjob_gate_room returns how many jobs may be let through a gate, whoever waits there. A place that the running transaction
 * gives back is free; "freed" are those of leases that it ends. If there is no room, *when (which may be NULL) is when to
 * look again.
 */
int
bgjob_gate_room(const BgjobGateNeed *need, int freed, TimestampTz *when)
{
	TimestampTz now = bgjob_now();
	BgjobGateNeed wide = *need;
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;
	int room;

	if (bgjob_registry == NULL)
		return PG_INT32_MAX;
	/* Where more may run than there can be workers, nobody need wait in a line. */
	if (need->kind != BGJOB_GATE_FAIR && need->max_running >= most_running())
		wide.max_running = -1;
	need = &wide;
	partition = bgjob_gate_partition_of(need->gate);
	LWLockAcquire(&partition->lock, has_rate(need) ? LW_EXCLUSIVE : LW_SHARED);
	entry = bgjob_gate_find(partition, need->gate);
	freed += ending && bgjob_gate_is_own(need->gate);
	room = room_of(partition, entry, need, freed, now);
	if (entry != NULL && room != PG_INT32_MAX)
		room = Max(room - bgjob_gate_handed(entry), 0);
	if (room == 0 && when != NULL)
		*when = room_when(partition, entry, need, now);
	if (lacks_memory(partition, entry, need, now))
	{
		room = 0;
		if (when != NULL)
			*when = now + BGJOB_HANDED_LASTS;
	}
	LWLockRelease(&partition->lock);
	return room;
}

/* bgjob_gate_has_waiters returns whether jobs wait in a gate's line, as far as is known. */
bool
bgjob_gate_has_waiters(int64 gate)
{
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;
	bool waiters;

	if (bgjob_registry == NULL)
		return false;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_SHARED);
	entry = bgjob_gate_find(partition, gate);
	waiters = entry != NULL && entry->waiting > 0;
	LWLockRelease(&partition->lock);
	return waiters;
}

/* ---- holding places ---- */

static int
compare_partitions(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/* Locks the partitions of some gates, in their order; returns their number. */
static int
lock_all(const BgjobGateNeed *needs, int n, int *locked)
{
	int nlocked = 0;

	for (int i = 0; i < n; i++)
		locked[i] = bgjob_gate_partition_number(needs[i].gate);
	qsort(locked, n, sizeof(int), compare_partitions);
	for (int i = 0; i < n; i++)
		if (nlocked == 0 || locked[nlocked - 1] != locked[i])
			locked[nlocked++] = locked[i];
	for (int i = 0; i < nlocked; i++)
		LWLockAcquire(&bgjob_gate_partition(locked[i])->lock, LW_EXCLUSIVE);
	return nlocked;
}

static void
unlock_all(const int *locked, int n)
{
	while (n > 0)
		LWLockRelease(&bgjob_gate_partition(locked[--n])->lock);
}

/* Takes a place at a gate; false: there is no room for one more. */
static bool
reserve(const BgjobGateNeed *need, TimestampTz now)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(need->gate);
	BgjobGateEntry *entry = bgjob_gate_find_or_add(partition, need->gate, now);

	if (entry == NULL)
		return false;
	/* A turn decides where a job waits, not whether it runs. */
	if (need->kind != BGJOB_GATE_FAIR && room_of(partition, entry, need, 0, now) == 0)
		return false;
	if (has_rate(need) && !bgjob_gate_have_use(partition, entry, now))
		return false;
	entry->running++; /* so what the next gate needs does not evict it */
	return true;
}

/* Takes a place at each gate, or at none: then it returns the first that is full. */
static int
reserve_all(const BgjobGateNeed *needs, int n, TimestampTz now)
{
	for (int i = 0; i < n; i++)
	{
		if (reserve(&needs[i], now))
			continue;
		for (int j = 0; j < i; j++)
			bgjob_gate_find(bgjob_gate_partition_of(needs[j].gate), needs[j].gate)->running--;
		return i;
	}
	return BGJOB_GATE_NOTHING;
}

/* Notes that a job which was let through has come to claim its places, and has not got them. Returns whether others may have them. */
static bool
came(const BgjobGateNeed *need)
{
	BgjobGateEntry *entry = bgjob_gate_find(bgjob_gate_partition_of(need->gate), need->gate);

	if (entry == NULL)
		return false;
	entry->handed = Max(bgjob_gate_handed(entry) - 1, 0);
	return entry->waiting > 0;
}

/*
 * Spends what a start takes at a gate at which a place was taken. Returns whether the scheduler is to look at the line: when a rate
 * allows the next start is known only when the last job that was let through has started.
 */
static bool
start(const BgjobGateNeed *need, TimestampTz now)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(need->gate);
	BgjobGateEntry *entry = bgjob_gate_find(partition, need->gate);
	TimestampTz when;

	entry->handed = Max(bgjob_gate_handed(entry) - 1, 0);
	if (need->kind == BGJOB_GATE_LIMIT)
		bgjob_gate_set_name(entry, need->name);
	if (!has_rate(need))
		return false;
	entry->rate = need->rate;
	entry->unsaved = true;
	bgjob_rate_spend(&partition->uses[entry->use], &need->rate, units_of(need), now);
	if (entry->waiting == 0 || entry->handed > 0)
		return false;
	when = room_when(partition, entry, need, now);
	return when != DT_NOEND && (entry->look_at <= now || entry->look_at > when);
}

/* Gives places back when the process exits. Its transaction has been aborted then, and its locks are released. */
static void
release_at_exit(int code, Datum arg)
{
	bgjob_gates_release();
}

/* Has the scheduler look at a lane of fairness keys that has room, and jobs that wait for their turn. */
static void
look_at_turns(const BgjobGateNeed *need)
{
	if (need->kind == BGJOB_GATE_FAIR && bgjob_fair_waits(MyDatabaseId, need->gate) &&
		bgjob_gate_room(need, 0, NULL) > 0)
		bgjob_gate_ask(MyDatabaseId, need->gate);
}

/* Shows the gates in this worker's slot, for others. */
static void
show(void)
{
	if (bgjob_my_slot == NULL)
		return;
	for (int i = 0; i < nheld; i++)
		bgjob_my_slot->gates[i] = held[i].gate;
	pg_write_barrier();
	bgjob_my_slot->ngates = nheld;
}

/*
 * bgjob_gates_acquire takes a place for this process at each of n gates, or at none: then it returns the index of the first that is
 * full; else -1. *now is set to the time of that, which rates count. The caller holds no place yet.
 */
int
bgjob_gates_acquire(const BgjobGateNeed *needs, int n, TimestampTz *now)
{
	static bool registered = false;
	int locked[BGJOB_GATES_MAX];
	bool look[BGJOB_GATES_MAX];
	int nlocked;
	int full;

	if (!registered)
		on_shmem_exit(release_at_exit, (Datum) 0);
	registered = true;
	nlocked = lock_all(needs, n, locked);
	*now = bgjob_now(); /* under the locks: an attempt that held the place has ended by now */
	full = reserve_all(needs, n, *now);
	for (int i = 0; i < n; i++)
	{
		look[i] = full != BGJOB_GATE_NOTHING && came(&needs[i]) && i != full;
		if (full == BGJOB_GATE_NOTHING)
			look[i] = start(&needs[i], *now);
	}
	unlock_all(locked, nlocked);
	for (int i = 0; i < n; i++)
		if (look[i])
			bgjob_gate_ask(MyDatabaseId, needs[i].gate);
	if (full != BGJOB_GATE_NOTHING)
		return full;
	for (nheld = 0; nheld < n; nheld++)
	{
		held[nheld] = needs[nheld];
		held[nheld].name = NULL;
		if (has_rate(&needs[nheld])) /* what was spent, which may be corrected */
			held[nheld].units = units_of(&needs[nheld]);
	}
	held_since = *now;
	ending = false;
	show();
	look_at_turns(&held[n - 1]); /* a turn is the last one */
	return BGJOB_GATE_NOTHING;
}

/* bgjob_gates_own returns the places that this process holds, and their number. */
int
bgjob_gates_own(const BgjobGateNeed **needs)
{
	*needs = held;
	return nheld;
}

/* bgjob_gates_end_at_commit has the places given back when the running transaction has committed. */
void
bgjob_gates_end_at_commit(void)
{
	ending = nheld > 0;
}

/* bgjob_gates_are_ending returns whether that is so. */
bool
bgjob_gates_are_ending(void)
{
	return ending;
}

/* bgjob_gates_committed gives them back then; before what follows is announced. */
void
bgjob_gates_committed(void)
{
	if (ending)
		bgjob_gates_release();
}

/* bgjob_gates_aborted forgets that: the attempt goes on to another transaction. */
void
bgjob_gates_aborted(void)
{
	ending = false;
}

/*
 * Gives one place back. Returns whether the scheduler should look who could have it: "passed_on" is whether a transaction
 * that has committed has let the next one through.
 */
static bool
give_back(const BgjobGateNeed *need, bool passed_on, TimestampTz now)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(need->gate);
	BgjobGateEntry *entry;
	bool look = false;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, need->gate);
	if (entry != NULL)
	{
		entry->running = Max(entry->running - 1, 0); /* the entry may be new since */
		look = entry->waiting > 0 && (!passed_on || room_of(partition, entry, need, 0, now) >
														bgjob_gate_handed(entry));
	}
	LWLockRelease(&partition->lock);
	return look;
}

/*
 * bgjob_gates_give_back gives back n places that have been held since a time. "passed_on": the
 * transaction that has done so has let others through in their place.
 */
void
bgjob_gates_give_back(const BgjobGateNeed *needs, int n, TimestampTz since, bool passed_on)
{
	TimestampTz now = bgjob_now();

	while (n > 0)
	{
		const BgjobGateNeed *need = &needs[--n];

		if (need->kind == BGJOB_GATE_FAIR)
			bgjob_fair_ended(MyDatabaseId, need->gate, need->line, need->weight,
							 Max(now - since, 0));
		if (give_back(need, passed_on, now))
			bgjob_gate_ask(MyDatabaseId, need->gate);
		look_at_turns(need);
	}
}

/* bgjob_gates_release gives back the places that this process holds. */
void
bgjob_gates_release(void)
{
	int n = nheld;

	if (n == 0)
		return;
	if (bgjob_my_slot != NULL)
		bgjob_my_slot->ngates = 0;
	nheld = 0;
	bgjob_gates_give_back(held, n, held_since, ending);
	ending = false;
}

/* bgjob_gates_pass forgets the places that this process holds: a lease has them now. */
void
bgjob_gates_pass(void)
{
	nheld = 0;
	ending = false;
}

/* ---- what transactions have changed ---- */

/* Notes that so many jobs were let through, or if it is negative, that those need no place any more. */
static void
hand(BgjobGateEntry *entry, const BgjobGateNeed *need, int passed)
{
	entry->handed = Max(bgjob_gate_handed(entry) + passed, 0);
	if (passed < 0)
		return;
	entry->fair = need->kind == BGJOB_GATE_FAIR;
	entry->handed_at = bgjob_steady_now();
}

/*
 * bgjob_gate_changed is told, after a commit, how many jobs the transaction has let through a gate (passed), put into its line (filed)
 * and taken out of it. From the commit callback.
 */
void
bgjob_gate_changed(const BgjobGateNeed *need, int passed, int filed, int taken)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(need->gate);
	TimestampTz now = bgjob_now();
	bool look = filed > 0;
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = passed > 0 ? bgjob_gate_find_or_add(partition, need->gate, now)
					   : bgjob_gate_find(partition, need->gate);
	if (entry != NULL)
	{
		if (passed != 0)
			hand(entry, need, passed);
		entry->waiting = Max(entry->waiting + filed - taken, 0);
		/* Who holds a place looks when it is given back; who was let through does, too; the scheduler for a rate. */
		look = filed > 0 && entry->look_at <= now &&
			   (room_of(partition, entry, need, 0, now) > bgjob_gate_handed(entry) ||
				has_rate(need) || (entry->running == 0 && bgjob_gate_handed(entry) == 0));
		look = look || (passed < 0 && entry->waiting > 0);
	}
	LWLockRelease(&partition->lock);
	if (passed < 0)
		look_at_turns(need);
	if (look)
		bgjob_gate_ask(MyDatabaseId, need->gate);
	else if (filed > 0)
		bgjob_gate_note_lines(MyDatabaseId);
}

/* ---- for limits ---- */

/* bgjob_gate_correct corrects what the job of this process has spent of a rate: it has really used so many units. */
void
bgjob_gate_correct(int64 gate, int units)
{
	for (int i = 0; i < nheld; i++)
	{
		BgjobGatePartition *partition = bgjob_gate_partition_of(gate);
		BgjobGateEntry *entry;

		if (held[i].gate != gate || !has_rate(&held[i]))
			continue;
		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		entry = bgjob_gate_find(partition, gate);
		if (entry != NULL && entry->use != BGJOB_GATE_NOTHING)
		{
			entry->unsaved = true;
			bgjob_rate_correct(&partition->uses[entry->use], &held[i].rate,
							   units - held[i].units, held_since, bgjob_now());
		}
		LWLockRelease(&partition->lock);
		held[i].units = units;
		bgjob_gate_ask(MyDatabaseId, gate);
	}
}
