/*-------------------------------------------------------------------------
 *
 * history.h
 *	  Entries of a job's history that its row no longer holds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_HISTORY_H
#define BGJOB_STORE_HISTORY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/jobrow.h"
#include "utils/jsonb.h"

extern void bgjob_history_archive(BgjobJob *job);
extern void bgjob_history_archive_failure(BgjobJob *job, TimestampTz at, const char *message,
										  const Jsonb *error);
extern bool bgjob_history_note(int64 job, BgjobState state, TimestampTz at, const char *reason);
extern bool bgjob_history_is_first(const BgjobJob *job);
extern TimestampTz bgjob_history_waiting_since(const BgjobJob *job);
extern void bgjob_history_delete(int64 job);
extern Jsonb *bgjob_history_time(const char *name, TimestampTz at);
extern char *bgjob_history_message(const Jsonb *error);
extern char *bgjob_history_sqlstate(const Jsonb *error);

#endif /* BGJOB_STORE_HISTORY_H */
