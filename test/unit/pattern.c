/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  Unit tests of rules/pattern: what the messages of an error have in common.
 *
 * A table of messages and their patterns; then a seeded run of random texts, in which the
 * sanitizers of the Makefile turn a read or a write beyond the end into a failure, and
 * a message that is made to be slow.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/pattern.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 200000

static const struct
{
	const char *message;
	const char *pattern;
} messages[] = {
	{"", ""},
	{"division by zero", "division by zero"},
	{"no row 17 in table t2", "no row # in table t#"},
	{"-1.5e10, 10.2.3.4:80 and 1,234.50.", "-#e#, #:# and #."},
	{"at 2026-11-30 10:00:00.25+01", "at #-#-# #:#:#+#"},
	{"relation \"app.jobs\" does not exist", "relation \"?\" does not exist"},
	{"\"a\"\"b\"", "\"?\"\"?\""},
	{"can't do 'this' or 'that'", "can't do '?' or '?'"},
	{"'it's'", "'?'"},
	{"the dogs' bone", "the dogs' bone"},
	{"the 'dogs bone", "the 'dogs bone"},
	{"`x` \xC2\xAB"
	 "a\xC2\xBB \xC2\xBB"
	 "b\xC2\xAB \xE2\x80\x9E"
	 "c\xE2\x80\x9C \xE2\x80\x9C"
	 "d\xE2\x80\x9D",
	 "`?` \xC2\xAB?\xC2\xBB \xC2\xBB?\xC2\xAB \xE2\x80\x9E?\xE2\x80\x9C "
	 "\xE2\x80\x9C?\xE2\x80\x9D"},
	{"user a2ba70eb-cfb9-4422-84b2-d4dad2df71e6 left", "user <id> left"},
	{"A2BA70EB-CFB9-4422-84B2-D4DAD2DF71E6", "<id>"},
	{"a2ba70eb-cfb9-4422-84b2-d4dad2df71e", "a#ba#eb-cfb#-#-#b#-d#dad#df#e"},
	{"commit d4dad2df71e6a2ba70eb", "commit <id>"},
	{"at 0x7ffe12 and 0xZ", "at <id> and #xZ"},
	{"1234567890123456", "#"},
	{"abcdefabcdefabcdef", "abcdefabcdefabcdef"},
	{"deadbeef", "deadbeef"},
	{"\xC3\xA4 5 \xE2\x82\xAC", "\xC3\xA4 # \xE2\x82\xAC"},
};

#define COUNT(array) ((int) (sizeof(array) / sizeof(array[0])))

static uint64_t random_state = 8765309;

/* A number from 0 to n - 1. */
static int
dice(int n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int) ((random_state >> 33) % (uint64_t) n);
}

/* Returns whether a message has a pattern. */
static bool
has_pattern(const char *message, const char *wanted)
{
	char pattern[400];

	bgjob_pattern_of(message, strlen(message), pattern, sizeof(pattern));
	if (strcmp(pattern, wanted) == 0)
		return true;
	printf("# %s: %s\n", message, pattern);
	return false;
}

static void
test_messages(void)
{
	for (int i = 0; i < COUNT(messages); i++)
		is_true(has_pattern(messages[i].message, messages[i].pattern), messages[i].pattern);
	is_true(has_pattern("an open \"quote\nand 'another'", "an open \"quote\nand '?'"),
			"a quotation does not go on in the next line");
}

/* Random texts, in memory of exactly their size, into a buffer of exactly its size. */
static void
test_random(void)
{
	static const char alphabet[] = "\"\"''`` ab09xf-.,\n\xC2\xAB\xBB\xE2\x80\x9C\x9D\x9E";
	bool good = true;

	for (int round = 0; good && round < ROUNDS; round++)
	{
		size_t length = (size_t) dice(80);
		size_t size = (size_t) (1 + dice(60));
		char *text = malloc(length + 1);
		char *pattern = malloc(size);
		size_t written;

		for (size_t i = 0; i < length; i++)
			text[i] = alphabet[dice((int) sizeof(alphabet) - 1)];
		text = realloc(text, length > 0 ? length : 1);
		written = bgjob_pattern_of(text, length, pattern, size);
		good = written < size && strlen(pattern) == written &&
			   strpbrk(pattern, "0123456789") == NULL;
		free(text);
		free(pattern);
	}
	is_true(good, "patterns of random texts fit, and have no digits");
}

/* A message in which each character opens a quotation that does not end. */
static void
test_slow(void)
{
	size_t length = 4 * 1024 * 1024;
	char *text = malloc(length);
	char *pattern = malloc(length + 1);
	clock_t start = clock();

	memset(text, '"', length);
	for (size_t i = 0; i < length; i += 2)
		memcpy(text + i, " '", 2);
	bgjob_pattern_of(text, length, pattern, length + 1);
	is_true(clock() - start < 20 * CLOCKS_PER_SEC, "no message takes more than linear time");
	free(text);
	free(pattern);
}

int
main(void)
{
	test_messages();
	test_random();
	test_slow();
	return tap_end();
}
