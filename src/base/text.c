/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Texts that are shown, cut to a readable length; and names in quotes.
 *
 * What a job says (an error, a reason, its own command) may have a gigabyte.
 * Where that is stored to be shown, logged, or copied into shared memory, it is
 * cut; never within a character, which would make the reader's session fail.
 *
 * Any process; no transaction is needed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
#include "mb/pg_wchar.h"

/* bgjob_text_cut returns a text, or a copy of as many of its characters as fit into "max" bytes. NULL stays NULL. */
const char *
bgjob_text_cut(const char *text, int max)
{
	size_t length;

	if (text == NULL)
		return NULL;
	length = strnlen(text, (size_t) max + MAX_MULTIBYTE_CHAR_LEN);
	if (length <= (size_t) max)
		return text;
	return pnstrdup(text, pg_mbcliplen(text, (int) length, max));
}

/*
 * bgjob_text_find_unquoted returns the first of some characters in a text that is
 * not in double quotes; the end of the text if there is none.
 */
const char *
bgjob_text_find_unquoted(const char *text, const char *characters)
{
	bool quoted = false;

	for (; *text != '\0'; text++)
	{
		if (*text == '"')
			quoted = !quoted;
		else if (!quoted && strchr(characters, *text) != NULL)
			break;
	}
	return text;
}
