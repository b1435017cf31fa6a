/*-------------------------------------------------------------------------
 *
 * session.c
 *	  The sessions of roles that are signed in.
 *
 * A session is a login (a role and its password, login.c) and two secrets: its id, which
 * is in a cookie that no script reads and no other site's request carries, and a token
 * that the page sends in a header with all that changes something. Sessions are in
 * memory alone; they end with the program, by signing out, when nothing was asked for
 * some time (--session-timeout), and when the server takes the password no more. Then
 * their connections are closed.
 *
 * Their number is bounded, in all and for each role; the one that was not used for the
 * longest time makes room. They are looked up one after the other, each compared in
 * constant time.
 *
 * A session that has ended is freed in a later turn of the loop, so that it may end
 * within a callback of its own connection.
 *
 * Programs at other ports of a host share its cookies; hence the port in the name.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/session.h"
#include "client/buffer.h"
#include "client/json.h"
#include "client/log.h"
#include "client/memory.h"
#include "dashboard/bulk.h"
#include "dashboard/config.h"
#include "dashboard/database.h"
#include "dashboard/live.h"
#include "dashboard/web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SESSIONS 1000
#define MOST_OF_ROLE  20
#define SWEEP_EVERY   (5 * LOOP_SEC)

static Session *sessions;
static LoopTimer sweep_timer;

static void
free_due(LoopTimer *timer)
{
	Session *session = timer->owner;

	login_release(session->login);
	free(session->databases);
	explicit_bzero(session, sizeof(*session));
	free(session);
}

/* refused ends a session whose password the server takes no more. */
static void
refused(Login *login)
{
	log_info("role \"%s\": the server takes the password no more, the session ends",
			 login->user);
	session_end(login->owner);
}

/* session_end ends a session, and what it waits for. */
void
session_end(Session *session)
{
	if (session->ended)
		return;
	session->ended = true;
	for (Session **at = &sessions; *at != NULL; at = &(*at)->next)
		if (*at == session)
		{
			*at = session->next;
			break;
		}
	session->login->refused = NULL;
	live_session_ended(session);
	bulk_session_ended(session);
	database_close_all(session->login);
	loop_set(&session->timer, loop_now(), free_due, session);
}

/* sweep_due ends the sessions that were not used. */
static void
sweep_due(LoopTimer *timer)
{
	Session *next;

	for (Session *session = sessions; session != NULL; session = next)
	{
		next = session->next;
		if (loop_now() - session->used_at > config.session_timeout)
		{
			log_info("role \"%s\": the session has been idle for too long",
					 session->login->user);
			session_end(session);
		}
	}
	loop_set(&sweep_timer, loop_now() + SWEEP_EVERY, sweep_due, NULL);
}

void
session_open(void)
{
	loop_set(&sweep_timer, loop_now() + SWEEP_EVERY, sweep_due, NULL);
}

/* make_room ends the session that was not used for the longest time; user null: of all. */
static void
make_room(const char *user, int most)
{
	Session *oldest = NULL;
	int count = 0;

	for (Session *session = sessions; session != NULL; session = session->next)
		if (user == NULL || strcmp(session->login->user, user) == 0)
		{
			count++;
			if (oldest == NULL || session->used_at <= oldest->used_at)
				oldest = session;
		}
	if (count >= most)
		session_end(oldest);
}

/* session_begin makes a session; it takes the login over. */
Session *
session_begin(Login *login, const char *databases, size_t len)
{
	Session *session = mem_zero(sizeof(*session));

	make_room(login->user, MOST_OF_ROLE);
	make_room(NULL, MOST_SESSIONS);
	token_make(session->id);
	token_make(session->csrf);
	session->login = login;
	session->databases = mem_copy_part(databases, len);
	session->used_at = loop_now();
	login->refused = refused;
	login->owner = session;
	session->next = sessions;
	sessions = session;
	return session;
}

void
session_set_databases(Session *session, const char *databases, size_t len)
{
	free(session->databases);
	session->databases = mem_copy_part(databases, len);
}

/* session_by_id returns the session with an id; null if there is none. */
Session *
session_by_id(const char *id)
{
	size_t len = strlen(id);

	for (Session *session = sessions; session != NULL; session = session->next)
		if (token_same(session->id, id, len) &&
			loop_now() - session->used_at <= config.session_timeout)
			return session;
	return NULL;
}

static void
cookie_name(char *name, size_t size)
{
	snprintf(name, size, "bgjob_session_%d", web_port());
}

/* session_find returns the session of a request; null if there is none. That is no use of it. */
Session *
session_find(Request *request)
{
	char name[32];
	const char *id;

	cookie_name(name, sizeof(name));
	id = request_cookie(request, name);
	return id != NULL ? session_by_id(id) : NULL;
}

/* session_touch notes that a session is used. */
void
session_touch(Session *session)
{
	session->used_at = loop_now();
}

/*
 * set_cookie has the answer set the cookie. It is for encrypted connections alone if
 * the browser has the page by one; behind a proxy only the browser knows.
 */
static void
set_cookie(Request *request, const char *value, const char *more)
{
	const char *origin = request_header(request, "Origin");
	bool secure =
		config.tls_cert != NULL || (origin != NULL && strncmp(origin, "https://", 8) == 0);
	char name[32];

	cookie_name(name, sizeof(name));
	free(request->cookie);
	request->cookie = mem_print("%s=%s; Path=%s; HttpOnly; SameSite=Strict%s%s", name, value,
								*config.base_path != '\0' ? config.base_path : "/", more,
								secure ? "; Secure" : "");
}

void
session_set_cookie(Session *session, Request *request)
{
	set_cookie(request, session->id, "");
}

void
session_clear_cookie(Request *request)
{
	set_cookie(request, "", "; Max-Age=0");
}

static void
add_member(Buffer *body, const char *name, const char *text)
{
	buffer_print(body, "\"%s\": ", name);
	request_add_text(body, text);
	buffer_add_text(body, ", ");
}

/* session_answer answers with what the page has to know of a session. */
void
session_answer(Session *session, Request *request)
{
	Buffer body = {0};

	buffer_add_text(&body, "{");
	add_member(&body, "user", session->login->user);
	add_member(&body, "csrf", session->csrf);
	add_member(&body, "title", config.title);
	add_member(&body, "colour", config.colour);
	add_member(&body, "version", BGJOB_VERSION);
	buffer_print(&body, "\"read_only\": %s, \"hide_arguments\": %s, \"databases\": ",
				 config.read_only ? "true" : "false", config.hide_arguments ? "true" : "false");
	buffer_add_text(&body, session->databases);
	buffer_add_text(&body, "}\n");
	request_answer(request, 200, "application/json", &body);
}

/* session_close ends all sessions, at the end of the program. */
void
session_close(void)
{
	while (sessions != NULL)
		session_end(sessions);
	loop_unset(&sweep_timer);
}
