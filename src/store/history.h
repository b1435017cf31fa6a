/*-------------------------------------------------------------------------
 *
 * history.h
 *	  Entries of a job's history that its row no longer tells.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_HISTORY_H
#define BGJOB_STORE_HISTORY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "utils/jsonb.h"

extern void bgjob_history_insert(int64 job, int seq, BgjobState state, TimestampTz at,
								 const char *reason, const Jsonb *data);
extern void bgjob_history_delete(int64 job);

/* What an entry says beside its time, as api.md has it. */
extern Jsonb *bgjob_history_enqueued(const char *queue);
extern Jsonb *bgjob_history_time(const char *name, TimestampTz at);
extern Jsonb *bgjob_history_scheduled(TimestampTz run_at);
extern Jsonb *bgjob_history_processing(int worker_pid, int attempt);
extern Jsonb *bgjob_history_succeeded(TimestampTz entered_at, TimestampTz started_at,
									  TimestampTz finished_at);
extern char *bgjob_history_message(const Jsonb *error);

#endif /* BGJOB_STORE_HISTORY_H */
