/*-------------------------------------------------------------------------
 *
 * life.c
 *	  Signs of life: the heartbeat for all jobs that this worker has, and what the
 *	  server has to say of them and of the worker.
 *
 * One is due every --heartbeat while jobs are performed or the worker is paused, and
 * every IDLE_HEARTBEAT otherwise. It extends the leases, also those of jobs whose
 * answers have not been confirmed. Its answer ends handlers: of jobs that were
 * deleted, requeued, that are out of time or that somebody else has. An administrator
 * pauses and removes the worker by it.
 *
 * The worker counts a lease from the moment at which it asked for it, which is before
 * the server does: it never believes longer in a lease than the server.
 *
 * By the session (session.c), which ends the transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/life.h"
#include "client/log.h"
#include "client/loop.h"
#include "worker/answers.h"
#include "worker/config.h"
#include "worker/session.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define IDLE_HEARTBEAT (30 * LOOP_SEC)

static int64_t next = 0;
static int64_t sent_at;
static bool quiet_asked = false; /* commands of the heartbeat on its way */
static bool terminate_asked = false;

/* life_soon has the next sign of life given at once. */
void
life_soon(void)
{
	next = loop_now();
}

/* life_due returns when the next sign of life is due. */
int64_t
life_due(void)
{
	/* A slot may have got a job since the idle worker's last one. */
	if (worker.busy > 0 && next > loop_now() + config.heartbeat)
		next = loop_now() + config.heartbeat;
	return next;
}

/* life_send sends the sign of life, for jobs that are performed and for answers that wait. */
void
life_send(bool ask_whether_bound)
{
	static Buffer ids;
	PipelineValue values[3];
	int count = answers_left();

	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].job != NULL && worker.slots[i].verdict != VERDICT_DROP)
			count++;
	array_begin(&ids, TYPE_INT8, count);
	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].job != NULL && worker.slots[i].verdict != VERDICT_DROP)
			array_add_int64(&ids, worker.slots[i].job->id);
	answers_add_ids(&ids);
	values[0] = pipeline_text(config.name);
	values[1] = pipeline_array(&ids);
	values[2] = pipeline_text(config.lease_text);
	quiet_asked = terminate_asked = false;
	sent_at = loop_now();
	pipeline_send(STATEMENT_HEARTBEAT, values, 3);
	if (ask_whether_bound)
		pipeline_send(STATEMENT_BOUND, values, 1);
	next = loop_now() + (worker.busy > 0 || worker.paused || config.heartbeat > IDLE_HEARTBEAT
							 ? config.heartbeat
							 : IDLE_HEARTBEAT);
}

/* command_of carries out what the answer to a heartbeat says of a job. */
static void
command_of(int64_t id, const char *command)
{
	Slot *slot = worker_find(id);

	if (strcmp(command, "continue") == 0)
	{
		if (slot != NULL && slot->verdict == VERDICT_NONE)
			slot_extend(slot, sent_at + config.lease);
		return;
	}
	if (slot == NULL || slot->verdict == VERDICT_DROP)
		return;
	if (strcmp(command, "cancel") == 0)
	{
		log_info("job %lld: canceled; its handler is ended", (long long) id);
		worker.counts.canceled++;
	}
	else
	{
		log_warning("job %lld: its lease was lost; its handler is ended", (long long) id);
		worker.counts.lost++;
	}
	slot_end(slot, VERDICT_DROP, NULL);
}

/* life_told takes the rows of a heartbeat; those without an id are for the worker. */
void
life_told(const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		const char *command = PQgetvalue(result, row, 1);

		if (!PQgetisnull(result, row, 0))
			command_of(strtoll(PQgetvalue(result, row, 0), NULL, 10), command);
		else if (strcmp(command, "quiet") == 0)
			quiet_asked = true;
		else if (strcmp(command, "terminate") == 0)
			terminate_asked = true;
	}
}

/* life_ended carries out what a heartbeat says of the worker. */
void
life_ended(const PipelineEnd *end)
{
	if (end->failed)
	{
		log_warning("could not give a sign of life: %s", end->message);
		return;
	}
	if (worker.paused != quiet_asked)
		log_info(quiet_asked ? "paused by an administrator" : "resumed by an administrator");
	if (worker.paused && !quiet_asked)
		session_expect_work();
	worker.paused = quiet_asked;
	if (terminate_asked)
		worker_stop("removed by an administrator");
}
