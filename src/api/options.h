/*-------------------------------------------------------------------------
 *
 * options.h
 *	  Checks the options of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_OPTIONS_H
#define BGJOB_API_OPTIONS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/job.h"
#include "store/option.h"

/* A job and its options, as passed by the caller. */
typedef struct BgjobOptions
{
	const char *job;
	const char *kind;
	BgjobOptionSet set;
	bool plain_session;         /* the caller's settings are not captured */
	const BgjobOptionSet *kept; /* checked options, for what "set" does not give; NULL: none */
} BgjobOptions;

extern void bgjob_check_signal_name(const char *name);
extern void bgjob_invalid(const char *message, const char *detail, const char *hint);
extern int bgjob_choice(const char *name, const char *value, const char *const *values);
extern void bgjob_check_interval(const char *name, const Interval *interval,
								 const char *meaning, const char *hint);
extern TimestampTz bgjob_delayed(TimestampTz now, const Interval *delay);
extern void bgjob_check_queue_name(const char *queue);
extern void bgjob_check_unique_key(const char *key);
extern void bgjob_check_key(const char *name, const char *key);
extern void bgjob_check_limits(Datum limits);
extern void bgjob_check_retention(const Interval *retention);
extern void bgjob_options_check(BgjobOptionSet *set);
extern bool bgjob_options_time(const BgjobOptionSet *set, TimestampTz now, TimestampTz *run_at);
extern void bgjob_options_change(BgjobOptionSet *set, BgjobJob *job, BgjobCircumstances *what);
extern void bgjob_option_from_text(BgjobOptionSet *set, BgjobOption option, const char *value);

#endif /* BGJOB_API_OPTIONS_H */
