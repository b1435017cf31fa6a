/*-------------------------------------------------------------------------
 *
 * words.c
 *	  Words in texts and in values of JSON.
 *
 * A word is in a text if its letters are there one after the other, in upper or lower case, by the
 * rules of the database's locale; in a value of JSON if it is in its text.
 *
 * Most values have none of the words. To see that, a value is not turned into text and lower case
 * as it has to be to find words for certain: its bytes are folded as ASCII and searched. That
 * misses no word in ASCII, but for those in a value of JSON that may be in more than one of its
 * strings, in a number, or in "true", "false" and "null"; these take the long way. (Nor does it know the two letters
 * beyond ASCII, such as the sign for kelvin, whose lower case is within it.)
 *
 * The cost is linear in the lengths of value and word. Any process; allocates in the current
 * memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "store/words.h"
#include "utils/formatting.h"

typedef enum Haystack
{
	IN_TEXT,
	IN_JSON
} Haystack;

/* Returns whether a word is in ASCII alone and, for JSON, can only be within a string. */
static bool
can_be_seen(const char *word, Haystack haystack)
{
	bool has_letter = false;

	for (const char *c = word; *c != '\0'; c++)
	{
		if (IS_HIGHBIT_SET(*c) || (haystack == IN_JSON && strchr(" \",:[]{}\\", *c) != NULL) ||
			(unsigned char) *c < ' ')
			return false;
		has_letter = has_letter || (*c >= 'a' && *c <= 'z');
	}
	return haystack == IN_TEXT || (has_letter && strstr("true false null", word) == NULL);
}

/* Returns whether bytes may have one of the words. */
static bool
may_have_any(List *words, const char *bytes, size_t length, Haystack haystack)
{
	char *folded;
	ListCell *cell;

	foreach (cell, words)
		if (!can_be_seen(lfirst(cell), haystack))
			return true;
	folded = palloc(length + 1);
	for (size_t i = 0; i < length; i++)
		folded[i] = (char) (bytes[i] + ((unsigned char) (bytes[i] - 'A') < 26 ? 'a' - 'A' : 0));
	foreach (cell, words)
		if (memmem(folded, length, lfirst(cell), strlen(lfirst(cell))) != NULL)
			return true;
	return false;
}

/* bgjob_words_strike removes from a list of words, which are in lower case, those that are in a text. */
List *
bgjob_words_strike(List *words, const char *text)
{
	size_t length = strlen(text);
	List *rest = NIL;
	ListCell *cell;
	char *lower;

	if (!may_have_any(words, text, length, IN_TEXT))
		return words;
	lower = str_tolower(text, length, DEFAULT_COLLATION_OID);
	foreach (cell, words)
		if (strstr(lower, lfirst(cell)) == NULL)
			rest = lappend(rest, lfirst(cell));
	return rest;
}

/* bgjob_words_strike_json does so for a value of JSON, as text. */
List *
bgjob_words_strike_json(List *words, Jsonb *json)
{
	if (!may_have_any(words, VARDATA(json), VARSIZE(json) - VARHDRSZ, IN_JSON))
		return words;
	return bgjob_words_strike(words, JsonbToCString(NULL, &json->root, VARSIZE(json)));
}

/* bgjob_words_has_json returns whether a word is in a value of JSON, as text. */
bool
bgjob_words_has_json(const char *word, Jsonb *json)
{
	return bgjob_words_strike_json(list_make1(unconstify(char *, word)), json) == NIL;
}
