/*-------------------------------------------------------------------------
 *
 * process.c
 *	  A handler's process: starting it, signaling its group, reaping it.
 *
 * A handler is the leader of a process group, so that a signal reaches what it has
 * started, too, and that Ctrl-C at a terminal reaches the worker alone. Its standard
 * streams and descriptor 3 are pipes; of all other descriptors of this program it
 * inherits none.
 *
 * A dead leader is not reaped before the rest of its group has been killed: until
 * then no other process can have its number. So a signal never hits a stranger.
 *
 * If the worker dies, the kernel sends its handlers SIGTERM (Linux): their jobs are
 * given to somebody else at that moment.
 *
 * Between fork and exec only calls that are safe there are made; the environment has
 * been made before. A failed exec writes its errno into a pipe, which a successful
 * one closes; it is read when the process has ended. Nothing here waits.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/process.h"
#include "client/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Pipes get numbers above those that the handler sees. */
#define FIRST_FD (PROCESS_NOTE_FD + 1)

static rlim_t descriptors_before = 0; /* limit that the worker was started with */

/* make_pipe makes a pipe that is not inherited. */
static int
make_pipe(int ends[2])
{
	int low[2];

	if (pipe(low) != 0)
		return errno;
	for (int i = 0; i < 2; i++)
	{
		ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, FIRST_FD);
		close(low[i]);
	}
	if (ends[0] >= 0 && ends[1] >= 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return EMFILE;
}

void
process_init(Process *process)
{
	memset(process, 0, sizeof(*process));
	for (int i = 0; i < PIPE_COUNT; i++)
		process->ends[i] = -1;
	process->exec_error = -1;
}

/* process_close closes the worker's end of a pipe, if it is open. */
void
process_close(Process *process, ProcessPipe pipe)
{
	loop_forget(&process->fds[pipe]);
	if (process->ends[pipe] >= 0)
		close(process->ends[pipe]);
	process->ends[pipe] = -1;
}

/* become_handler is what the new process does. It does not return. */
static void
become_handler(const int theirs[PIPE_COUNT], int exec_error, const char *path, char **argv,
			   char **environment, pid_t parent)
{
	ssize_t written;

	setpgid(0, 0);
#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
	if (getppid() != parent)
		_exit(1);
	signals_restore();
	if (descriptors_before > 0)
	{
		struct rlimit limit;

		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = descriptors_before;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	dup2(theirs[PIPE_IN], STDIN_FILENO);
	dup2(theirs[PIPE_OUT], STDOUT_FILENO);
	dup2(theirs[PIPE_ERR], STDERR_FILENO);
	dup2(theirs[PIPE_NOTE], PROCESS_NOTE_FD);
	execve(path, argv, environment);
	written = write(exec_error, &errno, sizeof(errno));
	(void) written;
	_exit(127);
}

/* make_pipes makes the pipes of a process; theirs[PIPE_COUNT] is the end that reports a failed exec. */
static int
make_pipes(Process *process, int theirs[PIPE_COUNT + 1])
{
	int error = 0;

	for (int i = 0; i <= PIPE_COUNT; i++)
		theirs[i] = -1;
	for (int i = 0; i <= PIPE_COUNT && error == 0; i++)
	{
		int ends[2];
		int mine = i == PIPE_IN ? 1 : 0;

		error = make_pipe(ends);
		if (error != 0)
			break;
		theirs[i] = ends[1 - mine];
		if (i < PIPE_COUNT)
			process->ends[i] = ends[mine];
		else
			process->exec_error = ends[mine];
		fcntl(ends[mine], F_SETFL, O_NONBLOCK);
	}
	return error;
}

static void
close_pipes(Process *process)
{
	for (int i = 0; i < PIPE_COUNT; i++)
		process_close(process, (ProcessPipe) i);
	if (process->exec_error >= 0)
		close(process->exec_error);
	process->exec_error = -1;
}

/* process_start starts a process. Returns 0, or the errno that tells why it could not. */
int
process_start(Process *process, const char *path, char **argv, char **environment)
{
	int theirs[PIPE_COUNT + 1];
	int error = make_pipes(process, theirs);
	pid_t parent = getpid();

	if (error == 0)
	{
		process->pid = fork();
		if (process->pid == 0)
			become_handler(theirs, theirs[PIPE_COUNT], path, argv, environment, parent);
		if (process->pid < 0)
		{
			error = errno;
			process->pid = 0;
		}
		else
			setpgid(process->pid, process->pid); /* whoever of both is first */
	}
	for (int i = 0; i <= PIPE_COUNT; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	if (error != 0)
		close_pipes(process);
	return error;
}

/* process_signal signals the process and all of its group. */
void
process_signal(const Process *process, int signal)
{
	if (process->pid > 0)
		kill(-process->pid, signal);
}

/*
 * process_reap kills what is left of the group of a process that has ended, closes
 * its pipes, and returns its status as waitpid has it. *exec_errno: why it could not
 * be executed; 0: it was.
 */
int
process_reap(Process *process, int *exec_errno)
{
	int status = 0;

	process_signal(process, SIGKILL);
	while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
		;
	process->pid = 0;
	if (read(process->exec_error, exec_errno, sizeof(*exec_errno)) != sizeof(*exec_errno))
		*exec_errno = 0;
	close_pipes(process);
	return status;
}

/* process_raise_limits has the worker open as many descriptors, if the hard limit allows it. */
void
process_raise_limits(int descriptors)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= (rlim_t) descriptors)
		return;
	descriptors_before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > (rlim_t) descriptors
						 ? (rlim_t) descriptors
						 : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}
