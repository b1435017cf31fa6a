/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The values of options on the command line.
 *
 * Durations and sizes are written as in postgresql.conf: a number and a unit, with or
 * without space between them. A number alone is in seconds, or bytes.
 *
 * Pure functions; the caller says what is wrong. test/unit/options.c tests them.
 *
 *-------------------------------------------------------------------------
 */
#include "client/options.h"
#include "client/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Unit
{
	const char *name;
	double factor;
} Unit;

static const Unit time_units[] = {{"", 1e6},     {"us", 1},      {"ms", 1e3},
								  {"s", 1e6},    {"min", 60e6},  {"m", 60e6},
								  {"h", 3600e6}, {"d", 86400e6}, {NULL, 0}};
static const Unit size_units[] = {
	{"", 1}, {"B", 1}, {"kB", 1024.0}, {"MB", 1048576.0}, {"GB", 1073741824.0}, {NULL, 0}};

/* read_with_unit reads a number that is not negative, with one of the units. */
static bool
read_with_unit(const char *text, const Unit *units, int64_t *value)
{
	char *end;
	double number;

	if (!isdigit((unsigned char) *text) && *text != '.')
		return false;
	errno = 0;
	number = strtod(text, &end);
	if (end == text || errno != 0)
		return false;
	while (*end == ' ')
		end++;
	for (const Unit *unit = units; unit->name != NULL; unit++)
		if (strcmp(end, unit->name) == 0)
		{
			number *= unit->factor;
			if (!(number < 9e18))
				return false;
			*value = (int64_t) number;
			return true;
		}
	return false;
}

/* option_duration reads a time: 300, 5min, '1.5 h'. */
bool
option_duration(const char *text, int64_t *microseconds)
{
	return read_with_unit(text, time_units, microseconds);
}

/* option_bytes reads a size: 65536, 64kB. */
bool
option_bytes(const char *text, int64_t *bytes)
{
	return read_with_unit(text, size_units, bytes);
}

/* option_int reads a whole number between two limits. */
bool
option_int(const char *text, int low, int high, int *number)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < low || value > high)
		return false;
	*number = (int) value;
	return true;
}

/*
 * option_list splits a list at its commas and removes the spaces around its elements.
 * The array ends with null. An empty element: null is returned.
 */
char **
option_list(const char *text)
{
	char **list = mem_alloc((strlen(text) + 2) * sizeof(char *));
	int count = 0;

	while (true)
	{
		const char *comma = strchr(text, ',');
		const char *end = comma != NULL ? comma : text + strlen(text);

		while (text < end && isspace((unsigned char) *text))
			text++;
		while (end > text && isspace((unsigned char) end[-1]))
			end--;
		list[count] = NULL;
		if (text == end)
		{
			option_list_free(list);
			return NULL;
		}
		list[count++] = mem_copy_part(text, end - text);
		if (comma == NULL)
			break;
		text = comma + 1;
	}
	list[count] = NULL;
	return list;
}

void
option_list_free(char **list)
{
	for (char **element = list; element != NULL && *element != NULL; element++)
		free(*element);
	free(list);
}
