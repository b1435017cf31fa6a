/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Reading what a user types to search for jobs.
 *
 * rules/query.h has the grammar. The text is read once, from left to right, and each
 * value is put, without its quotes, where it was: it is never longer there. What is
 * not understood is refused with a message that says what it could have been; a
 * qualifier with a typing error must not become a word that is found nowhere.
 *
 * Only the beginning of what the user has typed is quoted in a message, and never a
 * part of a character.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by the unit
 * tests without a server. Nothing is read beyond the terminating zero.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rules/state.h"

/* Maximum length of a quotation in an error. */
#define QUOTE_MAX 40

/* Maximum length of the name of a queue. */
#define QUEUE_NAME_MAX 63

/* Maximum number of digits of the exponent of a number. */
#define EXPONENT_DIGITS 4

const char bgjob_query_qualifiers[] =
	"args, batch, error, failure, id, job, limit, queue, recurring, role, sequence, server, "
	"since, sqlstate, state, tag, unique, until";

typedef struct Reader
{
	const char *start;
	char *next;
	BgjobQuery *query;
	BgjobTerm *term;
	BgjobQueryError *error;
} Reader;

/* Checks the value of a qualifier, and reads it further. False: it is refused. */
typedef bool (*ReadValue)(Reader *reader, BgjobQueryText *value);

static bool read_number(Reader *reader, BgjobQueryText *value);
static bool read_queue(Reader *reader, BgjobQueryText *value);
static bool read_state(Reader *reader, BgjobQueryText *value);
static bool read_sqlstate(Reader *reader, BgjobQueryText *value);
static bool read_hash(Reader *reader, BgjobQueryText *value);
static bool read_moment(Reader *reader, BgjobQueryText *value);
static bool read_json(Reader *reader, BgjobQueryText *value);

typedef struct Qualifier
{
	const char *name;
	bool list; /* takes several values */
	ReadValue read;
} Qualifier;

static const Qualifier qualifiers[] = {
	[BGJOB_Q_WORD] = {NULL, false, NULL},
	[BGJOB_Q_ARGS] = {"args", false, read_json},
	[BGJOB_Q_BATCH] = {"batch", true, read_number},
	[BGJOB_Q_ERROR] = {"error", false, NULL},
	[BGJOB_Q_FAILURE] = {"failure", false, read_hash},
	[BGJOB_Q_ID] = {"id", true, read_number},
	[BGJOB_Q_JOB] = {"job", false, NULL},
	[BGJOB_Q_LIMIT] = {"limit", false, NULL},
	[BGJOB_Q_QUEUE] = {"queue", true, read_queue},
	[BGJOB_Q_RECURRING] = {"recurring", false, NULL},
	[BGJOB_Q_ROLE] = {"role", true, NULL},
	[BGJOB_Q_SEQUENCE] = {"sequence", false, NULL},
	[BGJOB_Q_SERVER] = {"server", false, NULL},
	[BGJOB_Q_SINCE] = {"since", false, read_moment},
	[BGJOB_Q_SQLSTATE] = {"sqlstate", true, read_sqlstate},
	[BGJOB_Q_STATE] = {"state", true, read_state},
	[BGJOB_Q_TAG] = {"tag", false, NULL},
	[BGJOB_Q_UNIQUE] = {"unique", false, NULL},
	[BGJOB_Q_UNTIL] = {"until", false, read_moment},
};

#define NQUALIFIERS ((int) (sizeof(qualifiers) / sizeof(qualifiers[0])))

/* ---- errors ---- */

static bool refuse(Reader *reader, const char *hint, const char *message, ...)
	__attribute__((format(printf, 3, 4)));

/* Writes why the query is refused; returns false, for the caller to return. */
static bool
refuse(Reader *reader, const char *hint, const char *message, ...)
{
	BgjobQueryError *error = reader->error;
	va_list args;

	error->position = reader->term == NULL ? 0 : reader->term->position;
	error->qualifier = reader->term == NULL ? NULL : qualifiers[reader->term->qualifier].name;
	va_start(args, message);
	vsnprintf(error->message, sizeof(error->message), message, args);
	va_end(args);
	snprintf(error->hint, sizeof(error->hint), "%s", hint);
	return false;
}

/* Returns, for "%.*s", how much of a text an error quotes; in UTF-8, whole characters. */
static int
quoted(const char *text, size_t length)
{
	int n = length < QUOTE_MAX ? (int) length : QUOTE_MAX;

	if ((size_t) n < length)
		while (n > 0 && ((unsigned char) text[n] & 0xC0) == 0x80)
			n--;
	return n;
}

/* ---- characters ---- */

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* ---- values ---- */

static bool
read_number(Reader *reader, BgjobQueryText *value)
{
	int64_t number = 0;

	for (size_t i = 0; i < value->length; i++)
	{
		int digit = value->text[i] - '0';

		if (!is_digit(value->text[i]) || number > (INT64_MAX - digit) / 10)
			break;
		number = number * 10 + digit;
		if (i + 1 < value->length)
			continue;
		value->number = number;
		return true;
	}
	return refuse(reader, "An id is a whole number, such as 4711.", "\"%.*s\" is no id.",
				  quoted(value->text, value->length), value->text);
}

/* A name that no queue can have (bgjob_check_queue_name) is a typing error: it would find nothing, and negated, everything. */
static bool
read_queue(Reader *reader, BgjobQueryText *value)
{
	bool valid = value->length <= QUEUE_NAME_MAX;

	for (size_t i = 0; valid && i < value->length; i++)
	{
		char c = value->text[i];

		valid = (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '-';
	}
	return valid || refuse(reader,
						   "The name of a queue has up to 63 lower-case letters, digits, "
						   "underscores and hyphens. Several are separated by commas.",
						   "\"%.*s\" is no name of a queue.",
						   quoted(value->text, value->length), value->text);
}

static bool
read_state(Reader *reader, BgjobQueryText *value)
{
	char name[16] = {0};

	for (size_t i = 0; i < value->length && i < sizeof(name) - 1; i++)
		name[i] = lower(value->text[i]);
	value->number = value->length < sizeof(name) ? bgjob_state_by_name(name) : BGJOB_NONE;
	if (value->number != BGJOB_NONE)
		return true;
	return refuse(reader,
				  "The states are enqueued, scheduled, awaiting, processing, succeeded, failed "
				  "and deleted. Several are separated by commas.",
				  "\"%.*s\" is no state.", quoted(value->text, value->length), value->text);
}

static bool
read_sqlstate(Reader *reader, BgjobQueryText *value)
{
	char *text = (char *) value->text;
	bool valid = value->length == 5 || value->length == 2;

	for (size_t i = 0; valid && i < value->length; i++)
	{
		if (lower(text[i]) != text[i] || is_digit(text[i]))
			continue;
		valid = text[i] >= 'a' && text[i] <= 'z';
		if (valid)
			text[i] = (char) (text[i] - 'a' + 'A');
	}
	if (valid)
		return true;
	return refuse(reader,
				  "It is five digits and letters, such as 40001, or the two of a class.",
				  "\"%.*s\" is no SQLSTATE.", quoted(value->text, value->length), value->text);
}

static bool
read_hash(Reader *reader, BgjobQueryText *value)
{
	uint64_t hash = 0;
	size_t i = 0;

	for (; i < value->length && i < 17; i++)
	{
		char c = lower(value->text[i]);

		if (!is_digit(c) && !(c >= 'a' && c <= 'f'))
			break;
		hash = hash << 4 | (uint64_t) (is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	value->number = (int64_t) hash;
	if (i == 16 && value->length == 16)
		return true;
	return refuse(reader, "Use a query that bgjob_failures() returns.",
				  "\"%.*s\" names no group of failures.", quoted(value->text, value->length),
				  value->text);
}

/* Skips digits; returns whether there was one. */
static bool
skip_digits(const char **text)
{
	const char *start = *text;

	while (is_digit(**text))
		(*text)++;
	return *text > start;
}

/* Returns whether a text is a number as JSON has it. A greater exponent than jsonb can have makes it a text. */
static bool
is_json_number(const char *text)
{
	const char *exponent;

	if (*text == '-')
		text++;
	if (*text == '0')
		text++;
	else if (!skip_digits(&text))
		return false;
	if (*text == '.')
	{
		text++;
		if (!skip_digits(&text))
			return false;
	}
	if (*text == 'e' || *text == 'E')
	{
		text++;
		if (*text == '-' || *text == '+')
			text++;
		exponent = text;
		if (!skip_digits(&text) || text - exponent > EXPONENT_DIGITS)
			return false;
	}
	return *text == '\0';
}

/* Reads what the value of an argument is; in quotes it has been marked as a text already. */
static bool
read_json(Reader *reader, BgjobQueryText *value)
{
	(void) reader;
	if (is_json_number(value->text))
		value->kind = BGJOB_VALUE_NUMBER;
	else if (strcmp(value->text, "true") == 0)
		value->kind = BGJOB_VALUE_TRUE;
	else if (strcmp(value->text, "false") == 0)
		value->kind = BGJOB_VALUE_FALSE;
	else if (strcmp(value->text, "null") == 0)
		value->kind = BGJOB_VALUE_NULL;
	return true;
}

static const char moment_hint[] =
	"It is a time before now, such as 90s, 30m, 1h, 7d or 2w, or a date, perhaps with a time, "
	"such as 2026-02-28, 2026-02-28T09:30 or 2026-02-28T09:30:00+01:00.";

static bool
read_moment(Reader *reader, BgjobQueryText *value)
{
	if (bgjob_moment_parse(value->text, &reader->term->moment))
		return true;
	return refuse(reader, moment_hint, "\"%.*s\" is no time.",
				  quoted(value->text, value->length), value->text);
}

/* ---- terms ---- */

/* Returns a new text; NULL: there are too many, and the query is refused. */
static BgjobQueryText *
add_text(Reader *reader)
{
	BgjobQueryText *text;

	if (reader->query->ntexts == BGJOB_QUERY_TEXTS)
	{
		(void) refuse(reader, "Make several queries of it.", "There are more than %d values.",
					  BGJOB_QUERY_TEXTS);
		return NULL;
	}
	text = &reader->query->texts[reader->query->ntexts++];
	memset(text, 0, sizeof(*text));
	return text;
}

/* Reads a text in quotes, after the first of them. */
static bool
read_quoted(Reader *reader, BgjobQueryText *text)
{
	char *to = reader->next;

	text->text = to;
	while (*reader->next != '"')
	{
		if (reader->next[0] == '\\' && (reader->next[1] == '"' || reader->next[1] == '\\'))
			reader->next++;
		if (*reader->next == '\0')
			return refuse(reader, "A quote inside of quotes is written \\\".",
						  "A closing quote is missing.");
		*to++ = *reader->next++;
	}
	reader->next++;
	text->length = (size_t) (to - text->text);
	*to = '\0';
	return true;
}

/* Returns whether a bare text ends before a character: at a blank, the end, or one of the delimiters. */
static bool
ends_before(char c, const char *delimiters)
{
	return c == '\0' || is_blank(c) || strchr(delimiters, c) != NULL;
}

/*
 * Reads a text, bare or in quotes, and the delimiter behind it, which is returned: zero
 * stands for a blank or the end. -1: the query is refused.
 */
static int
read_text(Reader *reader, const char *delimiters, BgjobQueryText *text, bool *in_quotes)
{
	char *end;
	char delimiter;

	*in_quotes = *reader->next == '"';
	if (*in_quotes)
	{
		reader->next++;
		if (!read_quoted(reader, text))
			return -1;
		if (!ends_before(*reader->next, delimiters))
		{
			(void) refuse(reader, "A quote inside of quotes is written \\\".",
						  "A blank is missing after a closing quote.");
			return -1;
		}
	}
	else
	{
		text->text = reader->next;
		while (!ends_before(*reader->next, delimiters))
			reader->next++;
		text->length = (size_t) (reader->next - text->text);
	}
	end = reader->next;
	delimiter = *end;
	if (delimiter != '\0')
		*reader->next++ = '\0';
	return is_blank(delimiter) ? '\0' : delimiter;
}

/* Returns whether an empty value makes sense: an argument or a tag may be empty, whereas every text has an empty word. */
static bool
may_be_empty(const BgjobTerm *term)
{
	return term->qualifier == BGJOB_Q_TAG ||
		   (term->qualifier == BGJOB_Q_ARGS && term->npath > 0);
}

/* Reads the values of a term. */
static bool
read_values(Reader *reader)
{
	BgjobTerm *term = reader->term;
	const Qualifier *qualifier = &qualifiers[term->qualifier];
	const char *delimiters = qualifier->list ? "," : "";
	int delimiter;

	term->values = &reader->query->texts[reader->query->ntexts];
	do
	{
		BgjobQueryText *value = add_text(reader);
		bool in_quotes;

		if (value == NULL)
			return false;
		delimiter = read_text(reader, delimiters, value, &in_quotes);
		if (delimiter < 0)
			return false;
		if (value->length == 0 && !(in_quotes && may_be_empty(term)))
			return refuse(reader,
						  may_be_empty(term) ? "An empty value is written \"\"."
											 : "Give it one, or leave the term out.",
						  "A value is missing.");
		term->nvalues++;
		if (qualifier->read != NULL && !(in_quotes && qualifier->read == read_json) &&
			!qualifier->read(reader, value))
			return false;
	} while (delimiter != '\0');
	return true;
}

/* Reads the path of a term, "args.a.b:", behind "args", and the colon. Returns whether it is one; if not, nothing is read. */
static bool
looks_like_path(const char *text)
{
	bool in_quotes = false;

	for (; *text != '\0' && (in_quotes || (*text != ':' && !is_blank(*text))); text++)
	{
		if (in_quotes && *text == '\\' && text[1] != '\0')
			text++;
		else if (*text == '"')
			in_quotes = !in_quotes;
	}
	return *text == ':';
}

static bool
read_path(Reader *reader)
{
	BgjobTerm *term = reader->term;
	int delimiter = *reader->next++;

	term->path = &reader->query->texts[reader->query->ntexts];
	while (delimiter == '.')
	{
		BgjobQueryText *element = add_text(reader);
		bool in_quotes;

		if (element == NULL)
			return false;
		delimiter = read_text(reader, ".:", element, &in_quotes);
		if (delimiter < 0)
			return false;
		if (delimiter == '\0' || (element->length == 0 && !in_quotes))
			return refuse(reader,
						  "It is written like args.customer.id:7, and in an array, "
						  "args.items.0:7.",
						  "The path to an argument is not understood.");
		term->npath++;
	}
	return true;
}

/* Finds the qualifier of a name. False: there is none of that name. */
static bool
find_qualifier(const char *name, size_t length, BgjobQualifier *found)
{
	for (int i = BGJOB_Q_WORD + 1; i < NQUALIFIERS; i++)
	{
		size_t same = 0;

		while (same < length && lower(name[same]) == qualifiers[i].name[same] &&
			   qualifiers[i].name[same] != '\0')
			same++;
		if (same == length && qualifiers[i].name[same] == '\0')
		{
			*found = (BgjobQualifier) i;
			return true;
		}
	}
	return false;
}

/* Reads the qualifier of a term, if it has one, and what follows it up to its values. */
static bool
read_qualifier(Reader *reader)
{
	const char *name = reader->next;
	size_t length = 0;
	BgjobQualifier qualifier;

	while (is_letter(name[length]))
		length++;
	if (length == 0 || (name[length] != ':' && name[length] != '.'))
		return true;
	if (!find_qualifier(name, length, &qualifier))
	{
		char hint[400];

		if (name[length] == '.')
			return true;
		snprintf(hint, sizeof(hint),
				 "The qualifiers are %s. A word with a colon is put in quotes.",
				 bgjob_query_qualifiers);
		return refuse(reader, hint, "There is no qualifier \"%.*s\".", quoted(name, length),
					  name);
	}
	if (name[length] == '.' && (qualifier != BGJOB_Q_ARGS || !looks_like_path(name + length)))
		return true;
	reader->term->qualifier = qualifier;
	reader->next += length;
	return read_path(reader);
}

static bool
read_term(Reader *reader)
{
	if (reader->query->nterms == BGJOB_QUERY_TERMS)
		return refuse(reader, "Leave some of them out.", "There are more than %d terms.",
					  BGJOB_QUERY_TERMS);
	reader->term = &reader->query->terms[reader->query->nterms++];
	memset(reader->term, 0, sizeof(*reader->term));
	reader->term->position = (size_t) (reader->next - reader->start);
	if (*reader->next == '-' && !ends_before(reader->next[1], ""))
	{
		reader->term->negated = true;
		reader->next++;
	}
	return read_qualifier(reader) && read_values(reader);
}

bool
bgjob_query_parse(char *text, BgjobQuery *query, BgjobQueryError *error)
{
	Reader reader = {.start = text, .next = text, .query = query, .error = error};

	memset(error, 0, sizeof(*error));
	query->nterms = query->ntexts = 0;
	if (strlen(text) > BGJOB_QUERY_MAX)
		return refuse(&reader, "Leave some of it out.", "It has more than %d bytes.",
					  BGJOB_QUERY_MAX);
	for (;;)
	{
		while (is_blank(*reader.next))
			reader.next++;
		if (*reader.next == '\0')
			return true;
		if (!read_term(&reader))
			return false;
	}
}
