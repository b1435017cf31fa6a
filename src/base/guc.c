/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  The settings of bgjob, all of them.
 *
 * They are defined when the library is loaded: by the postmaster where it is
 * in shared_preload_libraries, else by the first call of a bgjob function in
 * a session. Most steer the server's own processes, so they are read from the
 * configuration file (SIGHUP). Those in database_settings may also differ
 * between databases: ALTER DATABASE … SET (process/renewal.c). For a role or a session
 * they would mean nothing, so their check hooks refuse that. bgjob.max_retries and bgjob.time_zone are
 * defaults of a session that enqueues, and any role may set them;
 * bgjob.job_timeout and bgjob.capture_settings are set by administrators, also
 * per role or database. bgjob.function_stats_max and bgjob.list_memory need a
 * restart; but a session that loads the library by itself may not define such a
 * setting, and has no use for its value.
 *
 * bgjob.databases, bgjob.queues and bgjob.time_zone are checked here, when they
 * are set, so that a typing error is refused at once instead of idling a server.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <unistd.h>

#include "base/guc.h"
#include "base/compat.h"
#include "base/inflight.h"
#include "base/queues.h"
#include "base/zone.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

bool bgjob_enabled = true;
char *bgjob_databases;
int bgjob_workers;
int bgjob_max_workers;
char *bgjob_queues;
int bgjob_worker_idle_timeout;
int bgjob_max_retries;
int bgjob_job_timeout;
int bgjob_shutdown_timeout;
bool bgjob_bind_leases;
int bgjob_max_crashes;
int bgjob_retention;
int bgjob_retention_failed;
char *bgjob_time_zone;
char *bgjob_capture_settings;
int bgjob_function_stats_max;
int bgjob_inflight_cell;
int bgjob_list_memory;
int bgjob_max_leases;

static const char *const database_settings[] = {
	"bgjob.queues",           "bgjob.retention",           "bgjob.retention_failed",
	"bgjob.shutdown_timeout", "bgjob.worker_idle_timeout", "bgjob.workers"};

/* bgjob_setting_is_database_wide returns whether a setting holds for a whole database, and not for a role or a session. */
bool
bgjob_setting_is_database_wide(const char *name)
{
	for (int i = 0; i < lengthof(database_settings); i++)
		if (pg_strcasecmp(name, database_settings[i]) == 0)
			return true;
	return false;
}

/*
 * Returns false for values that ALTER ROLE … SET, a connection or SET gives to a setting
 * of a database. ALTER DATABASE and ALTER ROLE check with PGC_S_TEST.
 */
static bool
check_source(GucSource source)
{
	if (source < PGC_S_USER || source == PGC_S_OVERRIDE || source == PGC_S_TEST)
		return true;
	GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
	GUC_check_errmsg(
		"a setting of bgjob for a whole database cannot be set for a role or a session");
	GUC_check_errhint("Use ALTER DATABASE ... SET, or ALTER SYSTEM.");
	return false;
}

static bool
check_database_number(int *newval, void **extra, GucSource source)
{
	return check_source(source);
}

/* Returns the default number of workers: five for each core, but not more than 20. */
static int
default_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 5 : (int) Min(cores * 5, 20);
}

/* Checks a list of identifiers: "*" is valid, nothing is if may_be_empty. */
static bool
check_list(const char *value, bool may_be_empty)
{
	char *copy = pstrdup(value);
	char *star;
	List *names;
	bool ok;

	/* SplitIdentifierString knows no bare star. */
	for (star = copy; *star; star++)
		if (*star == '*')
			*star = '_';
	ok = SplitIdentifierString(copy, ',', &names) && (may_be_empty || names != NIL);
	if (!ok)
		GUC_check_errdetail(
			"It must be a list of names, separated by commas, or \"*\" for all.");
	return ok;
}

static bool
check_name_list(char **newval, void **extra, GucSource source)
{
	return check_list(*newval, false);
}

/* Checks a list of names of queues. */
static bool
check_queues(char **newval, void **extra, GucSource source)
{
	const char *name = *newval;

	if (!check_list(name, false))
		return false;
	while (*(name += strspn(name, BGJOB_QUEUE_SEPARATORS)) != '\0')
	{
		size_t length = strcspn(name, BGJOB_QUEUE_SEPARATORS);

		if (length > BGJOB_QUEUE_NAME_MAX ||
			(strspn(name, BGJOB_QUEUE_CHARACTERS) < length && (length != 1 || *name != '*')))
		{
			GUC_check_errdetail("\"%.*s\" cannot be the name of a queue.",
								pg_mbcliplen(name, (int) length, BGJOB_QUEUE_NAME_MAX), name);
			GUC_check_errhint("Use 1 to %d lower-case letters, digits, \"_\" and \"-\", or "
							  "\"*\" for all other queues.",
							  BGJOB_QUEUE_NAME_MAX);
			return false;
		}
		name += length;
	}
	return check_source(source);
}

static bool
check_setting_list(char **newval, void **extra, GucSource source)
{
	return check_list(*newval, true);
}

static bool
check_time_zone(char **newval, void **extra, GucSource source)
{
	if (bgjob_time_zone_exists(*newval))
		return true;
	GUC_check_errhint("The names are in the view pg_timezone_names.");
	return false;
}

/* bgjob_define_settings defines every setting of bgjob. */
void
bgjob_define_settings(void)
{
	GucContext at_start =
		process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP;

	DefineCustomBoolVariable("bgjob.enabled", "Runs jobs.",
							 "Off lets running jobs end and starts no more.", &bgjob_enabled,
							 true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("bgjob.databases", "Databases that may have workers.",
							   "A list of names, or * for all.", &bgjob_databases, "*",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_name_list, NULL, NULL);
	DefineCustomIntVariable("bgjob.workers", "Workers of server \"default\", per database.",
							"As many start as jobs and max_worker_processes call for.",
							&bgjob_workers, default_workers(), 0, 1000, PGC_SUSET, 0,
							check_database_number, NULL, NULL);
	DefineCustomIntVariable("bgjob.max_workers", "Workers of all databases together.",
							"-1 leaves it to max_worker_processes.", &bgjob_max_workers, -1, -1,
							INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("bgjob.queues", "Queues of server \"default\".",
							   "In the order of taking; * stands for all others.",
							   &bgjob_queues, "*", PGC_SUSET, GUC_LIST_INPUT, check_queues,
							   NULL, NULL);
	DefineCustomIntVariable("bgjob.worker_idle_timeout",
							"Time after which a worker without a job leaves.", NULL,
							&bgjob_worker_idle_timeout, 60, 1, INT_MAX / 1000, PGC_SUSET,
							GUC_UNIT_S, check_database_number, NULL, NULL);
	DefineCustomIntVariable("bgjob.max_retries", "Default number of retries of a failed job.",
							NULL, &bgjob_max_retries, 10, 0, INT_MAX, PGC_USERSET, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable("bgjob.job_timeout", "Time that one attempt at a job may take.",
							"0 means no limit. A job's own timeout has precedence.",
							&bgjob_job_timeout, 0, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomIntVariable("bgjob.shutdown_timeout", "Time that running jobs get at shutdown.",
							"Then they are canceled and go back to the head of their queue.",
							&bgjob_shutdown_timeout, 15000, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MS,
							check_database_number, NULL, NULL);
	DefineCustomBoolVariable("bgjob.bind_leases",
							 "Jobs that an external worker has are lost with its session.",
							 "Off for connections that are pooled: only the lease counts then.",
							 &bgjob_bind_leases, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("bgjob.max_crashes",
							"Crashes of the server after which the job that caused them fails.",
							NULL, &bgjob_max_crashes, 3, 1, 1000, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("bgjob.retention",
							"Time after which succeeded and deleted jobs are removed.",
							"-1 keeps them for ever.", &bgjob_retention, 86400, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, check_database_number, NULL, NULL);
	DefineCustomIntVariable("bgjob.retention_failed",
							"Time after which failed jobs are removed.",
							"-1 keeps them for ever.", &bgjob_retention_failed, -1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, check_database_number, NULL, NULL);
	DefineCustomStringVariable(
		"bgjob.time_zone", "Time zone of recurring jobs that do not name one.", NULL,
		&bgjob_time_zone, "UTC", PGC_USERSET, 0, check_time_zone, NULL, NULL);
	DefineCustomStringVariable("bgjob.capture_settings",
							   "Settings of the caller that are stored with a job.",
							   "They are in force when the job runs.", &bgjob_capture_settings,
							   "TimeZone, DateStyle, IntervalStyle, search_path, lc_messages, "
							   "lc_monetary, lc_numeric, lc_time",
							   PGC_SUSET, GUC_LIST_INPUT, check_setting_list, NULL, NULL);
	DefineCustomIntVariable("bgjob.function_stats_max",
							"Number of functions with statistics in bgjob.function_stats.",
							"In all databases together; the least used are evicted.",
							&bgjob_function_stats_max, 5000, 100, 1000000, at_start, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable(
		"bgjob.list_memory", "Shared memory in which bgjob_list() remembers where jobs are.",
		"0 means none: bgjob_list() reads the rows of all jobs.", &bgjob_list_memory, 32 * 1024,
		0, 4 * 1024 * 1024, at_start, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"bgjob.max_leases", "Number of jobs that external workers can have at a time.",
		"In all databases together; bgjob_fetch() returns fewer jobs then.", &bgjob_max_leases,
		10000, 10, 1000000, at_start, 0, NULL, NULL, NULL);
	/* Not for users: passes the cell of the worker's job on to parallel workers. */
	DefineCustomIntVariable("bgjob.inflight_cell", "Cell of this worker in bgjob.inflight.",
							NULL, &bgjob_inflight_cell, -1, -1, INT_MAX, PGC_SUSET,
							GUC_NO_SHOW_ALL | GUC_NO_RESET_ALL | GUC_NOT_IN_SAMPLE |
								GUC_DISALLOW_IN_FILE,
							NULL, bgjob_inflight_assign, NULL);
	MarkGUCPrefixReserved("bgjob");
}
