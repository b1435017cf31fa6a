/*-------------------------------------------------------------------------
 *
 * review.h
 *	  Reviewing jobs that await something.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_REVIEW_H
#define BGJOB_PROCESS_REVIEW_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_review_begin(void);
extern void bgjob_review_clock_set(void);
extern TimestampTz bgjob_review_serve(TimestampTz now);

#endif /* BGJOB_PROCESS_REVIEW_H */
