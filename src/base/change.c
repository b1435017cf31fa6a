/*-------------------------------------------------------------------------
 *
 * change.c
 *	  What the running transaction has changed, told to others when it commits.
 *
 * Any backend or worker that writes bgjob's tables notes here what it did:
 * rows that have become ready, jobs that will be due, states that were left
 * and entered, jobs that have ended. Nothing is told before the transaction
 * has committed, and what a rolled-back savepoint did is never told at all:
 * notes are kept per subtransaction. Only that something may come is: when the
 * commit begins, an idle worker is roused. What a rollback makes ready again, the
 * jobs that were taken out of their queues, is told when it happens.
 *
 * The callback runs after the rows are visible to others, so whoever is
 * woken finds them. It must not throw; it takes short locks (base/lane.h,
 * base/registry.h) and sets latches. It is registered once per backend.
 *
 * HOLES, on purpose: PREPARE TRANSACTION drops the notes, since nobody knows
 * who will commit and when, and leaves a mark instead (base/prepared.c);
 * whoever ends a marked transaction has everything looked at anew
 * (bgjob_change_unknown). Without the library in shared_preload_libraries
 * there is nobody to tell, and nothing is noted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/database.h"
#include "base/lanes.h"
#include "base/prepared.h"
#include "base/registry.h"
#include "base/slot.h"
#include "base/waiters.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Among so many lanes of a transaction one is found without a table of them. */
#define FEW_LANES 16

/* So many are noted each; of more, only that there are. */
#define MANY_LANES 1024

typedef struct ReadyNote
{
	struct ReadyNote *next;
	BgjobLaneKey key;    /* without a queue: any lanes of its group */
	BgjobLaneItem first; /* the lowest */
	int64 count;
} ReadyNote;

/* Rows that were taken out of a lane, which a rollback makes ready again. */
#define FEW_TAKEN 8
typedef struct TakenNote
{
	struct TakenNote *next;
	BgjobLaneKey key;
	int64 count;
	int64 lowest;
	BgjobLaneItem items[FEW_TAKEN]; /* the first of them */
} TakenNote;

typedef struct EndedNote
{
	struct EndedNote *next;
	int64 job;
} EndedNote;

/* A queue has been configured; or, with a group size of 0, is no longer. */
typedef struct QueueNote
{
	struct QueueNote *next;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	BgjobQueueConf conf;
} QueueNote;

/*
 * The notes of one subtransaction, innermost first. All in
 * TopTransactionContext, and freed with the subtransaction: one transaction may
 * have millions of them.
 */
typedef struct Notes
{
	struct Notes *parent;
	SubTransactionId subid;
	ReadyNote *ready; /* in order from the beginning of the commit on */
	int nready;
	HTAB *lanes; /* the same by their lanes, where there are many; else NULL */
	TakenNote *taken;
	int ntaken;
	bool took_more;        /* rows of more lanes than are noted */
	TimestampTz taken_due; /* the first that was taken out of the schedule; DT_NOEND: none */
	EndedNote *ended;
	QueueNote *queues;
	TimestampTz due; /* DT_NOEND: none */
	int64 counts[BGJOB_NSTATES];
	bool counted;
	bool recount;
	bool filters;
	Oid notice_database;
	uint32 notices;
	Oid wanted;
} Notes;

static Notes *notes = NULL;

/* Whether it is counted in bgjob_registry->filter_changers. */
static bool changing_filters = false;

/* Whether it is named in bgjob_registry->movers. */
static bool moving = false;

static void at_xact_event(XactEvent event, void *arg);
static void
at_subxact_event(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg);

/* The notes of the running subtransaction; NULL where there is nobody to tell. */
static Notes *
current_notes(void)
{
	static bool registered = false;
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (bgjob_registry == NULL)
		return NULL;
	if (!registered)
	{
		RegisterXactCallback(at_xact_event, NULL);
		RegisterSubXactCallback(at_subxact_event, NULL);
		bgjob_lane_groups_prepare();
		registered = true;
	}
	if (notes == NULL || notes->subid != subid)
	{
		Notes *inner = MemoryContextAllocZero(TopTransactionContext, sizeof(Notes));

		inner->parent = notes;
		inner->subid = subid;
		inner->due = inner->taken_due = DT_NOEND;
		notes = inner;
	}
	return notes;
}

/* A lane that has been noted. */
typedef struct NotedLane
{
	BgjobLaneKey key; /* must be first */
	ReadyNote *note;
} NotedLane;

/* Enters a note into a table of the lanes of these notes. */
static void
enter_lane(Notes *to, ReadyNote *note)
{
	NotedLane *lane = hash_search(to->lanes, &note->key, HASH_ENTER, NULL);

	lane->note = note;
}

/* Makes a table of the lanes, so that finding one among many does not cost looking at all. */
static void
index_lanes(Notes *to)
{
	HASHCTL info = {.keysize = sizeof(BgjobLaneKey),
					.entrysize = sizeof(NotedLane),
					.hcxt = TopTransactionContext};

	to->lanes = hash_create("bgjob lanes of a transaction", 4 * FEW_LANES, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (ReadyNote *note = to->ready; note != NULL; note = note->next)
		enter_lane(to, note);
}

/* Finds the note of a lane, NULL if there is none. */
static ReadyNote *
find_ready(Notes *to, const BgjobLaneKey *key)
{
	if (to->lanes != NULL)
	{
		NotedLane *lane = hash_search(to->lanes, key, HASH_FIND, NULL);

		return lane == NULL ? NULL : lane->note;
	}
	for (ReadyNote *note = to->ready; note != NULL; note = note->next)
		if (memcmp(&note->key, key, sizeof(*key)) == 0)
			return note;
	return NULL;
}

/* Notes rows of a lane. */
static void
add_ready(Notes *to, const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count)
{
	ReadyNote *note = find_ready(to, key);
	BgjobLaneKey any = {.group = key->group};

	if (note == NULL && to->nready >= MANY_LANES)
	{
		key = &any;
		note = find_ready(to, key);
	}
	if (note == NULL)
	{
		note = MemoryContextAlloc(TopTransactionContext, sizeof(ReadyNote));
		note->key = *key;
		note->first = *first;
		note->count = 0;
		note->next = to->ready;
		to->ready = note;
		to->nready++;
		if (to->lanes != NULL)
			enter_lane(to, note);
		else if (to->nready > FEW_LANES)
			index_lanes(to);
	}
	if (first->pos < note->first.pos)
		note->first = *first;
	note->count += count;
}

/* Higher priorities first, then what was enqueued first. */
static int
compare_ready(const void *left, const void *right)
{
	const ReadyNote *a = *(ReadyNote *const *) left;
	const ReadyNote *b = *(ReadyNote *const *) right;

	if (a->key.priority != b->key.priority)
		return a->key.priority > b->key.priority ? -1 : 1;
	return a->first.pos < b->first.pos ? -1 : a->first.pos > b->first.pos;
}

/* Puts the notes of lanes into the order in which they are announced. */
static void
sort_ready(Notes *to)
{
	ReadyNote **sorted;
	int n = 0;

	if (to->nready < 2)
		return;
	sorted = MemoryContextAlloc(TopTransactionContext, to->nready * sizeof(ReadyNote *));
	for (ReadyNote *note = to->ready; note != NULL; note = note->next)
		sorted[n++] = note;
	qsort(sorted, n, sizeof(ReadyNote *), compare_ready);
	to->ready = NULL;
	while (n > 0)
	{
		sorted[--n]->next = to->ready;
		to->ready = sorted[n];
	}
	pfree(sorted);
}

/* bgjob_change_ready notes that rows of bgjob_internal.queue were inserted, the lowest of them "first". */
void
bgjob_change_ready(Oid role, const char *queue, int priority, const BgjobLaneItem *first,
				   int64 count)
{
	Notes *to = current_notes();
	BgjobLaneKey key;

	if (to == NULL)
		return;
	bgjob_lane_key(&key, MyDatabaseId, role, queue, priority);
	add_ready(to, &key, first, count);
}

/* bgjob_change_due notes that a row of bgjob_internal.schedule was inserted. */
void
bgjob_change_due(TimestampTz at)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->due = Min(to->due, at);
}

/* bgjob_change_count notes that a job went from one state to another; retries count by themselves. */
void
bgjob_change_count(BgjobState from, BgjobState to_state, bool from_retry, bool to_retry)
{
	Notes *to = current_notes();

	if (to == NULL)
		return;
	if (from != BGJOB_NONE)
		to->counts[from]--;
	if (to_state != BGJOB_NONE)
		to->counts[to_state]++;
	to->counts[BGJOB_NONE] += (to_retry ? 1 : 0) - (from_retry ? 1 : 0);
	to->counted = true;
}

/* bgjob_change_recount notes that jobs have come or gone that nobody has counted. */
void
bgjob_change_recount(void)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->recount = true;
}

/*
 * bgjob_change_filters notes that filters have changed. The server tells other
 * processes a while after the commit can be seen, and a worker may be at a job
 * of the same commit before that. So from before that moment until after it
 * shared memory says that a change is under way, then that there was one.
 */
void
bgjob_change_filters(void)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->filters = true;
}

/* bgjob_change_ended notes that nothing more will happen to a job by itself. */
void
bgjob_change_ended(int64 job)
{
	Notes *to = current_notes();
	EndedNote *note;

	if (to == NULL)
		return;
	note = MemoryContextAlloc(TopTransactionContext, sizeof(EndedNote));
	note->job = job;
	note->next = to->ended;
	to->ended = note;
}

/*
 * bgjob_change_queue notes that a queue has been configured, or (a group size
 * of 0) is no longer; conf->version tells the order of changes.
 */
void
bgjob_change_queue(const char *queue, const BgjobQueueConf *conf)
{
	Notes *to = current_notes();
	QueueNote *note;

	if (to == NULL)
		return;
	note = MemoryContextAlloc(TopTransactionContext, sizeof(QueueNote));
	strlcpy(note->queue, queue, sizeof(note->queue));
	note->conf = *conf;
	note->next = to->queues;
	to->queues = note;
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RESCAN | BGJOB_NOTICE_QUEUES);
}

/* bgjob_change_notice notes something that the scheduler of a database is to be told. */
void
bgjob_change_notice(Oid database, uint32 scheduler_notices)
{
	Notes *to = current_notes();

	if (to == NULL)
		return;
	to->notice_database = database;
	to->notices |= scheduler_notices;
}

/* The note of what was taken out of a lane, made where there is none; NULL: there are too many. */
static TakenNote *
find_taken(Notes *to, const BgjobLaneKey *key)
{
	TakenNote *note;

	for (note = to->taken; note != NULL; note = note->next)
		if (memcmp(&note->key, key, sizeof(*key)) == 0)
			return note;
	if (to->ntaken == FEW_LANES)
	{
		to->took_more = true;
		return NULL;
	}
	note = MemoryContextAlloc(TopTransactionContext, sizeof(TakenNote));
	note->key = *key;
	note->count = 0;
	note->lowest = PG_INT64_MAX;
	note->next = to->taken;
	to->taken = note;
	to->ntaken++;
	return note;
}

/* bgjob_change_took notes that a job was taken out of its queue, which a rollback undoes. */
void
bgjob_change_took(Oid role, const char *queue, int priority, int64 pos, int64 job)
{
	Notes *to = current_notes();
	BgjobLaneKey key;
	TakenNote *note;

	if (to == NULL)
		return;
	bgjob_lane_key(&key, MyDatabaseId, role, queue, priority);
	note = find_taken(to, &key);
	if (note == NULL)
		return;
	if (note->count < FEW_TAKEN)
		note->items[note->count] = (BgjobLaneItem){.pos = pos, .job = job};
	note->count++;
	note->lowest = Min(note->lowest, pos);
}

/* bgjob_change_took_scheduled notes that a job was taken out of the schedule. */
void
bgjob_change_took_scheduled(TimestampTz at)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->taken_due = Min(to->taken_due, at);
}

/* bgjob_change_want notes that a database has got the extension. */
void
bgjob_change_want(Oid database)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->wanted = database;
}

/* Wakes workers for what has become ready, and the scheduler where there are too few. */
static void
wake_for(const ReadyNote *note)
{
	BgjobDatabase *entry;
	int64 woken = 0;

	while (woken < note->count &&
		   bgjob_wake_worker(note->key.group.database, note->key.group.role))
		woken++;
	if (woken == note->count)
		return;

	entry = bgjob_database_find(note->key.group.database);
	if (entry != NULL &&
		(pg_atomic_read_u32(&entry->saturated) == 0 ||
		 bgjob_count_workers(note->key.group.database, note->key.group.role) == 0))
		bgjob_notify_scheduler(note->key.group.database, 0);
}

/* Says at once that some of a lane's rows are ready; "items" are all of them if there are few. */
static void
announce_again(const BgjobLaneKey *key, const BgjobLaneItem *items, int64 count, int64 lowest)
{
	ReadyNote note = {.key = *key, .first.pos = lowest, .count = count};

	if (count <= FEW_TAKEN)
		for (int i = 0; i < count; i++)
			bgjob_lane_offer(key, &items[i]);
	else
		bgjob_lane_announce(key, &note.first, count);
	wake_for(&note);
}

/*
 * bgjob_announce says at once that a job is ready, in its old place: its
 * worker was lost, or gave it back. Must be called when no slot names it any
 * more. Does not throw.
 */
void
bgjob_announce(Oid role, const char *queue, int priority, int64 pos, int64 job)
{
	BgjobLaneItem item = {.pos = pos, .job = job};
	BgjobLaneKey key;

	bgjob_lane_key(&key, MyDatabaseId, role, queue, priority);
	announce_again(&key, &item, 1, pos);
}

/*
 * bgjob_announce_found says at once that these rows of a lane, in the order of
 * their places, are ready: somebody has found them there. Does not throw.
 */
void
bgjob_announce_found(const BgjobLaneKey *key, const BgjobLaneItem *items, int n)
{
	announce_again(key, items, n, items[0].pos);
}

/*
 * bgjob_announce_rest says at once that jobs which were taken as a group are
 * free again; singly: and are better not taken as one. Does not throw.
 */
void
bgjob_announce_rest(const BgjobGroupRest *rest, bool singly)
{
	ReadyNote note = {.first.pos = rest->pos, .count = rest->count};

	bgjob_lane_key(&note.key, MyDatabaseId, rest->role, rest->queue, rest->priority);
	bgjob_lane_give_back(&note.key, rest->pos, rest->count, singly);
	wake_for(&note);
}

/*
 * bgjob_change_unknown says at once that a transaction with jobs has ended
 * that nobody knows more of: one that was prepared. Does not throw.
 */
void
bgjob_change_unknown(bool committed)
{
	uint32 notices = BGJOB_NOTICE_RESCAN;

	if (committed)
	{
		bgjob_database_recount(MyDatabaseId);
		pg_atomic_fetch_add_u32(&bgjob_registry->filter_changes, 1);
		bgjob_waiters_wake_all();
		notices |= BGJOB_NOTICE_EXTENSION | BGJOB_NOTICE_QUEUES | BGJOB_NOTICE_RECURRING |
				   BGJOB_NOTICE_ENDED;
	}
	bgjob_notify_scheduler(MyDatabaseId, notices);
}

/* Tells the scheduler of an earlier due time, unless it will look before that anyway. */
static void
tell_due(BgjobDatabase *entry, TimestampTz due)
{
	uint64 known = pg_atomic_read_u64(&entry->low_due);

	while ((TimestampTz) known > due &&
		   !pg_atomic_compare_exchange_u64(&entry->low_due, &known, (uint64) due))
		;
	if (due < (TimestampTz) pg_atomic_read_u64(&entry->next_due))
		bgjob_notify_scheduler(entry->database, 0);
}

static void
tell(const Notes *committed)
{
	BgjobDatabase *entry;

	if (committed->wanted != InvalidOid)
	{
		/* Where there is no room, the launcher keeps it in mind. */
		bgjob_notify_launcher(bgjob_database_want(committed->wanted) == NULL);
	}
	entry = bgjob_database_find(MyDatabaseId);
	if (entry != NULL && committed->counted)
	{
		for (int state = 0; state < BGJOB_NSTATES; state++)
			if (committed->counts[state] != 0)
				pg_atomic_fetch_add_u64(&entry->moves[state], committed->counts[state]);
		pg_atomic_fetch_add_u64(&entry->movers, 1); /* after them */
	}
	if (committed->recount)
		bgjob_database_recount(MyDatabaseId);
	for (QueueNote *note = committed->queues; note != NULL; note = note->next)
		if (note->conf.group_size > 0)
			bgjob_queues_set(MyDatabaseId, note->queue, &note->conf);
		else
			bgjob_queues_remove(MyDatabaseId, note->queue, note->conf.version);
	/* All of it before anybody is woken, who would otherwise begin with what is not the first. */
	for (ReadyNote *note = committed->ready; note != NULL; note = note->next)
		if (note->key.queue[0] != '\0')
			bgjob_lane_announce(&note->key, &note->first, note->count);
		else
			bgjob_lane_announce_all(&note->key.group);
	for (ReadyNote *note = committed->ready; note != NULL; note = note->next)
		wake_for(note);
	if (entry != NULL && committed->due != DT_NOEND)
		tell_due(entry, committed->due);
	for (EndedNote *note = committed->ended; note != NULL; note = note->next)
		bgjob_waiters_wake(note->job);
	if (committed->notices != 0)
		bgjob_notify_scheduler(committed->notice_database, committed->notices);
}

/*
 * Jobs that a transaction, or subtransaction, had taken out of their queues are
 * there again, and some worker may have passed them by meanwhile. Does not throw.
 */
static void
tell_of_given_back(const Notes *aborted)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	for (const TakenNote *note = aborted->taken; note != NULL; note = note->next)
		announce_again(&note->key, note->items, note->count, note->lowest);
	if (aborted->took_more)
		bgjob_notify_scheduler(MyDatabaseId, BGJOB_NOTICE_RESCAN);
	if (aborted->taken_due != DT_NOEND && entry != NULL)
		tell_due(entry, aborted->taken_due);
}

/* The transaction is about to commit: who will be woken for what it has made ready may get up. */
static void
alert(void)
{
	for (Notes *note = notes; note != NULL; note = note->parent)
	{
		int n = 0;

		sort_ready(note);
		for (const ReadyNote *ready = note->ready; ready != NULL && n < FEW_LANES; n++)
		{
			bgjob_prewake_worker(ready->key.group.database, ready->key.group.role);
			ready = ready->next;
		}
	}
}

static void
begin_filter_change(void)
{
	for (const Notes *note = notes; note != NULL && !changing_filters; note = note->parent)
		if (note->filters)
		{
			changing_filters = true;
			pg_atomic_fetch_add_u32(&bgjob_registry->filter_changers, 1);
		}
}

/* Who finds the change no longer under way must find that there was one: the order matters. */
static void
end_filter_change(void)
{
	if (!changing_filters)
		return;
	changing_filters = false;
	pg_atomic_fetch_add_u32(&bgjob_registry->filter_changes, 1);
	pg_atomic_fetch_sub_u32(&bgjob_registry->filter_changers, 1);
}

/*
 * Says that this process is about to commit a transaction that moves jobs:
 * whoever counts knows by it that the moves of what can be seen are still to
 * come. The server's own locks order that before the commit can be seen.
 */
static void
begin_moves(void)
{
	for (const Notes *note = notes; note != NULL && !moving; note = note->parent)
		if (note->counted)
		{
			moving = true;
			bgjob_database_moving(GetTopTransactionIdIfAny());
		}
}

/* The moves have been added, or never will be. */
static void
end_moves(void)
{
	if (!moving)
		return;
	moving = false;
	bgjob_database_moving(InvalidTransactionId);
}

static void
at_xact_event(XactEvent event, void *arg)
{
	Notes *committed = notes;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			begin_filter_change();
			begin_moves();
			alert();
			break;
		case XACT_EVENT_COMMIT:
			end_filter_change();
			notes = NULL;
			for (; committed != NULL; committed = committed->parent)
				tell(committed);
			end_moves();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (committed != NULL)
				bgjob_prepared_mark();
			break;
		case XACT_EVENT_PREPARE:
			notes = NULL;
			break;
		case XACT_EVENT_ABORT:
			end_filter_change();
			end_moves();
			notes = NULL;
			for (; committed != NULL; committed = committed->parent)
				tell_of_given_back(committed);
			break;
		default:
			break;
	}
}

/* Frees the notes of a subtransaction that has been rolled back. */
static void
free_notes(Notes *aborted)
{
	if (aborted->lanes != NULL)
		hash_destroy(aborted->lanes);
	for (ReadyNote *note = aborted->ready, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
	for (TakenNote *note = aborted->taken, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
	for (EndedNote *note = aborted->ended, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
	for (QueueNote *note = aborted->queues, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
	pfree(aborted);
}

static void
merge_taken(const TakenNote *inner, Notes *outer)
{
	TakenNote *note = find_taken(outer, &inner->key);

	if (note == NULL)
		return;
	for (int i = 0; i < Min(inner->count, FEW_TAKEN) && note->count + i < FEW_TAKEN; i++)
		note->items[note->count + i] = inner->items[i];
	note->count += inner->count;
	note->lowest = Min(note->lowest, inner->lowest);
}

/* Adds the notes of a committed subtransaction to those of its parent, and frees what is left of them. */
static void
merge_into_parent(Notes *inner, Notes *outer)
{
	for (ReadyNote *note = inner->ready, *next; note != NULL; note = next)
	{
		next = note->next;
		add_ready(outer, &note->key, &note->first, note->count);
		pfree(note);
	}
	for (TakenNote *note = inner->taken, *next; note != NULL; note = next)
	{
		next = note->next;
		merge_taken(note, outer);
		pfree(note);
	}
	outer->took_more |= inner->took_more;
	outer->taken_due = Min(outer->taken_due, inner->taken_due);
	for (EndedNote *note = inner->ended, *next; note != NULL; note = next)
	{
		next = note->next;
		note->next = outer->ended;
		outer->ended = note;
	}
	for (QueueNote *note = inner->queues, *next; note != NULL; note = next)
	{
		next = note->next;
		note->next = outer->queues;
		outer->queues = note;
	}
	outer->due = Min(outer->due, inner->due);
	for (int state = 0; state < BGJOB_NSTATES; state++)
		outer->counts[state] += inner->counts[state];
	outer->counted |= inner->counted;
	outer->recount |= inner->recount;
	outer->filters |= inner->filters;
	if (inner->notices != 0)
		outer->notice_database = inner->notice_database;
	outer->notices |= inner->notices;
	if (inner->wanted != InvalidOid)
		outer->wanted = inner->wanted;
	if (inner->lanes != NULL)
		hash_destroy(inner->lanes);
	pfree(inner);
}

static void
at_subxact_event(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg)
{
	Notes *ended;

	if (notes == NULL || notes->subid != my)
		return;
	ended = notes;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		notes = ended->parent;
		tell_of_given_back(ended);
		free_notes(ended);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (ended->parent != NULL && ended->parent->subid == parent)
		{
			notes = ended->parent;
			merge_into_parent(ended, notes);
		}
		else
			ended->subid = parent;
	}
}
