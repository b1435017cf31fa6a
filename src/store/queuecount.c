/*-------------------------------------------------------------------------
 *
 * queuecount.c
 *	  The number of jobs in each queue, of the roles that somebody sees.
 *
 * The numbers are those of the tallies in shared memory (base/tally.c), which
 * store/count.c makes known. There are three exceptions. A role with more queues than
 * there are tallies for is counted from the tables of the places where jobs stand,
 * and so is everything where nobody counts in the background. And while a large
 * table is being counted in the background, the numbers are not known.
 *
 * Running jobs are stored as enqueued, most of them. The slots of their workers say
 * which these are; of each the row is read.
 *
 * Runs in the session that reads bgjob.queues. Locks: those of base/tally.c, to copy
 * the tallies. Catalogs and tables are read after that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "base/change.h"
#include "base/database.h"
#include "base/running.h"
#include "miscadmin.h"
#include "store/count.h"
#include "store/jobrow.h"
#include "store/queuecount.h"
#include "store/queueconf.h"
#include "store/queuerow.h"
#include "store/schedule.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* A role that has been met. */
typedef struct Role
{
	Oid role; /* must be first */
	bool seen;
	bool lost; /* has no complete tallies */
} Role;

/* A count that is under way. */
typedef struct Count
{
	BgjobSees sees;
	void *arg;      /* of it */
	bool only_lost; /* jobs that are read from the tables count only for roles that are lost */
	bool any_lost;  /* there is such a role, and it is seen */
	HTAB *roles;
	HTAB *queues;
} Count;

static Role *
role_of(Count *count, Oid role)
{
	bool found;
	Role *known = hash_search(count->roles, &role, HASH_ENTER, &found);

	if (!found)
	{
		known->seen = count->sees(role, count->arg);
		known->lost = false;
	}
	return known;
}

static BgjobQueueCount *
queue_of(Count *count, const char *name)
{
	char key[BGJOB_QUEUE_NAME_SIZE] = {0};
	BgjobQueueCount *queue;
	bool found;

	strlcpy(key, name, sizeof(key));
	queue = hash_search(count->queues, key, HASH_ENTER, &found);
	if (!found)
		memset(&queue->named, 0, sizeof(*queue) - offsetof(BgjobQueueCount, named));
	return queue;
}

/* ---- from the tables ---- */

/* Adds a job that was read from a table. */
static void
add_one(Count *count, Oid role, const text *queue, BgjobTallied kind)
{
	const Role *known = role_of(count, role);
	char name[BGJOB_QUEUE_NAME_SIZE];

	if (!known->seen || (count->only_lost && !known->lost))
		return;
	text_to_cstring_buffer(queue, name, sizeof(name));
	queue_of(count, name)->counts[kind]++;
}

static void
add_scheduled(Oid role, const text *queue, void *arg)
{
	add_one(arg, role, queue, BGJOB_TALLIED_SCHEDULED);
}

/* Adds the jobs of the queue. */
static void
add_queued(Count *count)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(rel->slot);
		add_one(count, DatumGetObjectId(rel->slot->tts_values[BGJOB_Q_ROLE - 1]),
				DatumGetTextPP(rel->slot->tts_values[BGJOB_Q_QUEUE - 1]),
				BGJOB_TALLIED_WAITING);
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* Reads the role and the queue of a job; false if there is no such job, or it is not counted so. */
static bool
look_up(BgjobRel *jobs, int64 id, BgjobTallied kind, Oid *role, const text **queue)
{
	bool isnull;
	char letter;

	if (!bgjob_job_peek(jobs, id, NULL))
		return false;
	letter = DatumGetChar(slot_getattr(jobs->slot, BGJOB_C_STATE, &isnull));
	*role = DatumGetObjectId(slot_getattr(jobs->slot, BGJOB_C_RUN_AS, &isnull));
	*queue = DatumGetTextPP(slot_getattr(jobs->slot, BGJOB_C_QUEUE, &isnull));
	return bgjob_tallied(bgjob_state_by_letter(letter)) == kind;
}

/* Adds the jobs of a table in whose rows the job comes first, and the role is not. */
static void
add_named(Count *count, BgjobRel *jobs, BgjobTable table, BgjobTallied kind)
{
	BgjobRel *rel = bgjob_rel_open_read(table);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	const text *queue;
	bool isnull;
	Oid role;

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		int64 job = DatumGetInt64(slot_getattr(rel->slot, 1, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (look_up(jobs, job, kind, &role, &queue))
			add_one(count, role, queue, kind);
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

static void
add_from_tables(Count *count)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);

	add_queued(count);
	bgjob_schedule_visit(add_scheduled, count);
	add_named(count, jobs, BGJOB_TABLE_FAILURE, BGJOB_TALLIED_FAILED);
	add_named(count, jobs, BGJOB_TABLE_CLAIM, BGJOB_TALLIED_WAITING);
	bgjob_rel_close(jobs);
}

/* ---- from the tallies ---- */

static BgjobTallyRow *
read_tallies(BgjobDatabase *entry, int *n, bool *known)
{
	int room = 256;

	for (;;)
	{
		BgjobTallyRow *rows = palloc_extended(room * sizeof(BgjobTallyRow), MCXT_ALLOC_HUGE);

		*n = bgjob_tallies_read(entry, rows, room, known);
		if (*n <= room)
			return rows;
		pfree(rows);
		room = *n + *n / 8;
	}
}

/* Adds the counts of a role in a queue. */
static void
add_counts(Count *count, Oid role, const char *name, const int64 *counts)
{
	const Role *known = role_of(count, role);
	BgjobQueueCount *queue;

	if (!known->seen || known->lost)
		return;
	queue = queue_of(count, name);
	for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		queue->counts[kind] += counts[kind];
}

/* Adds what the running transaction has moved; a BgjobTallyVisit. */
static void
add_note(Oid role, const char *name, const BgjobTallyNote *note, void *arg)
{
	add_counts(arg, role, name, note->counts);
}

/* Adds what the tallies say, and what the running transaction has moved by now. */
static void
add_tallies(Count *count, const BgjobTallyRow *rows, int n)
{
	for (int i = 0; i < n; i++)
		if (rows[i].lost)
		{
			Role *role = role_of(count, rows[i].role);

			role->lost = true;
			count->any_lost |= role->seen;
		}
	for (int i = 0; i < n; i++)
		if (rows[i].queue[0] != '\0')
			add_counts(count, rows[i].role, rows[i].queue, rows[i].counts);
	bgjob_change_visit_own(add_note, count);
}

/* Adds the running jobs. */
static void
add_running(Count *count)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	int n;
	BgjobRunning *running = bgjob_slots_running(MyDatabaseId, &n);
	char name[BGJOB_QUEUE_NAME_SIZE];
	const text *queue;
	Oid role;

	for (int i = 0; i < n; i++)
	{
		if (!role_of(count, running[i].role)->seen ||
			!look_up(jobs, running[i].job, BGJOB_TALLIED_WAITING, &role, &queue))
			continue;
		text_to_cstring_buffer(queue, name, sizeof(name));
		queue_of(count, name)->running++;
	}
	pfree(running);
	bgjob_rel_close(jobs);
}

static void
add_name(const char *queue, const BgjobQueueRow *row, void *arg)
{
	queue_of(arg, queue)->named = true;
}

static bool
has_jobs(const BgjobQueueCount *queue)
{
	for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		if (queue->counts[kind] != 0)
			return true;
	return false;
}

/* Returns the queues that have jobs or a name, as an array. */
static BgjobQueueCount *
list_queues(const Count *count, int *n)
{
	BgjobQueueCount *queues = palloc_extended(
		hash_get_num_entries(count->queues) * sizeof(BgjobQueueCount), MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS all;
	BgjobQueueCount *queue;

	*n = 0;
	hash_seq_init(&all, count->queues);
	while ((queue = hash_seq_search(&all)) != NULL)
		if (queue->named || has_jobs(queue))
			queues[(*n)++] = *queue;
	return queues;
}

static HTAB *
make_hash(const char *name, Size key, Size entry)
{
	HASHCTL info = {.keysize = key, .entrysize = entry, .hcxt = CurrentMemoryContext};

	return hash_create(name, 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * bgjob_count_queues counts the jobs in each queue, of the roles that "sees" accepts.
 * Returns the queues that have such jobs, those that are configured, and "default"; and
 * their number. "entry" is the database's, NULL if it has none. "later": another
 * process counts large tables. *known: it has done so; if not, the numbers say nothing.
 */
BgjobQueueCount *
bgjob_count_queues(BgjobDatabase *entry, bool later, BgjobSees sees, void *arg, int *n,
				   bool *known)
{
	Count count = {.sees = sees, .arg = arg};
	BgjobTallyRow *rows = NULL;
	int64 sums[BGJOB_NSTATES] = {0};
	bool complete = false;
	int nrows = 0;

	count.roles = make_hash("bgjob roles", sizeof(Oid), sizeof(Role));
	count.queues = make_hash("bgjob queues", BGJOB_QUEUE_NAME_SIZE, sizeof(BgjobQueueCount));
	*known = true;
	if (entry != NULL)
	{
		*known = bgjob_count_jobs(entry, later, sums);
		rows = read_tallies(entry, &nrows, &complete);
		complete = complete && !entry->tallies_lost;
	}
	if (complete || !*known)
		add_tallies(&count, rows, nrows);
	count.only_lost = complete;
	if (*known && (!complete || count.any_lost))
		add_from_tables(&count);
	add_running(&count);
	queue_of(&count, "default")->named = true;
	bgjob_queueconf_visit(add_name, &count);
	return list_queues(&count, n);
}

/* ---- from memory alone ---- */

/* Moves the running jobs of roles that are lost to the rest, since their queues are not told apart. */
static void
add_running_rest(Count *count, BgjobQueueCount *rest)
{
	HASH_SEQ_STATUS all;
	BgjobQueueCount *queue;

	hash_seq_init(&all, count->queues);
	while ((queue = hash_seq_search(&all)) != NULL)
	{
		int64 known = Min(queue->running, Max(queue->counts[BGJOB_TALLIED_WAITING], 0));

		rest->running += queue->running - known;
		queue->running = known;
	}
}

/* Counts the jobs that no tally has: those of the database but for the others. */
static void
count_rest(const int64 *sums, const BgjobTallyRow *rows, int n, Count *count,
		   BgjobQueueCount *rest)
{
	rest->counts[BGJOB_TALLIED_WAITING] = sums[BGJOB_ENQUEUED] + sums[BGJOB_PROCESSING];
	rest->counts[BGJOB_TALLIED_SCHEDULED] = sums[BGJOB_SCHEDULED];
	rest->counts[BGJOB_TALLIED_AWAITING] = sums[BGJOB_AWAITING];
	rest->counts[BGJOB_TALLIED_FAILED] = sums[BGJOB_FAILED];
	for (int i = 0; i < n; i++)
		for (int kind = 0; kind < BGJOB_NTALLIED && rows[i].queue[0] != '\0'; kind++)
			if (!role_of(count, rows[i].role)->lost)
				rest->counts[kind] -= rows[i].counts[kind];
	for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		rest->counts[kind] = Max(rest->counts[kind], 0); /* they move meanwhile */
	add_running_rest(count, rest);
}

/*
 * bgjob_count_queues_in_memory does the same at a cost that does not depend on the
 * number of jobs: tables of jobs are not scanned. What no tally has is in *rest, whose "named"
 * says whether there may be any. It is that of all roles together, so it is left out if it may
 * be somebody's whose jobs the reader does not see. NULL: the jobs are not counted yet.
 */
BgjobQueueCount *
bgjob_count_queues_in_memory(BgjobDatabase *entry, BgjobSees sees, void *arg, bool sees_all,
							 int *n, BgjobQueueCount *rest)
{
	Count count = {.sees = sees, .arg = arg};
	int64 sums[BGJOB_NSTATES] = {0};
	BgjobTallyRow *rows;
	bool complete;
	bool any_unseen = false;
	int nrows;

	memset(rest, 0, sizeof(*rest));
	count.roles = make_hash("bgjob roles", sizeof(Oid), sizeof(Role));
	count.queues = make_hash("bgjob queues", BGJOB_QUEUE_NAME_SIZE, sizeof(BgjobQueueCount));
	if (!bgjob_count_jobs(entry, true, sums))
		return NULL;
	rows = read_tallies(entry, &nrows, &complete);
	if (!complete)
		return NULL;
	add_tallies(&count, rows, nrows);
	add_running(&count);
	for (int i = 0; i < nrows; i++)
		any_unseen |= rows[i].lost && !role_of(&count, rows[i].role)->seen;
	rest->named = entry->tallies_lost ? sees_all : count.any_lost && !any_unseen;
	if (rest->named)
		count_rest(sums, rows, nrows, &count, rest);
	queue_of(&count, "default")->named = true;
	bgjob_queueconf_visit(add_name, &count);
	return list_queues(&count, n);
}

/* ---- one queue ---- */

/* The jobs that wait in a queue. */
typedef struct Waiting
{
	const char *queue;
	int64 n;
} Waiting;

/* Adds what the running transaction has moved. */
static void
add_own(Oid role, const char *name, const BgjobTallyNote *note, void *arg)
{
	Waiting *waiting = arg;

	if (strcmp(name, waiting->queue) == 0)
		waiting->n += note->counts[BGJOB_TALLIED_WAITING];
}

/* Takes away the running jobs, which are counted as waiting. */
static void
subtract_running(Waiting *waiting)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	int n;
	BgjobRunning *running = bgjob_slots_running(MyDatabaseId, &n);
	char name[BGJOB_QUEUE_NAME_SIZE];
	const text *queue;
	Oid role;

	for (int i = 0; i < n; i++)
		if (look_up(jobs, running[i].job, BGJOB_TALLIED_WAITING, &role, &queue))
		{
			text_to_cstring_buffer(queue, name, sizeof(name));
			waiting->n -= strcmp(name, waiting->queue) == 0;
		}
	pfree(running);
	bgjob_rel_close(jobs);
}

/*
 * bgjob_count_exceeds returns whether more than "most" jobs of all roles wait in a queue. False
 * also if that is not known. Rows are read only of running jobs, and only if these decide.
 */
bool
bgjob_count_exceeds(const char *queue, int64 most)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	Waiting waiting = {.queue = queue};
	int64 sums[BGJOB_NSTATES] = {0};

	if (entry == NULL)
		return false;
	if (!bgjob_database_is_counted(entry))
		(void) bgjob_count_jobs(entry, true, sums);
	if (!bgjob_tallies_sum(entry, queue, BGJOB_TALLIED_WAITING, &waiting.n))
		return false;
	bgjob_change_visit_own(add_own, &waiting);
	if (waiting.n > most)
		subtract_running(&waiting);
	return waiting.n > most;
}
