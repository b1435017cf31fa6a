/*-------------------------------------------------------------------------
 *
 * login.h
 *	  As whom to connect: see login.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_LOGIN_H
#define BGJOB_DASHBOARD_LOGIN_H

#include "client/target.h"

#include <stdbool.h>

struct Database;

typedef struct Login
{
	int holders;
	char *user; /* null: the program itself, by its own options */
	char *password;
	int waiting;                          /* statements, on all connections */
	struct Database *databases;           /* the connections that are shared, see database.c */
	void (*refused)(struct Login *login); /* the server takes the password no more */
	void *owner;
} Login;

/* What libpq is given; the arrays end with null, the values are borrowed. */
typedef struct LoginParameters
{
	const char *names[TARGET_MAX + 8];
	const char *values[TARGET_MAX + 8];
	int count;
} LoginParameters;

extern Login *login_new(const char *user, const char *password);
extern Login *login_keep(Login *login);
extern void login_release(Login *login);
extern bool login_is_own(const Login *login);
extern const char *login_first_database(void);
extern void
login_parameters(const Login *login, const char *database, LoginParameters *parameters);

#endif
