/*-------------------------------------------------------------------------
 *
 * bareworker.c
 *	  A background worker that does nothing, for the benchmarks.
 *
 * bareworker_start(role) starts it, in the caller's database and connected
 * as the role; it has one empty transaction and then waits on its latch until
 * it is terminated. Its private memory is what any background worker has, and
 * what a worker of bgjob has is measured against it. Installed by the
 * benchmarks into their private copy of the server only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"

PG_MODULE_MAGIC;

/* Travels with the process, in bgw_extra. */
typedef struct StartData
{
	Oid database;
	Oid role;
} StartData;

PGDLLEXPORT void bareworker_main(Datum argument);

/* bareworker_main is the process. */
void
bareworker_main(Datum argument)
{
	StartData start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.database, start.role, 0);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	PopActiveSnapshot();
	CommitTransactionCommand();
	for (;;)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

PG_FUNCTION_INFO_V1(bareworker_start);

/* bareworker_start(role regrole) starts the process and returns its id once it runs. */
Datum
bareworker_start(PG_FUNCTION_ARGS)
{
	StartData start = {MyDatabaseId, PG_GETARG_OID(0)};
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	pid_t pid;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "bareworker", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "bareworker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "bareworker", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "bareworker", sizeof(worker.bgw_type));
	memcpy(worker.bgw_extra, &start, sizeof(start));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("could not start a background worker")));
	if (WaitForBackgroundWorkerStartup(handle, &pid) != BGWH_STARTED)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("the background worker did not start")));
	PG_RETURN_INT32(pid);
}
