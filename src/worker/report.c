/*-------------------------------------------------------------------------
 *
 * report.c
 *	  What jobs that are performed have to tell: lines of their logs, their progress.
 *
 * Reports wait here until the session sends them (session.c). Lines are kept in
 * their order. Of the progress of a job only the last counts, so at most one report
 * of it waits for each job. How many lines a job may have is limited by output.c;
 * hence the memory here is limited, too, also while there is no connection.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/report.h"
#include "client/memory.h"
#include "client/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two lists: [0] lines, [1] progress. */
static Report *first[2];
static Report *last[2];

static Report *
add(bool progress, int64_t job)
{
	Report *report = mem_zero(sizeof(*report));

	report->job = job;
	report->is_progress = progress;
	if (last[progress] == NULL)
		first[progress] = report;
	else
		last[progress]->next = report;
	last[progress] = report;
	return report;
}

/* set_text sets the text of a report, as UTF-8 that the server takes. */
static void
set_text(Report *report, const char *text, size_t len)
{
	Buffer clean = {0};

	utf8_clean(&clean, text, len);
	report->len = clean.len;
	report->text = mem_copy_part(clean.data, clean.len);
	buffer_free(&clean);
}

/* report_line adds a line to a job's log. */
void
report_line(int64_t job, const char *level, const char *text, size_t len)
{
	Report *report = add(false, job);

	snprintf(report->level, sizeof(report->level), "%s", level);
	set_text(report, text, len);
}

/* report_progress sets the progress of a job; percent is a number, text may be null. */
void
report_progress(int64_t job, const char *percent, const char *text, size_t len)
{
	Report *report = first[true];

	while (report != NULL && report->job != job)
		report = report->next;
	if (report == NULL)
		report = add(true, job);
	free(report->text);
	report->text = NULL;
	snprintf(report->percent, sizeof(report->percent), "%s", percent);
	if (text != NULL)
		set_text(report, text, len);
}

bool
reports_wait(bool progress)
{
	return first[progress] != NULL;
}

/* reports_take removes up to so many reports of a kind, and returns their list. */
Report *
reports_take(bool progress, int limit)
{
	Report *taken = first[progress];
	Report *end = taken;

	if (taken == NULL)
		return NULL;
	while (end->next != NULL && --limit > 0)
		end = end->next;
	first[progress] = end->next;
	if (end->next == NULL)
		last[progress] = NULL;
	end->next = NULL;
	return taken;
}

/* reports_forget removes the reports of a job that is not ours any more. */
void
reports_forget(int64_t job)
{
	for (int kind = 0; kind < 2; kind++)
	{
		Report **link = &first[kind];

		last[kind] = NULL;
		while (*link != NULL)
		{
			Report *report = *link;

			if (report->job == job)
			{
				*link = report->next;
				report->next = NULL;
				reports_free(report);
				continue;
			}
			last[kind] = report;
			link = &report->next;
		}
	}
}

void
reports_free(Report *list)
{
	while (list != NULL)
	{
		Report *report = list;

		list = report->next;
		free(report->text);
		free(report);
	}
}
