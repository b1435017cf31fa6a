/*-------------------------------------------------------------------------
 *
 * target.c
 *	  Which server to connect to, and as whom: the parameters of libpq.
 *
 * The options are psql's. --dbname may be the name of a database, a connection string
 * or a URI; the options beside it go first. What neither says is libpq's to find:
 * in the environment, in a service file, in the password file.
 *
 * A server that drops packets instead of refusing them would hold up a connection
 * attempt for ever, and the other servers of the list would not be tried. So the
 * caller gives up an attempt after some time, and rotates the list before the next.
 *
 * A password is nowhere but in these parameters. The caller overwrites the argument
 * that had it, so that the list of processes does not show it.
 *
 *-------------------------------------------------------------------------
 */
#include "client/target.h"
#include "client/log.h"
#include "client/memory.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

/* target_set sets a parameter, or replaces its value. */
void
target_set(Target *target, const char *name, const char *value)
{
	for (int i = 0; i < target->count; i++)
		if (strcmp(target->names[i], name) == 0)
		{
			free(target->values[i]);
			target->values[i] = mem_copy(value);
			return;
		}
	if (target->count == TARGET_MAX)
		return;
	target->names[target->count] = mem_copy(name);
	target->values[target->count++] = mem_copy(value);
}

/* target_get returns a parameter that was given, else null. */
const char *
target_get(const Target *target, const char *name)
{
	for (int i = 0; i < target->count; i++)
		if (strcmp(target->names[i], name) == 0)
			return target->values[i];
	return NULL;
}

/* target_default sets a parameter that neither an option nor the environment has set. */
void
target_default(Target *target, const char *name, const char *variable, const char *value)
{
	if (target_get(target, name) == NULL && (variable == NULL || getenv(variable) == NULL))
		target_set(target, name, value);
}

/*
 * target_add_dbname adds the value of --dbname; what is set already stays. Returns
 * null, or what is wrong with it, to be freed.
 */
char *
target_add_dbname(Target *target, const char *dbname)
{
	PQconninfoOption *parsed;
	char *wrong = NULL;

	if (strchr(dbname, '=') == NULL && strstr(dbname, "://") == NULL)
	{
		target_default(target, "dbname", NULL, dbname);
		return NULL;
	}
	parsed = PQconninfoParse(dbname, &wrong);
	if (parsed == NULL)
	{
		char *message = mem_copy(wrong != NULL ? wrong : "out of memory");

		PQfreemem(wrong);
		return message;
	}
	for (PQconninfoOption *option = parsed; option->keyword != NULL; option++)
		if (option->val != NULL)
			target_default(target, option->keyword, NULL, option->val);
	PQconninfoFree(parsed);
	return NULL;
}

static int
count_elements(const char *list)
{
	int count = 1;

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

/* rotate_list moves the first element of a list to its end. */
static void
rotate_list(Target *target, const char *name)
{
	const char *list = target_get(target, name);
	const char *comma = list == NULL ? NULL : strchr(list, ',');
	char *rotated;

	if (comma == NULL)
		return;
	rotated = mem_print("%s,%.*s", comma + 1, (int) (comma - list), list);
	target_set(target, name, rotated);
	free(rotated);
}

/* target_rotate has the next attempt begin with the next server of a list. */
void
target_rotate(Target *target)
{
	static const char *const lists[] = {"host", "hostaddr", "port"};
	const char *hosts = target_get(target, "host");

	if (hosts == NULL)
		hosts = target_get(target, "hostaddr");
	if (hosts == NULL)
		return;
	for (int i = 0; i < 3; i++)
	{
		const char *list = target_get(target, lists[i]);

		/* One port for all servers stays. */
		if (list != NULL && count_elements(list) == count_elements(hosts))
			rotate_list(target, lists[i]);
	}
}

/* target_ask_password reads a password from the terminal; false if there is none. */
bool
target_ask_password(Target *target)
{
	FILE *terminal = fopen("/dev/tty", "r+");
	struct termios before;
	struct termios silent;
	char password[1024];
	bool read;

	if (terminal == NULL)
		return false;
	fprintf(terminal, "Password: ");
	fflush(terminal);
	tcgetattr(fileno(terminal), &before);
	silent = before;
	silent.c_lflag &= ~ECHO;
	tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
	read = fgets(password, sizeof(password), terminal) != NULL;
	tcsetattr(fileno(terminal), TCSAFLUSH, &before);
	fprintf(terminal, "\n");
	fclose(terminal);
	if (read)
	{
		password[strcspn(password, "\r\n")] = '\0';
		target_set(target, "password", password);
	}
	memset(password, 0, sizeof(password));
	return read;
}

void
target_free(Target *target)
{
	for (int i = 0; i < target->count; i++)
	{
		free((char *) target->names[i]);
		free(target->values[i]);
	}
	target->count = 0;
}

/* target_option handles an option that psql has, too, but for the database; false: it is none of them. */
bool
target_option(Target *target, int option, const char *value)
{
	switch (option)
	{
		case 'h':
			target_set(target, "host", value);
			return true;
		case 'p':
			target_set(target, "port", value);
			return true;
		case 'U':
			target_set(target, "user", value);
			return true;
		case 'w':
			target->never_ask = true;
			return true;
		case 'W':
			target->always_ask = true;
			return true;
		default:
			return false;
	}
}

/* target_take_dbname reads --dbname, and hides the argument if it has a password. A wrong one ends the program. */
void
target_take_dbname(Target *target, char *argument)
{
	char *wrong = target_add_dbname(target, argument);

	if (wrong != NULL)
	{
		log_usage("%s", wrong);
		exit(EX_USAGE);
	}
	if (target_get(target, "password") != NULL)
		memset(argument, '*', strlen(argument));
}
