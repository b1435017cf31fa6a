/*-------------------------------------------------------------------------
 *
 * output.h
 *	  What a handler writes beside its result: see output.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_OUTPUT_H
#define BGJOB_WORKER_OUTPUT_H

#include "client/buffer.h"
#include "worker/job.h"

typedef struct Output
{
	Buffer stderr_line; /* the beginning of a line that has not ended */
	Buffer note_line;
	Buffer tail; /* the end of stderr */
	int lines;
	int64_t dropped; /* lines beyond the limit */
} Output;

extern void output_stderr(Output *output, const Job *job, const char *bytes, size_t len);
extern void output_notes(Output *output, const Job *job, const char *bytes, size_t len);
extern void output_job_over(Output *output, const Job *job);
extern char *output_message(const Output *output);
extern void output_free(Output *output);

#endif
