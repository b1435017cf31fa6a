/*-------------------------------------------------------------------------
 *
 * edge.h
 *	  Who awaits whom.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_EDGE_H
#define BGJOB_STORE_EDGE_H

#include "postgres.h"

#include "store/jobrow.h"

extern void bgjob_edges_insert_many(const BgjobJob *job, int64 first, int n);
extern void bgjob_edges_delete(const BgjobJob *job);
extern void bgjob_edges_restore(const BgjobJob *job);
extern int64 *bgjob_edges_of(int64 target, int *n);
extern void bgjob_edges_count(void);

#endif /* BGJOB_STORE_EDGE_H */
