/*-------------------------------------------------------------------------
 *
 * statementlog.c
 *	  Jobs in the server's log, as log_statement and log_min_duration_statement want them.
 *
 * The server logs what its clients send. No client sends a job, so its worker logs
 * it: the command of a job of kind 'sql' as any client's statement, and
 * the call of a function or procedure, which is a SELECT or CALL, as "job 17:
 * public.f(integer)". The settings have their usual meaning:
 * log_statement, log_min_duration_statement, log_min_duration_sample,
 * log_duration, log_transaction_sample_rate, log_parameter_max_length. Only
 * superusers set them. As for a client, statements within functions are not
 * logged, nor are durations of failed ones.
 *
 * Run by workers. Costs some comparisons where nothing is to be logged.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
#include "run/command.h"
#include "run/statementlog.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

/* Returns the text that is logged as the job's statement. */
static const char *
statement_of(const BgjobJob *job)
{
	if (job->kind == BGJOB_KIND_SQL)
		return job->job;
	return psprintf("job " INT64_FORMAT ": %s", job->id,
					job->func != NULL ? job->func : job->job);
}

static bool
is_to_be_logged(const BgjobJob *job)
{
	if (log_statement == LOGSTMT_ALL)
		return true;
	return job->kind == BGJOB_KIND_SQL && bgjob_command_log_level(job->job) <= log_statement;
}

/* Adds the parameters to a message, cut as the administrator wants it. Returns nothing of meaning. */
static int
detail_parameters(Jsonb *args)
{
	const char *text;

	if (args == NULL || log_parameter_max_length == 0)
		return 0;
	text = JsonbToCString(NULL, &args->root, VARSIZE(args));
	if (log_parameter_max_length > 0)
		text = bgjob_text_cut(text, log_parameter_max_length);
	return errdetail("parameters: %s", text);
}

/*
 * bgjob_log_statement logs a job that is about to run, with its arguments (NULL:
 * none), if log_statement wants it; returns whether it has.
 */
bool
bgjob_log_statement(const BgjobJob *job, Jsonb *args)
{
	if (log_statement == LOGSTMT_NONE || !is_to_be_logged(job))
		return false;
	ereport(LOG, (errmsg("statement: %s", statement_of(job)), errhidestmt(true),
				  detail_parameters(args)));
	return true;
}

/* bgjob_log_duration logs how long a job has taken, if that is wanted; was_logged: its statement is in the log. */
void
bgjob_log_duration(const BgjobJob *job, bool was_logged)
{
	char ms[32];

	switch (check_log_duration(ms, was_logged))
	{
		case 1:
			ereport(LOG, (errmsg("duration: %s ms", ms), errhidestmt(true)));
			break;
		case 2:
			ereport(LOG, (errmsg("duration: %s ms  statement: %s", ms, statement_of(job)),
						  errhidestmt(true)));
			break;
	}
}
