/*-------------------------------------------------------------------------
 *
 * outcome.h
 *	  What came of a job: see outcome.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_OUTCOME_H
#define BGJOB_WORKER_OUTCOME_H

#include "client/json.h"
#include "worker/slot.h"

extern void outcome_success(Slot *slot, JsonValue result);
extern void
outcome_failure(Slot *slot, const char *error, size_t len, JsonValue detail, bool retry);
extern void outcome_unknown(Slot *slot);
extern void outcome_release(Slot *slot, double delay);
extern void outcome_not_started(Slot *slot, const char *why);
extern void outcome_exited(Slot *slot, int status, int exec_errno);
extern const char *outcome_status(int status);

#endif
