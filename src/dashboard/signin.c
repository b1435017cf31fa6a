/*-------------------------------------------------------------------------
 *
 * signin.c
 *	  Signing in with a role of the server and its password, and out.
 *
 * The server checks the password: signing in is connecting as the role. It counts only
 * if the server has asked for the password (backend.c). An empty one is never tried:
 * libpq would take it for none and look for another. A wrong password and an unknown
 * role get the same answer; what the server really said is in the log.
 *
 * Attempts are throttled (throttle.c), and only some are under way at a time. The body of
 * the request is wiped from memory; the password goes on in the login alone.
 *
 * The first statement on the new connection lists the databases that the role may
 * connect to. It is repeated when the page asks for the session.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/signin.h"
#include "client/json.h"
#include "client/log.h"
#include "client/memory.h"
#include "dashboard/database.h"
#include "dashboard/session.h"
#include "dashboard/throttle.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_ATTEMPTS 32
#define MOST_ROLE     63 /* bytes; the server would cut a longer name */
#define MOST_PASSWORD 4096

static int attempts; /* that are under way */

/* An attempt. */
typedef struct Attempt
{
	Request *request;
	Login *login;
} Attempt;

/* log_attempt writes the role, its address and the outcome into the log. */
static void
log_attempt(Request *request, const char *role, const char *what)
{
	const struct sockaddr *peer = request_peer(request);
	char host[NI_MAXHOST] = "?";

	if (peer != NULL)
		getnameinfo(peer,
					peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
												: sizeof(struct sockaddr_in),
					host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	log_info("sign-in of role \"%s\" from %s: %s", role, host, what);
}

static void
refuse(Request *request)
{
	request_fail(request, 401, "28P01", "unknown role or wrong password", NULL, NULL);
}

/* succeeded begins the session. That of the same browser ends. */
static void
succeeded(Request *request, Login *login, const Outcome *outcome)
{
	Session *before = session_find(request);
	Session *session;

	log_attempt(request, login->user, "succeeded");
	throttle_forgive(request_peer(request), login->user, true);
	if (before != NULL)
		session_end(before);
	session = session_begin(login, outcome->value, outcome->value_len);
	session_set_cookie(session, request);
	session_answer(session, request);
}

/* failed answers an attempt that came to nothing. A failure that is not the role's fault is not counted. */
static void
failed(Request *request, Login *login, const Outcome *outcome)
{
	bool blamed = outcome->sqlstate != NULL && strncmp(outcome->sqlstate, "28", 2) == 0;

	log_attempt(request, login->user, outcome->said != NULL ? outcome->said : outcome->message);
	if (!blamed && !outcome->unasked)
		throttle_forgive(request_peer(request), login->user, false);
	if (blamed)
		refuse(request);
	else
		request_fail_as(request, outcome);
	database_close_all(login);
	login_release(login);
}

static void
attempt_done(void *owner, const Outcome *outcome)
{
	Attempt attempt = *(Attempt *) owner;

	free(owner);
	attempts--;
	if (outcome->status == 200 && outcome->value != NULL)
		succeeded(attempt.request, attempt.login, outcome);
	else
		failed(attempt.request, attempt.login, outcome);
}

/* start begins an attempt. */
static void
start(Request *request, const char *role, const char *password)
{
	Attempt *attempt = mem_zero(sizeof(*attempt));
	WorkOrder order = database_order_list();

	throttle_count(request_peer(request), role);
	attempts++;
	attempt->request = request;
	attempt->login = login_new(role, password);
	order.done = attempt_done;
	order.owner = attempt;
	database_run(database_get(attempt->login, login_first_database()), &order);
}

/* try begins an attempt, unless it is refused at once. */
static void
try(Request *request, const char *role, const char *password)
{
	int seconds = throttle_seconds(request_peer(request), role);

	if (*role == '\0' || *password == '\0')
		request_fail(request, 400, NULL, "a role and its password are needed", NULL, NULL);
	else if (seconds > 0)
	{
		request->retry_after = seconds;
		request_fail(request, 429, NULL, "too many attempts to sign in have failed", NULL,
					 "Wait some seconds.");
	}
	else if (strlen(role) > MOST_ROLE || strlen(password) > MOST_PASSWORD)
	{
		throttle_count(request_peer(request), role);
		refuse(request);
	}
	else if (attempts >= MOST_ATTEMPTS)
	{
		request->retry_after = 1;
		request_fail(request, 503, NULL, "too many roles sign in at the same time", NULL, NULL);
	}
	else
		start(request, role, password);
}

/* signin_request answers POST /api/session. */
void
signin_request(Request *request)
{
	static const char *const names[] = {"user", "password"};
	JsonValue object;
	JsonValue values[2];
	Buffer role = {0};
	Buffer password = {0};

	if (json_check(request->body.data, request->body.len, &object) != NULL ||
		!json_is_object(object))
	{
		request_fail(request, 400, NULL, "the body is no JSON object", NULL, NULL);
		return;
	}
	json_members(object, names, values, 2);
	buffer_room(&role, request->body.len + 1);
	buffer_room(&password, request->body.len + 1);
	if (json_is_string(values[0]))
		json_string(values[0], &role);
	if (json_is_string(values[1]))
		json_string(values[1], &password);
	buffer_add(&role, "", 1);
	buffer_add(&password, "", 1);
	try(request, role.data, password.data);
	explicit_bzero(password.memory, password.size);
	buffer_free(&password);
	buffer_free(&role);
}

/* show_done answers with the list of databases that was just read, or the last one. */
static void
show_done(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Session *session = session_find(request);

	if (session == NULL)
	{
		request_fail(request, 401, NULL, "not signed in", NULL, NULL);
		return;
	}
	if (outcome->status == 200 && outcome->value != NULL)
		session_set_databases(session, outcome->value, outcome->value_len);
	session_answer(session, request);
}

/* signin_show answers GET /api/session. */
void
signin_show(Request *request)
{
	WorkOrder order = database_order_list();
	Session *session = request->session;

	order.done = show_done;
	order.owner = request;
	if (database_run(database_get(session->login, login_first_database()), &order) == NULL)
		session_answer(session, request);
}

/* signout_request answers DELETE /api/session. */
void
signout_request(Request *request)
{
	Buffer body = {0};

	log_attempt(request, request->session->login->user, "signed out");
	session_end(request->session);
	session_clear_cookie(request);
	buffer_add_text(&body, "{}\n");
	request_answer(request, 200, "application/json", &body);
}
