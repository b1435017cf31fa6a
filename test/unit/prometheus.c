/*-------------------------------------------------------------------------
 *
 * prometheus.c
 *	  Unit tests of dashboard/prometheus: help and type once for each metric, histograms, escaping, several
 *	  databases on one page, and rows that are no samples; and random rows.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/prometheus.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 10

typedef const char *Row[5];

/* is_page compares the text of some rows. */
static void
is_page(const Row *rows, const char *expected, const char *what)
{
	Prometheus *page = prometheus_begin();
	Buffer text = {0};

	for (int i = 0; rows[i][0] != NULL; i++)
		(void) prometheus_add(page, rows[i][0], rows[i][1], rows[i][2], rows[i][3], rows[i][4]);
	prometheus_end(page, &text);
	buffer_add(&text, "", 1);
	if (!is_true(strcmp(text.data, expected) == 0, what))
		printf("# have: %s# want: %s", text.data, expected);
	buffer_free(&text);
}

static void
check_pages(void)
{
	static const Row none[] = {{NULL}};
	static const Row gauges[] = {
		{"a_b", "{}", "1", "what it says", "gauge"},
		{"c", "{\"x\": \"1\", \"y\": \"2\"}", "0.5", "more", "counter"},
		{"c", "{\"x\": \"2\", \"y\": \"2\"}", "1e+20", "more", "counter"},
		{NULL}};
	static const Row histogram[] = {
		{"h_bucket", "{\"le\": \"0.1\"}", "3", "times", "histogram"},
		{"h_bucket", "{\"le\": \"+Inf\"}", "4", "times", "histogram"},
		{"h_sum", "{}", "7.25", "times", "histogram"},
		{"h_count", "{}", "4", "times", "histogram"},
		{"a_count", "{}", "4", "no histogram", "gauge"},
		{NULL}};
	static const Row escaped[] = {
		{"e", "{\"l\": \"a\\\"b\\\\c\\nd\\u00e4\\u0001\"}", "1", "a\nb\\c\"d", "gauge"},
		{NULL}};
	static const Row values[] = {{"v", "{\"a\": \"1\"}", "NaN", "", "gauge"},
								 {"v", "{\"a\": \"2\"}", "Infinity", "", "gauge"},
								 {"v", "{\"a\": \"3\"}", "-Infinity", "", "gauge"},
								 {"v", "{\"a\": \"4\"}", "-1.5e-07", "", "odd"},
								 {NULL}};

	is_page(none, "", "no rows are an empty page");
	is_page(
		gauges,
		"# HELP a_b what it says\n# TYPE a_b gauge\na_b 1\n"
		"# HELP c more\n# TYPE c counter\nc{x=\"1\",y=\"2\"} 0.5\nc{x=\"2\",y=\"2\"} 1e+20\n",
		"help and type stand once before the samples of a metric");
	is_page(
		histogram,
		"# HELP h times\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 3\nh_bucket{le=\"+Inf\"} 4\n"
		"h_sum 7.25\nh_count 4\n# HELP a_count no histogram\n# TYPE a_count gauge\na_count 4\n",
		"the samples of a histogram are one metric");
	is_page(escaped,
			"# HELP e a\\nb\\\\c\"d\n# TYPE e gauge\ne{l=\"a\\\"b\\\\c\\nd\xc3\xa4\x01\"} 1\n",
			"labels and help are escaped");
	is_page(values,
			"# HELP v \n# TYPE v gauge\nv{a=\"1\"} NaN\nv{a=\"2\"} +Inf\nv{a=\"3\"} -Inf\n"
			"v{a=\"4\"} -1.5e-07\n",
			"values that are not finite are written as Prometheus wants");
}

static void
check_databases(void)
{
	static const Row two[] = {{"i", "{\"version\": \"1\"}", "1", "info", "gauge"},
							  {"j", "{\"database\": \"a\"}", "5", "jobs", "gauge"},
							  {"k", "{}", "5", "kin", "gauge"},
							  {"i", "{\"version\": \"1\"}", "1", "info", "gauge"},
							  {"j", "{\"database\": \"b\"}", "6", "jobs", "gauge"},
							  {"k", "{}", "6", "kin", "gauge"},
							  {NULL}};

	is_page(
		two,
		"# HELP i info\n# TYPE i gauge\ni{version=\"1\"} 1\n"
		"# HELP j jobs\n# TYPE j gauge\nj{database=\"a\"} 5\nj{database=\"b\"} 6\n"
		"# HELP k kin\n# TYPE k gauge\nk 5\n",
		"of two databases the samples of a metric stand together, those of the cluster once");
}

static void
check_refused(void)
{
	static const Row rows[] = {
		{"", "{}", "1", "", "gauge"},
		{"1a", "{}", "1", "", "gauge"},
		{"a b", "{}", "1", "", "gauge"},
		{"a\nb 1", "{}", "1", "", "gauge"},
		{"a", "", "1", "", "gauge"},
		{"a", "[]", "1", "", "gauge"},
		{"a", "{\"x\": 1}", "1", "", "gauge"},
		{"a", "{\"\": \"1\"}", "1", "", "gauge"},
		{"a", "{\"x}\": \"1\"}", "1", "", "gauge"},
		{"a", "{\"x\": \"1\"", "1", "", "gauge"},
		{"a", "{}", "", "", "gauge"},
		{"a", "{}", "one", "", "gauge"},
		{"a", "{}", "1\nb 2", "", "gauge"},
		{"a", "{}", "1 2", "", "gauge"},
		{NULL, "{}", "1", "", "gauge"},
		{"a", NULL, "1", "", "gauge"},
		{"a", "{}", NULL, "", "gauge"},
		{"a", "{}", "1", NULL, "gauge"},
		{"a", "{}", "1", "", NULL},
	};
	Prometheus *page = prometheus_begin();
	Buffer text = {0};

	for (int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		char what[100];

		snprintf(what, sizeof(what), "row %d is no sample", i + 1);
		is_true(
			!prometheus_add(page, rows[i][0], rows[i][1], rows[i][2], rows[i][3], rows[i][4]),
			what);
	}
	prometheus_end(page, &text);
	is_number((int64_t) text.len, 0, "rows that are no samples leave nothing");
	buffer_free(&text);
}

/* A text of characters that mean something somewhere. */
static void
scramble(char *text, int size)
{
	static const char characters[] = "{}[]\":,\\\n abx01._+-eu\xc3\xa4";
	int len = rand() % size;

	for (int i = 0; i < len; i++)
		text[i] = characters[rand() % (sizeof(characters) - 1)];
	text[len] = '\0';
}

/* Returns whether each line is a comment or a sample: a name, perhaps labels, a space and a number. */
static bool
is_text_format(const Buffer *text)
{
	for (size_t at = 0; at < text->len;)
	{
		const char *line = text->data + at;
		const char *end = memchr(line, '\n', text->len - at);

		if (end == NULL || (*line != '#' && strcspn(line, "{ ") > (size_t) (end - line)))
			return false;
		at += end + 1 - line;
	}
	return true;
}

static void
check_random(void)
{
	bool valid = true;
	char texts[5][24];

	srand(20);
	for (int round = 0; round < 2000; round++)
	{
		Prometheus *page = prometheus_begin();
		Buffer text = {0};

		for (int row = 0; row < ROWS_MAX; row++)
		{
			for (int i = 0; i < 5; i++)
				scramble(texts[i], sizeof(texts[i]));
			(void) prometheus_add(page, row % 2 ? texts[0] : "a", row % 3 ? texts[1] : "{}",
								  row % 5 ? "1" : texts[2], texts[3], texts[4]);
		}
		prometheus_end(page, &text);
		valid = valid && is_text_format(&text);
		buffer_free(&text);
	}
	is_true(valid, "20000 random rows leave lines of the text format");
}

int
main(void)
{
	check_pages();
	check_databases();
	check_refused();
	check_random();
	return tap_end();
}
