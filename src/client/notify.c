/*-------------------------------------------------------------------------
 *
 * notify.c
 *	  Notifications to systemd, by the protocol of sd_notify(3).
 *
 * A datagram of lines (READY=1, STATUS=…, STOPPING=1, WATCHDOG=1) goes to the socket
 * that $NOTIFY_SOCKET names. Without that variable nothing is sent. If the service
 * has a watchdog, the loop sends its sign of life twice in each period; a loop that
 * hangs sends none, and the service is started again.
 *
 * The variables are removed from the environment, so that processes which the
 * program starts do not speak for it.
 *
 *-------------------------------------------------------------------------
 */
#include "client/notify.h"
#include "client/log.h"
#include "client/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_socket = -1;
static struct sockaddr_un address;
static socklen_t address_len;
static LoopTimer watchdog;
static int64_t watchdog_period; /* microseconds */

static void
watchdog_due(LoopTimer *timer)
{
	notify_send("WATCHDOG=1");
	loop_set(&watchdog, loop_now() + watchdog_period / 2, watchdog_due, NULL);
}

/* start_watchdog begins the signs of life, if they are asked for and meant for this process. */
static void
start_watchdog(void)
{
	const char *period = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (period == NULL || (pid != NULL && atol(pid) != (long) getpid()))
		return;
	watchdog_period = atoll(period);
	if (watchdog_period > 0)
		watchdog_due(&watchdog);
}

/* notify_open finds the socket. To be called once, when the loop is there. */
void
notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path != NULL && (path[0] == '/' || path[0] == '@') &&
		strlen(path) < sizeof(address.sun_path))
	{
		address.sun_family = AF_UNIX;
		memcpy(address.sun_path, path, strlen(path));
		address_len = offsetof(struct sockaddr_un, sun_path) + strlen(path);
		if (path[0] == '@')
			address.sun_path[0] = '\0';
		notify_socket = socket(AF_UNIX, SOCK_DGRAM, 0);
		if (notify_socket < 0)
			log_warning("could not create a socket: %s", strerror(errno));
		else
			fcntl(notify_socket, F_SETFD, FD_CLOEXEC);
		start_watchdog();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

/* notify_is_open returns whether somebody wants to know. */
bool
notify_is_open(void)
{
	return notify_socket >= 0;
}

/* notify_send sends lines; the last one has no line break. */
void
notify_send(const char *format, ...)
{
	char text[512];
	va_list args;
	int len;

	if (notify_socket < 0)
		return;
	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len >= (int) sizeof(text))
		len = sizeof(text) - 1;
	if (sendto(notify_socket, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
			   (struct sockaddr *) &address, address_len) < 0)
		log_debug("could not notify the service manager: %s", strerror(errno));
}
