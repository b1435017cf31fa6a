/*-------------------------------------------------------------------------
 *
 * querytime.c
 *	  Reading a point in time in a query for jobs.
 *
 * It is so long before now ("90s", "30m", "1h", "7d", "2w"), or a date, perhaps with a time of
 * day, a fraction and a zone, in the format of ISO 8601. No setting changes what it means, except the
 * time zone where none is given: that is left to the caller, so a query can be passed on.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by the unit
 * tests without a server. Nothing is read beyond the terminating zero.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/query.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads a number of so many digits; false: there is none, or it is out of range. */
static bool
read_part(const char **text, int digits, int least, int most, int *part)
{
	*part = 0;
	for (int i = 0; i < digits; i++)
	{
		if (!is_digit(**text))
			return false;
		*part = *part * 10 + (*(*text)++ - '0');
	}
	return *part >= least && *part <= most;
}

static bool
skip(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* Reads "90s", "30m"; at most a thousand years. */
static bool
read_ago(const char *text, int64_t *ago)
{
	static const struct
	{
		char letter;
		int seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
	const int64_t most = INT64_C(366) * 86400 * 1000;
	int64_t number = 0;

	if (!is_digit(*text))
		return false;
	for (; is_digit(*text); text++)
		number = number > most ? number : number * 10 + (*text - '0');
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if ((*text | 0x20) == units[i].letter && text[1] == '\0' &&
			number <= most / units[i].seconds)
		{
			*ago = number * units[i].seconds * 1000000;
			return true;
		}
	return false;
}

static int
days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* Reads the digits of a fraction of a second; more than six are cut. */
static bool
read_fraction(const char **text, int *microsecond)
{
	int unit = 100000;

	if (!is_digit(**text))
		return false;
	for (; is_digit(**text); (*text)++, unit /= 10)
		*microsecond += (**text - '0') * unit;
	return true;
}

/* Reads "Z", "+01", "+0100" or "+01:00". */
static bool
read_zone(const char **text, BgjobMoment *moment)
{
	int sign = **text == '-' ? -1 : 1;
	int hours;
	int minutes = 0;

	moment->has_zone = true;
	if (skip(text, 'Z') || skip(text, 'z'))
		return true;
	if (!skip(text, '+') && !skip(text, '-'))
		return false;
	if (!read_part(text, 2, 0, 15, &hours))
		return false;
	if ((skip(text, ':') || is_digit(**text)) && !read_part(text, 2, 0, 59, &minutes))
		return false;
	moment->zone = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* Reads "2026-02-28", and what may follow: "T09:30", ":15", ".25", a zone. */
static bool
read_date(const char *text, BgjobMoment *moment)
{
	if (!read_part(&text, 4, 1, 9999, &moment->year) || !skip(&text, '-') ||
		!read_part(&text, 2, 1, 12, &moment->month) || !skip(&text, '-') ||
		!read_part(&text, 2, 1, days_of(moment->year, moment->month), &moment->day))
		return false;
	if (*text == '\0')
		return true;
	if (!skip(&text, 'T') && !skip(&text, 't') && !skip(&text, ' '))
		return false;
	if (!read_part(&text, 2, 0, 23, &moment->hour) || !skip(&text, ':') ||
		!read_part(&text, 2, 0, 59, &moment->minute))
		return false;
	if (skip(&text, ':') && !read_part(&text, 2, 0, 59, &moment->second))
		return false;
	if (skip(&text, '.') && !read_fraction(&text, &moment->microsecond))
		return false;
	return *text == '\0' || (read_zone(&text, moment) && *text == '\0');
}

bool
bgjob_moment_parse(const char *text, BgjobMoment *moment)
{
	memset(moment, 0, sizeof(*moment));
	if (read_ago(text, &moment->ago))
		return true;
	moment->ago = -1;
	return read_date(text, moment);
}
