/*-------------------------------------------------------------------------
 *
 * route.c
 *	  Which part of the program answers a request, and whether it may.
 *
 * The addresses, behind the base path:
 *
 *	  /static/HASH/NAME			the page's files
 *	  /healthz /readyz /metrics	for those that watch
 *	  /api/session				signing in, the session, signing out
 *	  /api/d/DATABASE/PAGE		a page's data
 *	  /api/d/DATABASE/do/ACTION	an action
 *	  /api/d/DATABASE/live		what goes on, as it happens
 *	  /api/d/DATABASE/bulk[/N]	actions on many jobs
 *	  everything else			the page itself, whose script reads the address
 *
 * Requests are refused when the header is there, before a body is taken: wrong methods,
 * other sites, no session, no token. So the program keeps no bodies but those of
 * sessions, and the short one of signing in. When the body is there, the session is
 * looked up again; it may have ended.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/route.h"
#include "client/memory.h"
#include "dashboard/action.h"
#include "dashboard/asset.h"
#include "dashboard/bulk.h"
#include "dashboard/config.h"
#include "dashboard/database.h"
#include "dashboard/guard.h"
#include "dashboard/health.h"
#include "dashboard/live.h"
#include "dashboard/page.h"
#include "dashboard/session.h"
#include "dashboard/signin.h"

#include <ctype.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIGNIN_BODY 16384

typedef enum RouteKind
{
	ROUTE_FILE,
	ROUTE_PAGE_ITSELF,
	ROUTE_HEALTH,
	ROUTE_READY,
	ROUTE_METRICS,
	ROUTE_SESSION,
	ROUTE_PAGE,
	ROUTE_ACTION,
	ROUTE_LIVE,
	ROUTE_BULK,
	ROUTE_NONE
} RouteKind;

static const struct
{
	const char *methods;
	bool api;  /* other sites are refused */
	bool role; /* signed in */
} routes[] = {[ROUTE_FILE] = {"GET, HEAD", false, false},
			  [ROUTE_PAGE_ITSELF] = {"GET, HEAD", false, false},
			  [ROUTE_HEALTH] = {"GET, HEAD", false, false},
			  [ROUTE_READY] = {"GET, HEAD", false, false},
			  [ROUTE_METRICS] = {"GET, HEAD", false, false},
			  [ROUTE_SESSION] = {"GET, HEAD, POST, DELETE", true, true},
			  [ROUTE_PAGE] = {"GET, HEAD", true, true},
			  [ROUTE_ACTION] = {"POST", true, true},
			  [ROUTE_LIVE] = {"GET, HEAD", true, true},
			  [ROUTE_BULK] = {"GET, HEAD, POST, DELETE", true, true},
			  [ROUTE_NONE] = {"GET, HEAD, POST, DELETE", true, false}};

/* set_database keeps the name of the database, which ends at a slash. */
static void
set_database(Request *request, const char *name, size_t len)
{
	free(request->database);
	request->database = mem_copy_part(name, len);
}

static bool
ends_with(const char *text, size_t len, const char *end)
{
	size_t end_len = strlen(end);

	return len > end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

/*
 * find_in_database finds what an address within /api/d/ means. It is read from its
 * end, since the name of a database may have slashes.
 */
static RouteKind
find_in_database(Request *request, const char *path, const char **rest)
{
	const char *slash = strrchr(path, '/');
	size_t before;

	if (slash == NULL || slash == path)
		return ROUTE_NONE;
	before = slash - path;
	*rest = slash + 1;
	if (ends_with(path, before, "/do"))
	{
		set_database(request, path, before - 3);
		return ROUTE_ACTION;
	}
	if (isdigit((unsigned char) **rest) && ends_with(path, before, "/bulk"))
	{
		set_database(request, path, before - 5);
		return ROUTE_BULK;
	}
	set_database(request, path, before);
	if (strcmp(*rest, "live") == 0)
		return ROUTE_LIVE;
	if (strcmp(*rest, "bulk") == 0)
	{
		*rest = "";
		return ROUTE_BULK;
	}
	return ROUTE_PAGE;
}

/* find_route finds what an address means; *rest is what follows that. */
static RouteKind
find_route(Request *request, const char **rest)
{
	const char *path = request->path;

	*rest = "";
	if (strncmp(path, "/static/", 8) == 0)
	{
		*rest = path + 8;
		return ROUTE_FILE;
	}
	if (strcmp(path, "/healthz") == 0)
		return ROUTE_HEALTH;
	if (strcmp(path, "/readyz") == 0)
		return ROUTE_READY;
	if (strcmp(path, "/metrics") == 0)
		return ROUTE_METRICS;
	if (strcmp(path, "/api/session") == 0)
		return ROUTE_SESSION;
	if (strncmp(path, "/api/d/", 7) == 0)
		return find_in_database(request, path + 7, rest);
	if (strcmp(path, "/api") == 0 || strncmp(path, "/api/", 5) == 0)
		return ROUTE_NONE;
	return ROUTE_PAGE_ITSELF;
}

/* check_method answers 405, and returns false, if the method is none of a route's. */
static bool
check_method(Request *request, const char *methods)
{
	static const char *const names[] = {"GET", "POST", "DELETE", "?"};
	Buffer body = {0};
	struct MHD_Response *response;

	if (strstr(methods, names[request->method]) != NULL)
		return true;
	request_add_error(&body, NULL, "the method is not allowed here", NULL, NULL);
	response = MHD_create_response_from_buffer(body.len, body.data, MHD_RESPMEM_MUST_COPY);
	buffer_free(&body);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, methods);
	request_respond(request, 405, response);
	return false;
}

/* find_session looks the session up; answers 401, and returns false, if there is none. */
static bool
find_session(Request *request, RouteKind kind)
{
	request->session = session_find(request);
	if (request->session == NULL)
	{
		request_fail(request, 401, NULL, "not signed in", NULL, NULL);
		return false;
	}
	if (kind != ROUTE_LIVE)
		session_touch(request->session);
	return true;
}

/* check_signin checks what precedes signing in. */
static void
check_signin(Request *request)
{
	const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);

	request->secret = true;
	if (!guard_json(request))
		return;
	/* The memory is there at once: none with a part of the password is left behind. */
	if (length != NULL && strtoull(length, NULL, 10) <= MOST_SIGNIN_BODY)
		buffer_room(&request->body, MOST_SIGNIN_BODY);
	else
		request_fail(request, length == NULL ? 411 : 413, NULL,
					 "the length of the body is missing, or too great", NULL, NULL);
}

/* is_preview returns whether a request only asks what would be done. */
static bool
is_preview(Request *request, RouteKind kind)
{
	return (kind == ROUTE_ACTION || kind == ROUTE_BULK) && request_flag(request, "preview");
}

/* route_header refuses what may be refused before the body is there. */
void
route_header(Request *request)
{
	const char *rest;
	RouteKind kind = find_route(request, &rest);

	if (!check_method(request, routes[kind].methods))
		return;
	if (routes[kind].api && !guard_site(request))
		return;
	if (kind == ROUTE_SESSION && request->method == METHOD_POST)
	{
		check_signin(request);
		return;
	}
	if (!routes[kind].role || !find_session(request, kind) || request->method == METHOD_GET)
		return;
	if (!guard_token(request) || (request->method == METHOD_POST && !guard_json(request)))
		return;
	if (config.read_only && kind != ROUTE_SESSION && !is_preview(request, kind))
		request_fail(request, 403, NULL, "the dashboard is read-only", NULL, NULL);
}

/* answer_session answers what concerns the session itself. */
static void
answer_session(Request *request)
{
	if (request->method == METHOD_POST)
		signin_request(request);
	else if (request->method == METHOD_DELETE)
		signout_request(request);
	else
		signin_show(request);
}

/* route_request answers a request whose body is there. */
void
route_request(Request *request)
{
	const char *rest;
	RouteKind kind = find_route(request, &rest);
	bool signs_in = kind == ROUTE_SESSION && request->method == METHOD_POST;

	if (routes[kind].role && !signs_in && !find_session(request, kind))
		return;
	if (request->database != NULL && !database_is_allowed(request->database))
		kind = ROUTE_NONE;
	switch (kind)
	{
		case ROUTE_FILE:
			asset_request(request, rest);
			break;
		case ROUTE_PAGE_ITSELF:
			asset_index(request);
			break;
		case ROUTE_HEALTH:
			health_request(request);
			break;
		case ROUTE_READY:
			ready_request(request);
			break;
		case ROUTE_METRICS:
			metrics_request(request);
			break;
		case ROUTE_SESSION:
			answer_session(request);
			break;
		case ROUTE_PAGE:
			page_request(request, rest);
			break;
		case ROUTE_ACTION:
			action_request(request, rest);
			break;
		case ROUTE_LIVE:
			live_request(request);
			break;
		case ROUTE_BULK:
			bulk_request(request, rest);
			break;
		case ROUTE_NONE:
			request_fail(request, 404, NULL, "there is nothing at this address", NULL, NULL);
			break;
	}
}
