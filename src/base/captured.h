/*-------------------------------------------------------------------------
 *
 * captured.h
 *	  Settings of the caller that travel with a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_CAPTURED_H
#define BGJOB_BASE_CAPTURED_H

#include "postgres.h"

#include "utils/jsonb.h"

extern Jsonb *bgjob_capture_listed(void);
extern Jsonb *bgjob_capture_custom(void);
extern void bgjob_captured_apply(const Jsonb *listed, const Jsonb *custom);

#endif /* BGJOB_BASE_CAPTURED_H */
