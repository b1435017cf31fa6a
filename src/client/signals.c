/*-------------------------------------------------------------------------
 *
 * signals.c
 *	  Signals, told to the program as events of its loop.
 *
 * A signal's handler does two things that are safe in it: it counts the signal, and
 * writes a byte into a pipe, which wakes the loop. What the signal means is decided
 * in the loop, where nothing is half done. Signals of one kind that arrive before
 * the loop turns are counted, so that a second SIGTERM is told as a second one.
 *
 * SIGPIPE is ignored; writing to a handler that has left returns EPIPE. A process
 * that the program starts calls signals_restore before it executes another program.
 *
 *-------------------------------------------------------------------------
 */
#include "client/signals.h"
#include "client/log.h"
#include "client/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define MAX_SIGNAL 64

static int wake[2] = {-1, -1};
static volatile sig_atomic_t arrived_count[MAX_SIGNAL];
static sig_atomic_t told_count[MAX_SIGNAL];
static void (*tell)(int signal);
static LoopFd wake_fd;

static void
note_signal(int signal)
{
	int saved_errno = errno;
	ssize_t written;

	arrived_count[signal]++;
	written = write(wake[1], "", 1);
	(void) written; /* a full pipe wakes the loop as well */
	errno = saved_errno;
}

static void
signals_ready(LoopFd *fd, int events)
{
	char bytes[64];

	while (read(wake[0], bytes, sizeof(bytes)) > 0)
		;
	for (int signal = 1; signal < MAX_SIGNAL; signal++)
		while (told_count[signal] != arrived_count[signal])
		{
			told_count[signal]++;
			tell(signal);
		}
}

/* signals_open begins: the function is called in the loop, once for each signal that is caught. */
void
signals_open(void (*arrived)(int signal))
{
	tell = arrived;
	if (pipe(wake) != 0)
	{
		log_error("could not create a pipe: %s", strerror(errno));
		exit(EX_OSERR);
	}
	for (int i = 0; i < 2; i++)
	{
		fcntl(wake[i], F_SETFL, O_NONBLOCK);
		fcntl(wake[i], F_SETFD, FD_CLOEXEC);
	}
	loop_watch(&wake_fd, wake[0], POLLIN, signals_ready, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void
signals_catch(int signal)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = note_signal;
	action.sa_flags = SA_RESTART | (signal == SIGCHLD ? SA_NOCLDSTOP : 0);
	sigemptyset(&action.sa_mask);
	sigaction(signal, &action, NULL);
}

/* signals_restore has every signal do what it does by default, and blocks none. Only calls that are safe after fork. */
void
signals_restore(void)
{
	struct sigaction action;
	sigset_t none;

	memset(&action, 0, sizeof(action));
	action.sa_handler = SIG_DFL;
	sigemptyset(&action.sa_mask);
	for (int signal = 1; signal < MAX_SIGNAL; signal++)
		sigaction(signal, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
