/*-------------------------------------------------------------------------
 *
 * reporting.c
 *	  Sending what jobs have to tell: lines of their logs, and their progress.
 *
 * Reports go with the next round, or after REPORT_DELAY by themselves, so that others
 * see the progress of a job that has nothing else to say. They go before the answers
 * of their jobs, since a job that was answered takes no more lines. They are not kept:
 * a failure to store them costs the lines, not the job.
 *
 * By the session (session.c), which ends the transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/reporting.h"
#include "client/loop.h"
#include "worker/config.h"
#include "worker/pipeline.h"
#include "worker/report.h"

#include <string.h>

#define REPORT_DELAY  (200 * LOOP_MS)
#define LINES_AT_ONCE 2000
#define LINE_STEPS    16

static int64_t since = 0; /* when the oldest report was noticed */

/* send_lines sends log lines in sets. Returns whether all of them are on their way. */
static bool
send_lines(void)
{
	static Buffer ids, texts, levels;

	for (int step = 0; step < LINE_STEPS && reports_wait(false); step++)
	{
		Report *lines = reports_take(false, LINES_AT_ONCE);
		int count = 0;
		PipelineValue values[4];

		for (Report *line = lines; line != NULL; line = line->next)
			count++;
		array_begin(&ids, TYPE_INT8, count);
		array_begin(&texts, TYPE_TEXT, count);
		array_begin(&levels, TYPE_TEXT, count);
		for (Report *line = lines; line != NULL; line = line->next)
		{
			array_add_int64(&ids, line->job);
			array_add_text(&texts, line->text, line->len);
			array_add_text(&levels, line->level, strlen(line->level));
		}
		values[0] = pipeline_text(config.name);
		values[1] = pipeline_array(&ids);
		values[2] = pipeline_array(&texts);
		values[3] = pipeline_array(&levels);
		pipeline_send(STATEMENT_LOG, values, 4);
		reports_free(lines);
	}
	return !reports_wait(false);
}

static void
send_progress(void)
{
	static Buffer ids, percents, texts;
	Report *all = reports_take(true, 1 << 30);
	int count = 0;
	PipelineValue values[4];

	for (Report *one = all; one != NULL; one = one->next)
		count++;
	if (count == 0)
		return;
	array_begin(&ids, TYPE_INT8, count);
	array_begin(&percents, TYPE_TEXT, count);
	array_begin(&texts, TYPE_TEXT, count);
	for (Report *one = all; one != NULL; one = one->next)
	{
		array_add_int64(&ids, one->job);
		array_add_text(&percents, one->percent, strlen(one->percent));
		array_add_text(&texts, one->text, one->len);
	}
	values[0] = pipeline_text(config.name);
	values[1] = pipeline_array(&ids);
	values[2] = pipeline_array(&percents);
	values[3] = pipeline_array(&texts);
	pipeline_send(STATEMENT_PROGRESS, values, 4);
	reports_free(all);
}

/* reporting_wants returns whether there is something to report. */
bool
reporting_wants(void)
{
	return reports_wait(false) || reports_wait(true);
}

/* reporting_send sends lines and progress; false: lines are left for another round. */
bool
reporting_send(void)
{
	bool all = send_lines();

	send_progress();
	since = 0;
	return all;
}

/* reporting_due returns when reports have waited long enough to go by themselves; 0: there are none. */
int64_t
reporting_due(void)
{
	if (!reporting_wants())
		return 0;
	if (since == 0)
		since = loop_now();
	return since + REPORT_DELAY;
}
