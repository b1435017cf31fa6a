/*-------------------------------------------------------------------------
 *
 * summary.h
 *	  What the map of jobs (base/jobmap.h) is told of a job's row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SUMMARY_H
#define BGJOB_STORE_SUMMARY_H

#include "postgres.h"

#include "base/jobmap.h"
#include "store/jobrow.h"

extern void bgjob_summary_add(BgjobMapNote *note, const Datum *values, const bool *nulls);
extern void bgjob_summary_written(const BgjobJob *job, bool updated);
extern void bgjob_summary_written_many(const BgjobJob *job, int64 first, int n);
extern void bgjob_summary_removed(int64 job);
extern void bgjob_summary_add_queue(BgjobMapNames *names, const char *queue);
extern void bgjob_summary_add_call(BgjobMapNames *names, int64 call);
extern void bgjob_summary_add_command(BgjobMapNames *names, Size length);
extern void bgjob_summary_add_role(BgjobMapNames *names, Oid role);
extern void bgjob_summary_add_tag(BgjobMapNames *names, const char *tag);
extern void bgjob_summary_add_batch(BgjobMapNames *names, int64 batch);

#endif /* BGJOB_STORE_SUMMARY_H */
