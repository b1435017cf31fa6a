/*-------------------------------------------------------------------------
 *
 * bgjob.h
 *	  Hooks of bgjob, for extensions written in C.
 *
 * Installed as extension/bgjob/bgjob.h beside the server's headers, which is
 * where "make" with PGXS finds it:
 *
 *	 #include "extension/bgjob/bgjob.h"
 *
 *	 static BgjobHook next_performing;
 *
 *	 static Jsonb *
 *	 my_performing(const BgjobHookJob *job)
 *	 {
 *		 return next_performing != NULL ? next_performing(job) : NULL;
 *	 }
 *
 *	 void
 *	 _PG_init(void)
 *	 {
 *		 BgjobHooks *hooks = bgjob_hooks();
 *
 *		 next_performing = hooks->performing;
 *		 hooks->performing = my_performing;
 *	 }
 *
 * It does not matter which library is loaded first. A hook is called in every
 * process that has loaded its library: name it in shared_preload_libraries to
 * have it called in sessions, in workers and in the scheduler.
 *
 * A hook may do what a filter in SQL may (doc/manual.md, bgjob_filter), and
 * answers as one does: NULL, or a jsonb object. It is called before the SQL
 * filters of the same event, in the same transaction, and an error has the same
 * consequences. It is called as the current user, which in a session
 * is the role that enqueues or changes the job, in a worker the job's role, and in
 * the scheduler the bootstrap superuser: never run code of others there. Neither
 * hooks nor filters are called for what a hook enqueues or changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_H
#define BGJOB_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

/* Grows when something is added, which is only ever done at the ends of the structures. */
#define BGJOB_HOOKS_VERSION 2

/* The job that a hook is called for. Texts and values live as long as the call; absent ones are NULL. */
typedef struct BgjobHookJob
{
	const char *event; /* the name of the event */
	int64 id;          /* creating: 0 */
	const char *job;   /* as the caller named it; the command */
	const char *func;  /* schema.name(types); kind "function" only */
	const char *kind;  /* "function", "sql" or "external" */
	const Jsonb *args; /* NULL: none */
	const char *queue;
	int priority;
	const char *state;  /* its present or next state; unapplied: the state it leaves */
	const char *from;   /* electing, applied: the state before; NULL: it is new */
	const char *to;     /* unapplied: the state after */
	const char *reason; /* electing, applied: why */
	Oid run_as;
	int max_retries;
	int retries;
	bool has_run_at;
	TimestampTz run_at;      /* when it is to run */
	const ArrayType *tags;   /* text[] */
	const Jsonb *parameters; /* {"name": value} */
	const Jsonb *result;     /* performed: of a success */
	const Jsonb *error;      /* performed: of a failure; electing: likewise */
	const Jsonb
		*options; /* since version 2: further options that the job has, {"name": value} */
} BgjobHookJob;

/* What a hook is. Its answer is read, not kept. */
typedef Jsonb *(*BgjobHook)(const BgjobHookJob *job);

typedef struct BgjobHooks
{
	int version; /* of the library that made the structure: members added later are absent */
	BgjobHook creating;
	BgjobHook created;
	BgjobHook performing;
	BgjobHook performed;
	BgjobHook electing;
	BgjobHook applied;
	BgjobHook unapplied;
} BgjobHooks;

/* bgjob_hooks returns the one structure of this process; the first caller creates it. */
static inline BgjobHooks *
bgjob_hooks(void)
{
	void **found = find_rendezvous_variable("bgjob_hooks");

	if (*found == NULL)
	{
		BgjobHooks *hooks = MemoryContextAllocZero(TopMemoryContext, sizeof(BgjobHooks));

		hooks->version = BGJOB_HOOKS_VERSION;
		*found = hooks;
	}
	return (BgjobHooks *) *found;
}

#endif /* BGJOB_H */
