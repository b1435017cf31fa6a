/*-------------------------------------------------------------------------
 *
 * json.c
 *	  jsonb values, made piece by piece.
 *
 * A jsonb value is made by pushing its pieces to a JsonbParseState, one at a
 * time; these push what goes together. The strings and values that are pushed
 * stay the caller's and must last until the object is ended, which copies them.
 *
 * Any process; allocates in the current memory context, locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"

/* bgjob_json_string pushes a string as a key, value or element. */
void
bgjob_json_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, string);
	value.val.string.len = (int) strlen(string);
	(void) pushJsonbValue(state, token, &value);
}

/* bgjob_json_text pushes a key with a text, null for NULL. */
void
bgjob_json_text(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue null = {.type = jbvNull};

	bgjob_json_string(state, WJB_KEY, key);
	if (text != NULL)
		bgjob_json_string(state, WJB_VALUE, text);
	else
		(void) pushJsonbValue(state, WJB_VALUE, &null);
}

/* bgjob_json_number pushes a key with a number. */
void
bgjob_json_number(JsonbParseState **state, const char *key, Numeric number)
{
	JsonbValue value = {.type = jbvNumeric};

	bgjob_json_string(state, WJB_KEY, key);
	value.val.numeric = number;
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* bgjob_json_member pushes a key with any value, null for NULL. */
void
bgjob_json_member(JsonbParseState **state, const char *key, const Jsonb *json)
{
	JsonbValue value = {.type = jbvNull};

	bgjob_json_string(state, WJB_KEY, key);
	if (json != NULL && JB_ROOT_IS_SCALAR(json))
		(void) JsonbExtractScalar(&unconstify(Jsonb *, json)->root, &value);
	else if (json != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = &unconstify(Jsonb *, json)->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(json);
	}
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* bgjob_json_begin begins an object. */
void
bgjob_json_begin(JsonbParseState **state)
{
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
}

/* bgjob_json_end ends the outermost object and returns it. */
Jsonb *
bgjob_json_end(JsonbParseState **state)
{
	return JsonbValueToJsonb(pushJsonbValue(state, WJB_END_OBJECT, NULL));
}
