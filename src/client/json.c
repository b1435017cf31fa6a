/*-------------------------------------------------------------------------
 *
 * json.c
 *	  JSON for programs between a handler and the database.
 *
 * Arguments and results pass through as the text that they came as: the members of
 * an object are slices of that text. So numbers keep every digit, which they do not
 * in libraries that make doubles of them, and a value of 10 MB is looked at once and
 * not copied. json_check accepts exactly the texts of RFC 8259, in UTF-8; all other
 * functions here expect a text that it has accepted.
 *
 * Pure functions: they keep nothing, allocate nothing but in the caller's buffer,
 * and do not recurse, so that a text cannot exhaust the stack.
 * test/unit/json.c tests them, also on random texts.
 *
 *-------------------------------------------------------------------------
 */
#include "client/json.h"
#include "client/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Scan
{
	const char *at;
	const char *end;
} Scan;

static void
skip_space(Scan *scan)
{
	while (scan->at < scan->end &&
		   (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
		scan->at++;
}

/* next_is takes a character if it is the next one. */
static bool
next_is(Scan *scan, char c)
{
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static bool
is_digit(const Scan *scan)
{
	return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static bool
skip_digits(Scan *scan)
{
	if (!is_digit(scan))
		return false;
	while (is_digit(scan))
		scan->at++;
	return true;
}

static const char *
skip_number(Scan *scan)
{
	static const char wrong[] = "a number is malformed";

	next_is(scan, '-');
	if (!next_is(scan, '0') && !skip_digits(scan))
		return wrong;
	if (next_is(scan, '.') && !skip_digits(scan))
		return wrong;
	if (next_is(scan, 'e') || next_is(scan, 'E'))
	{
		if (!next_is(scan, '-'))
			next_is(scan, '+');
		if (!skip_digits(scan))
			return wrong;
	}
	return NULL;
}

/* hex_digits reads the four digits of \uXXXX; -1 if they are not there. */
static int
hex_digits(const char *at, const char *end)
{
	int code = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int c = (unsigned char) at[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
					: c >= 'a' && c <= 'f' ? c - 'a' + 10
					: c >= 'A' && c <= 'F' ? c - 'A' + 10
										   : -1;

		if (digit < 0)
			return -1;
		code = code * 16 + digit;
	}
	return code;
}

/* skip_escape skips what follows a backslash. */
static const char *
skip_escape(Scan *scan)
{
	if (scan->at == scan->end)
		return "a string does not end";
	if (*scan->at == 'u')
	{
		if (hex_digits(scan->at + 1, scan->end) < 0)
			return "\\u is not followed by four hexadecimal digits";
		scan->at += 5;
		return NULL;
	}
	if (*scan->at == '\0' || strchr("\"\\/bfnrt", *scan->at) == NULL)
		return "a string has an unknown escape";
	scan->at++;
	return NULL;
}

/* skip_string skips a string whose opening quote has been taken. */
static const char *
skip_string(Scan *scan)
{
	while (scan->at < scan->end)
	{
		unsigned char c = (unsigned char) *scan->at;

		if (c == '"')
		{
			scan->at++;
			return NULL;
		}
		if (c == '\\')
		{
			const char *wrong;

			scan->at++;
			if ((wrong = skip_escape(scan)) != NULL)
				return wrong;
		}
		else if (c < 0x20)
			return "a string has a control character that is not escaped";
		else if (c < 0x80)
			scan->at++;
		else
		{
			int len = utf8_length(scan->at, scan->end - scan->at);

			if (len == 0)
				return "a string is not UTF-8";
			scan->at += len;
		}
	}
	return "a string does not end";
}

static const char *
skip_word(Scan *scan, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
		return "an unknown word";
	scan->at += len;
	return NULL;
}

/* skip_scalar skips a string, a number or a word. */
static const char *
skip_scalar(Scan *scan)
{
	if (next_is(scan, '"'))
		return skip_string(scan);
	switch (*scan->at)
	{
		case 't':
			return skip_word(scan, "true");
		case 'f':
			return skip_word(scan, "false");
		case 'n':
			return skip_word(scan, "null");
		default:
			if (*scan->at == '-' || is_digit(scan))
				return skip_number(scan);
			return "a value is missing";
	}
}

/* skip_name skips the name of a member and the colon after it. */
static const char *
skip_name(Scan *scan)
{
	const char *wrong;

	skip_space(scan);
	if (!next_is(scan, '"'))
		return "the name of a member is missing";
	if ((wrong = skip_string(scan)) != NULL)
		return wrong;
	skip_space(scan);
	return next_is(scan, ':') ? NULL : "a colon is missing";
}

/*
 * leave_ended takes the brackets that close after a value, up to a comma, behind
 * which the next value stands.
 */
static const char *
leave_ended(Scan *scan, char *open, int *depth)
{
	while (*depth > 0)
	{
		bool object = open[*depth - 1] == '{';

		skip_space(scan);
		if (next_is(scan, ','))
			return object ? skip_name(scan) : NULL;
		if (!next_is(scan, object ? '}' : ']'))
			return scan->at == scan->end ? "the text ends early"
										 : "a comma or a closing bracket is missing";
		(*depth)--;
	}
	return NULL;
}

/* enter takes the opening bracket of an array or object; sets *empty if it closes at once. */
static const char *
enter(Scan *scan, char *open, int *depth, bool *empty)
{
	bool object = *scan->at == '{';

	if (*depth == JSON_MAX_DEPTH)
		return "arrays and objects are nested too deep";
	open[(*depth)++] = *scan->at++;
	skip_space(scan);
	*empty = next_is(scan, object ? '}' : ']');
	if (*empty)
		(*depth)--;
	else if (object)
		return skip_name(scan);
	return NULL;
}

/* skip_value skips a value of any kind, with what is in it. */
static const char *
skip_value(Scan *scan)
{
	char open[JSON_MAX_DEPTH];
	int depth = 0;

	do
	{
		bool empty = true;
		const char *wrong;

		skip_space(scan);
		if (scan->at == scan->end)
			return "the text ends early";
		if (*scan->at == '{' || *scan->at == '[')
			wrong = enter(scan, open, &depth, &empty);
		else
			wrong = skip_scalar(scan);
		if (wrong == NULL && empty)
			wrong = leave_ended(scan, open, &depth);
		if (wrong != NULL)
			return wrong;
	} while (depth > 0);
	return NULL;
}

/*
 * json_check returns null if a text is one JSON value, maybe with space around it,
 * and what is wrong otherwise. The value is the text without that space.
 */
const char *
json_check(const char *text, size_t len, JsonValue *value)
{
	Scan scan = {text, text + len};
	const char *wrong;

	skip_space(&scan);
	value->start = scan.at;
	if ((wrong = skip_value(&scan)) != NULL)
		return wrong;
	value->len = scan.at - value->start;
	skip_space(&scan);
	return scan.at == scan.end ? NULL : "something follows the value";
}

bool
json_is(JsonValue value, const char *literal)
{
	return value.start != NULL && value.len == strlen(literal) &&
		   memcmp(value.start, literal, value.len) == 0;
}

bool
json_is_string(JsonValue value)
{
	return value.start != NULL && *value.start == '"';
}

bool
json_is_object(JsonValue value)
{
	return value.start != NULL && *value.start == '{';
}

bool
json_is_array(JsonValue value)
{
	return value.start != NULL && *value.start == '[';
}

bool
json_is_number(JsonValue value)
{
	return value.start != NULL &&
		   (*value.start == '-' || (*value.start >= '0' && *value.start <= '9'));
}

/* is_name compares the name of a member, in quotes, with one that needs no escapes. */
static bool
is_name(JsonValue quoted, const char *name)
{
	size_t len = strlen(name);
	Buffer plain = {0};
	bool same;

	if (quoted.len == len + 2 && memcmp(quoted.start + 1, name, len) == 0)
		return true;
	if (memchr(quoted.start, '\\', quoted.len) == NULL)
		return false;
	same =
		json_string(quoted, &plain) && plain.len == len && memcmp(plain.data, name, len) == 0;
	buffer_free(&plain);
	return same;
}

/*
 * json_members looks up members of an object by their names, in one pass; start is
 * null for those that are not there. As for jsonb, the last one of several with the
 * same name counts. Returns the number of members with other names.
 */
int
json_members(JsonValue object, const char *const *names, JsonValue *values, int count)
{
	Scan scan = {object.start, object.start + object.len};
	int others = 0;

	memset(values, 0, count * sizeof(*values));
	if (!json_is_object(object))
		return 0;
	scan.at++;
	skip_space(&scan);
	while (scan.at < scan.end && *scan.at == '"')
	{
		JsonValue name = {scan.at++, 0};
		JsonValue value;
		bool known = false;

		skip_string(&scan);
		name.len = scan.at - name.start;
		skip_space(&scan);
		scan.at++; /* the colon */
		skip_space(&scan);
		value.start = scan.at;
		skip_value(&scan);
		value.len = scan.at - value.start;
		for (int i = 0; i < count; i++)
			if (is_name(name, names[i]))
			{
				values[i] = value;
				known = true;
				break;
			}
		others += !known;
		skip_space(&scan);
		scan.at++; /* the comma, or the end of the object */
		skip_space(&scan);
	}
	return others;
}

/*
 * json_next goes to the next element of an array; to the first one from a value whose
 * start is null. False: there is none, or this is no array.
 */
bool
json_next(JsonValue array, JsonValue *element)
{
	Scan scan = {array.start, array.start + array.len};

	if (!json_is_array(array))
		return false;
	if (element->start != NULL)
		scan.at = element->start + element->len;
	else
		scan.at++;
	skip_space(&scan);
	if (element->start != NULL)
		next_is(&scan, ',');
	skip_space(&scan);
	if (scan.at == scan.end || *scan.at == ']')
		return false;
	element->start = scan.at;
	skip_value(&scan);
	element->len = scan.at - element->start;
	return true;
}

/*
 * json_next_member goes to the next member of an object: its name, a string, and its value; to the
 * first one from a value whose start is null. False: there is none, or this is no object.
 */
bool
json_next_member(JsonValue object, JsonValue *name, JsonValue *value)
{
	Scan scan = {object.start, object.start + object.len};

	if (!json_is_object(object))
		return false;
	if (value->start != NULL)
		scan.at = value->start + value->len;
	else
		scan.at++;
	skip_space(&scan);
	if (value->start != NULL)
		next_is(&scan, ',');
	skip_space(&scan);
	if (scan.at == scan.end || *scan.at != '"')
		return false;
	name->start = scan.at;
	skip_value(&scan);
	name->len = scan.at - name->start;
	skip_space(&scan);
	next_is(&scan, ':');
	skip_space(&scan);
	value->start = scan.at;
	skip_value(&scan);
	value->len = scan.at - value->start;
	return true;
}

/* json_int64 reads an integer that is written as one and fits into 64 bits. */
bool
json_int64(JsonValue value, int64_t *number)
{
	char digits[24];
	char *end;

	if (!json_is_number(value) || value.len >= sizeof(digits))
		return false;
	memcpy(digits, value.start, value.len);
	digits[value.len] = '\0';
	errno = 0;
	*number = strtoll(digits, &end, 10);
	return *end == '\0' && errno == 0;
}

/* json_double reads a number as a double. */
bool
json_double(JsonValue value, double *number)
{
	char digits[64];

	if (!json_is_number(value) || value.len >= sizeof(digits))
		return false;
	memcpy(digits, value.start, value.len);
	digits[value.len] = '\0';
	*number = strtod(digits, NULL);
	return true;
}

/* read_code reads \uXXXX, or two that make a surrogate pair. One half alone is U+FFFD. */
static const char *
read_code(const char *at, const char *end, Buffer *to)
{
	int code = hex_digits(at + 1, end);

	at += 5;
	if (code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u')
	{
		int low = hex_digits(at + 2, end);

		if (low >= 0xDC00 && low < 0xE000)
		{
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			at += 6;
		}
	}
	if (code == 0 || (code >= 0xD800 && code < 0xE000))
		code = 0xFFFD;
	utf8_add(to, code);
	return at;
}

/*
 * json_string adds the text of a string to a buffer, without quotes and escapes.
 * \u0000, which no text in PostgreSQL can have, becomes U+FFFD. False: it is no string.
 */
bool
json_string(JsonValue value, Buffer *to)
{
	static const char escapes[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	const char *at = value.start + 1;
	const char *end = value.start + value.len - 1;

	if (!json_is_string(value))
		return false;
	while (at < end)
	{
		const char *slash = memchr(at, '\\', end - at);
		const char *escape;

		buffer_add(to, at, (slash != NULL ? slash : end) - at);
		if (slash == NULL)
			break;
		at = slash + 1;
		if (*at == 'u')
		{
			at = read_code(at, end, to);
			continue;
		}
		escape = strchr(escapes, *at);
		buffer_add(to, escape != NULL ? &meant[escape - escapes] : at, 1);
		at++;
	}
	return true;
}

/* json_add_string adds a text as a JSON string. The text has to be UTF-8. */
void
json_add_string(Buffer *to, const char *text, size_t len)
{
	size_t from = 0;

	buffer_add(to, "\"", 1);
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buffer_add(to, text + from, i - from);
		if (c == '"' || c == '\\')
			buffer_print(to, "\\%c", c);
		else if (c == '\n')
			buffer_add(to, "\\n", 2);
		else
			buffer_print(to, "\\u%04x", c);
		from = i + 1;
	}
	buffer_add(to, text + from, len - from);
	buffer_add(to, "\"", 1);
}
