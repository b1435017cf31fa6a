/*-------------------------------------------------------------------------
 *
 * prometheus.c
 *	  The rows of bgjob.metrics as text for Prometheus.
 *
 *	  prometheus_begin(); prometheus_add() for each row; prometheus_end().
 *
 * Rows of several databases may be added to one page, one database after the other. Prometheus wants all
 * samples of a metric together, so each metric has a buffer of its own until the end. Samples without
 * the label "database" concern the whole cluster: each of them is written once.
 *
 * The rows are those of a server that may be another's, so nothing of them is believed: names that are none of
 * Prometheus, labels that are no object of strings, and values that are no numbers are left out. Labels and help
 * texts are escaped as the text format 0.0.4 says.
 *
 * Pure: rows in, text out. Nothing of the program is used but src/client.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/prometheus.h"
#include "client/json.h"
#include "client/memory.h"

#include <stdlib.h>
#include <string.h>

/* A metric: its help and type, and its samples so far. */
typedef struct Family
{
	char *name;
	Buffer head;
	Buffer samples;
} Family;

struct Prometheus
{
	Family *families;
	size_t n;
	size_t room;
	size_t last; /* the family of the row before */
};

/* prometheus_begin begins a page. */
Prometheus *
prometheus_begin(void)
{
	return mem_zero(sizeof(Prometheus));
}

/* ---- what rows may say ---- */

/* is_name returns whether a text is the name of a metric; of a label, if it may have no colon. */
static bool
is_name(const char *text, size_t len, bool colon)
{
	for (size_t i = 0; i < len; i++)
	{
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			  (c == ':' && colon) || (c >= '0' && c <= '9' && i > 0)))
			return false;
	}
	return len > 0;
}

/* number_of returns a value as the text format has it; null: it is no number. */
static const char *
number_of(const char *value)
{
	char *end;

	if (strcmp(value, "Infinity") == 0)
		return "+Inf";
	if (strcmp(value, "-Infinity") == 0)
		return "-Inf";
	if (strcmp(value, "NaN") == 0)
		return value;
	if (strspn(value, "0123456789+-.eE") != strlen(value))
		return NULL;
	(void) strtod(value, &end);
	return *value != '\0' && *end == '\0' ? value : NULL;
}

static const char *
type_of(const char *type)
{
	static const char *const types[] = {"counter", "gauge", "histogram", NULL};

	for (int i = 0; types[i] != NULL; i++)
		if (strcmp(type, types[i]) == 0)
			return type;
	return "untyped";
}

/* ---- samples ---- */

static void
add_escaped(Buffer *to, const char *text, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n')
			buffer_add_text(to, "\\n");
		else if (strchr(special, text[i]) != NULL && text[i] != '\0')
			buffer_print(to, "\\%c", text[i]);
		else
			buffer_add(to, &text[i], 1);
}

/* add_label adds a label, and returns whether it is one. */
static bool
add_label(Buffer *to, JsonValue name, JsonValue value, bool first)
{
	Buffer text = {0};
	bool valid = json_string(name, &text) && is_name(text.data, text.len, false) &&
				 json_is_string(value);

	if (valid)
	{
		buffer_add_text(to, first ? "{" : ",");
		buffer_add(to, text.data, text.len);
		buffer_add_text(to, "=\"");
		buffer_clear(&text);
		valid = json_string(value, &text);
		add_escaped(to, text.data, text.len, "\\\"");
		buffer_add_text(to, "\"");
	}
	buffer_free(&text);
	return valid;
}

/* add_labels adds the labels of a sample, and sets whether one is "database". Returns whether they are labels. */
static bool
add_labels(Buffer *to, const char *labels, bool *of_database)
{
	JsonValue object;
	JsonValue name = {0};
	JsonValue value = {0};
	bool first = true;

	*of_database = false;
	if (json_check(labels, strlen(labels), &object) != NULL || !json_is_object(object))
		return false;
	for (; json_next_member(object, &name, &value); first = false)
	{
		if (!add_label(to, name, value, first))
			return false;
		*of_database |= json_is(name, "\"database\"");
	}
	if (!first)
		buffer_add_text(to, "}");
	return true;
}

/* has_sample returns whether a family has a sample that begins so: with this name and these labels. */
static bool
has_sample(const Family *family, const Buffer *sample)
{
	const char *line = family->samples.data;
	size_t left = family->samples.len;

	while (left >= sample->len && memcmp(line, sample->data, sample->len) != 0)
	{
		const char *next = memchr(line, '\n', left);

		left -= next + 1 - line;
		line = next + 1;
	}
	return left >= sample->len;
}

/* ---- families ---- */

/* family_length returns the length of a sample's name without what those of a histogram have behind it. */
static size_t
family_length(const char *name, const char *type)
{
	static const char *const suffixes[] = {"_bucket", "_sum", "_count", NULL};
	size_t len = strlen(name);

	for (int i = 0; strcmp(type, "histogram") == 0 && suffixes[i] != NULL; i++)
	{
		size_t suffix = strlen(suffixes[i]);

		if (len > suffix && strcmp(name + len - suffix, suffixes[i]) == 0)
			return len - suffix;
	}
	return len;
}

static bool
is_of(const Family *family, const char *name, size_t len)
{
	return strncmp(family->name, name, len) == 0 && family->name[len] == '\0';
}

/* family_of finds the family of a sample, or adds it. Samples of a family follow each other. */
static Family *
family_of(Prometheus *page, const char *name, const char *help, const char *type)
{
	size_t len = family_length(name, type);
	Family *family;

	for (size_t i = 0; i < page->n; i++)
	{
		size_t at = (page->last + i) % page->n;

		if (is_of(&page->families[at], name, len))
		{
			page->last = at;
			return &page->families[at];
		}
	}
	if (page->n == page->room)
	{
		page->room = page->room == 0 ? 64 : page->room * 2;
		page->families = mem_resize(page->families, page->room * sizeof(Family));
	}
	page->last = page->n++;
	family = &page->families[page->last];
	*family = (Family){.name = mem_copy_part(name, len)};
	buffer_print(&family->head, "# HELP %s ", family->name);
	add_escaped(&family->head, help, strlen(help), "\\");
	buffer_print(&family->head, "\n# TYPE %s %s\n", family->name, type_of(type));
	return family;
}

/*
 * prometheus_add adds a row of bgjob.metrics, as libpq returns it: texts; labels is a JSON object; null
 * is null. Returns whether it is a sample; if not, it is left out.
 */
bool
prometheus_add(Prometheus *page, const char *name, const char *labels, const char *value,
			   const char *help, const char *type)
{
	Buffer sample = {0};
	const char *number;
	bool of_database;
	bool valid;

	if (name == NULL || labels == NULL || value == NULL || help == NULL || type == NULL)
		return false;
	number = number_of(value);
	if (number == NULL || !is_name(name, strlen(name), true))
		return false;
	buffer_add_text(&sample, name);
	valid = add_labels(&sample, labels, &of_database);
	if (valid)
	{
		Family *family = family_of(page, name, help, type);

		buffer_add_text(&sample, " ");
		if (of_database || !has_sample(family, &sample))
		{
			buffer_add(&family->samples, sample.data, sample.len);
			buffer_print(&family->samples, "%s\n", number);
		}
	}
	buffer_free(&sample);
	return valid;
}

/* prometheus_end adds the text of the page to a buffer, and frees the page. */
void
prometheus_end(Prometheus *page, Buffer *to)
{
	for (size_t i = 0; i < page->n; i++)
	{
		Family *family = &page->families[i];

		buffer_add(to, family->head.data, family->head.len);
		buffer_add(to, family->samples.data, family->samples.len);
		buffer_free(&family->head);
		buffer_free(&family->samples);
		free(family->name);
	}
	free(page->families);
	free(page);
}
