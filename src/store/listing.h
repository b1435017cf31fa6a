/*-------------------------------------------------------------------------
 *
 * listing.h
 *	  The newest jobs that match a filter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LISTING_H
#define BGJOB_STORE_LISTING_H

#include "postgres.h"

#include "base/jobmap.h"
#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "rules/state.h"

/* A state in a set of states, as the map of jobs has it. */
#define BGJOB_STATE_BIT(state) (UINT64CONST(1) << (state))

/* Which jobs are wanted; a field that is NULL, NIL or zero does not matter. */
typedef struct BgjobListFilter
{
	uint64 states; /* a set: BGJOB_STATE_BIT of each */
	const char *queue;
	const char *job;
	const char *tag;
	Oid run_as;
	TimestampTz since;          /* DT_NOBEGIN: any time */
	TimestampTz until;          /* created before; DT_NOEND: any time */
	List *words;                /* in lower case: texts that all must be somewhere in the job */
	List *unwanted;             /* likewise: texts that must not be anywhere in it */
	struct BgjobSearch *search; /* the rest of a query (store/search.h) */
	bool hides_args;            /* words in the arguments do not count */
	int64 before;               /* only lower ids; PG_INT64_MAX: all */

	bool (*sees)(Oid role); /* whether the reader sees the jobs of a role */
	const Oid *roles;       /* no others are seen */
	int nroles;             /* 0: that is not known */
	const int64 *running;   /* jobs that workers are at, in ascending order */
	int nrunning;

	/* called with the row of each job that a search finds; NULL: nothing is */
	void (*visit)(TupleTableSlot *slot, void *arg);
	void *visit_arg;

	int64 deadline; /* by the steady clock: when the listing is to stop; 0: at the end */
} BgjobListFilter;

typedef struct BgjobListing BgjobListing;

extern BgjobListing *bgjob_listing_begin(const BgjobListFilter *filter);
extern int bgjob_listing_next(BgjobListing *listing, int64 *ids, int max);
extern int bgjob_listing_search(BgjobListing *listing, int64 *ids, int max);
extern int64 bgjob_listing_looked_through(const BgjobListing *listing);
extern int64 bgjob_listing_rest(const BgjobListing *listing);
extern void bgjob_listing_end(BgjobListing *listing);

#endif /* BGJOB_STORE_LISTING_H */
