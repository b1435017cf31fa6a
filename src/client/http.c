/*-------------------------------------------------------------------------
 *
 * http.c
 *	  Pages by HTTP, by libmicrohttpd within the program's loop.
 *
 * The library has one descriptor for all of its sockets (epoll) and no thread; the
 * loop watches that, and runs the library when something is there or due. So a page
 * sees a consistent program, and that a page comes shows that the loop turns.
 *
 * GET and HEAD alone. The number of connections and their time are limited, so that
 * somebody who opens many harms nobody but those who want pages.
 *
 * Without libmicrohttpd (BGJOB_HTTP is not defined) nothing is served.
 *
 *-------------------------------------------------------------------------
 */
#include "client/http.h"
#include "client/listen.h"
#include "client/log.h"
#include "client/loop.h"
#include "client/memory.h"

#ifdef BGJOB_HTTP

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_CONNECTIONS 64
#define IDLE_SECONDS     10

static struct MHD_Daemon *listener;
static HttpServe serve_page;
static LoopFd listener_fd;
static LoopTimer listener_timer;

static void plan(void);

static void
run(void)
{
	MHD_run(listener);
	plan();
}

static void
listener_ready(LoopFd *fd, int events)
{
	run();
}

static void
listener_due(LoopTimer *timer)
{
	run();
}

/* plan has the library run when it wants to. */
static void
plan(void)
{
	MHD_UNSIGNED_LONG_LONG milliseconds;

	if (MHD_get_timeout(listener, &milliseconds) == MHD_YES)
		loop_set(&listener_timer, loop_now() + (int64_t) milliseconds * LOOP_MS, listener_due,
				 NULL);
	else
		loop_unset(&listener_timer);
}

static enum MHD_Result
answer(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
	   const char *version, const char *upload, size_t *upload_size, void **state)
{
	Buffer page = {0};
	const char *type = "text/plain";
	int status = 405;
	struct MHD_Response *response;
	enum MHD_Result queued;

	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		status = serve_page(url, &page, &type);
	response = MHD_create_response_from_buffer(page.len, page.data, MHD_RESPMEM_MUST_COPY);
	buffer_free(&page);
	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == 405)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	queued = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return queued;
}

/* http_open begins to serve pages at [ADDRESS:]PORT; false: it cannot. */
bool
http_open(const char *address, HttpServe serve)
{
	struct addrinfo *found = listen_find(address);
	unsigned int flags = MHD_USE_EPOLL;
	const union MHD_DaemonInfo *info;

	if (found == NULL)
		return false;
	if (found->ai_family == AF_INET6)
		flags |= MHD_USE_DUAL_STACK;
	serve_page = serve;
	listener = MHD_start_daemon(flags, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR,
								found->ai_addr, MHD_OPTION_CONNECTION_LIMIT,
								(unsigned int) MOST_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
								(unsigned int) IDLE_SECONDS, MHD_OPTION_LISTENING_ADDRESS_REUSE,
								(unsigned int) 1, MHD_OPTION_END);
	freeaddrinfo(found);
	if (listener == NULL)
		return false;
	info = MHD_get_daemon_info(listener, MHD_DAEMON_INFO_EPOLL_FD);
	loop_watch(&listener_fd, info->epoll_fd, POLLIN, listener_ready, NULL);
	info = MHD_get_daemon_info(listener, MHD_DAEMON_INFO_LISTEN_FD);
	listen_log(info->listen_fd);
	plan();
	return true;
}

void
http_close(void)
{
	if (listener == NULL)
		return;
	loop_forget(&listener_fd);
	loop_unset(&listener_timer);
	MHD_stop_daemon(listener);
	listener = NULL;
}

#else

bool
http_open(const char *address, HttpServe serve)
{
	log_error("this program was built without libmicrohttpd");
	return false;
}

void
http_close(void)
{
}

#endif
