/*-------------------------------------------------------------------------
 *
 * change.c
 *	  What the running transaction has changed, told to others when it commits.
 *
 * Any backend or worker that writes bgjob's tables notes here what it did. Other processes are
 * told after the commit only, and never of a savepoint that was rolled back: notes are kept per
 * subtransaction. One thing happens earlier: when the commit begins, an idle worker is
 * pre-woken. Jobs that a rollback puts back into their queues are announced when it happens.
 *
 * The callback runs after the rows are visible to others, so a process that is
 * woken finds them; where the transaction gives back places at gates, after its locks were
 * released. It must not throw; it takes short locks and sets latches.
 *
 * JOBS AND ATTEMPTS THAT ARE OVER are settled once for a transaction, all of them together, when
 * its commit or PREPARE begins and before anything else is done about it (bgjob_change_settle,
 * which store/settle.c sets); what settling ends is settled, too. A savepoint that is rolled back
 * takes its notes along; a group of jobs pays once, as it is one transaction. After the commit the
 * attempts are counted for functions (base/functionstats.c) and queues (base/queuestats.c).
 *
 * HOLES, on purpose: PREPARE TRANSACTION drops the notes, since any session may
 * commit at any time, and leaves a mark instead (base/prepared.c), and what counts
 * need (base/preparedmoves.c). The session that ends a marked transaction has the whole
 * queue scanned anew. Where the library is not preloaded only what is to be settled is noted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/afterlocks.h"
#include "base/change.h"
#include "base/committing.h"
#include "base/database.h"
#include "base/lanenotes.h"
#include "base/lanes.h"
#include "base/leasenotes.h"
#include "base/prepared.h"
#include "base/preparedmoves.h"
#include "base/queuenotes.h"
#include "base/registry.h"
#include "base/servernotes.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/*
 * The notes of one subtransaction, innermost first. All in
 * TopTransactionContext, and freed with the subtransaction: one transaction may
 * have millions of them.
 */
typedef struct Notes
{
	struct Notes *parent;
	SubTransactionId subid;
	BgjobLaneNotes lanes;
	TimestampTz taken_due; /* the first that was taken out of the schedule; DT_NOEND: none */
	BgjobOver *over;       /* still to be settled */
	BgjobOver *settled;    /* in order; still to be counted, and their waiters to be woken */
	BgjobQueueNote *queues;
	BgjobServerNote *servers;
	TimestampTz due; /* DT_NOEND: none */
	BgjobWaitNote *waits;
	int64 counts[BGJOB_NSTATES];
	BgjobTallyNotes tallies;
	BgjobDependantNotes dependants;
	BgjobGateNotes gates;
	bool counted;
	bool recount;
	bool cached[BGJOB_NCACHED]; /* has been changed */
	Oid notice_database;
	uint32 notices;
	Oid wanted;
} Notes;

static Notes *notes = NULL;

BgjobSettle bgjob_change_settle = NULL;

static bool settling = false;

static void at_xact_event(XactEvent event, void *arg);
static void
at_subxact_event(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg);

/* The notes of the running subtransaction. */
static Notes *
own_notes(void)
{
	static bool registered = false;
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (!registered)
	{
		RegisterXactCallback(at_xact_event, NULL);
		bgjob_after_locks_init();
		RegisterSubXactCallback(at_subxact_event, NULL);
		if (bgjob_registry != NULL)
			bgjob_lane_groups_prepare();
		registered = true;
	}
	if (notes == NULL)
		bgjob_tally_refs_trim();
	if (notes == NULL || notes->subid != subid)
	{
		Notes *inner = MemoryContextAllocZero(TopTransactionContext, sizeof(Notes));

		inner->parent = notes;
		inner->subid = subid;
		inner->due = inner->taken_due = DT_NOEND;
		inner->gates.outer = notes != NULL ? &notes->gates : NULL;
		notes = inner;
	}
	return notes;
}

/* The same; NULL where there is no process to tell. */
static Notes *
current_notes(void)
{
	return bgjob_registry == NULL ? NULL : own_notes();
}

/* bgjob_change_begin prepares to note something where nothing may throw. */
void
bgjob_change_begin(void)
{
	(void) own_notes();
}

/* bgjob_change_ready notes that rows of a lane were inserted into bgjob_internal.queue, the lowest of them "first". */
void
bgjob_change_ready(const BgjobLaneKey *lane, const BgjobLaneItem *first, int64 count)
{
	Notes *to = current_notes();

	if (to != NULL)
		bgjob_lane_notes_ready(&to->lanes, lane, first, count);
}

/* bgjob_change_due notes that a row of bgjob_internal.schedule was inserted. */
void
bgjob_change_due(TimestampTz at)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->due = Min(to->due, at);
}

/* bgjob_change_waits notes that a job was inserted which waits for others until "at". */
void
bgjob_change_waits(const BgjobChunkKey *key, TimestampTz at)
{
	Notes *to = current_notes();

	if (to != NULL)
		bgjob_wait_notes_add(&to->waits, key, at, 1);
}

/* Notes that a job is counted (by: 1), or no longer (-1), in a state; retries count by themselves. */
static void
count_one(Notes *to, const BgjobCounted *job, int by)
{
	BgjobTallied kind = bgjob_tallied(job->state);

	if (job->state != BGJOB_NONE)
		to->counts[job->state] += by;
	if (job->retry)
		to->counts[BGJOB_NONE] += by;
	if (kind != BGJOB_TALLIED_NOT)
		bgjob_tally_note(&to->tallies, job->role, job->queue, kind, by);
}

/* bgjob_change_count notes that a job went from one state to another, maybe in another queue. */
void
bgjob_change_count(const BgjobCounted *from, const BgjobCounted *to)
{
	Notes *current = current_notes();

	if (current == NULL)
		return;
	count_one(current, from, -1);
	count_one(current, to, 1);
	current->counted = true;
}

/* bgjob_change_add_own adds what the running transaction has moved by now to the counts of states. */
void
bgjob_change_add_own(int64 *counts)
{
	for (const Notes *note = notes; note != NULL; note = note->parent)
		for (int state = 0; state < BGJOB_NSTATES; state++)
			counts[state] += note->counts[state];
}

/* bgjob_change_visit_own calls a function for the same, by role and queue. */
void
bgjob_change_visit_own(BgjobTallyVisit visit, void *arg)
{
	for (const Notes *note = notes; note != NULL; note = note->parent)
		bgjob_tally_notes_visit(&note->tallies, visit, arg);
}

/* bgjob_change_recount notes that jobs were added or removed without being counted. */
void
bgjob_change_recount(void)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->recount = true;
}

/*
 * bgjob_change_cached notes that what processes cache has changed. The server tells
 * other processes a while after the commit can be seen, and a worker may be at a job
 * of the same commit before that. So from before that moment until after it
 * shared memory says that a change is under way, then that there was one.
 */
void
bgjob_change_cached(BgjobCached what)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->cached[what] = true;
}

/* bgjob_change_flow notes that something has happened to a job, for the statistics of its queue. */
void
bgjob_change_flow(Oid role, const char *queue, BgjobFlow flow)
{
	Notes *to = current_notes();

	if (to != NULL)
	{
		bgjob_tally_note_flow(&to->tallies, role, queue, flow);
		to->counted = true;
	}
}

/*
 * bgjob_change_over notes that a job has ended in a final state, or that an attempt is over and the
 * job goes on. Of one that is requeued in the same transaction the note stays. "over" tells all
 * but the attempt; "attempt" is how it ended (both are copied); NULL: it was not running.
 */
void
bgjob_change_over(const BgjobOver *over, Oid role, const char *queue,
				  const BgjobAttempt *attempt)
{
	Notes *to = own_notes();

	to->over = bgjob_over_add(to->over, over, attempt);
	if (attempt != NULL)
		to->over->queue = bgjob_tally_ref(role, queue);
}

/*
 * bgjob_change_queue notes that a queue has been configured, or (a group size
 * of 0) is no longer; conf->version tells the order of changes.
 */
void
bgjob_change_queue(const char *queue, const BgjobQueueConf *conf)
{
	Notes *to = current_notes();

	if (to == NULL)
		return;
	to->queues = bgjob_queue_note(to->queues, queue, conf);
	bgjob_change_notice(MyDatabaseId,
						BGJOB_NOTICE_RESCAN | BGJOB_NOTICE_QUEUES | BGJOB_NOTICE_GATES);
}

/* bgjob_change_server notes that a server has been configured, or (conf: NULL) removed; "version" tells the order of changes. */
void
bgjob_change_server(const char *name, int64 version, const BgjobServerConf *conf)
{
	Notes *to = current_notes();

	if (to == NULL)
		return;
	to->servers = bgjob_server_note_add(to->servers, name, version, conf);
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RESCAN);
}

/* bgjob_change_notice adds a notice for the scheduler of a database. */
void
bgjob_change_notice(Oid database, uint32 scheduler_notices)
{
	Notes *to = current_notes();

	if (to == NULL)
		return;
	to->notice_database = database;
	to->notices |= scheduler_notices;
}

/* bgjob_change_took notes that a job was taken out of its lane, which a rollback undoes. */
void
bgjob_change_took(const BgjobLaneKey *lane, int64 pos, int64 job)
{
	Notes *to = current_notes();
	BgjobLaneItem item = {.pos = pos, .job = job};

	if (to != NULL)
		bgjob_lane_notes_taken(&to->lanes, lane, &item);
}

/* bgjob_change_took_scheduled notes that a job was taken out of the schedule. */
void
bgjob_change_took_scheduled(TimestampTz at)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->taken_due = Min(to->taken_due, at);
}

/* bgjob_change_is_settling returns whether the running transaction is about to commit, and settles what is over. */
bool
bgjob_change_is_settling(void)
{
	return settling;
}

/* bgjob_change_want notes that a database has got the extension. */
void
bgjob_change_want(Oid database)
{
	Notes *to = current_notes();

	if (to != NULL)
		to->wanted = database;
}

/* bgjob_change_dependants returns the notes of who awaits whom; NULL where there is no process to tell. */
BgjobDependantNotes *
bgjob_change_dependants(void)
{
	Notes *to = current_notes();

	return to == NULL ? NULL : &to->dependants;
}

/* bgjob_change_gates returns what the running subtransaction has done at gates; NULL where there is no process to tell. */
BgjobGateNotes *
bgjob_change_gates(void)
{
	Notes *to = current_notes();

	return to == NULL ? NULL : &to->gates;
}

/* bgjob_change_gates_first returns the same if something has been noted; the notes of outer ones are linked to it. */
BgjobGateNotes *
bgjob_change_gates_first(void)
{
	return notes == NULL ? NULL : &notes->gates;
}

static void
tell(const Notes *committed)
{
	BgjobDatabase *entry;

	if (committed->wanted != InvalidOid) /* without room, the launcher keeps it in mind */
		bgjob_notify_launcher(bgjob_database_want(committed->wanted) == NULL);
	entry = bgjob_database_find(MyDatabaseId);
	if (entry != NULL && committed->counted)
	{
		for (int state = 0; state < BGJOB_NSTATES; state++)
			if (committed->counts[state] != 0)
				pg_atomic_fetch_add_u64(&entry->moves[state], committed->counts[state]);
		bgjob_tally_notes_commit(&committed->tallies);
		pg_atomic_fetch_add_u64(&entry->movers, 1); /* after them */
	}
	if (committed->recount)
	{
		bgjob_database_recount(MyDatabaseId);
		bgjob_notify_scheduler(MyDatabaseId, 0);
	}
	bgjob_queue_notes_commit(committed->queues);
	bgjob_server_notes_commit(committed->servers);
	bgjob_gate_notes_commit(&committed->gates);
	bgjob_gates_committed(); /* before what follows is announced */
	bgjob_lane_notes_commit(&committed->lanes);
	bgjob_dependant_notes_commit(&committed->dependants);
	if (committed->due != DT_NOEND)
		bgjob_announce_due(committed->due);
	bgjob_wait_notes_commit(committed->waits);
	bgjob_over_tell(committed->settled, &committed->tallies);
	if (committed->notices != 0)
		bgjob_notify_scheduler(committed->notice_database, committed->notices);
}

/* Announces jobs that an aborted (sub)transaction had taken out of their queues: workers may have scanned past them. Does not throw. */
static void
tell_of_given_back(const Notes *aborted)
{
	bgjob_lane_notes_abort(&aborted->lanes);
	bgjob_gate_notes_abort(&aborted->gates);
	bgjob_dependant_notes_abort(&aborted->dependants);
	if (aborted->taken_due != DT_NOEND)
		bgjob_announce_due(aborted->taken_due);
}

/* The transaction is about to commit: pre-wakes workers. */
static void
prewake(void)
{
	for (Notes *note = notes; note != NULL; note = note->parent)
		bgjob_lane_notes_prewake(&note->lanes);
}

/* The transaction is about to commit: shows what others must not miss. */
static void
begin_commit(void)
{
	for (Notes *note = notes; note != NULL; note = note->parent)
	{
		for (int i = 0; i < BGJOB_NCACHED; i++)
			if (note->cached[i])
				bgjob_committing_cached((BgjobCached) i);
		if (note->counted)
			bgjob_committing_moves();
		bgjob_dependant_notes_show(&note->dependants);
	}
}

/* Settles what is over, and what settling adds. All subtransactions have ended. */
static void
settle(void)
{
	settling = true;
	while (notes != NULL && (notes->over != NULL || notes->dependants.nbatches > 0 ||
							 notes->dependants.ncycles > 0))
	{
		BgjobOver *over = notes->over;

		notes->over = NULL;
		bgjob_change_settle(over);
		notes->settled = bgjob_over_concat(over, notes->settled);
	}
	settling = false;
}

/* Announces the notes of a transaction that has ended, and drops them. */
static void
end_notes(void (*tell_others)(const Notes *))
{
	Notes *ended = notes;

	notes = NULL;
	for (; bgjob_registry != NULL && ended != NULL; ended = ended->parent)
		tell_others(ended);
}

/* Marks the transaction, which is being prepared. */
static void
prepare(void)
{
	if (notes == NULL || bgjob_registry == NULL)
		return;
	bgjob_prepared_mark();
	for (Notes *note = notes; note != NULL; note = note->parent)
	{
		bgjob_dependant_notes_show(&note->dependants);
		bgjob_gate_notes_prepare(&note->gates);
	}
	bgjob_prepared_moves_begin(GetTopTransactionIdIfAny());
	for (const Notes *note = notes; note != NULL; note = note->parent)
		bgjob_prepared_moves_add(note->counts, note->recount);
	bgjob_change_visit_own(bgjob_prepared_moves_add_tally, NULL);
}

/* The rows are visible: tells others. */
static void
tell_of_commit(void)
{
	bgjob_lease_notes_commit(); /* before anything is announced */
	end_notes(tell);
	bgjob_gates_committed();
	bgjob_committed_moves();
}

static void
at_xact_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			settle();
			bgjob_lease_notes_begin_commit();
			begin_commit();
			prewake();
			break;
		case XACT_EVENT_COMMIT:
			bgjob_committed_cached();
			if (bgjob_gates_are_ending() ||
				bgjob_lease_notes_has_gates()) /* the next job must find no lock of this one */
				bgjob_after_locks(tell_of_commit);
			else
				tell_of_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			bgjob_lease_notes_check_prepare();
			settle();
			prepare();
			break;
		case XACT_EVENT_PREPARE:
			bgjob_prepared_moves_keep();
			bgjob_lease_notes_prepared();
			notes = NULL;
			break;
		case XACT_EVENT_ABORT:
			settling = false;
			bgjob_gates_aborted();
			bgjob_committed_cached();
			bgjob_committed_moves();
			bgjob_lease_notes_abort(); /* before the jobs are announced */
			end_notes(tell_of_given_back);
			break;
		default:
			break;
	}
}

/* Frees the notes of a subtransaction that has been rolled back. */
static void
free_notes(Notes *aborted)
{
	bgjob_lane_notes_free(&aborted->lanes);
	bgjob_tally_notes_free(&aborted->tallies);
	bgjob_dependant_notes_free(&aborted->dependants);
	bgjob_gate_notes_free(&aborted->gates);
	bgjob_over_free(aborted->over);
	bgjob_queue_notes_free(aborted->queues);
	bgjob_wait_notes_free(aborted->waits);
	bgjob_server_notes_free(aborted->servers);
	pfree(aborted);
}

/* Adds the notes of a committed subtransaction to those of its parent, and frees what is left of them. */
static void
merge_into_parent(Notes *inner, Notes *outer)
{
	bgjob_lane_notes_merge(&inner->lanes, &outer->lanes);
	outer->taken_due = Min(outer->taken_due, inner->taken_due);
	outer->over = bgjob_over_concat(inner->over, outer->over);
	outer->queues = bgjob_queue_notes_concat(inner->queues, outer->queues);
	outer->servers = bgjob_server_notes_concat(inner->servers, outer->servers);
	outer->due = Min(outer->due, inner->due);
	bgjob_wait_notes_merge(inner->waits, &outer->waits);
	for (int state = 0; state < BGJOB_NSTATES; state++)
		outer->counts[state] += inner->counts[state];
	bgjob_tally_notes_merge(&inner->tallies, &outer->tallies);
	bgjob_tally_notes_free(&inner->tallies);
	bgjob_dependant_notes_merge(&inner->dependants, &outer->dependants);
	bgjob_gate_notes_merge(&inner->gates, &outer->gates);
	outer->counted |= inner->counted;
	outer->recount |= inner->recount;
	for (int i = 0; i < BGJOB_NCACHED; i++)
		outer->cached[i] |= inner->cached[i];
	if (inner->notices != 0)
		outer->notice_database = inner->notice_database;
	outer->notices |= inner->notices;
	if (inner->wanted != InvalidOid)
		outer->wanted = inner->wanted;
	pfree(inner);
}

static void
at_subxact_event(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg)
{
	Notes *ended;

	bgjob_lease_notes_end_sub(event, my, parent); /* before jobs are announced */
	if (notes == NULL || notes->subid != my)
		return;
	ended = notes;
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		notes = ended->parent;
		if (bgjob_registry != NULL)
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
