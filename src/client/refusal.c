/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  What the server says when it refuses a connection.
 *
 * libpq keeps the SQLSTATE of a refused connection to itself. It is part of the text
 * if that is asked for verbosely (PQsetErrorVerbosity), which is possible as soon as
 * the attempt has begun:
 *
 *	  connection to server at … failed: FATAL:  28P01: password authentication failed …
 *	  LOCATION:  auth_failed, auth.c:335
 *
 * Pure; the caller's text is changed in its place.
 *
 *-------------------------------------------------------------------------
 */
#include "client/refusal.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* find_sqlstate returns where the last "XXXXX: " of a verbose message is; null if it has none. */
static char *
find_sqlstate(char *message)
{
	char *found = NULL;

	for (char *colon = strstr(message, ":  "); colon != NULL; colon = strstr(colon + 1, ":  "))
	{
		int i = 0;

		while (i < 5 &&
			   (isdigit((unsigned char) colon[3 + i]) || isupper((unsigned char) colon[3 + i])))
			i++;
		if (i == 5 && colon[8] == ':' && colon[9] == ' ')
			found = colon + 3;
	}
	return found;
}

/*
 * refusal_read takes from a verbose message what the reader does not need, and makes
 * it one line. sqlstate: "" where the server said nothing.
 */
void
refusal_read(char *message, char sqlstate[6])
{
	char *found = find_sqlstate(message);
	char *location = strstr(message, "\nLOCATION:");

	sqlstate[0] = '\0';
	if (location != NULL)
		*location = '\0';
	if (found != NULL && (location == NULL || found < location))
	{
		memcpy(sqlstate, found, 5);
		sqlstate[5] = '\0';
		memmove(found, found + 7, strlen(found + 7) + 1);
	}
	for (size_t len = strlen(message); len > 0 && message[len - 1] == '\n'; len--)
		message[len - 1] = '\0';
}
