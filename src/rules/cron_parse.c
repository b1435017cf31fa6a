/*-------------------------------------------------------------------------
 *
 * cron_parse.c
 *	  Reading a schedule.
 *
 * A schedule is five or six fields, a macro ("@daily") or an interval ("5
 * minutes"). A field is a list of elements; each element adds bits to the
 * masks of the BgjobCron. An element is "*", a value, a range or H, each
 * perhaps with a step, or one of the forms that only day of month (L, W) and
 * day of week (#, L) have.
 *
 * What is not understood is refused, and the error names the field: a typing
 * error must not become a job that runs at another time. Only printable ASCII
 * gets past the first check, so whatever an error quotes can be shown.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by
 * the unit tests without a server. Nothing is read beyond the terminating
 * zero, and no number is kept that could overflow.
 *
 * Longer than 600 lines: it is one recursive descent through one grammar, with
 * the error messages of each of its forms.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/cron.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef enum FieldId
{
	SECOND,
	MINUTE,
	HOUR,
	DAY,
	MONTH,
	WEEKDAY
} FieldId;

#define NFIELDS (WEEKDAY + 1)

/* Replaces longer numbers; it is out of every range. */
#define NUMBER_MAX 999999999

/* Maximum length of a quotation in an error. */
#define QUOTE_MAX 40

static const char month_names[] = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC";
static const char weekday_names[] = "SUNMONTUEWEDTHUFRISAT";

typedef struct Field
{
	const char *name;
	int min;
	int max;           /* of what may be written, as a step, too; Sunday may be 7 */
	int size;          /* how many values there are */
	int hash_max;      /* H is chosen from min to here */
	const char *names; /* three letters each; the first is that of min */
	const char *hint;
} Field;

static const Field fields[NFIELDS] = {
	[SECOND] = {"second", 0, 59, 60, 59, NULL,
				"A second is 0 to 59: \"*\", \"30\", \"0,30\", \"10-20\", \"*/5\", \"H\"."},
	[MINUTE] = {"minute", 0, 59, 60, 59, NULL,
				"A minute is 0 to 59: \"*\", \"30\", \"0,30\", \"10-20\", \"*/5\", \"H\"."},
	[HOUR] = {"hour", 0, 23, 24, 23, NULL,
			  "An hour is 0 to 23: \"*\", \"9\", \"9,17\", \"22-2\", \"*/6\", \"H\"."},
	/* Every month has a 28th, so that is where H ends. */
	[DAY] = {"day of month", 1, 31, 31, 28, NULL,
			 "A day of month is 1 to 31: \"*\", \"1,15\", \"10-20\", \"L\" (the last), "
			 "\"L-3\", \"15W\" (the nearest weekday), \"LW\", \"H\"."},
	[MONTH] =
		{"month", 1, 12, 12, 12, month_names,
		 "A month is 1 to 12 or JAN to DEC: \"*\", \"1,7\", \"NOV-FEB\", \"*/3\", \"H\"."},
	[WEEKDAY] = {"day of week", 0, 7, 7, 6, weekday_names,
				 "A day of week is 0 to 7 (0 and 7 are Sunday) or SUN to SAT: \"*\", "
				 "\"MON-FRI\", \"MON#2\" (the second), \"FRIL\" (the last), \"H\"."},
};

static const char whole_hint[] =
	"A schedule has five fields (minute, hour, day of month, month, day of week), or six with "
	"the second before them; or it is like \"@daily\" or \"5 minutes\".";

/* One element of a field, while it is read. */
typedef struct Reader
{
	FieldId id;
	const Field *field;
	const char *element;
	const char *end; /* of the element */
	const char *next;
	const char *name; /* for H */
	BgjobCron *cron;
	BgjobCronError *error;
} Reader;

static bool refuse(BgjobCronError *error, const char *field, const char *hint,
				   const char *message, ...) __attribute__((format(printf, 4, 5)));

/* Writes why a schedule is refused; returns false, for the caller to return. */
static bool
refuse(BgjobCronError *error, const char *field, const char *hint, const char *message, ...)
{
	va_list args;

	error->field = field;
	va_start(args, message);
	vsnprintf(error->message, sizeof(error->message), message, args);
	va_end(args);
	snprintf(error->hint, sizeof(error->hint), "%s", hint);
	return false;
}

/* Returns, for "%.*s", how much of the element an error quotes. */
static int
quoted(const Reader *reader)
{
	ptrdiff_t length = reader->end - reader->element;

	return length < QUOTE_MAX ? (int) length : QUOTE_MAX;
}

/* Refuses an element that is not understood. */
static bool
not_understood(const Reader *reader)
{
	return refuse(reader->error, reader->field->name, reader->field->hint,
				  "\"%.*s\" is not understood.", quoted(reader), reader->element);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char) (c - 'a' + 'A') : c;
}

/* Returns whether a text is a word, in any case; the word is given in upper case. */
static bool
is_word(const char *text, size_t length, const char *word)
{
	for (size_t i = 0; i < length; i++)
		if (upper(text[i]) != word[i])
			return false;
	return word[length] == '\0';
}

/* Returns the next character, in upper case; zero at the end of the element. */
static char
peek(const Reader *reader)
{
	return reader->next < reader->end ? upper(*reader->next) : '\0';
}

/* Skips a character, if it is the next one. */
static bool
take(Reader *reader, char c)
{
	if (peek(reader) != c)
		return false;
	reader->next++;
	return true;
}

/* Reads digits; false if there is none. */
static bool
read_number(Reader *reader, int *number)
{
	if (!is_digit(peek(reader)))
		return false;
	for (*number = 0; is_digit(peek(reader)); reader->next++)
		*number = *number < NUMBER_MAX / 10 ? *number * 10 + (peek(reader) - '0') : NUMBER_MAX;
	return true;
}

/* Reads a number or name of the field; Sunday may come out as 7. */
static bool
read_value(Reader *reader, int *value)
{
	const Field *field = reader->field;

	if (read_number(reader, value))
	{
		if (*value >= field->min && *value <= field->max)
			return true;
		return refuse(reader->error, field->name, field->hint,
					  "\"%.*s\" is out of range, which is %d to %d.", quoted(reader),
					  reader->element, field->min, field->max);
	}
	if (field->names != NULL && reader->end - reader->next >= 3)
		for (const char *name = field->names; *name; name += 3)
			if (upper(reader->next[0]) == name[0] && upper(reader->next[1]) == name[1] &&
				upper(reader->next[2]) == name[2])
			{
				*value = field->min + (int) (name - field->names) / 3;
				reader->next += 3;
				return true;
			}
	return not_understood(reader);
}

/*
 * Reads "/n", if it is there, to the end of the element; *step is 1 without.
 * A step that is larger than the field's values would say "every 90 minutes"
 * and mean every hour, so it is refused. The bound is that of cronie and Cronos.
 */
static bool
read_step(Reader *reader, int *step)
{
	*step = 1;
	if (take(reader, '/'))
	{
		if (!read_number(reader, step))
			return refuse(reader->error, reader->field->name, reader->field->hint,
						  "\"%.*s\" has no number after \"/\".", quoted(reader),
						  reader->element);
		if (*step < 1 || *step > reader->field->max)
			return refuse(
				reader->error, reader->field->name,
				"A step counts within the field: \"*/90\" minutes would be every hour, "
				"at minute 0. Such intervals are written like \"90 minutes\" or "
				"\"36 hours\"; every hour is \"0 * * * *\", every day \"0 0 * * *\".",
				"The step in \"%.*s\" is out of range, which is 1 to %d.", quoted(reader),
				reader->element, reader->field->max);
		if (reader->id <= HOUR)
			reader->cron->repeats = true;
	}
	return reader->next == reader->end || not_understood(reader);
}

/* Returns the mask of a field. */
static uint64_t *
mask_of(const Reader *reader)
{
	BgjobCron *cron = reader->cron;
	uint64_t *masks[NFIELDS] = {&cron->seconds, &cron->minutes, &cron->hours,
								&cron->days,    &cron->months,  &cron->weekdays};

	return masks[reader->id];
}

/* Adds the values from one to another by steps; a range that ends before it begins wraps. */
static void
add_range(Reader *reader, int from, int to, int step)
{
	const Field *field = reader->field;

	if (to < from)
	{
		if (from - field->min >= field->size)
			from -= field->size; /* Sunday is 7 where a range ends, 0 where it begins */
		if (to < from)
			to += field->size;
	}
	for (int value = from; value <= to; value += step)
		*mask_of(reader) |= UINT64_C(1) << (field->min + (value - field->min) % field->size);
}

/* Returns a hash of the name and the field: 64-bit FNV-1a, its bits then mixed. */
static uint64_t
hash(const Reader *reader)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (const char *c = reader->name; *c; c++)
		h = (h ^ (unsigned char) *c) * UINT64_C(0x100000001b3);
	h = (h ^ ((uint64_t) reader->id + 1)) * UINT64_C(0x100000001b3);
	h ^= h >> 33;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

/*
 * Reads what follows "H": nothing, "(a-b)", a step, or both. Without a step it
 * is one value; with one, the values that are that far apart, beginning with
 * one of the first.
 */
static bool
read_hash(Reader *reader)
{
	const Field *field = reader->field;
	int from = field->min;
	int to = field->hash_max;
	int step;
	bool stepping;

	reader->cron->hashed = true;
	if (take(reader, '('))
	{
		if (!read_value(reader, &from))
			return false;
		if (!take(reader, '-'))
			return not_understood(reader);
		if (!read_value(reader, &to))
			return false;
		if (!take(reader, ')'))
			return not_understood(reader);
		if (to < from)
			return refuse(reader->error, field->name,
						  "In the parentheses after H the smaller value comes first.",
						  "The range in \"%.*s\" is reversed.", quoted(reader),
						  reader->element);
	}
	stepping = peek(reader) == '/';
	if (!read_step(reader, &step))
		return false;
	if (stepping)
	{
		if (step > to - from + 1)
			return refuse(reader->error, field->name,
						  "Then there would be less than one value; leave the step out.",
						  "The step in \"%.*s\" is larger than its range.", quoted(reader),
						  reader->element);
		add_range(reader, from + (int) (hash(reader) % (uint64_t) step), to, step);
	}
	else
	{
		from += (int) (hash(reader) % (uint64_t) (to - from + 1));
		add_range(reader, from, from, 1);
	}
	return true;
}

/* Reads what follows "L" or "$" as day of month: nothing, "-n", "W", or "-nW". */
static bool
read_last_day(Reader *reader)
{
	int before = 0;
	uint64_t *mask = &reader->cron->from_last;

	if (take(reader, '-'))
	{
		if (!read_number(reader, &before))
			return not_understood(reader);
		if (before < 1 || before > 30)
			return refuse(reader->error, reader->field->name, reader->field->hint,
						  "\"%.*s\" is out of range: from 1 to 30 days can be before the last "
						  "one.",
						  quoted(reader), reader->element);
	}
	if (take(reader, 'W'))
		mask = &reader->cron->nearest_from_last;
	*mask |= UINT64_C(1) << before;
	return reader->next == reader->end || not_understood(reader);
}

/* Reads what follows a day of week and "#": which one of the month. */
static bool
read_nth(Reader *reader, int weekday)
{
	int n;

	if (!read_number(reader, &n))
		return not_understood(reader);
	if (n < 1 || n > 5)
		return refuse(reader->error, reader->field->name, reader->field->hint,
					  "\"%.*s\" is out of range: a month has the first to the fifth of a "
					  "weekday.",
					  quoted(reader), reader->element);
	reader->cron->nth[n - 1] |= UINT64_C(1) << weekday;
	return reader->next == reader->end || not_understood(reader);
}

/* Reads an element that begins with a value. */
static bool
read_from_value(Reader *reader)
{
	const Field *field = reader->field;
	int from;
	int to;
	int step;

	if (!read_value(reader, &from))
		return false;
	if (reader->id == DAY && take(reader, 'W'))
	{
		reader->cron->nearest |= UINT64_C(1) << from;
		return reader->next == reader->end || not_understood(reader);
	}
	if (reader->id == WEEKDAY && take(reader, '#'))
		return read_nth(reader, from % field->size);
	if (reader->id == WEEKDAY && take(reader, 'L'))
	{
		reader->cron->last |= UINT64_C(1) << from % field->size;
		return reader->next == reader->end || not_understood(reader);
	}

	to = from;
	if (take(reader, '-'))
	{
		if (!read_value(reader, &to))
			return false;
		if (reader->id <= HOUR)
			reader->cron->repeats = true;
	}
	else if (peek(reader) == '/')
	{
		from = field->min + (from - field->min) % field->size;
		to = field->min + field->size - 1;
	}
	if (!read_step(reader, &step))
		return false;
	add_range(reader, from, to, step);
	return true;
}

/* Reads one element of a field. */
static bool
read_element(Reader *reader)
{
	const Field *field = reader->field;
	int step;

	reader->next = reader->element;
	if (reader->element == reader->end)
		return refuse(reader->error, field->name, field->hint,
					  "An element of the list is empty.");
	if (take(reader, '*') || take(reader, '?'))
	{
		if (reader->id <= HOUR)
			reader->cron->repeats = true;
		if (!read_step(reader, &step))
			return false;
		add_range(reader, field->min, field->min + field->size - 1, step);
		return true;
	}
	if (take(reader, 'H'))
		return read_hash(reader);
	if (reader->id == DAY && (take(reader, 'L') || take(reader, '$')))
		return read_last_day(reader);
	return read_from_value(reader);
}

/* Reads a field, a list of elements. */
static bool
read_field(FieldId id, const char *text, size_t length, const char *name, BgjobCron *cron,
		   BgjobCronError *error)
{
	Reader reader = {
		.id = id, .field = &fields[id], .name = name, .cron = cron, .error = error};
	const char *end = text + length;

	for (reader.element = text;; reader.element = reader.end + 1)
	{
		const char *comma = memchr(reader.element, ',', (size_t) (end - reader.element));

		reader.end = comma != NULL ? comma : end;
		if (!read_element(&reader))
			return false;
		if (comma == NULL)
			return true;
	}
}

/* The words of a schedule. */
typedef struct Words
{
	int count; /* may be more than there is room for */
	const char *text[NFIELDS];
	size_t length[NFIELDS];
} Words;

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void
split(const char *text, Words *words)
{
	words->count = 0;
	for (;;)
	{
		const char *from;

		while (is_space(*text))
			text++;
		if (*text == '\0')
			return;
		for (from = text; *text != '\0' && !is_space(*text); text++)
			;
		if (words->count < NFIELDS)
		{
			words->text[words->count] = from;
			words->length[words->count] = (size_t) (text - from);
		}
		words->count++;
	}
}

/* Returns whether a field begins with "*" or "?", and so restricts nothing in the eyes of Vixie's cron. */
static bool
begins_with_star(const char *field)
{
	return *field == '*' || *field == '?';
}

/* Reads the five or six fields of a schedule. */
static bool
read_fields(const Words *words, BgjobDayMatch day_match, const char *name, BgjobCron *cron,
			BgjobCronError *error)
{
	int first = NFIELDS - words->count;

	cron->kind = BGJOB_CRON_CALENDAR;
	if (first > SECOND)
		cron->seconds = 1;
	for (int i = 0; i < words->count; i++)
		if (!read_field((FieldId) (first + i), words->text[i], words->length[i], name, cron,
						error))
			return false;
	cron->either = day_match == BGJOB_DAY_ANY && !begins_with_star(words->text[DAY - first]) &&
				   !begins_with_star(words->text[WEEKDAY - first]);
	return true;
}

/* Reads a macro. */
static bool
read_macro(const Words *words, BgjobCron *cron, BgjobCronError *error)
{
	static const struct
	{
		const char *name;
		const char *text; /* NULL: when the server starts */
	} macros[] = {
		{"@EVERY_SECOND", "* * * * * *"}, {"@EVERY_MINUTE", "* * * * *"},
		{"@HOURLY", "0 * * * *"},         {"@DAILY", "0 0 * * *"},
		{"@MIDNIGHT", "0 0 * * *"},       {"@WEEKLY", "0 0 * * 0"},
		{"@MONTHLY", "0 0 1 * *"},        {"@YEARLY", "0 0 1 1 *"},
		{"@ANNUALLY", "0 0 1 1 *"},       {"@REBOOT", NULL},
	};
	size_t length = words->length[0];

	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (is_word(words->text[0], length, macros[i].name))
		{
			Words fields_of_macro;

			if (macros[i].text == NULL)
			{
				cron->kind = BGJOB_CRON_REBOOT;
				return true;
			}
			split(macros[i].text, &fields_of_macro);
			return read_fields(&fields_of_macro, BGJOB_DAY_ANY, "", cron, error);
		}
	return refuse(
		error, "schedule",
		"There are @every_second, @every_minute, @hourly, @daily, @midnight, @weekly, "
		"@monthly, @yearly, @annually and @reboot.",
		"There is no \"%.*s\".", (int) (length < QUOTE_MAX ? length : QUOTE_MAX),
		words->text[0]);
}

/* Reads an interval: a number and a unit. */
static bool
read_interval(const Words *words, BgjobCron *cron, BgjobCronError *error)
{
	static const struct
	{
		const char *one;
		const char *many;
		int seconds;
	} units[] = {{"SECOND", "SECONDS", 1}, {"MINUTE", "MINUTES", 60}, {"HOUR", "HOURS", 3600}};
	static const char hint[] =
		"An interval is a whole number of seconds, minutes or hours, like "
		"\"30 seconds\", and at most 365 days (8760 hours).";
	Reader number = {.next = words->text[0], .end = words->text[0] + words->length[0]};
	int count;

	if (!read_number(&number, &count) || number.next != number.end)
		return refuse(error, "schedule", whole_hint, "It has 2 fields.");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (is_word(words->text[1], words->length[1], units[i].one) ||
			is_word(words->text[1], words->length[1], units[i].many))
		{
			cron->kind = BGJOB_CRON_INTERVAL;
			cron->every = (int64_t) count * units[i].seconds;
			if (cron->every >= 1 && cron->every <= BGJOB_CRON_INTERVAL_MAX)
				return true;
			return refuse(error, "schedule", hint, "The interval is %s.",
						  count == 0 ? "0" : "too long");
		}
	return refuse(error, "schedule", hint, "There is no unit \"%.*s\" for an interval.",
				  (int) (words->length[1] < QUOTE_MAX ? words->length[1] : QUOTE_MAX),
				  words->text[1]);
}

/* Refuses a text that is too long or not printable ASCII. */
static bool
check_characters(const char *text, BgjobCronError *error)
{
	size_t length = 0;

	for (; text[length] != '\0'; length++)
	{
		unsigned char c = (unsigned char) text[length];

		if (length >= BGJOB_CRON_TEXT_MAX)
			return refuse(error, "schedule", "Make two schedules of it.",
						  "It is longer than %d characters.", BGJOB_CRON_TEXT_MAX);
		if ((c < ' ' && c != '\t') || c > '~')
			return refuse(error, "schedule",
						  "Use letters, digits and signs of ASCII, and spaces or tabs between "
						  "fields.",
						  "Character %d is not allowed.", (int) length + 1);
	}
	return true;
}

/* bgjob_cron_parse reads a schedule; see cron.h. */
bool
bgjob_cron_parse(const char *text, BgjobDayMatch day_match, const char *name, BgjobCron *cron,
				 BgjobCronError *error)
{
	Words words;

	memset(cron, 0, sizeof(*cron));
	memset(error, 0, sizeof(*error));
	if (!check_characters(text, error))
		return false;
	split(text, &words);
	if (words.count == 1 && words.text[0][0] == '@')
		return read_macro(&words, cron, error);
	if (words.count == 2)
		return read_interval(&words, cron, error);
	if (words.count == 5 || words.count == 6)
		return read_fields(&words, day_match, name != NULL ? name : "", cron, error);
	if (words.count == 0)
		return refuse(error, "schedule", whole_hint, "It is empty.");
	return refuse(error, "schedule", whole_hint, "It has %d field%s.", words.count,
				  words.count == 1 ? "" : "s");
}
