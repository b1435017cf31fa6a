/*-------------------------------------------------------------------------
 *
 * import.c
 *	  Taking over the jobs of pg_cron.
 *
 * Reads cron.job as the caller, who so sees what pg_cron lets him see, and adds
 * a recurring job for each: same schedule, command, user and active flag, in
 * the zone of cron.timezone. Jobs of other databases, and what bgjob would
 * refuse, are named in the result; each is tried in a subtransaction, so one
 * that cannot be taken over does not keep the others from it. Only a table of
 * the genuine extension pg_cron is read. The jobs of
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
	char *name; /* NULL: it has none */
	char *schedule;
	char *command;
	char *database;
	char *user;
	char *host;
	char *port;
	char *active;
} CronJob;

/*
 * Checks that cron.job is pg_cron's: a schema of that name can be anybody's,
 * whose rows, or code, would run as the caller. 42P01 if it is not.
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

/* What the recurring job of a row is called. */
static const char *
name_or_number(const CronJob *job)
{
	return job->name != NULL ? job->name : psprintf("pg_cron %s", job->id);
}

static void
take_over(const CronJob *job, const char *zone)
{
	BgjobRecurringOptions recurring = {.misfire = BGJOB_MISFIRE_SKIP,
									   .overlap = BGJOB_OVERLAP_QUEUE,
									   .starts_at = DT_NOBEGIN,
									   .ends_at = DT_NOEND,
									   .day_match = BGJOB_DAY_ANY};
	BgjobOptions options = {.kind = "sql", .plain_session = true};

	recurring.name = name_or_number(job);
	recurring.schedule = job->schedule;
	recurring.time_zone = zone;
	recurring.active = job->active[0] == 't';
	options.job = job->command;
	bgjob_option_set(&options.set, BGJOB_O_MAX_RETRIES, Int32GetDatum(0));
	bgjob_option_set(&options.set, BGJOB_O_RUN_AS, CStringGetTextDatum(job->user));
	bgjob_recurring_add(get_role_oid(job->user, false), &recurring, &options, NULL);
}

/* Whether a job is for the server that it is in; pg_cron may connect to others. */
static bool
is_for_this_server(const CronJob *job)
{
	const char *own = GetConfigOption("cron.host", true, false);

	return strtol(job->port, NULL, 10) == PostPortNumber &&
		   (strcmp(job->host, "localhost") == 0 || strcmp(job->host, "127.0.0.1") == 0 ||
			strcmp(job->host, "::1") == 0 || job->host[0] == '\0' || job->host[0] == '/' ||
			(own != NULL && strcmp(job->host, own) == 0));
}

/* Why a row cannot be a job here; NULL: it can. */
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

/* Takes one over, or returns why that cannot be. */
static char *
try_to_take_over(const CronJob *job, const char *zone)
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

/* What to call a row in a message. */
static const char *
name_of(const CronJob *job)
{
	if (job->name != NULL)
		return job->name;
	return job->command != NULL ? job->command : "?";
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
	check_genuine();
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	jobs = read_jobs(&n);
	for (int i = 0; i < n; i++)
	{
		char *reason = try_to_take_over(&jobs[i], zone != NULL ? zone : "GMT");
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
