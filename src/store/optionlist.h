/*-------------------------------------------------------------------------
 *
 * optionlist.h
 *	  The options of jobs, one line for each.
 *
 * Included wherever code is generated for each option, with the macros defined
 * to yield that code, as the server does with its rmgrlist.h: the
 * enum and the table (store/option.h), the checks (api/options.c), columns.
 * src/sql/expand.awk reads the same lines to write the parameters of the SQL
 * functions, and the columns, into the install script.
 *
 *	 BGJOB_OPTION(symbol, name, type, check, places, columns)
 *	 BGJOB_OPTION_COLUMN(symbol, name, type, check, places)
 *
 * name, type: of the parameter of the SQL functions; text_array is text[].
 *
 * check: raises an error unless a value is allowed, and returns the value to
 * store (api/options.c); NULL: all values are allowed, and stored unchanged.
 *
 * places: the functions that have the parameter, in the order of these lines
 * (ENQUEUE: bgjob_enqueue, bgjob_enqueue_many and bgjob_enqueue_trigger), and
 * CREATING, if filters may change the option.
 *
 * columns: EVERYWHERE, if the option is a column of bgjob_internal.job, bgjob_internal.recurring
 * and bgjob_internal.function_conf; NOT_IN_JOB, if the first does not have it;
 * NOT_IN_FUNCTION, if the last does not have it (and it is passed to filters); NOWHERE.
 * The columns of a BGJOB_OPTION are written by hand in src/sql. A
 * BGJOB_OPTION_COLUMN gets one in each of the three tables, and is shown by
 * bgjob.functions; it is passed to filters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_OPTION
#define BGJOB_OPTION(symbol, name, type, check, places, columns)
#endif
#ifndef BGJOB_OPTION_COLUMN
#define BGJOB_OPTION_COLUMN(symbol, name, type, check, places)                                 \
	BGJOB_OPTION(symbol, name, type, check, places, EVERYWHERE)
#endif

/* clang-format off */
BGJOB_OPTION(QUEUE, queue, text, check_queue, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(PRIORITY, priority, integer, check_priority, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(DELAY, delay, interval, NULL, ENQUEUE | CREATING, NOWHERE)
BGJOB_OPTION(RUN_AT, run_at, timestamptz, NULL, ENQUEUE | CREATING, NOWHERE)
BGJOB_OPTION(MAX_RETRIES, max_retries, integer, check_max_retries, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(RETRY_DELAYS, retry_delays, interval_array, check_retry_delays, ENQUEUE | CONFIGURE | RECURRING | CREATING, NOT_IN_FUNCTION)
BGJOB_OPTION(TIMEOUT, timeout, interval, check_timeout, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(UNIQUE_KEY, unique_key, text, check_unique_key, ENQUEUE | CONFIGURE | RECURRING, EVERYWHERE)
BGJOB_OPTION(ON_DUPLICATE, on_duplicate, text, check_on_duplicate, ENQUEUE | CONFIGURE | RECURRING, NOT_IN_JOB)
BGJOB_OPTION_COLUMN(START_WITHIN, start_within, interval, check_start_within, ENQUEUE | CONFIGURE | RECURRING | CREATING)
BGJOB_OPTION_COLUMN(SEQUENCE_KEY, sequence_key, text, check_key, ENQUEUE | CONFIGURE | RECURRING)
BGJOB_OPTION_COLUMN(LIMITS, limits, text_array, check_limits, ENQUEUE | CONFIGURE | RECURRING | CREATING)
BGJOB_OPTION_COLUMN(FAIRNESS_KEY, fairness_key, text, check_key, ENQUEUE | CONFIGURE | RECURRING | CREATING)
BGJOB_OPTION(AFTER, after, bigint_array, NULL, ENQUEUE, NOWHERE)
BGJOB_OPTION(AFTER_BATCH, after_batch, bigint, NULL, ENQUEUE, NOWHERE)
BGJOB_OPTION(AFTER_SIGNAL, after_signal, text_array, NULL, ENQUEUE, NOWHERE)
BGJOB_OPTION(CONDITION, condition, text, check_condition, ENQUEUE, NOWHERE)
BGJOB_OPTION(AWAIT_TIMEOUT, await_timeout, interval, check_await_timeout, ENQUEUE, NOWHERE)
BGJOB_OPTION(BATCH, batch, bigint, NULL, ENQUEUE, NOWHERE)
BGJOB_OPTION(RUN_AS, run_as, text, NULL, ENQUEUE | RECURRING, NOWHERE)
BGJOB_OPTION(TAGS, tags, text_array, NULL, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(PARAMETERS, parameters, jsonb, check_parameters, ENQUEUE | CONFIGURE | RECURRING | CREATING, EVERYWHERE)
BGJOB_OPTION(RETRY_ON, retry_on, text_array, NULL, CONFIGURE, NOWHERE)
BGJOB_OPTION(NO_RETRY_ON, no_retry_on, text_array, NULL, CONFIGURE, NOWHERE)
BGJOB_OPTION(ON_EXHAUSTED, on_exhausted, text, check_on_exhausted, CONFIGURE, NOWHERE)
BGJOB_OPTION(CHUNK_SIZE, chunk_size, integer, check_chunk_size, CONFIGURE, NOWHERE)
BGJOB_OPTION(CHUNK_WAIT, chunk_wait, interval, check_chunk_wait, CONFIGURE, NOWHERE)
BGJOB_OPTION(RETENTION, retention, interval, check_retention, CONFIGURE, EVERYWHERE)
/* clang-format on */

#undef BGJOB_OPTION
#undef BGJOB_OPTION_COLUMN
