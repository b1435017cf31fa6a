/*-------------------------------------------------------------------------
 *
 * utf8.c
 *	  UTF-8, as far as programs need it.
 *
 * Handlers write bytes; the server accepts only texts in the encoding of the client,
 * which for these programs is UTF-8, without zero bytes. What a handler writes to
 * its standard error is made such a text here.
 *
 * Pure functions, as in json.c.
 *
 *-------------------------------------------------------------------------
 */
#include "client/utf8.h"

#include <stdbool.h>
#include <string.h>

/* utf8_length returns the length of the character at the beginning of a text, 0 if it is not UTF-8. */
int
utf8_length(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *) text;
	int more;
	unsigned char low = 0x80;
	unsigned char high = 0xBF;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		more = 1;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		more = 2;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		more = 3;
	else
		return 0;
	/* Overlong forms, surrogates, and what lies beyond Unicode show in the second byte. */
	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (len < (size_t) more + 1 || s[1] < low || s[1] > high)
		return 0;
	for (int i = 2; i <= more; i++)
		if (s[i] < 0x80 || s[i] > 0xBF)
			return 0;
	return more + 1;
}

/* utf8_add adds a character by its number. */
void
utf8_add(Buffer *to, int code)
{
	char bytes[4];
	int len;

	if (code < 0x80)
	{
		bytes[0] = (char) code;
		len = 1;
	}
	else if (code < 0x800)
	{
		bytes[0] = (char) (0xC0 | code >> 6);
		len = 2;
	}
	else if (code < 0x10000)
	{
		bytes[0] = (char) (0xE0 | code >> 12);
		len = 3;
	}
	else
	{
		bytes[0] = (char) (0xF0 | code >> 18);
		len = 4;
	}
	for (int i = 1; i < len; i++)
		bytes[i] = (char) (0x80 | (code >> 6 * (len - 1 - i) & 0x3F));
	buffer_add(to, bytes, len);
}

/* utf8_clean adds bytes; each that is no part of a character, and each zero byte, becomes U+FFFD. */
void
utf8_clean(Buffer *to, const char *bytes, size_t len)
{
	size_t from = 0;
	size_t i = 0;

	while (i < len)
	{
		int length = bytes[i] == '\0' ? 0 : utf8_length(bytes + i, len - i);

		if (length > 0)
		{
			i += length;
			continue;
		}
		buffer_add(to, bytes + from, i - from);
		utf8_add(to, 0xFFFD);
		from = ++i;
	}
	buffer_add(to, bytes + from, len - from);
}

/* utf8_cut returns where a text of more than limit bytes can be cut without cutting a character. */
size_t
utf8_cut(const char *text, size_t len, size_t limit)
{
	if (len <= limit)
		return len;
	while (limit > 0 && ((unsigned char) text[limit] & 0xC0) == 0x80)
		limit--;
	return limit;
}
