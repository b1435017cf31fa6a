/*-------------------------------------------------------------------------
 *
 * placeholders.c
 *	  Texts with placeholders for arguments, such as 'tenant:{tenant_id}'.
 *
 * A placeholder is the name of an argument of the function, or its number from 1,
 * in braces; "{{" and "}}" are braces themselves. It is filled with the
 * argument as the caller of bgjob_enqueue() gave it: a string as it is,
 * anything else as JSON; null stands for null and for an argument that was
 * left out. A function that takes its arguments whole has the members of the
 * object as names.
 *
 * Runs in the session that configures or enqueues.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "run/function.h"
#include "run/placeholders.h"
#include "utils/builtins.h"

/* The kind of the next piece of a text. */
typedef struct Piece
{
	bool is_place;
	const char *start;
	int length;
} Piece;

static void
unbalanced(const char *text)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unbalanced brace in \"%s\"", text),
					errdetail("Braces enclose the name of an argument, such as {id}."),
					errhint("Write {{ and }} for literal braces.")));
}

/* Reads the piece at *at and moves on; false at the end. 22023: a brace stands alone. */
static bool
next_piece(const char *text, const char **at, Piece *piece)
{
	const char *start = *at;
	const char *end;

	if (*start == '\0')
		return false;
	piece->is_place = *start == '{' && start[1] != '{';
	if (piece->is_place)
	{
		end = strchr(start, '}');
		if (end == NULL || end == start + 1)
			unbalanced(text);
		*piece = (Piece){true, start + 1, (int) (end - start) - 1};
		*at = end + 1;
		return true;
	}
	if (*start == '}' && start[1] != '}')
		unbalanced(text);
	if (*start == '{' || *start == '}')
	{
		*piece = (Piece){false, start, 1};
		*at = start + 2;
		return true;
	}
	*piece = (Piece){false, start, (int) strcspn(start, "{}")};
	*at = start + piece->length;
	return true;
}

/* Returns the number from 0 of the argument that a place means, -1 if there is none. */
static int
argument_of(const BgjobFunction *function, const Piece *place)
{
	char *name = pnstrdup(place->start, place->length);
	int number = -1;

	for (int i = 0; i < function->nargs && number < 0; i++)
		if (function->args[i].name != NULL && strcmp(function->args[i].name, name) == 0)
			number = i;
	if (number < 0 && strspn(name, "0123456789") == place->length && place->length < 4)
		number = atoi(name) - 1;
	pfree(name);
	return number < function->nargs ? number : -1;
}

static void
check_place(const BgjobFunction *function, const char *text, const Piece *place)
{
	if (!function->whole && argument_of(function, place) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%.*s\" does not exist", place->length, place->start),
						errdetail("The placeholder is in \"%s\", for function %s.", text,
								  function->signature),
						errhint("Use the name or the number of an argument of the function.")));
}

/* bgjob_placeholders_check raises 22023 if a text has places that a function has no argument for. */
void
bgjob_placeholders_check(Oid func, const char *text)
{
	const BgjobFunction *function = bgjob_function_describe(func);
	const char *at = text;
	Piece piece;

	while (next_piece(text, &at, &piece))
		if (piece.is_place)
			check_place(function, text, &piece);
}

/* Returns what a place is filled with, NULL: null. */
static JsonbValue *
value_of(const BgjobFunction *function, const Piece *place, const Jsonb *args)
{
	int number = function->whole ? -1 : argument_of(function, place);
	JsonbContainer *root;

	if (args == NULL)
		return NULL;
	root = unconstify(JsonbContainer *, &args->root);
	if (JB_ROOT_IS_OBJECT(args))
	{
		const char *name = number >= 0 ? function->args[number].name : NULL;

		if (name == NULL)
			return getKeyJsonValueFromContainer(root, place->start, place->length, NULL);
		return getKeyJsonValueFromContainer(root, name, (int) strlen(name), NULL);
	}
	if (number >= 0 && JB_ROOT_IS_ARRAY(args) && !JB_ROOT_IS_SCALAR(args))
		return getIthJsonbValueFromContainer(root, number);
	return NULL;
}

static void
append_value(StringInfo filled, JsonbValue *value)
{
	Jsonb *json;

	if (value == NULL || value->type == jbvNull)
		appendStringInfoString(filled, "null");
	else if (value->type == jbvString)
		appendBinaryStringInfo(filled, value->val.string.val, value->val.string.len);
	else
	{
		json = JsonbValueToJsonb(value);
		(void) JsonbToCString(filled, &json->root, VARSIZE(json));
	}
}

/*
 * bgjob_placeholders_fill returns a text with its places filled with the arguments
 * of a job. 22023: the function has changed, and has no such argument any more.
 */
char *
bgjob_placeholders_fill(Oid func, const char *text, const Jsonb *args)
{
	const BgjobFunction *function = bgjob_function_describe(func);
	const char *at = text;
	StringInfoData filled;
	Piece piece;

	initStringInfo(&filled);
	while (next_piece(text, &at, &piece))
		if (piece.is_place)
		{
			check_place(function, text, &piece);
			append_value(&filled, value_of(function, &piece, args));
		}
		else
			appendBinaryStringInfo(&filled, piece.start, piece.length);
	return filled.data;
}
