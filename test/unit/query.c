/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Unit tests of rules/query: what a user types is read, or refused with a reason.
 *
 * A table of queries with what they are read as, in a notation of this test: each term as
 * [-]qualifier(path path: value value), with the kind of a value of JSON before it. Then a
 * seeded run of random and damaged queries: each is read or refused, and the sanitizers of the
 * Makefile turn a read beyond the end into a failure.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/query.h"
#include "rules/state.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 300000

static const char *const names[] = {"word",  "args", "batch",  "error", "failure",
									"id",    "job",  "limit",  "queue", "recurring",
									"role",  "seq",  "server", "since", "sqlstate",
									"state", "tag",  "unique", "until"};

/* Appends to a text, as far as there is room. */
static void
append(char *to, size_t size, const char *text)
{
	size_t length = strlen(to);

	snprintf(to + length, size - length, "%s", text);
}

/* Writes a query in the notation of this test. */
static void
show(const BgjobQuery *query, char *to, size_t size)
{
	static const char *const kinds[] = {"", "#", "!", "!", "!"};

	to[0] = '\0';
	for (int i = 0; i < query->nterms; i++)
	{
		const BgjobTerm *term = &query->terms[i];

		append(to, size, i > 0 ? " " : "");
		append(to, size, term->negated ? "-" : "");
		append(to, size, names[term->qualifier]);
		append(to, size, "(");
		for (int j = 0; j < term->npath; j++)
		{
			append(to, size, term->path[j].text);
			append(to, size, j + 1 < term->npath ? "/" : "=");
		}
		for (int j = 0; j < term->nvalues; j++)
		{
			append(to, size, j > 0 ? "," : "");
			append(to, size, kinds[term->values[j].kind]);
			append(to, size, term->values[j].text);
		}
		append(to, size, ")");
	}
}

static const struct
{
	const char *query;
	const char *read;
} valid[] = {
	{"", ""},
	{" \t\n ", ""},
	{"timeout", "word(timeout)"},
	{"-timeout  Moon", "-word(timeout) word(Moon)"},
	{"- --a", "word(-) -word(-a)"},
	{"\"two words\" -\"no: such\"", "word(two words) -word(no: such)"},
	{"\"a \\\"b\\\" \\\\ \\c\"", "word(a \"b\" \\ \\c)"},
	{"it\"s", "word(it\"s)"},
	{"12:30 www.example.com a,b", "word(12:30) word(www.example.com) word(a,b)"},
	{"job:send_mail", "job(send_mail)"},
	{"JOB:Send_Mail", "job(Send_Mail)"},
	{"job:\"app.f(int, text)\"", "job(app.f(int, text))"},
	{"job:f(int,text)", "job(f(int,text))"},
	{"queue:mail,print,\"x_y-2\"", "queue(mail,print,x_y-2)"},
	{"-queue:mail", "-queue(mail)"},
	{"state:Failed,deleted", "state(Failed,deleted)"},
	{"tag:vip,gold tag:\"\"", "tag(vip,gold) tag()"},
	{"id:1,2,9223372036854775807", "id(1,2,9223372036854775807)"},
	{"batch:4700", "batch(4700)"},
	{"role:a,\"b,c\"", "role(a,b,c)"},
	{"args:miller", "args(miller)"},
	{"args.tenant_id:7", "args(tenant_id=#7)"},
	{"args.a.b.0:x", "args(a/b/0=x)"},
	{"args.\"a.b\".\"\":x", "args(a.b/=x)"},
	{"args.\"c:d\":x", "args(c:d=x)"},
	{"args.a:\"7\"", "args(a=7)"},
	{"args.a:true args.a:false args.a:null args.a:True",
	 "args(a=!true) args(a=!false) args(a=!null) args(a=True)"},
	{"args.a:-1.5e10 args.a:01 args.a:1. args.a:.5 args.a:1e99999 args.a:-",
	 "args(a=#-1.5e10) args(a=01) args(a=1.) args(a=.5) args(a=1e99999) args(a=-)"},
	{"args.a:\"\"", "args(a=)"},
	{"args.a args", "word(args.a) word(args)"},
	{"args.a:b:c", "args(a=b:c)"},
	{"error:\"no such host\"", "error(no such host)"},
	{"sqlstate:40001,40p01,40", "sqlstate(40001,40P01,40)"},
	{"failure:80e441037B940f1c", "failure(80e441037B940f1c)"},
	{"since:90s until:2w", "since(90s) until(2w)"},
	{"since:2026-02-28 until:2024-02-29T09:30:15.25+01:00",
	 "since(2026-02-28) "
	 "until(2024-02-29T09:30:15.25+01:00)"},
	{"since:\"2026-02-28 09:30\"", "since(2026-02-28 09:30)"},
	{"recurring:nightly sequence:a unique:b limit:smtp server:default",
	 "recurring(nightly) seq(a) unique(b) limit(smtp) server(default)"},
	{"\xC3\xA4rger tag:\xE2\x82\xAC", "word(\xC3\xA4rger) tag(\xE2\x82\xAC)"},
};

static const struct
{
	const char *query;
	int position;
	const char *qualifier;
	const char *message;
} invalid[] = {
	{"a colour:red", 2, NULL, "There is no qualifier \"colour\"."},
	{"http://example.com", 0, NULL, "There is no qualifier \"http\"."},
	{"a -jobs:x", 2, NULL, "There is no qualifier \"jobs\"."},
	{"state:gone", 0, "state", "\"gone\" is no state."},
	{"state:failed,", 0, "state", "A value is missing."},
	{"queue:,a", 0, "queue", "A value is missing."},
	{"queue:Mail", 0, "queue", "\"Mail\" is no name of a queue."},
	{"a -queue:mail,\"x y\"", 2, "queue", "\"x y\" is no name of a queue."},
	{"queue:a234567890123456789012345678901234567890123456789012345678901234", 0, "queue",
	 "\"a234567890123456789012345678901234567890\" is no name of a queue."},
	{"queue:\"\"", 0, "queue", "A value is missing."},
	{"state:\"\"", 0, "state", "A value is missing."},
	{"-state:gone", 0, "state", "\"gone\" is no state."},
	{"state:failed state:gone", 13, "state", "\"gone\" is no state."},
	{"error:\"\"", 0, "error", "A value is missing."},
	{"-args:\"\"", 0, "args", "A value is missing."},
	{"role:\"\"", 0, "role", "A value is missing."},
	{"recurring:\"\"", 0, "recurring", "A value is missing."},
	{"job:", 0, "job", "A value is missing."},
	{"x job: y", 2, "job", "A value is missing."},
	{"\"\"", 0, NULL, "A value is missing."},
	{"\"a", 0, NULL, "A closing quote is missing."},
	{"\"a\\\"", 0, NULL, "A closing quote is missing."},
	{"tag:\"a\"b", 0, "tag", "A blank is missing after a closing quote."},
	{"\"a\",\"b\"", 0, NULL, "A blank is missing after a closing quote."},
	{"id:x", 0, "id", "\"x\" is no id."},
	{"id:-1", 0, "id", "\"-1\" is no id."},
	{"id:9223372036854775808", 0, "id", "\"9223372036854775808\" is no id."},
	{"sqlstate:4000", 0, "sqlstate", "\"4000\" is no SQLSTATE."},
	{"sqlstate:4000!", 0, "sqlstate", "\"4000!\" is no SQLSTATE."},
	{"failure:1234", 0, "failure", "\"1234\" names no group of failures."},
	{"since:yesterday", 0, "since", "\"yesterday\" is no time."},
	{"since:1y", 0, "since", "\"1y\" is no time."},
	{"since:h", 0, "since", "\"h\" is no time."},
	{"since:2026-02-29", 0, "since", "\"2026-02-29\" is no time."},
	{"since:2026-13-01", 0, "since", "\"2026-13-01\" is no time."},
	{"since:2026-01-01T24:00", 0, "since", "\"2026-01-01T24:00\" is no time."},
	{"since:2026-01-01T10", 0, "since", "\"2026-01-01T10\" is no time."},
	{"until:99999999999999999999d", 0, "until", "\"99999999999999999999d\" is no time."},
	{"args..a:1", 0, "args", "The path to an argument is not understood."},
	{"args.:1", 0, "args", "The path to an argument is not understood."},
	{"args.\"a\"b:1", 0, "args", "A blank is missing after a closing quote."},
	{"state:"
	 "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"
	 "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC",
	 0, "state",
	 "\"\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"
	 "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\" is no state."},
};

#define COUNT(array) ((int) (sizeof(array) / sizeof(array[0])))

static BgjobQuery query;

/* Parses a copy of exactly the size of the text, so that the sanitizers see a read beyond it. */
static bool
parse(const char *text, BgjobQueryError *error, char **copy)
{
	*copy = malloc(strlen(text) + 1);
	strcpy(*copy, text);
	return bgjob_query_parse(*copy, &query, error);
}

static void
test_valid(void)
{
	for (int i = 0; i < COUNT(valid); i++)
	{
		char shown[2000] = "";
		BgjobQueryError error;
		char *copy;
		bool parsed = parse(valid[i].query, &error, &copy);

		if (parsed)
			show(&query, shown, sizeof(shown));
		if (!is_true(parsed && strcmp(shown, valid[i].read) == 0, valid[i].read))
			printf("# %s\n# %s\n", valid[i].query, parsed ? shown : error.message);
		free(copy);
	}
}

static void
test_invalid(void)
{
	for (int i = 0; i < COUNT(invalid); i++)
	{
		BgjobQueryError error = {0};
		char *copy;
		bool parsed = parse(invalid[i].query, &error, &copy);

		if (!is_true(!parsed && strcmp(error.message, invalid[i].message) == 0 &&
						 (int) error.position == invalid[i].position && error.hint[0] != '\0' &&
						 (invalid[i].qualifier == NULL) == (error.qualifier == NULL) &&
						 (error.qualifier == NULL ||
						  strcmp(error.qualifier, invalid[i].qualifier) == 0),
					 invalid[i].message))
			printf("# %s: %d %s %s\n", invalid[i].query, (int) error.position,
				   error.qualifier ? error.qualifier : "-", error.message);
		free(copy);
	}
}

static void
test_values(void)
{
	BgjobQueryError error;
	BgjobMoment moment;
	char *copy;

	is_true(bgjob_moment_parse("30m", &moment) && moment.ago == INT64_C(1800000000),
			"half an hour ago");
	is_true(bgjob_moment_parse("2W", &moment) && moment.ago == INT64_C(1209600000000),
			"two weeks ago");
	is_true(bgjob_moment_parse("2026-02-28", &moment) && moment.ago == -1 &&
				moment.year == 2026 && moment.month == 2 && moment.day == 28 &&
				moment.hour == 0 && !moment.has_zone,
			"a date begins at midnight");
	is_true(bgjob_moment_parse("2026-02-28T23:59:58.123456789-03:30", &moment) &&
				moment.hour == 23 && moment.minute == 59 && moment.second == 58 &&
				moment.microsecond == 123456 && moment.has_zone && moment.zone == -12600,
			"a fraction is cut, a zone is west of Greenwich");
	is_true(bgjob_moment_parse("2026-02-28t10:00z", &moment) && moment.has_zone &&
				moment.zone == 0,
			"Z is Greenwich");
	is_true(parse("state:failed id:17 failure:ffffffffffffffff", &error, &copy) &&
				query.terms[0].values[0].number == BGJOB_FAILED &&
				query.terms[1].values[0].number == 17 && query.terms[2].values[0].number == -1,
			"states, ids and hashes are numbers");
	free(copy);
}

static void
test_limits(void)
{
	static char text[BGJOB_QUERY_MAX + 100];
	BgjobQueryError error;
	char *copy;

	memset(text, 'x', BGJOB_QUERY_MAX);
	is_true(parse(text, &error, &copy), "the longest query");
	free(copy);
	text[BGJOB_QUERY_MAX] = 'x';
	is_true(!parse(text, &error, &copy), "one byte more is refused");
	free(copy);
	memset(text, 0, sizeof(text));
	for (int i = 0; i < BGJOB_QUERY_TERMS; i++)
		strcat(text, "x ");
	is_true(parse(text, &error, &copy) && query.nterms == BGJOB_QUERY_TERMS, "the most terms");
	free(copy);
	strcat(text, "x");
	is_true(!parse(text, &error, &copy), "one term more is refused");
	free(copy);
	strcpy(text, "id:1");
	for (int i = 1; i < BGJOB_QUERY_TEXTS; i++)
		strcat(text, ",1");
	is_true(parse(text, &error, &copy) && query.ntexts == BGJOB_QUERY_TEXTS, "the most values");
	free(copy);
	strcat(text, ",1");
	is_true(!parse(text, &error, &copy), "one value more is refused");
	free(copy);
	strcpy(text, "args");
	for (int i = 0; i < BGJOB_QUERY_TEXTS; i++)
		strcat(text, ".a");
	strcat(text, ":1");
	is_true(!parse(text, &error, &copy), "a path with too many elements is refused");
	free(copy);
}

/* ---- random queries ---- */

static uint64_t random_state = 8765309;

/* A number from 0 to n - 1. */
static int
dice(int n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int) ((random_state >> 33) % (uint64_t) n);
}

static const char *const pieces[] = {" ",
									 "\t",
									 ":",
									 ",",
									 "\"",
									 "\\",
									 "-",
									 ".",
									 "a",
									 "args.",
									 "args:",
									 "job:",
									 "queue:",
									 "state:",
									 "failed",
									 "since:",
									 "1h",
									 "id:",
									 "7",
									 "true",
									 "1e9",
									 "2026-01-01",
									 "T10:00",
									 "+01",
									 "sqlstate:",
									 "40001",
									 "\xC3\xA4",
									 "\xff",
									 "\n",
									 "failure:",
									 "0123456789abcdef",
									 "tag:\"x\"",
									 "\\\"",
									 "unknown:",
									 "99999999999999999999"};

/* Whether all texts of a query are within its copy, and end with a zero. */
static bool
is_whole(const char *copy, size_t size)
{
	for (int i = 0; i < query.ntexts; i++)
	{
		const BgjobQueryText *text = &query.texts[i];

		if (text->text < copy || text->text + text->length > copy + size ||
			text->text[text->length] != '\0' || strlen(text->text) != text->length)
			return false;
	}
	for (int i = 0; i < query.nterms; i++)
		if (query.terms[i].nvalues < 1 || query.terms[i].position > size)
			return false;
	return true;
}

static void
test_random(void)
{
	bool good = true;
	int read = 0;
	int refused = 0;

	for (int round = 0; good && round < ROUNDS; round++)
	{
		char text[400] = "";
		BgjobQueryError error;
		char *copy;

		for (int i = dice(25); i > 0; i--)
			append(text, sizeof(text), pieces[dice(COUNT(pieces))]);
		if (parse(text, &error, &copy))
		{
			read++;
			good = is_whole(copy, strlen(text));
		}
		else
		{
			refused++;
			good = error.message[0] != '\0' && error.hint[0] != '\0' &&
				   error.position <= strlen(text);
		}
		if (!good)
			printf("# %s\n", text);
		free(copy);
	}
	is_true(good, "random queries are read or refused with a reason");
	is_true(read > ROUNDS / 100 && refused > ROUNDS / 100, "there are enough of both");
}

int
main(void)
{
	test_valid();
	test_invalid();
	test_values();
	test_limits();
	test_random();
	return tap_end();
}
