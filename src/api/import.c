/*-------------------------------------------------------------------------
 *
 * import.c
 *	  Taking over the jobs of pg_cron.
 *
 * Reads cron.job as the caller, who so sees what pg_cron lets him see, and adds
 * a recurring job for each: same schedule, command, user and active flag, in
 * the zone of cron.timezone. Jobs of other databases, and what bgjob would
 * refuse, are named in the result; each is tried in a subtransaction, so one
 * that cannot be taken over does not keep the others from it. The jobs of
 * pg_cron stay as they are, so that nothing is lost if that was a mistake: the
 * manual says how to have only one of the two run them.
 *
 * Runs in the session that calls.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/recurring.h"
#include "api/rights.h"
#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

/* A row of cron.job. */
typedef struct CronJob
{
	char *id;
	char *name; /* NULL: it has none */
	char *schedule;
	char *command;
	char *database;
	char *user;
	bool active;
} CronJob;

static CronJob *
read_jobs(int *n)
{
	CronJob *jobs;
	MemoryContext caller = CurrentMemoryContext;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT jobid::pg_catalog.text, jobname::pg_catalog.text, schedule, "
					"command, database, "
					"username, active::pg_catalog.text FROM cron.job ORDER BY jobid",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read cron.job");
	*n = (int) SPI_processed;
	jobs = MemoryContextAllocZero(caller, Max(1, *n) * sizeof(CronJob));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(caller);

		jobs[i].id = SPI_getvalue(row, desc, 1);
		jobs[i].name = SPI_getvalue(row, desc, 2);
		jobs[i].schedule = SPI_getvalue(row, desc, 3);
		jobs[i].command = SPI_getvalue(row, desc, 4);
		jobs[i].database = SPI_getvalue(row, desc, 5);
		jobs[i].user = SPI_getvalue(row, desc, 6);
		jobs[i].active = SPI_getvalue(row, desc, 7)[0] == 't';
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return jobs;
}

static void
take_over(const CronJob *job, const char *zone)
{
	BgjobRecurringOptions recurring = {.misfire = BGJOB_MISFIRE_SKIP,
									   .overlap = BGJOB_OVERLAP_QUEUE,
									   .starts_at = DT_NOBEGIN,
									   .ends_at = DT_NOEND,
									   .day_match = BGJOB_DAY_ANY};
	BgjobOptions options = {.kind = "sql", .has_max_retries = true, .plain_session = true};

	recurring.name = job->name != NULL ? job->name : psprintf("pg_cron %s", job->id);
	recurring.schedule = job->schedule;
	recurring.time_zone = zone;
	recurring.active = job->active;
	options.job = job->command;
	options.run_as = job->user;
	bgjob_recurring_add(get_role_oid(job->user, false), &recurring, &options, NULL);
}

/* Takes one over, or returns why that cannot be. */
static char *
try_to_take_over(const CronJob *job, const char *zone)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile reason = NULL;

	if (strcmp(job->database, get_database_name(MyDatabaseId)) != 0)
		return psprintf("it is for database \"%s\"", job->database);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		take_over(job, zone);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		reason = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return reason;
}

PG_FUNCTION_INFO_V1(bgjob_import_pg_cron);

/*
 * bgjob_import_pg_cron takes over the jobs of pg_cron that the caller sees, as
 * recurring jobs of the same user: kind 'sql', no retries, what was missed is
 * skipped, and a run waits for the one before it, as pg_cron has it. Returns a
 * line for each that it could not take over. 42P01: there is no pg_cron here.
 */
Datum
bgjob_import_pg_cron(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *zone = GetConfigOption("cron.timezone", true, false);
	CronJob *jobs;
	int n;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_import_pg_cron()");
	if (!OidIsValid(get_namespace_oid("cron", true)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("pg_cron is not installed in this database"),
						errdetail("There is no schema \"cron\"."),
						errhint("Call the function in the database that "
								"cron.database_name names.")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	jobs = read_jobs(&n);
	for (int i = 0; i < n; i++)
	{
		char *reason = try_to_take_over(&jobs[i], zone != NULL ? zone : "GMT");
		bool isnull = false;
		Datum line;

		if (reason == NULL)
			continue;
		line = CStringGetTextDatum(
			psprintf("job %s (%s): %s", jobs[i].id,
					 jobs[i].name != NULL ? jobs[i].name : jobs[i].command, reason));
		tuplestore_putvalues(result->setResult, result->setDesc, &line, &isnull);
	}
	return (Datum) 0;
}
