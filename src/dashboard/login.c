/*-------------------------------------------------------------------------
 *
 * login.c
 *	  As whom to connect: a role and its password, or the program itself.
 *
 * A role that has signed in connects to the servers that the program's connection
 * options name, and takes nothing else of whom they name: neither user nor password,
 * nor options for the session ($PGOPTIONS is taken out of the environment, config.c). A
 * password is always given, so libpq does not look for one in files or elsewhere.
 *
 * The password is kept in memory as long as somebody needs it: to connect to other
 * databases of the cluster, and again after the server was restarted. It is written
 * nowhere, and wiped with the last holder. libpq has copies while a connection is
 * open.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/login.h"
#include "client/memory.h"
#include "dashboard/config.h"

#include <stdlib.h>
#include <string.h>

/* Parameters of the program's own connection that a role which has signed in does not take over. */
static const char *const not_shared[] = {"user",
										 "password",
										 "passfile",
										 "dbname",
										 "options",
										 "application_name",
										 "fallback_application_name"};

/* login_new returns a login with one holder. user null: the program's own. */
Login *
login_new(const char *user, const char *password)
{
	Login *login = mem_zero(sizeof(*login));

	login->holders = 1;
	login->user = mem_copy(user);
	login->password = mem_copy(password);
	return login;
}

Login *
login_keep(Login *login)
{
	login->holders++;
	return login;
}

void
login_release(Login *login)
{
	if (--login->holders > 0)
		return;
	if (login->password != NULL)
		explicit_bzero(login->password, strlen(login->password));
	free(login->password);
	free(login->user);
	free(login);
}

bool
login_is_own(const Login *login)
{
	return login->user == NULL;
}

/* login_first_database returns the database that a role signs in to. */
const char *
login_first_database(void)
{
	const char *name = target_get(&config.target, "dbname");

	if (name == NULL && config.databases != NULL)
		name = config.databases[0];
	if (name == NULL)
		name = getenv("PGDATABASE");
	return name != NULL ? name : "postgres";
}

static void
add(LoginParameters *parameters, const char *name, const char *value)
{
	parameters->names[parameters->count] = name;
	parameters->values[parameters->count++] = value;
}

static bool
is_shared(const char *name)
{
	for (int i = 0; i < (int) (sizeof(not_shared) / sizeof(not_shared[0])); i++)
		if (strcmp(not_shared[i], name) == 0)
			return false;
	return true;
}

/* login_parameters fills in what libpq needs to connect to a database. */
void
login_parameters(const Login *login, const char *database, LoginParameters *parameters)
{
	const Target *target = &config.target;

	memset(parameters, 0, sizeof(*parameters));
	for (int i = 0; i < target->count; i++)
		if (is_shared(target->names[i]) ||
			(login_is_own(login) && strcmp(target->names[i], "dbname") != 0))
			add(parameters, target->names[i], target->values[i]);
	add(parameters, "dbname", database);
	if (!login_is_own(login))
	{
		add(parameters, "user", login->user);
		add(parameters, "password", login->password);
	}
	add(parameters, "application_name", "bgjob-dashboard");
}
