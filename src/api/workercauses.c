/*-------------------------------------------------------------------------
 *
 * workercauses.c
 *	  What may hold a job up: servers, workers, and the jobs before it.
 *
 * The causes of the table in api/causes.c that are about who takes the queue of the job.
 * A queue may be taken by several servers; then their workers count, and no others.
 *
 * Runs in the calling session. No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/rights.h"
#include "api/workercauses.h"
#include "base/externalworkers.h"
#include "base/guc.h"
#include "base/slot.h"
#include "base/slots.h"
#include "miscadmin.h"
#include "store/behind.h"
#include "utils/timestamp.h"

/* So many jobs are counted before a job. */
#define BEHIND_AT_MOST 1000

/* A worker is started within so many microseconds, as a rule. */
#define PATIENCE USECS_PER_SEC

/* ---- the servers ---- */

/* bgjob_cause_server_paused: all servers that take the queue are paused. */
bool
bgjob_cause_server_paused(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobQueueService *queue = situation->queue;

	if (!queue->server_paused)
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   queue->nservers == 1
				   ? psprintf("Server \"%s\" is paused.", queue->server)
				   : psprintf("All servers that take queue \"%s\" are paused.", queue->name),
			   "An administrator can resume a server with bgjob_server_resume().");
}

/* bgjob_cause_no_workers_allowed: the settings allow no workers. */
bool
bgjob_cause_no_workers_allowed(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (situation->queue->allowed != 0 && bgjob_max_workers != 0)
		return false;
	return answer == NULL || bgjob_answer_say(answer,
											  bgjob_max_workers == 0 ? "bgjob.max_workers is 0."
																	 : "bgjob.workers is 0.",
											  BGJOB_HINT_RELOAD);
}

/* bgjob_cause_not_in_queues: no server takes the queue. */
bool
bgjob_cause_not_in_queues(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const char *name = situation->queue->name;

	if (situation->queue->level >= 0)
		return false;
	if (answer == NULL)
		return true;
	if (!bgjob_service_has_servers(situation->service))
		return bgjob_answer_say(answer,
								psprintf("bgjob.queues does not name queue \"%s\".", name),
								BGJOB_HINT_RELOAD);
	return bgjob_answer_say(answer, psprintf("No server takes queue \"%s\".", name),
							"An administrator can have a server take it with bgjob_server().");
}

/* ---- the other jobs, and the workers ---- */

/* Counts the jobs before the job in the tables. */
static bool
count_behind(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobBehind behind =
		bgjob_behind(situation->job, situation->external ? "*" : situation->queue->list,
					 bgjob_service_paused(situation->service), BEHIND_AT_MOST + 1);
	const char *detail;

	if (behind.jobs == 0 && behind.all)
		return false;
	if (behind.jobs > BEHIND_AT_MOST)
		detail = "More than 1,000 jobs stand before it.";
	else if (behind.jobs == 1 && behind.all)
		detail = "1 job stands before it.";
	else
		detail = psprintf("%s" INT64_FORMAT " jobs stand before it.",
						  behind.all ? "" : "At least ", behind.jobs);
	return bgjob_answer_say(answer, detail,
							"More workers, or a higher priority, let it start earlier.");
}

/* bgjob_cause_behind_others: other jobs of the role are taken before. */
bool
bgjob_cause_behind_others(const BgjobSituation *situation, BgjobAnswer *answer)
{
	BgjobTurn turn = {.level = situation->queue->level,
					  .priority = situation->priority,
					  .pos = situation->pos};

	if (!bgjob_situation_in_queue(situation) || situation->queue->paused)
		return false;
	if (situation->external)
		return answer != NULL && count_behind(situation, answer);
	if (!bgjob_situation_queue_is_taken(situation))
		return false;
	if (answer != NULL)
		return count_behind(situation, answer);
	return situation->role->has_first && bgjob_turn_is_before(&situation->role->first, &turn);
}

/* Counts the external workers that take a queue, as far as they are known; *paused: those of them that are paused. */
static int
count_external(const char *queue, int *paused)
{
	int n;
	const BgjobExternalWorker *workers = bgjob_external_workers_list(MyDatabaseId, &n);
	int count = 0;

	*paused = 0;
	for (int i = 0; i < n; i++)
	{
		if (!bgjob_may_see(workers[i].role) || workers[i].queues[0] == '\0' ||
			bgjob_queue_level(workers[i].queues, queue) < 0)
			continue;
		count++;
		*paused += workers[i].command != BGJOB_EXTERNAL_GO_ON;
	}
	return count;
}

/* bgjob_cause_to_be_fetched: an external worker has to fetch the job. */
bool
bgjob_cause_to_be_fetched(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const char *queue = situation->queue->name;
	int paused;
	int n;

	if (!situation->external || !bgjob_situation_in_queue(situation) ||
		situation->queue->paused)
		return false;
	if (answer == NULL)
		return true;
	n = count_external(queue, &paused);
	if (n == 0)
		return bgjob_answer_say(
			answer,
			psprintf("No external worker has asked for jobs of queue \"%s\" lately.", queue),
			"Have one call bgjob_fetch().");
	if (n == paused)
		return bgjob_answer_say(
			answer, psprintf("All external workers that take queue \"%s\" are paused.", queue),
			"An administrator can resume a worker with bgjob_server_resume().");
	return bgjob_answer_say(
		answer,
		n == 1
			? psprintf("The external worker that takes queue \"%s\" has not fetched it yet.",
					   queue)
			: psprintf("None of the %d external workers that take queue \"%s\" has fetched it "
					   "yet.",
					   n, queue),
		NULL);
}

/* Returns whether the job lacks a worker, and none can be started for it now. */
static bool
lacks_worker(const BgjobSituation *situation)
{
	BgjobDatabase *entry = bgjob_service_entry(situation->service);

	return bgjob_situation_in_queue(situation) && bgjob_situation_queue_is_taken(situation) &&
		   bgjob_situation_to_be_served(situation) && entry != NULL && entry->ready &&
		   situation->queue->allowed > 0 && situation->role->free == 0 &&
		   situation->queue->saturated;
}

/* Says how many workers there are, and, if there may be no more, so. */
static bool
explain_busy(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobQueueService *queue = situation->queue;
	bool plain = !bgjob_service_has_servers(situation->service);
	int of_role = situation->role->workers;
	const char *detail;

	if (of_role == 0)
		detail = psprintf("Role \"%s\" has none of the %d workers of %s.",
						  bgjob_situation_role(situation), queue->workers,
						  plain ? "the database" : "the servers that take the queue");
	else if (of_role == 1)
		detail =
			psprintf("The worker of role \"%s\" is busy.", bgjob_situation_role(situation));
	else
		detail = psprintf("All %d workers of role \"%s\" are busy.", of_role,
						  bgjob_situation_role(situation));
	return bgjob_answer_say(
		answer, detail,
		queue->workers < queue->allowed ? NULL
		: plain
			? psprintf("Increase bgjob.workers (%d), or make the jobs shorter.", queue->allowed)
			: psprintf("Increase the workers (%d) of a server that takes the queue, or make "
					   "the jobs shorter.",
					   queue->allowed));
}

/* bgjob_cause_all_busy: no worker of the role is free, and there can be no other now. */
bool
bgjob_cause_all_busy(const BgjobSituation *situation, BgjobAnswer *answer)
{
	return lacks_worker(situation) && (answer == NULL || explain_busy(situation, answer));
}

/* Returns what the role of the job would need another worker for. */
static BgjobNeed
need_of(const BgjobSituation *situation)
{
	if (bgjob_count_workers(MyDatabaseId, InvalidOid) == 0)
		return BGJOB_NEED_DATABASE;
	return situation->role->workers == 0 ? BGJOB_NEED_ROLE : BGJOB_NEED_MORE;
}

/* bgjob_cause_as_many_as_max_workers: bgjob.max_workers allows no other worker. */
bool
bgjob_cause_as_many_as_max_workers(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!lacks_worker(situation) ||
		bgjob_slots_workers() < bgjob_slots_worker_limit(need_of(situation)))
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   psprintf("bgjob.max_workers (%d) allows no more workers in all databases.",
						bgjob_max_workers),
			   BGJOB_HINT_RELOAD);
}

/* bgjob_cause_no_slot: the servers may have another worker, and no slot is free for it. */
bool
bgjob_cause_no_slot(const BgjobSituation *situation, BgjobAnswer *answer)
{
	if (!lacks_worker(situation) || situation->queue->workers >= situation->queue->allowed ||
		bgjob_slots_used() < bgjob_slots_most(need_of(situation)))
		return false;
	return answer == NULL ||
		   bgjob_answer_say(
			   answer,
			   psprintf("No slot of max_worker_processes (%d) is free for another worker.",
						max_worker_processes),
			   BGJOB_HINT_SLOTS);
}

/* Returns since when a job waits. */
static TimestampTz
waits_since(const BgjobJob *job)
{
	return bgjob_job_time(job, bgjob_job_is_null(job, BGJOB_C_ENTERED_AT) ? BGJOB_C_CREATED_AT
																		  : BGJOB_C_ENTERED_AT);
}

/* bgjob_cause_none_starts: the role has no worker and could have one, and none has come for a while: as a rule they fail to start. */
bool
bgjob_cause_none_starts(const BgjobSituation *situation, BgjobAnswer *answer)
{
	const BgjobDatabase *entry = bgjob_service_entry(situation->service);

	if (answer == NULL || !bgjob_situation_in_queue(situation) ||
		!bgjob_situation_queue_is_taken(situation) || entry == NULL || !entry->ready ||
		situation->role->workers > 0 || lacks_worker(situation) ||
		bgjob_service_time(situation->service) - waits_since(situation->job) < PATIENCE)
		return false;
	return bgjob_answer_say(
		answer, psprintf("Role \"%s\" has no worker yet.", bgjob_situation_role(situation)),
		"If no worker comes, the server log says why it could not be started.");
}
