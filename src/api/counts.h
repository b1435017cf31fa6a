/*-------------------------------------------------------------------------
 *
 * counts.h
 *	  SQL functions about the number of jobs in each state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_COUNTS_H
#define BGJOB_API_COUNTS_H

#include "postgres.h"

#include "base/registry.h"

extern bool bgjob_counted_later(const BgjobDatabase *entry);
extern void bgjob_counted_request(void);

#endif /* BGJOB_API_COUNTS_H */
