/*-------------------------------------------------------------------------
 *
 * web.c
 *	  The HTTP server: libmicrohttpd within the program's loop (client/httploop.c).
 *
 * A request is routed when its body is whole. If it is not answered then, because a
 * statement runs, its connection is suspended until it is.
 *
 * A client that opens many connections, or sends slowly, must not harm others. So
 * the number of connections is limited, for one address to half of that, and each has a
 * time by which its next request has to be there, however often it sends a byte; the
 * library's own time-out counts from the last byte. A connection that is late has its
 * socket shut down, and the library then closes it. While a statement runs, the time
 * does not count: statements have their own.
 *
 * Bytes that are no HTTP are answered by the library itself, with a page of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/web.h"
#include "client/httploop.h"
#include "client/listen.h"
#include "client/log.h"
#include "client/loop.h"
#include "client/memory.h"
#include "dashboard/config.h"
#include "dashboard/route.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MOST_CONNECTIONS 1024
#define MOST_FOR_ADDRESS (MOST_CONNECTIONS / 2)
#define OTHER_FILES      256         /* descriptors, for connections to the server and so on */
#define MEMORY_FOR_EACH  (32 * 1024) /* bounds a header, too */
#define IDLE_SECONDS     60
#define REQUEST_TIME     (60 * LOOP_SEC) /* from the last answer to the next request, whole */
#define ANSWER_TIME      (600 * LOOP_SEC)
#define MOST_OF_BODIES   (64 * 1024 * 1024) /* of all requests that are not over */
#define SWEEP_EVERY      (5 * LOOP_SEC)

/* A connection. */
typedef struct Peer
{
	int socket;
	int64_t deadline; /* 0: none */
	struct Peer *next;
	struct Peer *previous;
} Peer;

static struct MHD_Daemon *listener;
static int port;
static LoopTimer sweep_timer;
static Peer *peers;
static size_t bodies; /* bytes that requests have taken */

static Peer *
peer_of(struct MHD_Connection *http)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info->socket_context;
}

static void
set_deadline(struct MHD_Connection *http, int64_t time)
{
	peer_of(http)->deadline = time > 0 ? loop_now() + time : 0;
}

/* peer_changed is called when a connection begins and ends. */
static void
peer_changed(void *arg, struct MHD_Connection *http, void **context,
			 enum MHD_ConnectionNotificationCode code)
{
	Peer *peer;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		peer = *context = mem_zero(sizeof(*peer));
		peer->socket =
			MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
		peer->deadline = loop_now() + REQUEST_TIME;
		peer->next = peers;
		if (peers != NULL)
			peers->previous = peer;
		peers = peer;
		return;
	}
	peer = *context;
	if (peer->previous != NULL)
		peer->previous->next = peer->next;
	else
		peers = peer->next;
	if (peer->next != NULL)
		peer->next->previous = peer->previous;
	free(peer);
}

/* sweep_due shuts down the connections that are late. */
static void
sweep_due(LoopTimer *timer)
{
	for (Peer *peer = peers; peer != NULL; peer = peer->next)
		if (peer->deadline != 0 && peer->deadline < loop_now())
		{
			shutdown(peer->socket, SHUT_RDWR);
			peer->deadline = 0;
		}
	loop_set(&sweep_timer, loop_now() + SWEEP_EVERY, sweep_due, NULL);
}

/* web_resume resumes the connection of a request that was answered. */
void
web_resume(Request *request)
{
	if (!request->suspended)
		return;
	request->suspended = false;
	MHD_resume_connection(request->http);
	httploop_soon();
}

/* has_body returns whether a body follows the header. */
static bool
has_body(Request *request)
{
	const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL ||
		   (length != NULL && strtoull(length, NULL, 10) > 0);
}

/* begin makes a request when its header is there. A body that is too long is refused before it is sent. */
static void
begin(struct MHD_Connection *http, const char *path, const char *method, void **state)
{
	Request *request = request_new(http, method, path);
	const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);

	*state = request;
	route_header(request);
	if (request->response == NULL && length != NULL &&
		strtoull(length, NULL, 10) > REQUEST_MOST_BODY)
		request_fail(request, 413, NULL, "the request is too long", NULL, NULL);
}

/* take_body takes a part of the body. The rest beyond the limit is dropped, and the request refused at its end. */
static void
take_body(Request *request, const char *bytes, size_t len)
{
	if (request->taken + len > REQUEST_MOST_BODY || bodies + len > MOST_OF_BODIES)
		request->body_too_long = true;
	if (!request->body_too_long)
	{
		buffer_add(&request->body, bytes, len);
		request->taken += len;
		bodies += len;
	}
	/* The library's own copy; the memory is writable, and not read again. */
	if (request->secret)
		explicit_bzero((void *) bytes, len);
}

static enum MHD_Result
send_answer(Request *request)
{
	struct MHD_Response *response = request->response;
	enum MHD_Result queued;

	request->response = NULL;
	set_deadline(request->http, ANSWER_TIME);
	queued = MHD_queue_response(request->http, request->status, response);
	MHD_destroy_response(response);
	return queued;
}

/* handle is called with the header, with each part of the body, at its end, and when the connection goes on. */
static enum MHD_Result
handle(void *arg, struct MHD_Connection *http, const char *path, const char *method,
	   const char *version, const char *upload, size_t *upload_size, void **state)
{
	Request *request = *state;

	if (request == NULL)
	{
		begin(http, path, method, state);
		request = *state;
		/* Where no body comes, the answer waits for the next call: a connection that is answered here is closed. */
		return request->response != NULL && has_body(request) ? send_answer(request) : MHD_YES;
	}
	if (*upload_size > 0)
	{
		take_body(request, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (!request->routed && request->response == NULL)
	{
		request->routed = true;
		set_deadline(http, 0);
		if (request->body_too_long)
			request_fail(request, 413, NULL, "the request is too long", NULL, NULL);
		else
			route_request(request);
	}
	if (request->response != NULL)
		return send_answer(request);
	request->suspended = true;
	MHD_suspend_connection(http);
	return MHD_YES;
}

static void
completed(void *arg, struct MHD_Connection *http, void **state,
		  enum MHD_RequestTerminationCode code)
{
	Request *request = *state;

	if (request == NULL)
		return;
	log_debug("%s: %d", request->path, request->status);
	*state = NULL;
	bodies -= request->taken;
	request_free(request);
	set_deadline(http, REQUEST_TIME);
}

static void
log_library(void *arg, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void
log_library(void *arg, const char *format, va_list args)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, args);
	log_debug("libmicrohttpd: %s", line);
}

/* most_connections leaves as many descriptors as connections to the server need. */
static unsigned int
most_connections(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
		limit.rlim_cur > MOST_CONNECTIONS + OTHER_FILES)
		return MOST_CONNECTIONS;
	return limit.rlim_cur > 2 * OTHER_FILES ? (unsigned int) limit.rlim_cur - OTHER_FILES
											: (unsigned int) limit.rlim_cur / 2;
}

/* start starts the library at an address; tls: an array of options that ends with MHD_OPTION_END. */
static struct MHD_Daemon *
start(const struct addrinfo *address, unsigned int flags, struct MHD_OptionItem *tls)
{
	return MHD_start_daemon(
		flags, 0, NULL, NULL, handle, NULL, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
		MHD_OPTION_SOCK_ADDR, address->ai_addr, MHD_OPTION_CONNECTION_LIMIT, most_connections(),
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int) MOST_FOR_ADDRESS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) MEMORY_FOR_EACH,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) IDLE_SECONDS,
		MHD_OPTION_LISTENING_ADDRESS_REUSE, (unsigned int) 1, MHD_OPTION_LISTEN_BACKLOG_SIZE,
		(unsigned int) 511, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
		peer_changed, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_ARRAY, tls,
		MHD_OPTION_END);
}

/* web_open begins to listen; false: it cannot. */
bool
web_open(void)
{
	struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, config.tls_cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, config.tls_key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_END, 0, NULL}};
	struct addrinfo *address = listen_find(config.listen);
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (address == NULL)
		return false;
	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_DUAL_STACK;
	if (config.tls_cert != NULL)
		flags |= MHD_USE_TLS;
	listener = start(address, flags, config.tls_cert != NULL ? tls : plain);
	freeaddrinfo(address);
	if (listener == NULL)
		return false;
	port = httploop_begin(listener);
	loop_set(&sweep_timer, loop_now() + SWEEP_EVERY, sweep_due, NULL);
	return true;
}

/* web_port returns the port that the program listens at. */
int
web_port(void)
{
	return port;
}

/* web_stop takes no more requests, and sends nothing more; the program is about to leave. */
void
web_stop(void)
{
	httploop_end();
	loop_unset(&sweep_timer);
}

/* web_close ends all connections, after web_stop. Every request has to be answered before. */
void
web_close(void)
{
	MHD_stop_daemon(listener);
}
