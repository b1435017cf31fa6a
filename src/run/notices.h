/*-------------------------------------------------------------------------
 *
 * notices.h
 *	  What a client would be shown while a job runs, in the log of the job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_NOTICES_H
#define BGJOB_RUN_NOTICES_H

#include "postgres.h"

extern void bgjob_notices_init(void);
extern void bgjob_notices_resume(void);
extern void bgjob_notices_pause(void);
extern void bgjob_notices_prepare(void);
extern void bgjob_notices_report_error(void);
extern void bgjob_notices_sum_up(void);
extern void bgjob_notices_forget(void);

#endif /* BGJOB_RUN_NOTICES_H */
