/*-------------------------------------------------------------------------
 *
 * counts.h
 *	  SQL functions about the number of jobs in each state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_COUNTS_H
#define BGJOB_API_COUNTS_H

#include "postgres.h"

#include "base/registry.h"
#include "commands/trigger.h"

extern bool bgjob_counted_later(const BgjobDatabase *entry);
extern void bgjob_counted_request(void);
extern void bgjob_count_applied(const TriggerData *trigger);

#endif /* BGJOB_API_COUNTS_H */
