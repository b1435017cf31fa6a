/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The worker as a whole: its slots, what it fetches, and how it leaves.
 *
 * One process, one loop (client/loop.c). In each turn handlers, the connection and
 * timers have their say; then worker_turn sends what there is to send (session.c),
 * waits for work if slots are free (await.c), and looks whether the end has come.
 *
 * The mode only rises: running, quiet (SIGUSR1), stopping (SIGTERM, or the number of
 * jobs is reached), ending (a second SIGTERM, or the grace time is over). Beside it
 * an administrator may pause the worker, and resume it.
 *
 * Stopping waits for the jobs for the grace time, then ends their handlers and gives
 * the jobs back; then persistent handlers leave, answers are sent, the program ends.
 * Without a connection this waits no longer than the last limit: the server gives
 * the jobs to others when it misses this worker.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/worker.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/notify.h"
#include "worker/answers.h"
#include "worker/await.h"
#include "worker/config.h"
#include "worker/outcome.h"
#include "worker/session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#define LAST_LIMIT    (5 * LOOP_SEC)  /* for answers, when all handlers have ended */
#define UNKNOWN_QUIET (60 * LOOP_SEC) /* between two warnings of the same job name */

const double worker_bucket_limits[WORKER_BUCKETS] = {0.001, 0.005, 0.025, 0.1, 0.5,  1,
													 5,     15,    60,    300, 1800, 7200};

Worker worker = {.usual_duration = LOOP_SEC};

static LoopTimer stop_timer; /* end of the grace time, or the last limit */
static LoopTimer wake_timer;
static char *warned_of = NULL;
static int64_t warned_at = 0;

/* worker_open makes the slots. */
void
worker_open(void)
{
	worker.slots = mem_zero(config.concurrency * sizeof(Slot));
	for (int i = 0; i < config.concurrency; i++)
		slot_init(&worker.slots[i], i);
}

/* worker_find returns the slot that has a job, and has not lost it; null if there is none. */
Slot *
worker_find(int64_t job)
{
	for (int i = 0; i < config.concurrency; i++)
	{
		Slot *slot = &worker.slots[i];

		if (slot->job != NULL && slot->job->id == job && slot->verdict != VERDICT_DROP)
			return slot;
	}
	return NULL;
}

/* worker_wanted returns how many jobs can begin now. */
int
worker_wanted(void)
{
	int wanted = 0;

	if (worker.mode != WORKER_RUNNING || worker.paused || worker.busy == config.concurrency)
		return 0;
	for (int i = 0; i < config.concurrency; i++)
		wanted += slot_is_usable(&worker.slots[i]);
	if (config.max_jobs > 0 && wanted > config.max_jobs - worker.taken)
		wanted = (int) (config.max_jobs - worker.taken);
	return wanted;
}

static bool
is_known(const char *name)
{
	if (config.jobs == NULL)
		return true;
	for (char **known = config.jobs; *known != NULL; known++)
		if (strcmp(*known, name) == 0)
			return true;
	return false;
}

/* worker_warn_unknown warns of a job that the handler does not know, not of each one of that name. */
void
worker_warn_unknown(const Job *job)
{
	worker.counts.unknown++;
	if (warned_of != NULL && strcmp(warned_of, job->name) == 0 &&
		loop_now() - warned_at < UNKNOWN_QUIET)
		return;
	free(warned_of);
	warned_of = mem_copy(job->name);
	warned_at = loop_now();
	log_warning(
		"job %lld: the handler does not know \"%s\"; it is given back with a delay of %lld s",
		(long long) job->id, job->name, (long long) (config.unknown_delay / LOOP_SEC));
}

/* give_back answers a job that was not begun. */
static void
give_back(Job *job, double delay)
{
	Answer *answer = answer_make(job, ANSWER_RELEASE);

	answer->delay = delay;
	session_answer(answer);
	free(job);
}

/* free_slot returns a slot that can begin a job, one with a handler first. */
static Slot *
free_slot(void)
{
	Slot *found = NULL;

	for (int i = 0; i < config.concurrency; i++)
	{
		Slot *slot = &worker.slots[i];

		if (!slot_is_usable(slot))
			continue;
		if (slot->process.pid > 0)
			return slot;
		if (found == NULL)
			found = slot;
	}
	return found;
}

/*
 * end_earlier ends an attempt at a job that has been fetched again: somebody has
 * requeued it, or its lease was lost. The server tells attempts apart only by who
 * answers, so an answer of the earlier one must not be sent any more.
 */
static void
end_earlier(int64_t job)
{
	Slot *slot = worker_find(job);

	answers_drop(job);
	if (slot == NULL)
		return;
	log_info("job %lld: begins again; the handler of its earlier attempt is ended",
			 (long long) job);
	worker.counts.canceled++;
	slot_end(slot, VERDICT_DROP, NULL);
}

/* worker_take begins a job that was fetched, or gives it back. The job is freed here or by its slot. */
void
worker_take(Job *job)
{
	Slot *slot = worker.mode == WORKER_RUNNING ? free_slot() : NULL;

	end_earlier(job->id);
	worker.counts.fetched++;
	if (slot == NULL)
		give_back(job, -1);
	else if (!is_known(job->name))
	{
		worker_warn_unknown(job);
		give_back(job, (double) config.unknown_delay / LOOP_SEC);
	}
	else
	{
		worker.taken++;
		slot_perform(slot, job);
	}
}

/* worker_observe notes how long a job took: the usual duration is a moving average, but grows at once to that of a job that took long. */
void
worker_observe(const Job *job)
{
	int64_t took = loop_now() - job->started_at;
	int bucket = 0;

	while (bucket < WORKER_BUCKETS && (double) took / LOOP_SEC > worker_bucket_limits[bucket])
		bucket++;
	worker.counts.buckets[bucket]++;
	/* Answers have waited for a job that took so long: they do not for a while. */
	if (took >= WORKER_GATHER && took > worker.usual_duration)
		worker.usual_duration = took;
	else
		worker.usual_duration += (took - worker.usual_duration) / 16;
	worker.counts.durations += took;
}

/* worker_expects_answers returns whether a job that has just begun will probably end at once. */
bool
worker_expects_answers(void)
{
	if (worker.usual_duration > WORKER_QUICK)
		return false;
	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].job != NULL &&
			loop_now() - worker.slots[i].job->started_at < WORKER_GATHER)
			return true;
	return false;
}

/* worker_lose_all ends the handlers of jobs that went with the connection. */
void
worker_lose_all(void)
{
	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].job != NULL && worker.slots[i].verdict != VERDICT_DROP)
		{
			log_warning("job %lld: lost with the connection; its handler is ended",
						(long long) worker.slots[i].job->id);
			worker.counts.lost++;
			slot_end(&worker.slots[i], VERDICT_DROP, NULL);
		}
}

static void
wake_due(LoopTimer *timer)
{
	worker.changed = true;
}

/* worker_wake_at has the loop turn at a time, at the latest. */
void
worker_wake_at(int64_t at)
{
	if (wake_timer.place == 0 || wake_timer.at > at)
		loop_set(&wake_timer, at, wake_due, NULL);
}

static void
last_limit_due(LoopTimer *timer)
{
	log_error("leaving although %d jobs and %d answers are left", worker.busy,
			  session_unanswered());
	worker.exit_code = EX_UNAVAILABLE;
	worker.over = true;
}

/* end_handlers ends the handlers of all jobs, which are given back. */
static void
end_handlers(bool at_once)
{
	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].process.pid > 0)
		{
			if (worker.slots[i].job != NULL)
				slot_end(&worker.slots[i], VERDICT_RELEASE, NULL);
			if (at_once)
				slot_kill(&worker.slots[i]);
		}
	loop_set(&stop_timer, loop_now() + (at_once ? 0 : config.kill_after) + LAST_LIMIT,
			 last_limit_due, NULL);
}

static void
grace_due(LoopTimer *timer)
{
	if (worker.busy > 0)
		log_warning("the grace time is over: %d jobs are given back", worker.busy);
	end_handlers(false);
}

/* worker_stop begins to leave. */
void
worker_stop(const char *why)
{
	if (worker.mode >= WORKER_STOPPING)
		return;
	worker.mode = WORKER_STOPPING;
	log_info("%s: leaving, %d jobs are being performed", why, worker.busy);
	notify_send("STOPPING=1");
	loop_set(&stop_timer, loop_now() + config.grace, grace_due, NULL);
}

/* worker_fail leaves at once, with an exit code of sysexits.h; bound jobs go back by themselves. */
void
worker_fail(int exit_code)
{
	worker.mode = WORKER_ENDING;
	worker.exit_code = exit_code;
	worker.over = true;
}

/* replace_handlers has persistent handlers leave when they have no job; the next job starts new ones. */
static void
replace_handlers(void)
{
	log_info("handlers are replaced");
	for (int i = 0; i < config.concurrency; i++)
	{
		Slot *slot = &worker.slots[i];

		slot->usable_at = 0;
		if (slot->process.pid > 0 && slot->job != NULL)
			slot->replace = config.persistent;
		else
			slot_leave(slot);
	}
}

/* reap_handlers deals with all processes that have ended. */
static void
reap_handlers(void)
{
	siginfo_t info;

	while (true)
	{
		Slot *slot = NULL;

		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
			return;
		for (int i = 0; i < config.concurrency && slot == NULL; i++)
			if (worker.slots[i].process.pid == info.si_pid)
				slot = &worker.slots[i];
		if (slot != NULL)
			slot_exited(slot);
		else
			waitpid(info.si_pid, NULL, 0);
	}
}

/* worker_signal is called in the loop for each signal. */
void
worker_signal(int signal)
{
	if (signal == SIGCHLD)
		reap_handlers();
	else if (signal == SIGHUP)
		replace_handlers();
	else if (signal == SIGUSR1)
	{
		if (worker.mode == WORKER_RUNNING)
		{
			worker.mode = WORKER_QUIET;
			log_info("quiet: no more jobs are fetched, %d are being performed", worker.busy);
		}
	}
	else if (worker.mode < WORKER_STOPPING)
		worker_stop(strsignal(signal));
	else if (worker.mode == WORKER_STOPPING)
	{
		worker.mode = WORKER_ENDING;
		log_warning("%s again: %d jobs are given back at once", strsignal(signal), worker.busy);
		end_handlers(true);
	}
	else
		last_limit_due(NULL);
}

/* is_done returns whether the worker has done what it was started for. */
static bool
is_done(void)
{
	if (config.max_jobs > 0 && worker.taken >= config.max_jobs)
		return true;
	return (config.drain || config.once) && worker.busy == 0 && session_found_none();
}

/* leave ends the program when nothing is left to do. */
static void
leave(void)
{
	bool left = false;

	if (worker.busy > 0 || session_unanswered() > 0)
		return;
	for (int i = 0; i < config.concurrency; i++)
		if (worker.slots[i].process.pid > 0)
		{
			slot_leave(&worker.slots[i]);
			left = true;
		}
	if (!left)
		worker.over = true;
}

/* worker_turn ends each turn of the loop. */
void
worker_turn(void)
{
	if (worker.mode < WORKER_STOPPING && is_done())
		worker_stop(config.max_jobs > 0 ? "the number of jobs is reached" : "no job is ready");
	session_turn();
	await_turn();
	if (worker.mode >= WORKER_STOPPING)
		leave();
	worker.changed = false;
}

void
worker_close(void)
{
	for (int i = 0; i < config.concurrency; i++)
	{
		process_signal(&worker.slots[i].process, SIGKILL);
		slot_free(&worker.slots[i]);
	}
	free(worker.slots);
	free(warned_of);
}
