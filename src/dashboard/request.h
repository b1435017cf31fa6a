/*-------------------------------------------------------------------------
 *
 * request.h
 *	  A request by HTTP, and its answer: see request.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_REQUEST_H
#define BGJOB_DASHBOARD_REQUEST_H

#include "client/buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct MHD_Response;
struct Session;
struct Outcome;

#define REQUEST_MOST_BODY (1024 * 1024) /* bytes */

typedef enum Method
{
	METHOD_GET, /* and HEAD, whose answers have no body */
	METHOD_POST,
	METHOD_DELETE,
	METHOD_OTHER
} Method;

typedef struct Request Request;

struct Request
{
	struct MHD_Connection *http;
	Method method;
	char *path; /* decoded, without the base path */
	Buffer body;
	size_t taken; /* bytes of the body */
	bool body_too_long;
	bool secret; /* the body has a password */
	bool routed;
	bool suspended;

	/* Of a request that is signed in. The session may end while the request waits. */
	struct Session *session;
	char *database; /* of /api/d/DATABASE/… */

	struct MHD_Response *response; /* null: not answered yet */
	int status;
	int retry_after; /* seconds; 0: none */
	char *cookie;    /* Set-Cookie; null: none */

	/* Called when the request is over, answered or not. */
	void (*gone)(Request *request);
	void *owner;
};

extern Request *request_new(struct MHD_Connection *http, const char *method, const char *path);
extern void request_free(Request *request);
extern const char *request_header(Request *request, const char *name);
extern const char *request_argument(Request *request, const char *name);
extern bool request_flag(Request *request, const char *name);
extern const char *request_cookie(Request *request, const char *name);
extern const struct sockaddr *request_peer(Request *request);
extern void request_respond(Request *request, int status, struct MHD_Response *response);
extern void request_answer(Request *request, int status, const char *type, Buffer *body);
extern void request_answer_text(Request *request, int status, const char *text);
extern void request_fail(Request *request, int status, const char *sqlstate,
						 const char *message, const char *detail, const char *hint);
extern void request_fail_as(Request *request, const struct Outcome *outcome);
extern void request_fail_busy(Request *request);
extern void request_add_error(Buffer *to, const char *sqlstate, const char *message,
							  const char *detail, const char *hint);
extern void request_add_text(Buffer *to, const char *text);

#endif
