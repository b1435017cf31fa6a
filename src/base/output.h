/*-------------------------------------------------------------------------
 *
 * output.h
 *	  The output of a job that a session performs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_OUTPUT_H
#define BGJOB_BASE_OUTPUT_H

#include "postgres.h"

#include "base/console.h"

extern void bgjob_output_begin(MemoryContext context);
extern void bgjob_output_end(void);
extern void bgjob_output_progress(double percent, const char *message);
extern void bgjob_output_log(const char *level, const char *message);
extern bool bgjob_output_read(BgjobOutput *output);

#endif /* BGJOB_BASE_OUTPUT_H */
