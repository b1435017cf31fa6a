/*-------------------------------------------------------------------------
 *
 * log.c
 *	  The log of a program, on its standard error.
 *
 * A line has the time, the process and the level, as in the server's log:
 *
 *	  2026-01-31 12:00:00.000 UTC [4711] WARNING:  text
 *
 * Under systemd's journal, which adds the time and the process itself, it has the
 * level in the form that the journal takes (<4>text). A text is one line: what it
 * has of control characters is replaced, so that nobody's job can forge a line.
 * A line is written with one call, and one that cannot be written is lost: the
 * program never waits for its log longer than the call does.
 *
 *-------------------------------------------------------------------------
 */
#include "client/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 4096

static const struct
{
	const char *name;
	const char *label;
	int priority; /* syslog's */
} levels[] = {{"debug", "DEBUG", 7},
			  {"info", "LOG", 6},
			  {"warning", "WARNING", 4},
			  {"error", "ERROR", 3}};

static const char *program_name = "bgjob";
static LogLevel lowest = LOG_LEVEL_INFO;
static bool to_journal = false;

/* open_standard_streams makes sure that no socket gets the number of a standard stream, which is written to. */
static void
open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/*
 * log_open sets the name for messages on the command line, and finds out whether the journal reads.
 * A program calls it first: it opens the standard streams that are closed.
 */
void
log_open(const char *program)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat target;
	unsigned long long device;
	unsigned long long inode;

	program_name = program;
	open_standard_streams();
	if (stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		fstat(STDERR_FILENO, &target) == 0)
		to_journal = target.st_dev == device && target.st_ino == inode;
}

/* log_set_level sets the lowest level that is shown; false if there is none of that name. */
bool
log_set_level(const char *name)
{
	for (int i = 0; i < (int) (sizeof(levels) / sizeof(levels[0])); i++)
		if (strcmp(levels[i].name, name) == 0)
		{
			lowest = (LogLevel) i;
			return true;
		}
	return false;
}

bool
log_shows(LogLevel level)
{
	return level >= lowest;
}

/* write_line writes a line whole; its text begins at from. */
static void
write_line(char *line, size_t from, size_t len)
{
	ssize_t written;

	while (len > from && line[len - 1] == '\n')
		len--;
	for (size_t i = from; i < len; i++)
		if ((unsigned char) line[i] < 0x20 || line[i] == 0x7F)
			line[i] = ' ';
	line[len++] = '\n';
	written = write(STDERR_FILENO, line, len);
	(void) written;
}

/* put_prefix writes what precedes the text, and returns its length. */
static size_t
put_prefix(char *line, LogLevel level, const char *label)
{
	struct timeval now;
	struct tm parts;
	char zone[16];
	char when[32];

	if (to_journal)
		return snprintf(line, LINE_SIZE, "<%d>", levels[level].priority);
	gettimeofday(&now, NULL);
	localtime_r(&now.tv_sec, &parts);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &parts);
	strftime(zone, sizeof(zone), "%Z", &parts);
	return snprintf(line, LINE_SIZE, "%s.%03d %s [%d] %s:  ", when, (int) (now.tv_usec / 1000),
					zone, (int) getpid(), label);
}

static void put(LogLevel level, const char *label, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static void
put(LogLevel level, const char *label, const char *format, va_list args)
{
	char line[LINE_SIZE + 1];
	size_t from;
	size_t len;

	if (level < lowest)
		return;
	from = put_prefix(line, level, label);
	len = from + vsnprintf(line + from, LINE_SIZE - from, format, args);
	write_line(line, from, len < LINE_SIZE ? len : LINE_SIZE - 1);
}

#define PUT(level, label)                                                                      \
	do                                                                                         \
	{                                                                                          \
		va_list args;                                                                          \
                                                                                               \
		va_start(args, format);                                                                \
		put(level, label, format, args);                                                       \
		va_end(args);                                                                          \
	} while (0)

void
log_debug(const char *format, ...)
{
	PUT(LOG_LEVEL_DEBUG, levels[LOG_LEVEL_DEBUG].label);
}

void
log_info(const char *format, ...)
{
	PUT(LOG_LEVEL_INFO, levels[LOG_LEVEL_INFO].label);
}

void
log_warning(const char *format, ...)
{
	PUT(LOG_LEVEL_WARNING, levels[LOG_LEVEL_WARNING].label);
}

void
log_error(const char *format, ...)
{
	PUT(LOG_LEVEL_ERROR, levels[LOG_LEVEL_ERROR].label);
}

/* log_hint follows an error or a warning. */
void
log_hint(const char *format, ...)
{
	PUT(LOG_LEVEL_ERROR, "HINT");
}

/* log_try_help tells the user at the command line where to read more. */
void
log_try_help(void)
{
	fprintf(stderr, "%s: hint: Try \"%s --help\" for more information.\n", program_name,
			program_name);
}

/* log_usage tells the user at the command line what is wrong with it. */
void
log_usage(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: error: ", program_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	log_try_help();
}
