/*-------------------------------------------------------------------------
 *
 * prerequisite.h
 *	  What a job awaits, and whether it is there.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_PREREQUISITE_H
#define BGJOB_STORE_PREREQUISITE_H

#include "postgres.h"

#include "store/jobrow.h"

/* What must have become of a target; bgjob_internal.job stores the letters, and null for the first. */
typedef enum BgjobCondition
{
	BGJOB_IF_SUCCEEDED = 's',
	BGJOB_IF_FINISHED = 'e',
	BGJOB_IF_FAILED = 'f',
	BGJOB_IF_DELETED = 'd',
	BGJOB_IF_ANY = 'a' /* one of them has succeeded */
} BgjobCondition;

/* Whether what a job awaits is there. */
typedef enum BgjobAwaited
{
	BGJOB_AWAITED_OPEN,
	BGJOB_AWAITED_MET,
	BGJOB_AWAITED_HOPELESS /* it cannot be met any more */
} BgjobAwaited;

/* What a job awaits: its targets are jobs, then a batch, then signals, each once; then a job that it follows, however that ends. */
typedef struct BgjobPrerequisites
{
	Oid role; /* that the job runs as */
	BgjobCondition condition;
	int n;
	int njobs;
	int nbatches; /* 0 or 1 */
	int nsignals;
	int nfollowed; /* 0 or 1 */
	int nedges;    /* targets without a job that is followed and awaited, too */
	int64 *targets;
	const char **signals; /* names, in the order of their targets */
} BgjobPrerequisites;

/* The result of a look at what a job awaits. */
typedef struct BgjobLook
{
	BgjobAwaited awaited;
	int open;           /* index of a target that is not there yet */
	const char *reason; /* HOPELESS: the reason for which the job is deleted */
} BgjobLook;

/* The reason of a job that was deleted since it could not run begins with this. */
#define BGJOB_HOPELESS_REASON "Cannot run: "

extern bool bgjob_prerequisites_read(const BgjobJob *job, BgjobPrerequisites *all);
extern void bgjob_prerequisites_free(BgjobPrerequisites *all);
extern bool bgjob_is_hopeless_reason(const char *reason);
extern bool bgjob_target_is_job(const BgjobPrerequisites *all, int i);
extern BgjobAwaited bgjob_condition_of(BgjobCondition condition, BgjobState state);
extern BgjobState bgjob_target_state(BgjobRel *jobs, const BgjobPrerequisites *all, int i);
extern const char *
bgjob_hopeless_reason(BgjobRel *jobs, const BgjobPrerequisites *all, int i, BgjobState state);
extern void bgjob_prerequisites_look_between(BgjobRel *jobs, const BgjobPrerequisites *all,
											 int from, int to, bool stop, BgjobLook *look);
extern int
bgjob_prerequisites_last(BgjobRel *jobs, const BgjobPrerequisites *all, int from, int to);
extern void bgjob_prerequisites_look(BgjobRel *jobs, const BgjobPrerequisites *all, int from,
									 bool stop, BgjobLook *look);

#endif /* BGJOB_STORE_PREREQUISITE_H */
