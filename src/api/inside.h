/*-------------------------------------------------------------------------
 *
 * inside.h
 *	  Functions that a running job calls about itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_INSIDE_H
#define BGJOB_API_INSIDE_H

#include "postgres.h"

#include "store/jobrow.h"

extern const BgjobJob *bgjob_this_job(const char *function);

#endif /* BGJOB_API_INSIDE_H */
