/*-------------------------------------------------------------------------
 *
 * member.h
 *	  The jobs of batches that have not succeeded, and numbers of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_MEMBER_H
#define BGJOB_STORE_MEMBER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "rules/state.h"
#include "store/relation.h"

/* How a batch counts a job that has not succeeded; the letters are stored. */
typedef enum BgjobMember
{
	BGJOB_MEMBER_NONE = 0,
	BGJOB_MEMBER_OPEN = 'o',
	BGJOB_MEMBER_FAILED = 'f',
	BGJOB_MEMBER_DELETED = 'd'
} BgjobMember;

/* Sums of bgjob_internal.batch_total. */
typedef struct BgjobBatchTotals
{
	int64 failed;
	int64 deleted;
	TimestampTz at; /* when jobs were last added, or run again */
} BgjobBatchTotals;

extern BgjobMember bgjob_member_of_state(BgjobState state);
extern BgjobState bgjob_members_state(int64 batch);
extern int64 bgjob_members_last_open(int64 batch);
extern int
bgjob_members_read(int64 batch, BgjobMember state, int64 after, int64 *jobs, int max);
extern bool bgjob_member_is_open(int64 batch, int64 job);
extern void
bgjob_members_insert(BgjobRel *rel, int64 batch, BgjobMember state, int64 first, int n);
extern void bgjob_member_delete(BgjobRel *rel, int64 batch, BgjobMember state, int64 job);
extern void bgjob_members_leave(int64 batch, const int64 *jobs, int n);
extern void bgjob_batch_totals(int64 batch, BgjobBatchTotals *totals);
extern void bgjob_batch_totals_add(int64 batch, int64 jobs, int64 failed, int64 deleted);

#endif /* BGJOB_STORE_MEMBER_H */
