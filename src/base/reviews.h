/*-------------------------------------------------------------------------
 *
 * reviews.h
 *	  What the scheduler of a database is to look at again: jobs that await others, and what is awaited.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_REVIEWS_H
#define BGJOB_BASE_REVIEWS_H

#include "postgres.h"

/* So many are taken at a time. */
#define BGJOB_REVIEWS 256

extern Size bgjob_reviews_size(void);
extern void bgjob_reviews_startup(void);

extern void bgjob_review_ask(Oid database, int64 id);
extern void bgjob_review_ask_all(Oid database);
extern int bgjob_review_take(int64 *ids, bool *all);
extern void bgjob_review_watch(int64 dependant, int64 target, int64 other);
extern bool bgjob_review_is_due(int64 dependant, int64 first, int64 last);
extern void bgjob_review_reopened(Oid database);
extern uint32 bgjob_review_reopenings(void);

#endif /* BGJOB_BASE_REVIEWS_H */
