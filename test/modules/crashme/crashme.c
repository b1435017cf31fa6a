/*-------------------------------------------------------------------------
 *
 * crashme.c
 *	  Functions that crash the server, for the tests.
 *
 * Each ends its process in another of the ways in which a job written in C
 * can take the server down. Installed by the test suite into its private
 * copy of the server only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "fmgr.h"

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

/* crashme_fatal() ends its own process, but not the server. */
Datum
crashme_fatal(PG_FUNCTION_ARGS)
{
	ereport(FATAL, (errmsg("this process has had enough")));
	PG_RETURN_VOID();
}
