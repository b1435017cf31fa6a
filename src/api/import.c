/*-------------------------------------------------------------------------
 *
 * import.c
 *	  Imports the jobs of pg_cron.
 *
 * Reads cron.job as the caller, so it sees only the rows that pg_cron shows the
 * caller. Adds a recurring job for each row: same schedule, command, user and
 * active flag, in the zone of cron.timezone. Jobs of other databases, and jobs
 * that bgjob rejects, are listed in the result. Each job is added in a
 * subtransaction, so that an error concerns only that job. Only a table that
 * extension pg_cron owns is read. The jobs of pg_cron do not change, so an
 * import by mistake loses nothing; the manual says how to disable them in one
 * of the two.
 *
 * Runs in the calling session.
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
#include "postmaster/postmaster.h"
#include "rules/cron.h"
#include "store/trust.h"
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
	char *name; /* NULL: none */
	char *schedule;
	char *command;
	char *database;
	char *user;
	char *host;
	char *port;
	char *active;
} CronJob;

/*
 * Raises 42P01 unless cron.job belongs to extension pg_cron. Any role can own a
 * schema of that name, and its rows, or its code, would run as the caller.
 */
static void
check_genuine(void)
{
	if (!bgjob_trust_has_table("pg_cron", "cron", "job"))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("pg_cron is not installed in this database"),
						errdetail("There is no table cron.job that extension pg_cron owns."),
						errhint("Call the function in the database that "
								"cron.database_name names.")));
}

static CronJob *
read_jobs(int *n)
{
	CronJob *jobs;
	MemoryContext caller = CurrentMemoryContext;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT jobid::pg_catalog.text, jobname::pg_catalog.text, schedule, "
					"command, database, "
					"username, nodename, nodeport::pg_catalog.text, active::pg_catalog.text "
					"FROM cron.job ORDER BY jobid",
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
		jobs[i].host = SPI_getvalue(row, desc, 7);
		jobs[i].port = SPI_getvalue(row, desc, 8);
		jobs[i].active = SPI_getvalue(row, desc, 9);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return jobs;
}

/* Returns the name of the recurring job for a row. */
static const char *
name_or_number(const CronJob *job)
{
	return job->name != NULL ? job->name : psprintf("pg_cron %s", job->id);
}

static void
import_job(const CronJob *job, const char *zone)
{
	BgjobRecurringCall call = {
		.name = name_or_number(job),
		.options = {.job = job->command, .kind = "sql", .plain_session = true}};
	BgjobRecurring *columns = &call.columns;

	bgjob_recurring_clear(columns);
	bgjob_recurring_set_text(columns, BGJOB_R_SCHEDULE, job->schedule);
	bgjob_recurring_set_text(columns, BGJOB_R_TIME_ZONE, zone);
	bgjob_recurring_set(columns, BGJOB_R_MISFIRE, CharGetDatum(BGJOB_MISFIRE_SKIP));
	bgjob_recurring_set(columns, BGJOB_R_OVERLAP, CharGetDatum(BGJOB_OVERLAP_QUEUE));
	bgjob_recurring_set(columns, BGJOB_R_ALL_DAYS, BoolGetDatum(false));
	bgjob_recurring_set(columns, BGJOB_R_ACTIVE, BoolGetDatum(job->active[0] == 't'));
	bgjob_option_set(&call.options.set, BGJOB_O_MAX_RETRIES, Int32GetDatum(0));
	bgjob_option_set(&call.options.set, BGJOB_O_RUN_AS, CStringGetTextDatum(job->user));
	bgjob_recurring_add(get_role_oid(job->user, false), &call);
}

/* Returns whether a job runs on this server; pg_cron may connect to others. */
static bool
is_for_this_server(const CronJob *job)
{
	const char *own = GetConfigOption("cron.host", true, false);

	return strtol(job->port, NULL, 10) == PostPortNumber &&
		   (strcmp(job->host, "localhost") == 0 || strcmp(job->host, "127.0.0.1") == 0 ||
			strcmp(job->host, "::1") == 0 || job->host[0] == '\0' || job->host[0] == '/' ||
			(own != NULL && strcmp(job->host, own) == 0));
}

/* Returns why a row cannot be imported, NULL if it can. */
static char *
unsupported_reason(const CronJob *job)
{
	BgjobCronError error;
	BgjobCron cron;

	if (job->schedule == NULL || job->command == NULL || job->database == NULL ||
		job->user == NULL || job->host == NULL || job->port == NULL || job->active == NULL)
		return "one of its columns is null";
	if (strcmp(job->database, get_database_name(MyDatabaseId)) != 0)
		return psprintf("it is for database \"%s\"", job->database);
	if (!is_for_this_server(job))
		return psprintf("it is for host \"%s\", port %s", job->host, job->port);
	if (!bgjob_cron_parse(job->schedule, BGJOB_DAY_ANY, name_or_number(job), &cron, &error))
		return psprintf("its schedule \"%s\" is refused: %s %s", job->schedule, error.message,
						error.hint);
	return NULL;
}

/* Imports a job. Returns NULL, or why it cannot be imported. */
static char *
try_import(const CronJob *job, const char *zone)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile reason = NULL;

	reason = unsupported_reason(job);
	if (reason != NULL)
		return reason;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		import_job(job, zone);
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

/* Returns the name of a row for messages. */
static const char *
name_of(const CronJob *job)
{
	if (job->name != NULL)
		return job->name;
	return job->command != NULL ? job->command : "?";
}

PG_FUNCTION_INFO_V1(bgjob_import_pg_cron);

/*
 * bgjob_import_pg_cron imports the jobs of pg_cron that the caller sees, as
 * recurring jobs of the same user: kind 'sql' and no retries. As in pg_cron,
 * missed occurrences are skipped and a run waits for the previous one. Returns a
 * line for each job that it could not import. Raises 42P01 without pg_cron.
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
	check_genuine();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	jobs = read_jobs(&n);
	for (int i = 0; i < n; i++)
	{
		char *reason = try_import(&jobs[i], zone != NULL ? zone : "GMT");
		bool isnull = false;
		Datum line;

		if (reason == NULL)
			continue;
		line = CStringGetTextDatum(psprintf("job %s (%s): %s",
											jobs[i].id == NULL ? "?" : jobs[i].id,
											name_of(&jobs[i]), reason));
		tuplestore_putvalues(result->setResult, result->setDesc, &line, &isnull);
	}
	return (Datum) 0;
}
