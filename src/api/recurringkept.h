/*-------------------------------------------------------------------------
 *
 * recurringkept.h
 *	  The options of a recurring job that stay when it is updated.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_RECURRINGKEPT_H
#define BGJOB_API_RECURRINGKEPT_H

#include "postgres.h"

#include "store/option.h"
#include "store/recurring.h"

extern void bgjob_kept_read(const BgjobRecurring *row, BgjobOptionSet *given,
							BgjobOptionSet *kept, bool *kind);
extern void bgjob_kept_write(BgjobRecurring *row, const BgjobOptionSet *given,
							 const BgjobOptionSet *kept, bool kind);

#endif /* BGJOB_API_RECURRINGKEPT_H */
