/*-------------------------------------------------------------------------
 *
 * totalnotes.h
 *	  What a transaction of the scheduler adds to the totals of its database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_TOTALNOTES_H
#define BGJOB_BASE_TOTALNOTES_H

#include "postgres.h"

#include "base/totals.h"

extern void bgjob_totals_begin(void);
extern void bgjob_totals_note_missed(BgjobMissed why);
extern void bgjob_totals_note_late(int64 microseconds);
extern void bgjob_totals_commit(void);

#endif /* BGJOB_BASE_TOTALNOTES_H */
