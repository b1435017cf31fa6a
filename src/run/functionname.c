/*-------------------------------------------------------------------------
 *
 * functionname.c
 *	  The names of functions, as callers write them.
 *
 * A name may be qualified, and may have the types of the arguments in
 * parentheses. Whether a text can be a name depends on its syntax alone.
 *
 * Runs in the calling session; takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "parser/scansup.h"
#include "run/functionname.h"
#include "run/parse.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

/* The characters of most names; a text of these alone is a name. */
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."

/* Longest name with types that is remembered, in bytes. */
#define LONGEST_REMEMBERED 255

/* Returns whether the first bytes of a text can be a name without types. */
static bool
is_plain_name(const char *text, size_t length)
{
	char *copy = pnstrdup(text, length);
	List *parts;

	return *bgjob_text_find_unquoted(copy, "();'[]{}") == '\0' &&
		   SplitIdentifierString(copy, '.', &parts) && parts != NIL;
}

/*
 * Returns a command of the server's that names a function; it parses if a text can
 * be the name of one. The line break ends a comment in the text.
 */
static char *
command_about(const char *name)
{
	return psprintf("COMMENT ON FUNCTION %s\nIS NULL", name);
}

static bool
is_type_list(const char *text)
{
	ErrorData *error;

	return bgjob_parse_count(command_about(psprintf("f%s", text)), &error) == 1;
}

/* bgjob_name_is_call returns whether a text is a name with something in parentheses, be it types or values. */
bool
bgjob_name_is_call(const char *text)
{
	const char *parenthesis = bgjob_text_find_unquoted(text, "(");
	size_t length = strlen(text);

	while (length > 0 && scanner_isspace(text[length - 1]))
		length--;
	return *parenthesis != '\0' && text[length - 1] == ')' &&
		   is_plain_name(text, parenthesis - text);
}

/* Returns whether a text is a name with types; remembers the last one, since a session enqueues the same again and again. */
static bool
is_typed_name(const char *text)
{
	static char last[LONGEST_REMEMBERED + 1];

	if (text[0] != '\0' && strcmp(text, last) == 0)
		return true;
	if (!bgjob_name_is_call(text) || !is_type_list(bgjob_text_find_unquoted(text, "(")))
		return false;
	if (strlen(text) <= LONGEST_REMEMBERED)
		strcpy(last, text);
	return true;
}

/* bgjob_name_is_function returns whether a text can be the name of a function, with or without the types of its arguments. */
bool
bgjob_name_is_function(const char *text)
{
	size_t length = strlen(text);

	if (length > 0 && strspn(text, NAME_CHARACTERS) == length)
		return true;
	return is_plain_name(text, length) || is_typed_name(text);
}

/* bgjob_name_explain_unknown adds to an error why a name has no function: a detail and a hint. Looks up nothing. */
int
bgjob_name_explain_unknown(const char *name)
{
	bool qualified = *bgjob_text_find_unquoted(name, ".(") == '.';
	bool typed = *bgjob_text_find_unquoted(name, "(") != '\0';
	const char *what =
		typed ? "function of that name with these types of arguments" : "function of that name";

	if (qualified)
		errdetail("Its schema does not exist, or has no %s.", what);
	else
		errdetail("No %s is visible along the search_path.", what);
	return typed       ? errhint("Check the name and the types, or omit the parentheses.")
		   : qualified ? errhint("Check the name.")
					   : errhint("Check the name, or qualify it with its schema.");
}

/* Parses a name; NULL: the grammar has none like it. */
static const ObjectWithArgs *
parse_name(const char *name)
{
	char *command = command_about(name);
	ErrorData *error;
	const CommentStmt *comment;

	if (bgjob_parse_count(command, &error) != 1)
		return NULL;
	comment = castNode(CommentStmt, linitial_node(RawStmt, pg_parse_query(command))->stmt);
	return castNode(ObjectWithArgs, comment->object);
}

/* Returns the types of a name in parentheses, as signatures have them; NULL: one of them does not exist. */
static char *
types_of(const ObjectWithArgs *parsed)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfoChar(&text, '(');
	if (parsed->args_unspecified)
		return text.data;
	foreach (cell, parsed->objargs)
	{
		Oid type = LookupTypeNameOid(NULL, lfirst_node(TypeName, cell), true);

		if (!OidIsValid(type))
			return NULL;
		appendStringInfo(&text, "%s%s", foreach_current_index(cell) > 0 ? "," : "",
						 format_type_be_qualified(type));
	}
	appendStringInfoChar(&text, ')');
	return text.data;
}

/*
 * bgjob_name_signatures returns the signatures that a name can stand for, along the
 * search_path, whether there are such functions or not. Those of a name without
 * types end with the parenthesis that opens their list. NIL if a type does not exist.
 */
List *
bgjob_name_signatures(const char *name)
{
	const ObjectWithArgs *parsed = parse_name(name);
	char *types = parsed == NULL ? NULL : types_of(parsed);
	List *signatures = NIL;
	ListCell *cell;
	char *schema;
	char *function;

	if (types == NULL)
		return NIL;
	DeconstructQualifiedName(parsed->objname, &schema, &function);
	if (schema != NULL)
		return list_make1(
			psprintf("%s%s", quote_qualified_identifier(schema, function), types));
	foreach (cell, fetch_search_path(true))
	{
		schema = get_namespace_name(lfirst_oid(cell));
		if (schema != NULL)
			signatures =
				lappend(signatures,
						psprintf("%s%s", quote_qualified_identifier(schema, function), types));
	}
	return signatures;
}
