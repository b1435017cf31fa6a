/*-------------------------------------------------------------------------
 *
 * enqueue.h
 *	  Enqueues jobs from SQL and from triggers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_ENQUEUE_H
#define BGJOB_API_ENQUEUE_H

#include "postgres.h"

#include "api/options.h"
#include "store/job.h"
#include "store/unique.h"
#include "utils/jsonb.h"

/* Checked options, from which any number of jobs are inserted. */
typedef struct BgjobTemplate BgjobTemplate;

extern BgjobTemplate *
bgjob_template_create(const BgjobOptions *options, const Jsonb *first_args);
extern const BgjobJob *
bgjob_template_job(BgjobTemplate *template, const Jsonb *args, BgjobDuplicate *on_duplicate);
extern int64 bgjob_template_enqueue(BgjobTemplate *template, const Jsonb *args);
extern void bgjob_template_expect(BgjobTemplate *template, int n);
extern bool bgjob_template_wants_all(const BgjobTemplate *template);
extern void bgjob_template_free(BgjobTemplate *template);
extern void bgjob_check_arguments(Oid func, const char *command, const Jsonb *args, Oid run_as);

#endif /* BGJOB_API_ENQUEUE_H */
