/*-------------------------------------------------------------------------
 *
 * output.c
 *	  What a handler writes beside its result: standard error, and descriptor 3.
 *
 * The lines of both are the log of the job that the handler has. A line of
 * descriptor 3 that is a JSON object has progress or a log line with a level; any
 * other line there is a log line of level info, like those of standard error.
 *
 * Of each job --log-lines lines are kept, of each line LINE_MAX_BYTES; how many more
 * there were is told at the end. The last TAIL_BYTES of standard error are kept
 * beside, for the message of a failure. So a handler that floods costs the reading
 * and nothing else.
 *
 * What a persistent handler writes to standard error between two jobs goes to the
 * worker's own log.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/output.h"
#include "client/json.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "worker/config.h"
#include "worker/report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES     4000
#define NOTE_MAX_BYTES     65536
#define TAIL_BYTES         4096
#define MESSAGE_MAX_BYTES  2000
#define PROGRESS_MAX_BYTES 255 /* of its message, as in the server */

/* add_line adds a line to the log of a job, or to the worker's. */
static void
add_line(Output *output, const Job *job, const char *level, const char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		len--;
	if (len == 0)
		return;
	len = utf8_cut(text, len, LINE_MAX_BYTES);
	if (job == NULL)
		log_info("handler: %.*s", (int) len, text);
	else if (output->lines++ < config.log_lines)
		report_line(job->id, level, text, len);
	else
		output->dropped++;
}

/* note_level returns the level that a note names, or info. */
static const char *
note_level(JsonValue value, Buffer *level)
{
	if (!json_string(value, level) || level->len == 0 || level->len > 31)
		return "info";
	buffer_add(level, "", 1);
	return level->data;
}

/* note_progress passes on the progress of a job, which has to be a number from 0 to 100. */
static void
note_progress(const Job *job, JsonValue percent, JsonValue message)
{
	Buffer text = {0};
	char digits[32];
	double number;

	if (!json_double(percent, &number) || number < 0 || number > 100 ||
		percent.len >= sizeof(digits))
	{
		log_debug("job %lld: progress that is no number from 0 to 100", (long long) job->id);
		return;
	}
	snprintf(digits, sizeof(digits), "%.*s", (int) percent.len, percent.start);
	if (json_string(message, &text))
		report_progress(job->id, digits, text.data,
						utf8_cut(text.data, text.len, PROGRESS_MAX_BYTES));
	else
		report_progress(job->id, digits, NULL, 0);
	buffer_free(&text);
}

/* take_note handles a line of descriptor 3. */
static void
take_note(Output *output, const Job *job, const char *line, size_t len)
{
	static const char *const names[] = {"progress", "message", "log", "level"};
	JsonValue members[4];
	JsonValue note;
	Buffer text = {0};
	Buffer level = {0};

	if (len == 0 || line[0] != '{' || json_check(line, len, &note) != NULL)
	{
		add_line(output, job, "info", line, len);
		return;
	}
	json_members(note, names, members, 4);
	if (job != NULL && members[0].start != NULL)
		note_progress(job, members[0], members[1]);
	if (json_string(members[2], &text))
		add_line(output, job, note_level(members[3], &level), text.data, text.len);
	buffer_free(&text);
	buffer_free(&level);
}

/*
 * next_line returns the length of the next line, and skips what has been taken; -1:
 * the rest is no line yet, and has been added to the beginning.
 */
static ssize_t
split_line(const char *bytes, size_t len)
{
	const char *end = memchr(bytes, '\n', len);

	return end != NULL ? end - bytes : -1;
}

/* add_part adds to the beginning of a line what fits. */
static void
add_part(Buffer *line, const char *bytes, size_t len, size_t limit)
{
	if (line->len < limit)
		buffer_add(line, bytes, line->len + len <= limit ? len : limit - line->len);
}

/* keep_tail keeps the end of what was written. */
static void
keep_tail(Buffer *tail, const char *bytes, size_t len)
{
	if (len > TAIL_BYTES)
	{
		bytes += len - TAIL_BYTES;
		len = TAIL_BYTES;
	}
	if (tail->len + len > TAIL_BYTES)
		buffer_take(tail, tail->len + len - TAIL_BYTES);
	buffer_add(tail, bytes, len);
}

/* take_lines hands each line that has ended to a function. */
static void
take_lines(Output *output, const Job *job, Buffer *line, const char *bytes, size_t len,
		   bool notes)
{
	size_t limit = notes ? NOTE_MAX_BYTES : LINE_MAX_BYTES;
	ssize_t end;

	while ((end = split_line(bytes, len)) >= 0)
	{
		const char *whole = bytes;
		size_t whole_len = end;

		if (line->len > 0)
		{
			add_part(line, bytes, end, limit);
			whole = line->data;
			whole_len = line->len;
		}
		if (notes)
			take_note(output, job, whole, whole_len);
		else
			add_line(output, job, "info", whole, whole_len);
		buffer_clear(line);
		bytes += end + 1;
		len -= end + 1;
	}
	add_part(line, bytes, len, limit);
}

/* output_stderr takes what a handler has written to its standard error; job: null between two jobs. */
void
output_stderr(Output *output, const Job *job, const char *bytes, size_t len)
{
	keep_tail(&output->tail, bytes, len);
	take_lines(output, job, &output->stderr_line, bytes, len, false);
}

/* output_notes takes what a handler has written to descriptor 3. */
void
output_notes(Output *output, const Job *job, const char *bytes, size_t len)
{
	take_lines(output, job, &output->note_line, bytes, len, true);
}

/* output_job_over ends the log of a job, and makes ready for the next one. */
void
output_job_over(Output *output, const Job *job)
{
	if (output->stderr_line.len > 0)
		add_line(output, job, "info", output->stderr_line.data, output->stderr_line.len);
	if (output->note_line.len > 0)
		take_note(output, job, output->note_line.data, output->note_line.len);
	if (output->dropped > 0)
	{
		char text[80];
		int len = snprintf(text, sizeof(text), "%lld more lines were not kept",
						   (long long) output->dropped);

		report_line(job->id, "warning", text, len);
	}
	buffer_clear(&output->stderr_line);
	buffer_clear(&output->note_line);
	buffer_clear(&output->tail);
	output->lines = 0;
	output->dropped = 0;
}

/* output_message returns the end of standard error as the message of a failure, to be freed; null if it is empty. */
char *
output_message(const Output *output)
{
	const char *start = output->tail.data;
	size_t len = output->tail.len;
	Buffer clean = {0};
	char *message;

	while (len > 0 && isspace((unsigned char) start[len - 1]))
		len--;
	if (len > MESSAGE_MAX_BYTES)
	{
		const char *cut = start + len - MESSAGE_MAX_BYTES;
		const char *line = memchr(cut, '\n', MESSAGE_MAX_BYTES);

		while (((unsigned char) *cut & 0xC0) == 0x80)
			cut++;
		if (line != NULL)
			cut = line + 1;
		len -= cut - start;
		start = cut;
	}
	while (len > 0 && isspace((unsigned char) *start))
	{
		start++;
		len--;
	}
	if (len == 0)
		return NULL;
	utf8_clean(&clean, start, len);
	message = mem_copy_part(clean.data, clean.len);
	buffer_free(&clean);
	return message;
}

void
output_free(Output *output)
{
	buffer_free(&output->stderr_line);
	buffer_free(&output->note_line);
	buffer_free(&output->tail);
}
