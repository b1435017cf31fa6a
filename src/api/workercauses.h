/*-------------------------------------------------------------------------
 *
 * workercauses.h
 *	  What may hold a job up: servers, workers, and the jobs before it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_WORKERCAUSES_H
#define BGJOB_API_WORKERCAUSES_H

#include "postgres.h"

#include "api/situation.h"

extern bool bgjob_cause_server_paused(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool
bgjob_cause_no_workers_allowed(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_not_in_queues(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_to_be_fetched(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_behind_others(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_all_busy(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool
bgjob_cause_as_many_as_max_workers(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_no_slot(const BgjobSituation *situation, BgjobAnswer *answer);
extern bool bgjob_cause_none_starts(const BgjobSituation *situation, BgjobAnswer *answer);

#endif /* BGJOB_API_WORKERCAUSES_H */
