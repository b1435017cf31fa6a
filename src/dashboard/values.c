/*-------------------------------------------------------------------------
 *
 * values.c
 *	  The values of a statement's parameters, as texts that the server reads.
 *
 * They come from the query string or from a JSON object, by name; what is not given
 * has the default of the statement; names that the statement does not know are ignored.
 * Whether a value is one of its type, the server says; whether it is among the choices of a
 * parameter, values_wrong_in_query.
 *
 * Of JSON, a string is its text, also for jsonb (so numbers in it stay exact); null is
 * NULL; an array is one of PostgreSQL where the parameter is one; everything else is
 * its JSON text.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/values.h"
#include "client/memory.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char **
new_values(const Statement *statement)
{
	return mem_zero((statement->count + 1) * sizeof(char *));
}

/* values_add_element adds an element to an array that begins with "{", in quotes. */
void
values_add_element(Buffer *array, const char *element)
{
	buffer_add_text(array, array->len == 1 ? "\"" : ",\"");
	for (; *element != '\0'; element++)
	{
		if (*element == '"' || *element == '\\')
			buffer_add(array, "\\", 1);
		buffer_add(array, element, 1);
	}
	buffer_add(array, "\"", 1);
}

/* values_array returns a list, which ends with null, as an array of PostgreSQL. */
char *
values_array(char *const *list)
{
	Buffer array = {0};
	char *text;

	buffer_add_text(&array, "{");
	for (; *list != NULL; list++)
		values_add_element(&array, *list);
	buffer_add_text(&array, "}");
	text = mem_copy_part(array.data, array.len);
	buffer_free(&array);
	return text;
}

/* is_choice returns whether a text is one of those in a list, "a|b". */
static bool
is_choice(const char *choices, const char *text)
{
	size_t len = strcspn(text, "|");

	if (text[len] != '\0')
		return false;
	for (const char *choice = choices; choice != NULL; choice = strchr(choice, '|'))
	{
		choice += *choice == '|';
		if (strncmp(choice, text, len) == 0 && strchr("|", choice[len]) != NULL)
			return true;
	}
	return false;
}

/* values_wrong_in_query returns the first parameter to which a query string gives none of its choices; null: there is none. */
const Parameter *
values_wrong_in_query(const Statement *statement, Request *request)
{
	for (int i = 0; i < statement->count; i++)
	{
		const Parameter *parameter = &statement->parameters[i];
		const char *given = request_argument(request, parameter->name);

		if (parameter->choices != NULL && given != NULL &&
			!is_choice(parameter->choices, given))
			return parameter;
	}
	return NULL;
}

/* values_from_query reads the query string of a request. */
char **
values_from_query(const Statement *statement, Request *request)
{
	char **values = new_values(statement);

	for (int i = 0; i < statement->count; i++)
	{
		const Parameter *parameter = &statement->parameters[i];
		const char *given = request_argument(request, parameter->name);

		values[i] = mem_copy(given != NULL ? given : parameter->fallback);
	}
	return values;
}

/* text_of returns the text of a value that is not an array of PostgreSQL; null for null. */
static char *
text_of(JsonValue value)
{
	Buffer plain = {0};
	char *text;

	if (json_is(value, "null"))
		return NULL;
	if (!json_is_string(value))
		return mem_copy_part(value.start, value.len);
	json_string(value, &plain);
	text = mem_copy_part(plain.data, plain.len);
	if (plain.memory != NULL)
		explicit_bzero(plain.memory, plain.size);
	buffer_free(&plain);
	return text;
}

/* array_of returns a JSON array as one of PostgreSQL. */
static char *
array_of(JsonValue array)
{
	Buffer text = {0};
	JsonValue element = {0};
	char *copy;

	buffer_add_text(&text, "{");
	while (json_next(array, &element))
	{
		char *value = text_of(element);

		if (value != NULL)
			values_add_element(&text, value);
		else
			buffer_add_text(&text, text.len == 1 ? "NULL" : ",NULL");
		free(value);
	}
	buffer_add_text(&text, "}");
	copy = mem_copy_part(text.data, text.len);
	buffer_free(&text);
	return copy;
}

/* values_from_json reads the members of an object. */
char **
values_from_json(const Statement *statement, JsonValue object)
{
	char **values = new_values(statement);

	for (int i = 0; i < statement->count; i++)
	{
		const Parameter *parameter = &statement->parameters[i];
		JsonValue given;

		json_members(object, &parameter->name, &given, 1);
		if (given.start == NULL)
			values[i] = mem_copy(parameter->fallback);
		else if (parameter_is_array(parameter) && json_is_array(given))
			values[i] = array_of(given);
		else
			values[i] = text_of(given);
	}
	return values;
}

/* values_of returns the values that are given, a text or null for each parameter. */
char **
values_of(const Statement *statement, ...)
{
	char **values = new_values(statement);
	va_list given;

	va_start(given, statement);
	for (int i = 0; i < statement->count; i++)
		values[i] = mem_copy(va_arg(given, const char *));
	va_end(given);
	return values;
}
