/*-------------------------------------------------------------------------
 *
 * httploop.c
 *	  libmicrohttpd within the program's loop.
 *
 * The library has one descriptor for all of its sockets (epoll) and no thread; the
 * loop watches that, and runs the library when something is there or due. So what
 * the library calls sees a consistent program. A program has one such daemon.
 *
 * Without libmicrohttpd (BGJOB_HTTP is not defined) there is nothing here.
 *
 *-------------------------------------------------------------------------
 */
#include "client/httploop.h"
#include "client/listen.h"
#include "client/loop.h"

#ifdef BGJOB_HTTP

#include <microhttpd.h>
#include <stddef.h>

static struct MHD_Daemon *running; /* NULL: none */
static LoopFd sockets_fd;
static LoopTimer timer;

static void plan(void);

static void
run(void)
{
	MHD_run(running);
	plan();
}

static void
sockets_ready(LoopFd *fd, int events)
{
	run();
}

static void
timer_due(LoopTimer *due)
{
	run();
}

/* plan sets the timer to the time at which the library wants to run. */
static void
plan(void)
{
	MHD_UNSIGNED_LONG_LONG milliseconds;

	if (MHD_get_timeout(running, &milliseconds) == MHD_YES)
		loop_set(&timer, loop_now() + (int64_t) milliseconds * LOOP_MS, timer_due, NULL);
	else
		loop_unset(&timer);
}

/*
 * httploop_begin has the loop run a daemon, which was started with MHD_USE_EPOLL; logs where it
 * listens, and returns the port.
 */
int
httploop_begin(struct MHD_Daemon *daemon)
{
	int port = listen_log(MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd);

	running = daemon;
	loop_watch(&sockets_fd, MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
			   POLLIN, sockets_ready, NULL);
	plan();
	return port;
}

/* httploop_soon runs the library in this turn of the loop or the next; after a connection was resumed. */
void
httploop_soon(void)
{
	if (running != NULL)
		loop_set(&timer, loop_now(), timer_due, NULL);
}

/* httploop_end takes the daemon out of the loop; the caller stops it. */
void
httploop_end(void)
{
	if (running == NULL)
		return;
	running = NULL;
	loop_forget(&sockets_fd);
	loop_unset(&timer);
}

#endif
