/*-------------------------------------------------------------------------
 *
 * searchjson.c
 *	  The arguments and the error of a job compared with terms of a query.
 *
 * A path goes through objects by their keys, and through arrays by numbers from 0. The
 * value at its end is compared as what it is: a text with a text, a number with a number,
 * whatever its digits.
 *
 * Runs in the session that searches, inside a transaction. Allocates in the current memory
 * context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "store/searchjson.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

/* Returns whether a word, in lower case, is in a text. */
static bool
is_in(const char *word, const char *text, size_t length)
{
	return strstr(str_tolower(text, length, DEFAULT_COLLATION_OID), word) != NULL;
}

/* Returns the string that a member of an object is; NULL: it is none. */
static JsonbValue *
string_member(Jsonb *json, const char *key)
{
	JsonbValue *value;

	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return NULL;
	value = getKeyJsonValueFromContainer(&json->root, key, (int) strlen(key), NULL);
	return value != NULL && value->type == jbvString ? value : NULL;
}

/* bgjob_json_has_error returns whether a word, in lower case, is in the message, SQLSTATE or detail of an error; NULL: there is none. */
bool
bgjob_json_has_error(Jsonb *error, const char *word)
{
	static const char *const keys[] = {"message", "sqlstate", "detail"};

	for (int i = 0; i < lengthof(keys); i++)
	{
		JsonbValue *value = string_member(error, keys[i]);

		if (value != NULL && is_in(word, value->val.string.val, value->val.string.len))
			return true;
	}
	return false;
}

/* bgjob_json_has_sqlstate returns whether an error has one of the SQLSTATEs of a term, or of their classes. */
bool
bgjob_json_has_sqlstate(Jsonb *error, const BgjobTerm *term)
{
	JsonbValue *is = string_member(error, "sqlstate");

	for (int i = 0; is != NULL && i < term->nvalues; i++)
		if (is->val.string.len >= (int) term->values[i].length &&
			memcmp(is->val.string.val, term->values[i].text, term->values[i].length) == 0)
			return true;
	return false;
}

/* Returns the element of a container that a part of a path names; NULL: there is none. */
static JsonbValue *
step(JsonbContainer *container, const BgjobQueryText *element)
{
	char *end;
	unsigned long index;

	if (JsonContainerIsObject(container))
		return getKeyJsonValueFromContainer(container, element->text, (int) element->length,
											NULL);
	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container) ||
		element->length == 0 || element->length > 9 ||
		strspn(element->text, "0123456789") != element->length)
		return NULL;
	index = strtoul(element->text, &end, 10);
	return getIthJsonbValueFromContainer(container, (uint32) index);
}

/* Returns the value at the end of a path; NULL: there is none. */
static JsonbValue *
follow(Jsonb *json, const BgjobTerm *term)
{
	JsonbContainer *container = &json->root;
	JsonbValue *value = NULL;

	for (int i = 0; i < term->npath; i++)
	{
		if (container == NULL)
			return NULL;
		value = step(container, &term->path[i]);
		if (value == NULL)
			return NULL;
		container = value->type == jbvBinary ? value->val.binary.data : NULL;
	}
	return value;
}

/* Returns whether a value in JSON is another; "number" is that if it is one. */
static bool
is_value(const JsonbValue *is, const BgjobQueryText *wanted, Numeric number)
{
	switch (wanted->kind)
	{
		case BGJOB_VALUE_TEXT:
			return is->type == jbvString && is->val.string.len == (int) wanted->length &&
				   memcmp(is->val.string.val, wanted->text, wanted->length) == 0;
		case BGJOB_VALUE_NUMBER:
			return is->type == jbvNumeric &&
				   DatumGetBool(DirectFunctionCall2(
					   numeric_eq, NumericGetDatum(is->val.numeric), NumericGetDatum(number)));
		case BGJOB_VALUE_TRUE:
		case BGJOB_VALUE_FALSE:
			return is->type == jbvBool && is->val.boolean == (wanted->kind == BGJOB_VALUE_TRUE);
		case BGJOB_VALUE_NULL:
			return is->type == jbvNull;
	}
	return false;
}

/* bgjob_json_has_value returns whether the value at the path of a term is that of the term; "number" is that if it is one. */
bool
bgjob_json_has_value(Jsonb *json, const BgjobTerm *term, Numeric number)
{
	JsonbValue *value = follow(json, term);

	return value != NULL && is_value(value, &term->values[0], number);
}
