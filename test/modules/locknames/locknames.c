/*-------------------------------------------------------------------------
 *
 * locknames.c
 *	  The names of the LWLock tranches that libraries have made, for the tests.
 *
 * pg_stat_activity shows these names as wait_event of a process that waits for
 * such a lock. Installed by the test suite into its private copy of the
 * server only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(locknames);

/* locknames() returns the names of all tranches from the first of a library's on, as this session knows them. */
Datum
locknames(PG_FUNCTION_ARGS)
{
	int end = LWLockNewTrancheId();
	int n = end - LWTRANCHE_FIRST_USER_DEFINED;
	Datum *names = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		names[i] = CStringGetTextDatum(
			GetLWLockIdentifier(PG_WAIT_LWLOCK, LWTRANCHE_FIRST_USER_DEFINED + i));
	PG_RETURN_ARRAYTYPE_P(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}
