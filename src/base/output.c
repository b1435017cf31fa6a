/*-------------------------------------------------------------------------
 *
 * output.c
 *	  The output of a job that a session performs (bgjob_run).
 *
 * A session has no console (base/console.h), and other sessions cannot see the
 * job's output before its transaction has committed. So progress and log are kept
 * in the session's memory until the outcome of the attempt is recorded, and stored
 * with it (store/log.c). They are limited as in a console.
 *
 * A session, between bgjob_output_begin and bgjob_output_end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/output.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Number of lines that there is room for at first. */
#define FIRST_LINES 16

static MemoryContext context = NULL; /* of all that is kept */
static BgjobOutput kept;
static int room;   /* for lines */
static Size bytes; /* of the lines */
static bool cut;   /* nothing more is taken */

/* bgjob_output_begin begins to keep the output of a job, in a memory context. */
void
bgjob_output_begin(MemoryContext in)
{
	context = in;
	memset(&kept, 0, sizeof(kept));
	room = 0;
	bytes = 0;
	cut = false;
}

/* bgjob_output_end forgets the output. */
void
bgjob_output_end(void)
{
	bgjob_output_begin(NULL);
}

/* bgjob_output_progress keeps a progress; as bgjob_console_progress. */
void
bgjob_output_progress(double percent, const char *message)
{
	int length = 0;

	if (message != NULL)
		length = pg_mbcliplen(message, (int) strlen(message), BGJOB_PROGRESS_MESSAGE_MAX);
	kept.has_progress = true;
	kept.percent = percent;
	memcpy(kept.message, message != NULL ? message : "", length);
	kept.message[length] = '\0';
}

/* Makes room for one more line. */
static void
make_room(void)
{
	if (kept.nlines < room)
		return;
	room = Max(room * 2, FIRST_LINES);
	if (kept.lines == NULL)
		kept.lines = MemoryContextAlloc(context, room * sizeof(BgjobLogLine));
	else
		kept.lines = repalloc(kept.lines, room * sizeof(BgjobLogLine));
}

static void
append(const char *level, const char *message, Size length)
{
	char *copy;

	make_room();
	copy = MemoryContextAlloc(context, length + 1);
	memcpy(copy, message, length);
	copy[length] = '\0';
	kept.lines[kept.nlines].at = GetCurrentTimestamp();
	kept.lines[kept.nlines].level = MemoryContextStrdup(context, level);
	kept.lines[kept.nlines].message = copy;
	kept.nlines++;
	bytes += sizeof(BgjobLogLine) + strlen(level) + length;
}

/* bgjob_output_log keeps a line of the log. When the limit is reached, one more line says that the rest is left out. */
void
bgjob_output_log(const char *level, const char *message)
{
	Size length = strlen(message);
	Size rest = BGJOB_LOG_MAX - Min(bytes, BGJOB_LOG_MAX);

	if (cut)
		return;
	if (length <= rest)
	{
		append(level, message, length);
		return;
	}
	length =
		pg_mbcliplen(message, (int) Min(length, rest + MAX_MULTIBYTE_CHAR_LEN), (int) rest);
	if (length > 0)
		append(level, message, length);
	append("warning", BGJOB_LOG_CUT, strlen(BGJOB_LOG_CUT));
	cut = true;
}

/* bgjob_output_read returns what is kept, which stays this file's; false if there is nothing. */
bool
bgjob_output_read(BgjobOutput *output)
{
	*output = kept;
	return kept.has_progress || kept.nlines > 0;
}
