/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  A place for one job at a time, and the handler there.
 *
 * A slot is free (no job, no process, or a persistent handler that waits), has a
 * job, or is ending: its handler has got SIGTERM, after --kill-after SIGKILL, and the
 * slot is free again when it has exited. What becomes of the job then is the verdict;
 * the first one counts.
 *
 *	  reason for the end						verdict		answer
 *	  -									NONE		by the exit code (outcome.c)
 *	  canceled, lost, out of time				DROP		none: the server knows
 *	  output too large, breach of protocol	FAIL		bgjob_fail()
 *	  the worker leaves						RELEASE		bgjob_release()
 *
 * A handler that has exited is over although children of it may hold its pipes: what
 * is in the pipes is read, the rest of its process group is killed.
 *
 * A persistent handler that ends before its first answer is started again after a
 * pause, so that one that cannot start does not fail all jobs of a queue at once.
 *
 * How one handler for each job speaks is oneshot.c, a persistent one persistent.c.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/slot.h"
#include "client/log.h"
#include "client/memory.h"
#include "worker/config.h"
#include "worker/oneshot.h"
#include "worker/outcome.h"
#include "worker/persistent.h"
#include "worker/report.h"
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536
#define DRAIN_LIMIT                                                                            \
	(INT64_C(16) * 1024 * 1024) /* bytes read after the exit, but for the result */
#define STUCK_AFTER   (5 * LOOP_SEC)
#define RESTART_FIRST (LOOP_SEC / 2)
#define RESTART_LAST  (30 * LOOP_SEC)

static void out_ready(LoopFd *fd, int events);
static void err_ready(LoopFd *fd, int events);
static void note_ready(LoopFd *fd, int events);
static void in_ready(LoopFd *fd, int events);

void
slot_init(Slot *slot, int number)
{
	memset(slot, 0, sizeof(*slot));
	slot->number = number;
	process_init(&slot->process);
}

/* slot_is_usable returns whether a job can be given to it now. */
bool
slot_is_usable(const Slot *slot)
{
	if (slot->process.pid > 0 && (slot->ending || slot->process.ends[PIPE_OUT] < 0))
		return false;
	return slot->job == NULL && slot->usable_at <= loop_now();
}

/* read_pipe reads once from a pipe into a buffer. False: nothing more comes now; at the end it is closed. */
static bool
read_pipe(Slot *slot, ProcessPipe pipe, char *bytes, ssize_t *len)
{
	*len = read(slot->process.ends[pipe], bytes, READ_SIZE);
	if (*len > 0)
		return true;
	if (*len == 0 || (errno != EAGAIN && errno != EINTR))
		process_close(&slot->process, pipe);
	return false;
}

/* read_err reads standard error, or descriptor 3; false: nothing was there. */
static ssize_t
read_side(Slot *slot, ProcessPipe pipe)
{
	char bytes[READ_SIZE];
	ssize_t len;

	if (slot->process.ends[pipe] < 0 || !read_pipe(slot, pipe, bytes, &len))
		return 0;
	if (pipe == PIPE_ERR)
		output_stderr(&slot->output, slot->job, bytes, len);
	else
		output_notes(&slot->output, slot->job, bytes, len);
	return len;
}

/* read_out reads from standard output; returns whether there may be more. */
static bool
read_out(Slot *slot)
{
	ssize_t len;

	if (slot->process.ends[PIPE_OUT] < 0 ||
		!read_pipe(slot, PIPE_OUT, buffer_room(&slot->from_handler, READ_SIZE), &len))
		return false;
	slot->from_handler.len += len;
	if ((int64_t) slot->from_handler.len <= config.max_output)
		return true;
	buffer_clear(&slot->from_handler);
	process_close(&slot->process, PIPE_OUT);
	slot_end(slot, VERDICT_FAIL, "the output of the handler is larger than --max-output");
	return false;
}

/* silent_due ends a persistent handler that has closed its output and did not exit. */
static void
silent_due(LoopTimer *timer)
{
	Slot *slot = timer->owner;

	slot_end(slot, slot->job != NULL ? VERDICT_FAIL : VERDICT_DROP,
			 "the handler has closed its output");
}

/*
 * out_ready reads the result. What the handler has written before, beside the
 * result, is in its pipes already, and is read first.
 */
static void
out_ready(LoopFd *fd, int events)
{
	Slot *slot = fd->owner;

	if (loop_take_events(&slot->process.fds[PIPE_ERR]) != 0)
		read_side(slot, PIPE_ERR);
	if (loop_take_events(&slot->process.fds[PIPE_NOTE]) != 0)
		read_side(slot, PIPE_NOTE);
	if (read_out(slot) && config.persistent)
		persistent_lines(slot);
	if (config.persistent && slot->process.ends[PIPE_OUT] < 0 && !slot->ending)
		loop_set(&slot->kill_timer, loop_now() + config.kill_after, silent_due, slot);
}

static void
err_ready(LoopFd *fd, int events)
{
	read_side(fd->owner, PIPE_ERR);
}

static void
note_ready(LoopFd *fd, int events)
{
	read_side(fd->owner, PIPE_NOTE);
}

static void
in_ready(LoopFd *fd, int events)
{
	slot_write(fd->owner);
}

/*
 * slot_write writes to the handler what it takes. A handler that does not want its
 * input is in its right: whether it succeeds is for its exit code to say.
 */
void
slot_write(Slot *slot)
{
	Process *process = &slot->process;

	while (slot->to_handler.len > 0 && process->ends[PIPE_IN] >= 0)
	{
		ssize_t len =
			write(process->ends[PIPE_IN], slot->to_handler.data, slot->to_handler.len);

		if (len >= 0)
			buffer_take(&slot->to_handler, len);
		else if (errno == EAGAIN)
		{
			if (!process->fds[PIPE_IN].watched)
				loop_watch(&process->fds[PIPE_IN], process->ends[PIPE_IN], POLLOUT, in_ready,
						   slot);
			return;
		}
		else if (errno != EINTR)
		{
			buffer_clear(&slot->to_handler);
			process_close(process, PIPE_IN);
		}
	}
	loop_forget(&process->fds[PIPE_IN]);
	if (!config.persistent)
		process_close(process, PIPE_IN);
}

/* start_handler starts a process for the slot; false if it cannot: then the job was answered. */
static bool
start_handler(Slot *slot, char **environment)
{
	Process *process = &slot->process;
	int error = process_start(process, config.handler_path, config.handler, environment);

	oneshot_free_environment(environment);
	if (error != 0)
	{
		outcome_not_started(slot, strerror(error));
		slot_job_over(slot);
		return false;
	}
	worker.counts.handlers++;
	slot->ending = slot->stuck = slot->replace = slot->proven = false;
	slot->verdict = VERDICT_NONE;
	slot->searched = 0;
	buffer_clear(&slot->from_handler);
	loop_watch(&process->fds[PIPE_OUT], process->ends[PIPE_OUT], POLLIN, out_ready, slot);
	loop_watch(&process->fds[PIPE_ERR], process->ends[PIPE_ERR], POLLIN, err_ready, slot);
	loop_watch(&process->fds[PIPE_NOTE], process->ends[PIPE_NOTE], POLLIN, note_ready, slot);
	return true;
}

/* limit_due ends a job whose lease or time is over. The server has noticed it, too. */
static void
limit_due(LoopTimer *timer)
{
	Slot *slot = timer->owner;
	bool timed_out = slot->job->deadline_at > 0 && slot->job->deadline_at <= loop_now();

	log_warning("job %lld: %s", (long long) slot->job->id,
				timed_out
					? "canceling its handler due to its timeout"
					: "its lease has ended without a sign of life that reached the server");
	if (timed_out)
		worker.counts.timed_out++;
	else
		worker.counts.lost++;
	slot_end(slot, VERDICT_DROP, NULL);
}

static void
set_limit(Slot *slot)
{
	int64_t at = slot->job->lease_end;

	if (slot->job->deadline_at > 0 && slot->job->deadline_at < at)
		at = slot->job->deadline_at;
	loop_set(&slot->limit_timer, at, limit_due, slot);
}

/* slot_perform begins a job, which from now on belongs to the slot. */
void
slot_perform(Slot *slot, Job *job)
{
	slot->job = job;
	job->started_at = loop_now();
	worker.busy++;
	set_limit(slot);
	log_debug("job %lld (%s): begins in slot %d, attempt %d", (long long) job->id, job->name,
			  slot->number, job->attempt);
	if (config.persistent)
	{
		if (slot->process.pid == 0 && !start_handler(slot, persistent_environment(slot)))
			return;
		persistent_send(slot);
	}
	else
	{
		if (!start_handler(slot, oneshot_environment(slot)))
			return;
		oneshot_send(slot);
	}
	slot_write(slot);
}

/* slot_extend moves the end of the lease, after a sign of life. */
void
slot_extend(Slot *slot, int64_t lease_end)
{
	slot->job->lease_end = lease_end;
	if (!slot->ending)
		set_limit(slot);
}

static void
stuck_due(LoopTimer *timer)
{
	Slot *slot = timer->owner;

	slot->stuck = true;
	log_error("handler %d does not end although it was killed", (int) slot->process.pid);
}

static void
kill_due(LoopTimer *timer)
{
	slot_kill(timer->owner);
}

/* slot_kill sends SIGKILL to the handler's group, at once. */
void
slot_kill(Slot *slot)
{
	process_signal(&slot->process, SIGKILL);
	loop_set(&slot->kill_timer, loop_now() + STUCK_AFTER, stuck_due, slot);
}

/* slot_end has the handler end, by SIGTERM and later SIGKILL. The reason is copied. */
void
slot_end(Slot *slot, Verdict verdict, const char *reason)
{
	if (slot->verdict == VERDICT_NONE)
	{
		slot->verdict = verdict;
		slot->reason = mem_copy(reason);
	}
	loop_unset(&slot->limit_timer);
	if (slot->ending || slot->process.pid == 0)
		return;
	slot->ending = true;
	process_signal(&slot->process, SIGTERM);
	loop_set(&slot->kill_timer, loop_now() + config.kill_after, kill_due, slot);
}

/* slot_leave has a persistent handler without a job leave by itself: at the end of its input. */
void
slot_leave(Slot *slot)
{
	if (slot->process.pid == 0 || slot->ending)
		return;
	slot->ending = true;
	process_close(&slot->process, PIPE_IN);
	loop_set(&slot->kill_timer, loop_now() + config.kill_after, kill_due, slot);
}

/* slot_job_over frees the job, which has been answered or dropped. */
void
slot_job_over(Slot *slot)
{
	loop_unset(&slot->limit_timer);
	output_job_over(&slot->output, slot->job);
	if (slot->verdict == VERDICT_DROP)
		reports_forget(slot->job->id);
	free(slot->job);
	slot->job = NULL;
	buffer_clear(&slot->to_handler);
	worker.busy--;
	worker.changed = true;
	if (slot->replace)
		slot_leave(slot);
}

/* drain reads what is left in the pipes of a handler that has exited. */
static void
drain(Slot *slot)
{
	int64_t left = DRAIN_LIMIT;
	ssize_t len;

	while (left > 0 && (len = read_side(slot, PIPE_ERR)) > 0)
		left -= len;
	while (left > 0 && (len = read_side(slot, PIPE_NOTE)) > 0)
		left -= len;
	while (read_out(slot))
		;
}

/* note_early_end delays the next start of a persistent handler that did not answer once. */
static void
note_early_end(Slot *slot)
{
	int64_t pause;

	if (!config.persistent || slot->proven || worker.mode >= WORKER_STOPPING)
	{
		slot->early_ends = 0;
		return;
	}
	pause = RESTART_FIRST << (slot->early_ends < 6 ? slot->early_ends : 6);
	slot->usable_at = loop_now() + (pause < RESTART_LAST ? pause : RESTART_LAST);
	slot->early_ends++;
	worker_wake_at(slot->usable_at);
}

/* slot_exited deals with the end of the handler, which has not been reaped yet. */
void
slot_exited(Slot *slot)
{
	pid_t pid = slot->process.pid;
	int exec_errno;
	int status;

	process_signal(&slot->process, SIGKILL);
	drain(slot);
	if (config.persistent && slot->verdict == VERDICT_NONE)
		persistent_lines(slot);
	status = process_reap(&slot->process, &exec_errno);
	loop_unset(&slot->kill_timer);
	note_early_end(slot);
	if (slot->job != NULL)
	{
		outcome_exited(slot, status, exec_errno);
		slot->replace = false;
		slot_job_over(slot);
	}
	else if (!slot->ending)
		log_warning("handler %d ended without a job: %s", (int) pid, outcome_status(status));
	slot->ending = slot->stuck = false;
	slot->verdict = VERDICT_NONE;
	free(slot->reason);
	slot->reason = NULL;
	buffer_clear(&slot->from_handler);
	buffer_clear(&slot->to_handler);
	worker.changed = true;
}

void
slot_free(Slot *slot)
{
	free(slot->job);
	buffer_free(&slot->to_handler);
	buffer_free(&slot->from_handler);
	output_free(&slot->output);
	free(slot->reason);
}
