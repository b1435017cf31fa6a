/*-------------------------------------------------------------------------
 *
 * http.c
 *	  Pages by HTTP, by libmicrohttpd within the program's loop (client/httploop.c).
 *
 * So a page sees a consistent program, and that a page comes shows that the loop turns.
 *
 * GET and HEAD alone. The number of connections and their time are limited, so that
 * somebody who opens many harms nobody but those who want pages.
 *
 * Without libmicrohttpd (BGJOB_HTTP is not defined) nothing is served.
 *
 *-------------------------------------------------------------------------
 */
#include "client/http.h"
#include "client/httploop.h"
#include "client/listen.h"
#include "client/log.h"
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
	httploop_begin(listener);
	return true;
}

void
http_close(void)
{
	if (listener == NULL)
		return;
	httploop_end();
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
