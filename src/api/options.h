/*-------------------------------------------------------------------------
 *
 * options.h
 *	  The options of bgjob_enqueue(), as given, and what of them is allowed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_OPTIONS_H
#define BGJOB_API_OPTIONS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/job.h"
#include "store/unique.h"
#include "utils/jsonb.h"

/* The options of bgjob_enqueue(), as given. What is not given is NULL, or has its has_… false. */
typedef struct BgjobOptions
{
	const char *job;
	const char *kind;
	const char *queue;
	bool has_priority;
	int priority;
	Interval *delay;
	bool has_run_at;
	TimestampTz run_at;
	bool has_max_retries;
	int max_retries;
	Interval *timeout;
	const char *unique_key;
	const char *on_duplicate; /* NULL: as configured of the function, else 'skip' */
	const char *run_as;
	Datum tags; /* text[], 0: none */
	Jsonb *parameters;
	bool plain_session; /* the caller's settings are not captured */
} BgjobOptions;

extern void bgjob_invalid(const char *message, const char *detail, const char *hint);
extern int bgjob_choice(const char *name, const char *value, const char *const *values);
extern void bgjob_check_interval(const char *name, const Interval *interval,
								 const char *meaning, const char *hint);
extern TimestampTz bgjob_delayed(TimestampTz now, const Interval *delay);
extern void bgjob_check_queue_name(const char *queue);
extern void bgjob_check_unique_key(const char *key);
extern void bgjob_check_retention(const Interval *retention);
extern BgjobDuplicate bgjob_duplicate_by_name(const char *name);
extern void bgjob_options_check(const BgjobOptions *options);
extern bool
bgjob_options_time(const BgjobOptions *options, TimestampTz now, TimestampTz *run_at);
extern void
bgjob_options_change(const BgjobOptions *options, BgjobJob *job, BgjobCircumstances *what);
extern void bgjob_option_by_name(BgjobOptions *options, const char *name, const char *value);
extern void bgjob_option_refuse(const char *option);

#endif /* BGJOB_API_OPTIONS_H */
