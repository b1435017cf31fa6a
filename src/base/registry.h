/*-------------------------------------------------------------------------
 *
 * registry.h
 *	  bgjob's processes and databases, in shared memory.
 *
 * The registry has a slot for every scheduler and worker, and an entry for
 * every database that has, or may have, the extension. It is empty after
 * each start of the server and after each crash; all that must survive is
 * in tables (store/) or in the in-flight file (base/inflight.h).
 *
 * LOCKING PROTOCOL
 *
 * registry->lock (LWLock) is taken exclusively to hand out or free a slot or
 * a database entry, and to block a database; shared to read several of them where
 * the answer must be consistent. It is held for microseconds only: no process
 * sleeps, allocates or reads tables under it.
 *
 * LIFE OF A SLOT. Its creator hands it out as STARTING and starts a process
 * for it. From STARTING there are two ways, both under registry->lock held
 * exclusively, so one excludes the other: the process attaches (ATTACHED), or
 * the creator gives it up (LEFT), and the process finds that when it starts and
 * leaves. From ATTACHED only the process itself goes on to LEFT, as the last thing
 * that it does with the slot. The creator frees the slot only when it reads LEFT,
 * and that is one field, read once: a process that is just starting cannot be taken
 * for one that has left.
 *
 * slot->mutex (spinlock) protects the fields below "under mutex": the job
 * that a worker is at and what others ask of it. The worker alone writes
 * "job" and "phase"; others write "request". A request is accepted only if,
 * under one hold of the mutex, the slot is at that very job and is performing
 * it; the worker leaves that phase only while no request is there, or takes
 * the request along in the same hold. So an accepted request is always
 * honoured, and never hits another job.
 *
 * ENDING A JOB THAT WILL NOT END. A request, or the job's own time limit,
 * cancels the running job, as pg_cancel_backend does; a job may trap that. The
 * slot notes since when ("overdue_since"), and the scheduler, which is woken
 * for it, ends a worker that has not come to an end BGJOB_FORCE_AFTER later by
 * force ("die", then SIGTERM), which nothing can trap. What had been asked for
 * is then done by the scheduler (process/recovery.c).
 *
 * ASKING FOR ONE WORKER BACK. An idle worker is asked to leave ("retire") while it is
 * idle (base/idle.c); so it takes no job before it leaves. Which busy worker ends
 * its job first is not known. The scheduler writes a role
 * and a number into "leavers" of a server and sets "asked" in the slots of
 * that role and server; a worker that is between two jobs and finds "asked" lowers the
 * number by one (compare and swap) and leaves. It sets "retire" before the swap
 * and takes it back if that fails; the scheduler reads "leavers" before it
 * counts the workers and replaces it by a swap, too. So one request makes one
 * worker leave. Only the scheduler raises the number.
 *
 * Latches may be set without any lock, and from signal handlers: at worst, a process
 * that has left, or the new owner of a slot, is woken without need.
 *
 * Order: those of lane groups, registry lock, that of tallies, lane mutex, group lock, slot mutex. Only the
 * last is a spinlock: nothing is called and no other lock taken under it
 * (test/gates/spinlocks.pl).
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_REGISTRY_H
#define BGJOB_BASE_REGISTRY_H

#include "postgres.h"

#include "base/gate.h"
#include "base/servers.h"
#include "base/totals.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "tcop/cmdtag.h"

#include "rules/state.h"

/* So many databases can be served, in turn. */
#define BGJOB_DATABASES 1024

typedef enum BgjobProcessKind
{
	BGJOB_SCHEDULER,
	BGJOB_WORKER,
	BGJOB_CENSUS /* counts the jobs of a large database */
} BgjobProcessKind;

/* What another process may ask of a worker about its current job. */
typedef enum BgjobRequest
{
	BGJOB_REQUEST_NONE,
	BGJOB_REQUEST_DELETE,
	BGJOB_REQUEST_REQUEUE,
	BGJOB_REQUEST_RESCHEDULE,
	BGJOB_REQUEST_INTERRUPT /* time is up: give the job back and leave */
} BgjobRequest;

/* Who asks, and why, for the history of the job: a text, cut to its room; empty: that is not recorded. */
typedef struct BgjobRequestAuthor
{
	char text[256];
} BgjobRequestAuthor;

/* Why a job is interrupted. */
typedef enum BgjobInterruption
{
	BGJOB_BY_SHUTDOWN,    /* of the server, or of the scheduler alone */
	BGJOB_BY_TERMINATION, /* of its worker */
	BGJOB_BY_COMMAND,     /* which needs the database to itself */
	BGJOB_BY_SETTINGS,    /* jobs no longer run in the database */
	BGJOB_BY_NEED         /* of a role or a database that has no worker */
} BgjobInterruption;

typedef enum BgjobRequestResult
{
	BGJOB_REQUEST_NOT_RUNNING, /* no worker runs that job */
	BGJOB_REQUEST_NOT_NOW,     /* one is, but cannot take requests: try again */
	BGJOB_REQUEST_ACCEPTED
} BgjobRequestResult;

/* Where a worker is with the job that its slot names. */
typedef enum BgjobPhase
{
	BGJOB_PHASE_CLAIMING,   /* need not get it, nor need it be there any more */
	BGJOB_PHASE_PERFORMING, /* answers for it, and takes requests */
	BGJOB_PHASE_FINISHING   /* records what became of it */
} BgjobPhase;

/* Milliseconds that a job has to end after it was canceled; then its worker is ended. */
#define BGJOB_FORCE_AFTER 3000

/*
 * The jobs that a worker has taken to perform in one transaction, by their
 * positions in the queue. All of them are in flight. Those from "next" on have
 * not been begun; the scheduler may take them back, by lowering "n".
 */
typedef struct BgjobGroupItems
{
	LWLock lock; /* of all that follows, and of the slot's group_slow */
	Oid role;
	int priority;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	int n;
	int next;
	int64 pos[BGJOB_GROUP_MAX]; /* in the order in which they are begun */
	int64 job[BGJOB_GROUP_MAX]; /* at these positions */
} BgjobGroupItems;

/* What is left of a group. */
typedef struct BgjobGroupRest
{
	Oid role;
	int priority;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	int64 pos; /* the lowest position */
	int count;
} BgjobGroupRest;

/* The stage of the process of a slot; it only goes forward, until the slot is given to another process. */
typedef enum BgjobStage
{
	BGJOB_STAGE_STARTING, /* has not attached */
	BGJOB_STAGE_ATTACHED, /* the slot is the process's own */
	BGJOB_STAGE_LEFT      /* the slot is its creator's again */
} BgjobStage;

typedef struct BgjobSlot
{
	/* under registry->lock */
	bool in_use;
	BgjobProcessKind kind;
	uint64 generation; /* grows with every new owner */
	Oid database;
	Oid role;
	uint32 server;                            /* a worker's: see base/servers.h */
	char server_name[BGJOB_SERVER_NAME_SIZE]; /* likewise */
	BgjobServerState *server_state;           /* likewise; NULL: none */
	int64 created_at;                         /* by the steady clock */

	BgjobStage stage; /* see LIFE OF A SLOT */

	/* written by the owner when it attaches, pid by its exit too */
	pid_t pid;      /* 0: not yet, or no longer, attached */
	pid_t last_pid; /* the same, kept when the process has left */
	Latch *latch;
	TimestampTz started_at;

	/* single stores, read without a lock */
	bool ready;  /* connected, serves */
	bool retire; /* to leave after its current job */
	bool asked;  /* one of its role and server is to leave: see BgjobServerState.leavers */
	bool lent;   /* holds a slot of the reserve (base/slots.c); short jobs may use it */
	bool term;   /* has received SIGTERM */
	bool die;    /* SIGTERM ends it at once */

	/* single stores, by the creator and then by the worker; read without a lock */
	uint32 failure; /* SQLSTATE that claims fail with, first that of the worker before */
	bool failing;   /* it leaves for that */

	/* single stores, by the worker: the gates at which it holds a place; read without a lock */
	int ngates;
	int64 gates[BGJOB_GATES_MAX];

	/* single stores, by the worker; read when it has left */
	CommandTag command; /* the kind of the command that it runs, if that is known */

	/* under the lock of the list of the lane group; "idle" is read without it */
	struct BgjobLaneGroup *lanes; /* a worker's, while it serves; by itself */
	bool idle;                    /* it waits for work, and is in that list */
	struct BgjobSlot *idle_before;
	struct BgjobSlot *idle_after;

	slock_t mutex;
	/* under mutex */
	int64 job; /* 0: none */
	int64 pos; /* its position in the queue */
	BgjobPhase phase;
	BgjobRequest request;
	BgjobInterruption interruption; /* of BGJOB_REQUEST_INTERRUPT: why */
	TimestampTz request_run_at;     /* of BGJOB_REQUEST_RESCHEDULE */
	BgjobRequestAuthor request_author;
	int64 successor; /* of BGJOB_REQUEST_DELETE: the job that supersedes this one; 0: none */
	TimestampTz job_started_at;
	int64 jobs_done;

	/* under group->lock */
	BgjobGroupItems *group;   /* n is 0 but for groups */
	volatile bool group_slow; /* it takes too long: others are to take back the rest */

	/* written under group->lock and mutex, both; read under either, or without for a first look */
	int chunk; /* so many of the group are, or will be, performed in one call; 0: none */

	/* single stores, by the worker's timer or under mutex; read without a lock */
	int64
		overdue_since; /* since when the job ought to end, by the steady clock; 0: it need not */
	bool timed_out;    /* because its own time limit has passed */
} BgjobSlot;

typedef enum BgjobDatabaseStatus
{
	BGJOB_DATABASE_WANTED,  /* a scheduler is to be started */
	BGJOB_DATABASE_STARTED, /* one has been started; "ready" once it serves */
	BGJOB_DATABASE_RESTING, /* its scheduler has left for others': until called, or next_due */
	BGJOB_DATABASE_ABSENT   /* looked: no extension there, to be forgotten */
} BgjobDatabaseStatus;

/* Notices for a scheduler; bits of BgjobDatabase.notices. */
#define BGJOB_NOTICE_RESCAN    0x01  /* scan for jobs that were not announced */
#define BGJOB_NOTICE_EXTENSION 0x02  /* see whether the extension is still there */
#define BGJOB_NOTICE_REAP      0x04  /* a worker has left: recover its job */
#define BGJOB_NOTICE_QUEUES    0x10  /* the configuration of queues has changed */
#define BGJOB_NOTICE_RECURRING 0x20  /* a recurring job was changed */
#define BGJOB_NOTICE_ENDED     0x40  /* a job of a recurring one has ended */
#define BGJOB_NOTICE_RESTORED  0x80  /* SQL has inserted jobs, or they have been adopted */
#define BGJOB_NOTICE_FUNCTIONS 0x100 /* a retention has been configured of a function */
#define BGJOB_NOTICE_REVIEW    0x200 /* something may be released (base/reviews.h) */
#define BGJOB_NOTICE_GATES                                                                     \
	0x400 /* a limit, a weight or the max_running of a queue has changed */
#define BGJOB_NOTICE_LEASES 0x800 /* a lease may have been ended by a prepared transaction */
#define BGJOB_NOTICE_WAKE   0x08  /* do not sleep before one more round; always set */

typedef struct BgjobDatabase
{
	/* under registry->lock */
	bool in_use;
	Oid database;
	BgjobDatabaseStatus status;
	int scheduler;       /* slot, -1: none */
	pid_t blocked_by;    /* a backend that needs the database to itself, 0: none */
	int failures;        /* of its scheduler, one after the other */
	uint32 failure;      /* a hash of the error that its last scheduler ended with, 0: none */
	bool failed;         /* its scheduler has just ended with that error */
	int64 retry_at;      /* no scheduler before, after a failure; by the steady clock */
	bool ready;          /* its scheduler serves */
	bool announced;      /* it was logged that the database is served */
	int64 waiting_since; /* likewise: it wants a scheduler and there is no room */
	int64 rest_until;    /* likewise: while its status is BGJOB_DATABASE_RESTING */
	TimestampTz serving_since; /* later occurrences are not missed, also while it rests */
	TimestampTz clock_at;      /* the clock, when its scheduler read it last; the scheduler's */
	int64 steady_at;           /* the steady clock at that moment; 0: never */
	int64 set_back;            /* by how much the clock has gone back; 0: unknown, or not */
	bool set_right;            /* times computed while the clock was ahead must be corrected */
	uint32 wants;              /* grows when the database gets the extension */

	pg_atomic_uint64 claim_failure; /* a role, and the SQLSTATE that its claims fail with */
	pg_atomic_uint32 hungry; /* it wants a slot: one more than its workers; 0: it does not */
	BgjobServerState server; /* of server "default" */

	pg_atomic_uint32 notices;
	pg_atomic_uint64 next_due; /* when the next scheduled job is due, at the latest */
	pg_atomic_uint64
		low_due; /* the earliest time announced since the scheduler has last read it */
	pg_atomic_uint64
		low_lease; /* when a lease is to be looked at first, by the steady clock; PG_INT64_MAX: there is none */
	pg_atomic_uint32
		leases_known; /* the leases of the database are in memory (store/lease.c) */

	bool edges_counted;     /* by who inserts them (base/dependants.h) */
	bool edges_known;       /* those that were there before, too */
	pg_atomic_uint64 edges; /* their number, at least */

	int64 held_back; /* the scheduler's: number of jobs held back, as last logged */

	/* The settings of the database: see process/renewal.c. */
	int workers;         /* bgjob.workers, as its scheduler has it; -1: none serves */
	uint64 own_settings; /* the scheduler's: hash of what ALTER DATABASE … SET has set */
	pg_atomic_uint32 renewals; /* grows when that changes: earlier workers leave */

	/* The removal of settings that no job uses: see store/unused.c. */
	pg_atomic_uint64 settings_floor; /* a pass may remove rows below it; 0: there is none */
	int64 settings_seen;             /* the scheduler's: rows up to this one are old */
	TimestampTz settings_checked;    /* likewise: since then */

	/*
	 * How many jobs are in each state, the retries among the scheduled ones in
	 * [0]: base + moves, where the base has been counted since the last doubt.
	 * See store/count.c.
	 */
	pg_atomic_uint64 moves[BGJOB_NSTATES]; /* by the transactions committed since a start */
	pg_atomic_uint64 movers;               /* how many of these there were */
	pg_atomic_uint32 doubts;               /* grows when the base may have become wrong */
	int64 base[BGJOB_NSTATES];             /* under registry->lock */
	/* under registry->lock and the lock of tallies (base/tally.c), both; read under either of them */
	uint64 counted;    /* doubts + 1 at the counting; 0: never */
	bool tallies_lost; /* some role has no tallies, for lack of room */

	BgjobTotals totals; /* see base/totals.c */

	/* Something may have been counted in a queue that is not in the history: see base/queuestats.c. */
	pg_atomic_uint32 stats_pending;

	/* Of the marks of sequences: see base/sequencemark.c. */
	pg_atomic_uint64 sequence_epoch;

	/* Prepared transactions that end without a command: see process/unannounced.c. */
	bool strangers;           /* there may be some whose moves are not known */
	pg_atomic_uint32 unnamed; /* so many have been prepared without a command */
} BgjobDatabase;

/* What every process caches of the configuration, and must not miss a change of (base/committing.h). */
typedef enum BgjobCached
{
	BGJOB_CACHED_FILTERS,
	BGJOB_CACHED_LIMITS,
	BGJOB_CACHED_WEIGHTS
} BgjobCached;

#define BGJOB_NCACHED (BGJOB_CACHED_WEIGHTS + 1)

typedef struct BgjobRegistry
{
	LWLock lock;
	int group_tranche;
	uint64 next_generation;
	Latch *launcher;                    /* NULL: none is there */
	bool rediscover;                    /* the launcher is to read pg_database again */
	bool called;                        /* it must run one more round before it sleeps */
	pg_atomic_uint32 schedulers_wanted; /* number of databases that wait for a scheduler */
	pg_atomic_uint32 slot_wanted;       /* and there is no slot for one */
	/* how often what processes cache has changed in any database, and transactions about to commit a change */
	pg_atomic_uint32 cached_changes[BGJOB_NCACHED];
	pg_atomic_uint32 cached_changers[BGJOB_NCACHED];
	pg_atomic_uint32 settings_passes; /* grows with each settings_floor that is set */
	int nslots;
	int ndatabases;
	int databases_used; /* all behind these have never been in use */
	BgjobDatabase *databases;
	/* for each process of the server the transaction whose moves it has still to add, else invalid */
	TransactionId *movers;
	/* while a process looks for a moment at which nothing moves (store/count.c) */
	pg_atomic_uint32 gated;
	LWLock gate;
	BgjobSlot slots[FLEXIBLE_ARRAY_MEMBER];
} BgjobRegistry;

/* NULL where the library is not in shared_preload_libraries. */
extern BgjobRegistry *bgjob_registry;

extern Size bgjob_registry_size(void);
extern void bgjob_registry_startup(void);

#endif /* BGJOB_BASE_REGISTRY_H */
