/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  What the messages of an error have in common.
 *
 * The text is read once, from left to right, and the longest piece that stands for a
 * value is replaced. A quotation ends with the line, so that an apostrophe does not
 * swallow the rest of the message; a single quote counts only where a word does not go
 * on around it. Quotation marks of other languages are those that the server's own
 * translations use, in UTF-8.
 *
 * Each byte is looked at a bounded number of times: what opens a quotation that does
 * not end is not searched for again in that line.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by the unit
 * tests without a server. Nothing is read beyond the given length.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/pattern.h"

#include <stdbool.h>
#include <string.h>

/* So many hexadecimal digits in a row, digits among them, are an identifier. */
#define ID_DIGITS 16

typedef struct Quote
{
	const char *open;
	const char *close;
	bool alone; /* no letter or digit before it, and none behind its end */
} Quote;

static const Quote quotes[] = {
	{"\"", "\"", false},
	{"'", "'", true},
	{"`", "`", false},
	{"\xC2\xAB", "\xC2\xBB", false},         /* « » */
	{"\xC2\xBB", "\xC2\xAB", false},         /* » « */
	{"\xE2\x80\x9C", "\xE2\x80\x9D", false}, /* “ ” */
	{"\xE2\x80\x9E", "\xE2\x80\x9C", false}, /* „ “ */
	{"\xE2\x80\x9E", "\xE2\x80\x9D", false}, /* „ ” */
};

#define NQUOTES ((int) (sizeof(quotes) / sizeof(quotes[0])))

typedef struct Writer
{
	char *to;
	size_t size;
	size_t length;
} Writer;

/* Where a message is read. */
typedef struct Reader
{
	const char *start;
	const char *next;
	const char *end;
	const char *unended[NQUOTES]; /* up to here it is known that the quotation does not end */
} Reader;

static void
put(Writer *writer, const char *text, size_t length)
{
	size_t room = writer->size - 1 - writer->length;

	if (length > room)
		length = room;
	memcpy(writer->to + writer->length, text, length);
	writer->length += length;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
is_of_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		   (c & 0x80) != 0;
}

/* Returns whether a text is next. */
static bool
is_next(const char *next, const char *end, const char *text)
{
	size_t length = strlen(text);

	return (size_t) (end - next) >= length && memcmp(next, text, length) == 0;
}

/* Returns whether a word goes on from the character before a place. */
static bool
is_in_word(const Reader *reader, const char *at)
{
	return at > reader->start && is_of_word(at[-1]);
}

/* Returns where a quotation ends that begins at a text; NULL: it does not, in its line. */
static const char *
end_of_quote(const Reader *reader, const Quote *quote, const char *text)
{
	size_t length = strlen(quote->close);

	for (; text < reader->end && *text != '\n'; text++)
		if (is_next(text, reader->end, quote->close) &&
			(!quote->alone || text + length == reader->end || !is_of_word(text[length])))
			return text;
	return NULL;
}

/* Replaces a quotation, if one is next. */
static bool
read_quote(Reader *reader, Writer *writer)
{
	for (int i = 0; i < NQUOTES; i++)
	{
		const Quote *quote = &quotes[i];
		const char *inside = reader->next + strlen(quote->open);
		const char *close;

		if (!is_next(reader->next, reader->end, quote->open) ||
			(quote->alone && is_in_word(reader, reader->next)) ||
			reader->next < reader->unended[i])
			continue;
		close = end_of_quote(reader, quote, inside);
		if (close == NULL)
		{
			const char *line = memchr(inside, '\n', (size_t) (reader->end - inside));

			reader->unended[i] = line == NULL ? reader->end : line;
			continue;
		}
		put(writer, quote->open, strlen(quote->open));
		put(writer, "?", 1);
		put(writer, quote->close, strlen(quote->close));
		reader->next = close + strlen(quote->close);
		return true;
	}
	return false;
}

/* Returns the length of a UUID that is next; 0: none is. */
static size_t
uuid_next(const Reader *reader)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t length = sizeof(form) - 1;

	if ((size_t) (reader->end - reader->next) < length)
		return 0;
	for (size_t i = 0; i < length; i++)
		if (form[i] == 'x' ? !is_hex(reader->next[i]) : reader->next[i] != '-')
			return 0;
	return length;
}

/* Returns the length of a long hexadecimal number that is next, perhaps behind "0x"; 0: none is. */
static size_t
hex_next(const Reader *reader)
{
	const char *text = reader->next;
	bool prefixed = reader->end - text > 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
	const char *first;
	int digits = 0;

	if (prefixed)
		text += 2;
	for (first = text; text < reader->end && is_hex(*text); text++)
		digits += is_digit(*text);
	if (text < reader->end && is_of_word(*text))
		return 0;
	if (prefixed ? text == first
				 : text - first < ID_DIGITS || digits == 0 || digits == text - first)
		return 0;
	return (size_t) (text - reader->next);
}

/* Replaces an identifier, if one is next; it begins where no word goes on. */
static bool
read_id(Reader *reader, Writer *writer)
{
	size_t length;

	if (!is_hex(*reader->next) || is_in_word(reader, reader->next))
		return false;
	length = uuid_next(reader);
	if (length == 0)
		length = hex_next(reader);
	if (length == 0)
		return false;
	put(writer, "<id>", 4);
	reader->next += length;
	return true;
}

/* Replaces digits, if they are next; a point or comma between two of them is part of the number. */
static bool
read_number(Reader *reader, Writer *writer)
{
	const char *text = reader->next;

	if (!is_digit(*text))
		return false;
	while (text < reader->end &&
		   (is_digit(*text) ||
			((*text == '.' || *text == ',') && text + 1 < reader->end && is_digit(text[1]))))
		text++;
	put(writer, "#", 1);
	reader->next = text;
	return true;
}

size_t
bgjob_pattern_of(const char *message, size_t length, char *to, size_t size)
{
	Reader reader = {.start = message, .next = message, .end = message + length};
	Writer writer = {.to = to, .size = size};

	while (reader.next < reader.end && writer.length < size - 1)
		if (!read_quote(&reader, &writer) && !read_id(&reader, &writer) &&
			!read_number(&reader, &writer))
			put(&writer, reader.next++, 1);
	to[writer.length] = '\0';
	return writer.length;
}
