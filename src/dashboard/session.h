/*-------------------------------------------------------------------------
 *
 * session.h
 *	  Sessions of roles that are signed in: see session.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_SESSION_H
#define BGJOB_DASHBOARD_SESSION_H

#include "client/loop.h"
#include "dashboard/login.h"
#include "dashboard/request.h"
#include "dashboard/token.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Session Session;

struct Session
{
	char id[TOKEN_LEN + 1];   /* in the cookie */
	char csrf[TOKEN_LEN + 1]; /* in the header of every request that changes something */
	Login *login;             /* held */
	char *databases;          /* a JSON array, as last read */
	int64_t used_at;
	bool ended;
	LoopTimer timer; /* frees it */
	Session *next;
};

extern void session_open(void);
extern Session *session_begin(Login *login, const char *databases, size_t len);
extern void session_set_databases(Session *session, const char *databases, size_t len);
extern Session *session_find(Request *request);
extern Session *session_by_id(const char *id);
extern void session_touch(Session *session);
extern void session_end(Session *session);
extern void session_set_cookie(Session *session, Request *request);
extern void session_clear_cookie(Request *request);
extern void session_answer(Session *session, Request *request);
extern void session_close(void);

#endif
