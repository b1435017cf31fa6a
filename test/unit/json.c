/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Unit tests of client/json, client/utf8 and client/buffer: which texts are JSON, members,
 *	  strings, numbers; and random texts, which must neither crash nor be read beyond their end.
 *
 *-------------------------------------------------------------------------
 */
#include "client/json.h"
#include "client/utf8.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

/* is_json checks a copy of exactly its size, so that the sanitizer sees a byte too many. */
static bool
is_json(const char *text, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);
	JsonValue value;
	bool valid;

	memcpy(copy, text, len);
	valid = json_check(copy, len, &value) == NULL;
	free(copy);
	return valid;
}

static void
check_all(const char *const *texts, bool expected)
{
	for (int i = 0; texts[i] != NULL; i++)
	{
		char name[200];

		snprintf(name, sizeof(name), "%s: %s", expected ? "accepted" : "refused", texts[i]);
		for (char *c = name; *c != '\0'; c++)
			if (*c < ' ' || *c > '~')
				*c = '.';
		is_true(is_json(texts[i], strlen(texts[i])) == expected, name);
	}
}

static void
check_texts(void)
{
	static const char *const good[] = {"null",
									   "true",
									   " false ",
									   "0",
									   "-0",
									   "-1.50e+10",
									   "1E5",
									   "\"\"",
									   "\"a\\u00e4\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
									   "[]",
									   "[ ]",
									   "{}",
									   "{ }",
									   "[1,2,[3,{\"a\":[]}]]",
									   "{\"a\":1,\"b\":{\"c\":null}}",
									   "\t{\"a\" :\r\n[ 1 , 2 ] }\n",
									   "\"\xc3\xa4\xf0\x9f\x98\x80\"",
									   NULL};
	static const char *const bad[] = {"",
									  " ",
									  "nul",
									  "nulll",
									  "True",
									  "01",
									  "+1",
									  "1.",
									  ".5",
									  "1e",
									  "-",
									  "--1",
									  "\"",
									  "\"a",
									  "\"\\\"",
									  "\"\\x\"",
									  "\"\\u12g4\"",
									  "\"\\u12",
									  "\"\n\"",
									  "\"\x01\"",
									  "[",
									  "]",
									  "[1",
									  "[1,",
									  "[1,]",
									  "[,1]",
									  "[1 2]",
									  "{",
									  "}",
									  "{\"a\"",
									  "{\"a\":",
									  "{\"a\":1,",
									  "{\"a\":1,}",
									  "{a:1}",
									  "{1:1}",
									  "{\"a\" 1}",
									  "[1}",
									  "{\"a\":1]",
									  "1 2",
									  "[] []",
									  "'a'",
									  "\"\xc3\"",
									  "\"\xff\"",
									  "\"\xc0\x80\"",
									  "\"\xed\xa0\x80\"",
									  "\"\xf4\x90\x80\x80\"",
									  "// a",
									  NULL};

	check_all(good, true);
	check_all(bad, false);
	is_true(!is_json("\"a\0b\"", 5), "a zero byte is refused");
}

static void
check_depth(void)
{
	char *deep = malloc(2 * (JSON_MAX_DEPTH + 1));

	memset(deep, '[', JSON_MAX_DEPTH);
	memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
	is_true(is_json(deep, 2 * JSON_MAX_DEPTH), "the greatest depth is accepted");
	memset(deep, '[', JSON_MAX_DEPTH + 1);
	memset(deep + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	is_true(!is_json(deep, 2 * (JSON_MAX_DEPTH + 1)), "one more is refused");
	free(deep);
}

/* member looks up one member of a text. */
static JsonValue
member(const char *text, const char *name)
{
	JsonValue object;
	JsonValue value;

	json_check(text, strlen(text), &object);
	json_members(object, &name, &value, 1);
	return value;
}

static void
check_members(void)
{
	const char *text = " {\"id\" : 12 , \"x\":{\"id\":3}, \"result\":[1.10, "
					   "{\"id\":4}],\"\\u0061b\":true, \"id\":7} ";
	static const char *const names[] = {"a"};
	JsonValue object;
	JsonValue values[1];
	int64_t number = 0;
	double fraction = 0;

	is_true(json_int64(member(text, "id"), &number) && number == 7,
			"the last one of two members counts");
	is_true(json_is(member(text, "result"), "[1.10, {\"id\":4}]"),
			"a member is the text that it was");
	is_true(json_is(member(text, "ab"), "true"), "escapes in names are read");
	is_true(member(text, "a").start == NULL, "a member that is not there");
	is_true(member("[1]", "a").start == NULL, "an array has no members");
	json_check("{\"b\":1,\"a\":2,\"\\u0061\":3,\"c\":4}", 30, &object);
	is_true(json_members(object, names, values, 1) == 2,
			"members with other names are counted");
	is_true(!json_int64(member("{\"id\":1.0}", "id"), &number),
			"1.0 is not written as an integer");
	is_true(!json_int64(member("{\"id\":9223372036854775808}", "id"), &number),
			"2^63 is too large");
	is_true(json_int64(member("{\"id\":-9223372036854775808}", "id"), &number) &&
				number == INT64_MIN,
			"-2^63 is not");
	is_true(json_double(member("{\"p\":12.5}", "p"), &fraction) && fraction == 12.5,
			"a fraction");
}

/* check_elements compares the elements of a text, with a bar behind each. */
static void
check_elements(const char *text, const char *expected, const char *what)
{
	JsonValue array;
	JsonValue element = {0};
	Buffer found = {0};

	json_check(text, strlen(text), &array);
	while (json_next(array, &element))
	{
		buffer_add(&found, element.start, element.len);
		buffer_add(&found, "|", 1);
	}
	is_true(found.len == strlen(expected) &&
				(found.len == 0 || memcmp(found.data, expected, found.len) == 0),
			what);
	buffer_free(&found);
}

static void
check_arrays(void)
{
	check_elements(" [ 1 ,\"a,]\",[2, 3 ] , {\"b\":[]},null]\n",
				   "1|\"a,]\"|[2, 3 ]|{\"b\":[]}|null|", "the elements of an array");
	check_elements("[7]", "7|", "a single element");
	check_elements("[ ]", "", "an empty array has none");
	check_elements("{\"a\":1}", "", "an object has none");
	check_elements("\"[1]\"", "", "a string has none");
}

static void
check_string(const char *json, const char *expected, const char *what)
{
	JsonValue value = {json, strlen(json)};
	Buffer text = {0};

	is_true(json_string(value, &text) && text.len == strlen(expected) &&
				memcmp(text.data, expected, text.len) == 0,
			what);
	buffer_free(&text);
}

static void
check_strings(void)
{
	Buffer text = {0};

	check_string("\"a\\n\\t\\\"\\\\\\/\"", "a\n\t\"\\/", "escapes");
	check_string("\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
				 "characters by number");
	check_string("\"\\u0000\\ud83d\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
				 "what is no character is replaced");
	json_add_string(&text, "a\"\\\n\x01z", 6);
	is_true(text.len == 16 && memcmp(text.data, "\"a\\\"\\\\\\n\\u0001z\"", 16) == 0,
			"a text becomes a string");
	buffer_free(&text);
	utf8_clean(&text, "a\xff\0\xc3\xa4\xe2\x82", 7);
	is_true(text.len == 15 &&
				memcmp(text.data, "a\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd",
					   15) == 0,
			"bytes that are no UTF-8 are replaced");
	buffer_free(&text);
	is_number(utf8_cut("a\xe2\x82\xac", 4, 3), 1, "a character is not cut");
}

/* check_random: texts of pieces of JSON. Whatever is accepted can be searched, and is accepted without its spaces. */
static void
check_random(void)
{
	static const char pieces[] = "{}[]:,\"\\u12ab\x80\xc3 truefalsenull-0.1e+\n";
	static const char *const names[] = {"a", ""};
	int accepted = 0;
	bool held = true;

	srand(1);
	for (int i = 0; i < 300000; i++)
	{
		int len = rand() % 12;
		char *text = malloc(len + 1);
		JsonValue value;
		JsonValue members[2];

		for (int j = 0; j < len; j++)
			text[j] = pieces[rand() % (sizeof(pieces) - 1)];
		text = realloc(text, len > 0 ? len : 1);
		if (json_check(text, len, &value) == NULL)
		{
			accepted++;
			held = held && is_json(value.start, value.len);
			json_members(value, names, members, 2);
		}
		free(text);
	}
	is_true(held, "what is accepted is accepted again");
	is_true(accepted > 1000, "some random texts are JSON");
}

static void
check_numbers(void)
{
	static const int64_t numbers[] = {0, 7, -1, 10, 1234567890, INT64_MAX, INT64_MIN};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		Buffer written = {0};
		char expected[24];
		int len = snprintf(expected, sizeof(expected), "%lld", (long long) numbers[i]);

		buffer_add_number(&written, numbers[i]);
		is_true(written.len == (size_t) len && memcmp(written.data, expected, len) == 0,
				expected);
		buffer_free(&written);
	}
}

int
main(void)
{
	check_texts();
	check_depth();
	check_members();
	check_arrays();
	check_strings();
	check_numbers();
	check_random();
	return tap_end();
}
