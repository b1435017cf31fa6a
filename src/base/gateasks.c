/*-------------------------------------------------------------------------
 *
 * gateasks.c
 *	  What the scheduler of a database is to look at: lines of gates.
 *
 * Each database has a list of gates here. One that is in the list is not added again. When the list is full, the scheduler
 * looks at all lines. Besides, it is told that jobs wait in lines at all: then it goes through them slowly (process/gates.c).
 *
 * Locks: a list has an LWLock. Called from commit callbacks: nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/gateasks.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define ASKED 128 /* gates; if there are more, all */

/* The gates that the scheduler of a database is to look at. */
typedef struct Asked
{
	LWLock lock;
	bool all;
	bool lines; /* jobs wait in lines that it need not look at now */
	int n;
	int64 gates[ASKED];
} Asked;

typedef struct AskControl
{
	int tranche;
	Asked asked[BGJOB_DATABASES]; /* by the index of the database's entry */
} AskControl;

static AskControl *control = NULL;

/* bgjob_gate_asks_size returns the bytes of shared memory that the lists take. */
Size
bgjob_gate_asks_size(void)
{
	return sizeof(AskControl);
}

/* bgjob_gate_asks_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_gate_asks_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob gate lists", bgjob_gate_asks_size(), &found);
	if (!found)
	{
		memset(control, 0, bgjob_gate_asks_size());
		control->tranche = LWLockNewTrancheId();
		for (int i = 0; i < BGJOB_DATABASES; i++)
			LWLockInitialize(&control->asked[i].lock, control->tranche);
	}
	LWLockRegisterTranche(control->tranche, "BgjobGateLists");
}

static Asked *
asked_of(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	return entry == NULL ? NULL : &control->asked[entry - bgjob_registry->databases];
}

/* Adds a gate; all are to be looked at if there is no room. Returns whether the scheduler has to be notified: it is not yet. */
static bool
add_asked(Asked *asked, int64 gate)
{
	bool first;
	bool known = false;

	LWLockAcquire(&asked->lock, LW_EXCLUSIVE);
	first = asked->n == 0 && !asked->all;
	for (int i = 0; i < asked->n && !known; i++)
		known = asked->gates[i] == gate;
	if (!known && asked->n == ASKED)
		asked->all = true;
	else if (!known)
		asked->gates[asked->n++] = gate;
	LWLockRelease(&asked->lock);
	return first;
}

/* bgjob_gate_ask asks the scheduler of a database to look at a gate's line. */
void
bgjob_gate_ask(Oid database, int64 gate)
{
	Asked *asked = asked_of(database);

	if (asked != NULL && add_asked(asked, gate))
		bgjob_notify_scheduler(database, BGJOB_NOTICE_WAKE);
}

/* bgjob_gate_note_lines notes that jobs wait in lines; the scheduler goes through them slowly. */
void
bgjob_gate_note_lines(Oid database)
{
	Asked *asked = asked_of(database);
	bool first = false;

	if (asked == NULL || asked->lines)
		return;
	LWLockAcquire(&asked->lock, LW_EXCLUSIVE);
	first = !asked->lines;
	asked->lines = true;
	LWLockRelease(&asked->lock);
	if (first)
		bgjob_notify_scheduler(database, BGJOB_NOTICE_WAKE);
}

/* bgjob_gate_set_lines notes what the scheduler knows: whether jobs wait in lines. */
void
bgjob_gate_set_lines(bool lines)
{
	Asked *asked = asked_of(MyDatabaseId);

	if (asked == NULL)
		return;
	LWLockAcquire(&asked->lock, LW_EXCLUSIVE);
	asked->lines = lines;
	LWLockRelease(&asked->lock);
}

/* bgjob_gate_have_lines returns whether jobs may wait in lines. */
bool
bgjob_gate_have_lines(void)
{
	Asked *asked = asked_of(MyDatabaseId);

	return asked != NULL && asked->lines;
}

/* bgjob_gate_take_asked takes at most "max" of the gates asked for in this database; their number. *all: all lines are to be looked at. */
int
bgjob_gate_take_asked(int64 *gates, int max, bool *all)
{
	Asked *asked = asked_of(MyDatabaseId);
	int n;

	if (asked == NULL)
		return 0;
	LWLockAcquire(&asked->lock, LW_EXCLUSIVE);
	n = Min(asked->n, max);
	memcpy(gates, asked->gates, n * sizeof(int64));
	asked->n -= n;
	memmove(asked->gates, asked->gates + n, asked->n * sizeof(int64));
	*all |= asked->all;
	asked->all = false;
	LWLockRelease(&asked->lock);
	return n;
}
