/*-------------------------------------------------------------------------
 *
 * enqueue.h
 *	  Putting jobs in: from SQL and from triggers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_ENQUEUE_H
#define BGJOB_API_ENQUEUE_H

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
	const char *on_duplicate; /* NULL: 'skip' */
	const char *run_as;
	Datum tags; /* text[], 0: none */
	Jsonb *parameters;
	bool plain_session; /* the caller's settings are not captured */
} BgjobOptions;

/* Options that have been checked, ready for any number of jobs. */
typedef struct BgjobTemplate BgjobTemplate;

extern void bgjob_check_queue_name(const char *queue);
extern void bgjob_check_retention(const Interval *retention);
extern void bgjob_options_check(const BgjobOptions *options);
extern BgjobDuplicate bgjob_duplicate_by_name(const char *name);

extern BgjobTemplate *
bgjob_template_create(const BgjobOptions *options, const Jsonb *first_args);
extern const BgjobJob *
bgjob_template_job(BgjobTemplate *template, const Jsonb *args, BgjobDuplicate *on_duplicate);
extern int64 bgjob_template_enqueue(BgjobTemplate *template, const Jsonb *args);
extern void bgjob_template_expect_many(BgjobTemplate *template);
extern bool bgjob_template_wants_all(const BgjobTemplate *template);
extern void
bgjob_options_change(const BgjobOptions *options, BgjobJob *job, BgjobCircumstances *what);
extern void bgjob_template_free(BgjobTemplate *template);
extern void bgjob_option_by_name(BgjobOptions *options, const char *name, const char *value);

#endif /* BGJOB_API_ENQUEUE_H */
