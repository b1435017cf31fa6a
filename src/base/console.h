/*-------------------------------------------------------------------------
 *
 * console.h
 *	  What running jobs tell: their progress, and the lines of their log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_CONSOLE_H
#define BGJOB_BASE_CONSOLE_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Maximal size of the lines that an attempt logs, in bytes; a last line says that the rest is left out. */
#define BGJOB_LOG_MAX (2 * 1024 * 1024)

/* Longest message of a progress, and longest name of a level, in bytes. */
#define BGJOB_PROGRESS_MESSAGE_MAX 255
#define BGJOB_LEVEL_MAX            31

/* The last line of a log that is longer. */
#define BGJOB_LOG_CUT "more was logged than is kept; the rest is left out"

typedef struct BgjobLogLine
{
	TimestampTz at;
	const char *level;
	const char *message;
} BgjobLogLine;

/* The output of a job so far, copied. */
typedef struct BgjobOutput
{
	bool has_progress;
	double percent;
	char message[BGJOB_PROGRESS_MESSAGE_MAX + 1]; /* of the progress; empty: none */
	int first_seq; /* number of the first line in the job's log */
	int nlines;
	BgjobLogLine *lines;
} BgjobOutput;

extern Size bgjob_console_size(void);
extern void bgjob_console_startup(void);
extern void bgjob_console_progress(int64 job, double percent, const char *message);
extern void bgjob_console_log(int64 job, int first_seq, const char *level, const char *message);
extern bool bgjob_console_in_use(int index);
extern void bgjob_console_clear(int index);
extern bool bgjob_console_read(int index, int64 job, BgjobOutput *output);
extern bool bgjob_console_read_progress(int index, int64 job, BgjobOutput *output);

#endif /* BGJOB_BASE_CONSOLE_H */
