/*-------------------------------------------------------------------------
 *
 * placeholders.c
 *	  Texts with placeholders for arguments, such as 'tenant:{tenant_id}'.
 *
 * A placeholder is the name of an argument of the function, or its number from 1,
 * in braces; "{{" and "}}" are braces themselves. It is filled with the
 * argument as the caller of bgjob_enqueue() gave it: a string as it is,
 * anything else as JSON; null stands for null and for an argument that was
 * left out, where that may be. A function that takes its arguments whole has the members of the
 * object as names; the parameters of a command have numbers only. The arguments of a job for external
 * workers have both: they are an object or an array.
 *
 * Runs in the session that configures or enqueues.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
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

/* An object for an external worker has any members, and an array any elements. */
static const BgjobFunction any_arguments = {.whole = true, .nargs = PG_INT16_MAX};

/* Returns what is known of a function; NULL: it is a command. */
static const BgjobFunction *
function_of(Oid func)
{
	if (func == BGJOB_ANY_ARGUMENTS)
		return &any_arguments;
	return OidIsValid(func) ? bgjob_function_describe(func) : NULL;
}

/* Returns as much of a text as errors show. */
static const char *
shown(const char *text)
{
	return bgjob_text_cut(text, BGJOB_TITLE_MAX);
}

static const char *
name_of(const Piece *place)
{
	return shown(pnstrdup(place->start, place->length));
}

static void
unbalanced(const char *text)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unbalanced brace in \"%s\"", shown(text)),
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

/* Returns the number from 0 of the argument that a place means, -1 if there is none. A function that is NULL is a command. */
static int
argument_of(const BgjobFunction *function, const Piece *place)
{
	int nargs = function == NULL ? PG_INT16_MAX : function->nargs;
	char *name = pnstrdup(place->start, place->length);
	int number = -1;

	for (int i = 0; function != NULL && !function->whole && i < nargs && number < 0; i++)
		if (function->args[i].name != NULL && strcmp(function->args[i].name, name) == 0)
			number = i;
	if (number < 0 && strspn(name, "0123456789") == place->length && place->length < 4)
		number = atoi(name) - 1;
	pfree(name);
	return number < nargs ? number : -1;
}

static void
check_place(const BgjobFunction *function, const char *text, const Piece *place)
{
	if (function == NULL && argument_of(NULL, place) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" does not exist", name_of(place)),
				 errdetail("The placeholder is in \"%s\", for a command.", shown(text)),
				 errhint("The parameters of a command have numbers: {1} stands for $1.")));
	if (function != NULL && !function->whole && argument_of(function, place) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" does not exist", name_of(place)),
						errdetail("The placeholder is in \"%s\", for function %s.", shown(text),
								  function->signature),
						errhint("Use the name or the number of an argument of the function.")));
}

/* bgjob_placeholders_check raises 22023 if a text has places that a function has no argument for. */
void
bgjob_placeholders_check(Oid func, const char *text)
{
	const BgjobFunction *function = function_of(func);
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
	bool whole = function != NULL && function->whole;
	int number = whole && function != &any_arguments ? -1 : argument_of(function, place);
	JsonbContainer *root;

	if (args == NULL)
		return NULL;
	root = unconstify(JsonbContainer *, &args->root);
	if (JB_ROOT_IS_OBJECT(args))
	{
		const char *name =
			number >= 0 && function != NULL && !whole ? function->args[number].name : NULL;

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

static void
refuse_missing(const char *text, const Piece *place)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" is not given", name_of(place)),
					errdetail("The placeholder in \"%s\" needs its value.", shown(text)),
					errhint("Add the argument to args. It may be null.")));
}

/*
 * bgjob_placeholders_fill returns a text with its places filled with the arguments
 * of a job. "func" is InvalidOid for a command. 22023: the function has no such argument (any
 * more), or, if all arguments are "needed", one is not given.
 */
char *
bgjob_placeholders_fill(Oid func, const char *text, const Jsonb *args, bool needed)
{
	const BgjobFunction *function = function_of(func);
	const char *at = text;
	StringInfoData filled;
	Piece piece;

	initStringInfo(&filled);
	while (next_piece(text, &at, &piece))
		if (piece.is_place)
		{
			JsonbValue *value;

			check_place(function, text, &piece);
			value = value_of(function, &piece, args);
			if (value == NULL && needed)
				refuse_missing(text, &piece);
			append_value(&filled, value);
		}
		else
			appendBinaryStringInfo(&filled, piece.start, piece.length);
	return filled.data;
}

/*
 * bgjob_placeholders_last returns where a character stands last in a text, outside of
 * places; NULL: nowhere. 22023: a brace stands alone.
 */
const char *
bgjob_placeholders_last(const char *text, char character)
{
	const char *at = text;
	const char *last = NULL;
	Piece piece;

	while (next_piece(text, &at, &piece))
		for (int i = 0; !piece.is_place && i < piece.length; i++)
			if (piece.start[i] == character)
				last = piece.start + i;
	return last;
}
