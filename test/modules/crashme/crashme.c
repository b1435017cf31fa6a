/*-------------------------------------------------------------------------
 *
 * crashme.c
 *	  Functions that crash the server, or misbehave otherwise, for the tests.
 *
 * Most end their process in one of the ways in which a job written in C can
 * take the server down. Installed by the test suite into its private
 * copy of the server only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <stdlib.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(crashme_abort);

/* crashme_abort() calls abort(), as a failed assertion does. */
Datum
crashme_abort(PG_FUNCTION_ARGS)
{
	abort();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_segv);

/* crashme_segv() writes through a null pointer. */
Datum
crashme_segv(PG_FUNCTION_ARGS)
{
	*(volatile int *) NULL = 1;
	PG_RETURN_VOID();
}

static int
overflow(volatile char *outer)
{
	volatile char frame[65536];

	frame[0] = outer[0];
	return overflow(frame) + frame[0];
}

PG_FUNCTION_INFO_V1(crashme_stack);

/* crashme_stack() runs out of stack. */
Datum
crashme_stack(PG_FUNCTION_ARGS)
{
	volatile char start[1] = {0};

	PG_RETURN_INT32(overflow(start));
}

PG_FUNCTION_INFO_V1(crashme_fatal);

/* crashme_fatal() ends its process, but not the server. */
Datum
crashme_fatal(PG_FUNCTION_ARGS)
{
	ereport(FATAL, (errmsg("this process has had enough")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_exit);

/* crashme_exit(status) ends the process by exit(), as a careless library does. */
Datum
crashme_exit(PG_FUNCTION_ARGS)
{
	exit(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_busy);

/* crashme_busy(ms) runs for that time and never checks for interrupts. */
Datum
crashme_busy(PG_FUNCTION_ARGS)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_INT32(0));

	while (GetCurrentTimestamp() < until)
		pg_usleep(10000L);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_trap);

/* crashme_trap() waits for ever, and traps every error that would end it. */
Datum
crashme_trap(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;

	for (;;)
	{
		PG_TRY();
		{
			CHECK_FOR_INTERRUPTS();
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
							 PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			FlushErrorState();
		}
		PG_END_TRY();
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_sigfpe);

/* crashme_sigfpe() raises SIGFPE, which the server turns into error 22P01. */
Datum
crashme_sigfpe(PG_FUNCTION_ARGS)
{
	raise(SIGFPE);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_in_parallel);

/* crashme_in_parallel(n) crashes in a parallel worker, and is true in the leader. */
Datum
crashme_in_parallel(PG_FUNCTION_ARGS)
{
	if (IsParallelWorker())
		abort();
	PG_RETURN_BOOL(true);
}

/* As a commit that cannot write its record. */
static void
panic(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT)
		return;
	START_CRIT_SECTION();
	elog(ERROR, "nothing can be written");
}

PG_FUNCTION_INFO_V1(crashme_panic);

/* crashme_panic(at_commit) causes a PANIC when the transaction commits, or at once. */
Datum
crashme_panic(PG_FUNCTION_ARGS)
{
	if (!PG_GETARG_BOOL(0))
		elog(PANIC, "this job wants it");
	RegisterXactCallback(panic, NULL);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(crashme_hide_setting);

/*
 * crashme_hide_setting(name) takes a setting out of the server's private list of
 * those that differ from their defaults, as a server might that keeps it in
 * another way. False: this server has no such list.
 */
Datum
crashme_hide_setting(PG_FUNCTION_ARGS)
{
#if PG_VERSION_NUM >= 160000
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	dlist_delete(&find_option(name, false, false, ERROR)->nondef_link);
	PG_RETURN_BOOL(true);
#else
	PG_RETURN_BOOL(false);
#endif
}

PG_FUNCTION_INFO_V1(crashme_warn);

/* crashme_warn() raises warnings with bytes that are no characters, and in a critical section. */
Datum
crashme_warn(PG_FUNCTION_ARGS)
{
	ereport(WARNING, (errmsg("caf\xe9")));
	START_CRIT_SECTION();
	ereport(WARNING, (errmsg("critical")));
	END_CRIT_SECTION();
	PG_RETURN_VOID();
}
