/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Refuses requests that another site has made a browser send.
 *
 * The cookie has SameSite=Strict, so such a request is not signed in. Beyond that:
 *
 * - Sec-Fetch-Site, which no script can set, has to be same-origin; a browser without it
 *	 sends Origin, which has to name the host that the request was sent to. A request
 *	 with neither comes from no browser.
 * - A request that changes something has the session's token in the header X-CSRF-Token. A page of
 *	 another site cannot know it, and cannot send the header without being asked first
 *	 (CORS), which is never answered.
 * - A body is application/json, which no form can send.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/guard.h"
#include "dashboard/session.h"

#include <string.h>
#include <strings.h>

/* is_own_origin compares Origin, scheme://host[:port], with Host. */
static bool
is_own_origin(const char *origin, const char *host)
{
	const char *start = strstr(origin, "://");

	return start != NULL && host != NULL && strcasecmp(start + 3, host) == 0;
}

/* guard_site answers 403, and returns false, if another site is the origin of a request. */
bool
guard_site(Request *request)
{
	const char *site = request_header(request, "Sec-Fetch-Site");
	const char *origin = request_header(request, "Origin");
	bool own = true;

	if (site != NULL)
		own = strcmp(site, "same-origin") == 0 ||
			  (strcmp(site, "none") == 0 && request->method == METHOD_GET);
	else if (origin != NULL)
		own = is_own_origin(origin, request_header(request, "Host"));
	if (!own)
		request_fail(request, 403, NULL, "requests of another site are refused", NULL,
					 site == NULL ? "Behind a proxy, have it pass the header Host on." : NULL);
	return own;
}

/* guard_token answers 403, and returns false, if a request does not have the session's token. */
bool
guard_token(Request *request)
{
	const char *given = request_header(request, "X-CSRF-Token");

	if (given != NULL && token_same(request->session->csrf, given, strlen(given)))
		return true;
	request_fail(request, 403, NULL, "the header X-CSRF-Token is missing or wrong", NULL, NULL);
	return false;
}

/* guard_json answers 415, and returns false, if the body is something else. */
bool
guard_json(Request *request)
{
	const char *type = request_header(request, "Content-Type");
	const char *length = request_header(request, "Content-Length");

	if (type != NULL && strncasecmp(type, "application/json", 16) == 0 &&
		(type[16] == '\0' || type[16] == ';' || type[16] == ' '))
		return true;
	if (type == NULL && length != NULL && strcmp(length, "0") == 0)
		return true;
	request_fail(request, 415, NULL, "the body has to be application/json", NULL, NULL);
	return false;
}
