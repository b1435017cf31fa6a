/*-------------------------------------------------------------------------
 *
 * option.c
 *	  The options of jobs: one table of them, and sets of their values.
 *
 * An option is one line of store/optionlist.h. Work that is the same for every
 * option is a loop over the table here: reading the arguments of the SQL
 * functions and the results of filters (api), merging a call's options with the
 * function's configuration, writing and reading the columns, and copying from a
 * recurring job to the jobs that it enqueues. Code elsewhere names an option only
 * to put it into effect.
 *
 * Pure but for the memory that it allocates; any process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "store/functionconf.h"
#include "store/option.h"
#include "store/recurring.h"
#include "utils/builtins.h"

/* The keywords of the list. */
#define ENQUEUE                 BGJOB_IN_ENQUEUE
#define CONFIGURE               BGJOB_IN_CONFIGURE
#define RECURRING               BGJOB_IN_RECURRING
#define CREATING                BGJOB_IN_CREATING
#define EVERYWHERE(symbol)      BGJOB_C_##symbol, BGJOB_R_##symbol, BGJOB_F_##symbol
#define NOT_IN_JOB(symbol)      0, BGJOB_R_##symbol, BGJOB_F_##symbol
#define NOT_IN_FUNCTION(symbol) BGJOB_C_##symbol, BGJOB_R_##symbol, 0
#define NOWHERE(symbol)         0, 0, 0
/* Whether filters receive it by its name. */
#define IN_CONTEXT_EVERYWHERE      false
#define IN_CONTEXT_NOT_IN_JOB      false
#define IN_CONTEXT_NOT_IN_FUNCTION true
#define IN_CONTEXT_NOWHERE         false
#define OID_OF_text                TEXTOID
#define OID_OF_integer             INT4OID
#define OID_OF_bigint              INT8OID
#define OID_OF_interval            INTERVALOID
#define OID_OF_timestamptz         TIMESTAMPTZOID
#define OID_OF_jsonb               JSONBOID
#define OID_OF_text_array          TEXTARRAYOID
#define OID_OF_bigint_array        INT8ARRAYOID
#define OID_OF_interval_array      INTERVALARRAYOID

const BgjobOptionInfo bgjob_options[BGJOB_NOPTIONS] = {
#define BGJOB_OPTION(symbol, name, type, check, places, columns)                               \
	[BGJOB_O_##symbol] = {#name, OID_OF_##type, places, columns(symbol), IN_CONTEXT_##columns},
#define BGJOB_OPTION_COLUMN(symbol, name, type, check, places)                                 \
	[BGJOB_O_##symbol] = {#name, OID_OF_##type, places, EVERYWHERE(symbol), true},
#include "store/optionlist.h"
};

/* bgjob_option_by_name returns the option of a name, if "place" (BGJOB_IN_…) accepts it, else BGJOB_NOPTIONS. */
BgjobOption
bgjob_option_by_name(const char *name, int place)
{
	int option = 0;

	while (option < BGJOB_NOPTIONS && ((bgjob_options[option].places & place) == 0 ||
									   strcmp(bgjob_options[option].name, name) != 0))
		option++;
	return (BgjobOption) option;
}

/* bgjob_option_text returns the value of an option that is a text, copied; NULL: it is not given. */
char *
bgjob_option_text(const BgjobOptionSet *set, BgjobOption option)
{
	return set->given[option] ? TextDatumGetCString(set->values[option]) : NULL;
}

/* bgjob_options_merge adds the defaults for options that a set does not give. */
void
bgjob_options_merge(BgjobOptionSet *set, const BgjobOptionSet *defaults)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (!set->given[option] && defaults->given[option])
			bgjob_option_set(set, (BgjobOption) option, defaults->values[option]);
}

/* Decodes the options of a job that BgjobJob has as fields (store/jobrow.h). */
static void
decode(BgjobJob *job)
{
	job->queue = TextDatumGetCString(bgjob_job_datum(job, BGJOB_C_QUEUE));
	job->priority = DatumGetInt16(bgjob_job_datum(job, BGJOB_C_PRIORITY));
	job->max_retries = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_MAX_RETRIES));
}

/* bgjob_options_to_job sets the given options in a job's columns; then the job must have all that are decoded. */
void
bgjob_options_to_job(const BgjobOptionSet *set, BgjobJob *job)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (set->given[option] && bgjob_options[option].job != 0)
			bgjob_job_set(job, (BgjobColumn) bgjob_options[option].job, set->values[option]);
	decode(job);
}

/* bgjob_options_take_over copies all options of another job but the key. */
void
bgjob_options_take_over(BgjobJob *job, const BgjobJob *from)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		int column = bgjob_options[option].job;

		if (column == 0 || option == BGJOB_O_UNIQUE_KEY)
			continue;
		job->values[column - 1] = from->values[column - 1];
		job->nulls[column - 1] = from->nulls[column - 1];
	}
	job->queue = from->queue;
	job->priority = from->priority;
	job->max_retries = from->max_retries;
}
