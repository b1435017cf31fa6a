/*-------------------------------------------------------------------------
 *
 * failure.h
 *	  An error, as it is stored with a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FAILURE_H
#define BGJOB_RUN_FAILURE_H

#include "postgres.h"

#include "utils/jsonb.h"

extern Jsonb *bgjob_failure_json(const ErrorData *error);

#endif /* BGJOB_RUN_FAILURE_H */
