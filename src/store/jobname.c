/*-------------------------------------------------------------------------
 *
 * jobname.c
 *	  Whether a name means a job's function.
 *
 * A job has the name that was given to bgjob_enqueue(), which bgjob.jobs shows, and the
 * signature of its function, schema.name(types). A user who looks for jobs may name the
 * function in either way, or leave out the schema or the types: what is given must be the
 * same. Identifiers are compared as the server reads them: folded to lower case,
 * unless quoted. The types are compared as text, without blanks and "pg_catalog".
 *
 * Pure; any process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "parser/scansup.h"
#include "store/jobname.h"

/* What a signature has before the names of some of the server's own types. */
#define SERVER_SCHEMA "pg_catalog."

/* A name in its parts; NULL: not given. */
typedef struct FunctionName
{
	char *schema;
	char *name;
	char *types;
} FunctionName;

static const char *
skip_blanks(const char *text)
{
	while (scanner_isspace(*text))
		text++;
	return text;
}

/* Reads a quoted identifier, after its first quote. Returns where it ends, NULL if it does not. */
static const char *
read_quoted(const char *text, char *to)
{
	for (; *text != '\0'; text++)
	{
		if (*text == '"' && *++text != '"')
		{
			*to = '\0';
			return text;
		}
		*to++ = *text;
	}
	return NULL;
}

static bool
is_of_identifier(char c)
{
	return isalnum((unsigned char) c) || IS_HIGHBIT_SET(c) || c == '_' || c == '$';
}

/* Reads an identifier and the blanks behind it. Returns where it ends, NULL if there is none. */
static const char *
read_identifier(const char *text, char **identifier)
{
	const char *end = text;

	if (*text == '"')
	{
		*identifier = palloc(strlen(text));
		end = read_quoted(text + 1, *identifier);
		return end == NULL ? NULL : skip_blanks(end);
	}
	while (is_of_identifier(*end))
		end++;
	if (end == text)
		return NULL;
	*identifier = downcase_identifier(text, end - text, false, false);
	return skip_blanks(end);
}

/* Returns whether the name of the schema of the server's own types begins here, behind "before". */
static bool
is_server_schema(const char *text, char before)
{
	return (before == '(' || before == ',') &&
		   pg_strncasecmp(text, SERVER_SCHEMA, strlen(SERVER_SCHEMA)) == 0;
}

/* Copies a list of types without blanks and the schema of the server's own, and in lower case, except in quotes. */
static char *
squeeze(const char *text)
{
	char *result = palloc(strlen(text) + 1);
	char *to = result;
	bool quoted = false;

	for (; *text != '\0'; text++)
	{
		if (*text == '"')
			quoted = !quoted;
		if (!quoted && to > result && is_server_schema(text, to[-1]))
			text += strlen(SERVER_SCHEMA) - 1;
		else if (quoted || !scanner_isspace(*text))
			*to++ = quoted ? *text : (char) pg_tolower((unsigned char) *text);
	}
	*to = '\0';
	return result;
}

/* Takes a name apart. False: it is no name of a function. */
static bool
read_name(const char *text, FunctionName *name)
{
	memset(name, 0, sizeof(*name));
	text = read_identifier(skip_blanks(text), &name->name);
	if (text != NULL && *text == '.')
	{
		name->schema = name->name;
		text = read_identifier(skip_blanks(text + 1), &name->name);
	}
	if (text == NULL || (*text != '\0' && *text != '('))
		return false;
	if (*text == '(')
		name->types = squeeze(text);
	return true;
}

/* Returns whether a part of a name is not given, or is the same. */
static bool
agrees(const char *given, const char *part)
{
	return given == NULL || (part != NULL && strcmp(given, part) == 0);
}

/* bgjob_name_means returns whether a name means the function of a job, of which the name and the signature are given. */
bool
bgjob_name_means(const char *name, const char *job, const char *func)
{
	FunctionName given;
	FunctionName signature;

	if (strcmp(name, job) == 0)
		return true;
	return read_name(name, &given) && read_name(func, &signature) &&
		   agrees(given.name, signature.name) && agrees(given.schema, signature.schema) &&
		   agrees(given.types, signature.types);
}
