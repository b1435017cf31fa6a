/*-------------------------------------------------------------------------
 *
 * report.h
 *	  What jobs that are performed have to tell: see report.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_REPORT_H
#define BGJOB_WORKER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A line of a job's log, or its progress. */
typedef struct Report
{
	struct Report *next;
	int64_t job;
	bool is_progress;
	char level[32];   /* of a line */
	char percent[32]; /* of the progress */
	char *text;       /* null: none */
	size_t len;
} Report;

extern void report_line(int64_t job, const char *level, const char *text, size_t len);
extern void report_progress(int64_t job, const char *percent, const char *text, size_t len);
extern bool reports_wait(bool progress);
extern Report *reports_take(bool progress, int limit);
extern void reports_forget(int64_t job);
extern void reports_free(Report *list);

#endif
