/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  A place for one job at a time, and the handler there: see slot.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_SLOT_H
#define BGJOB_WORKER_SLOT_H

#include "worker/job.h"
#include "worker/output.h"
#include "worker/process.h"

/* What becomes of the job of a handler that is made to end. */
typedef enum Verdict
{
	VERDICT_NONE,   /* the handler ended by itself: its exit code says it */
	VERDICT_DROP,   /* the job is not ours any more: nothing */
	VERDICT_FAIL,   /* it has failed, for a reason of the worker */
	VERDICT_RELEASE /* it is given back */
} Verdict;

typedef struct Slot
{
	int number;
	Job *job; /* null: none */
	Process process;
	Buffer to_handler;
	Buffer from_handler;
	size_t searched; /* bytes of from_handler without a line break */
	Output output;

	bool ending; /* the process has been told to leave */
	bool stuck;  /* it did not end although it was killed */
	Verdict verdict;
	char *reason;          /* of VERDICT_FAIL */
	LoopTimer kill_timer;  /* from SIGTERM to SIGKILL */
	LoopTimer limit_timer; /* end of the lease or of the attempt */

	bool replace;      /* a persistent handler leaves after its job */
	bool proven;       /* it has answered once */
	int early_ends;    /* in a row: it ended before it answered once */
	int64_t usable_at; /* not before, after an early end */
} Slot;

extern void slot_init(Slot *slot, int number);
extern bool slot_is_usable(const Slot *slot);
extern void slot_perform(Slot *slot, Job *job);
extern void slot_extend(Slot *slot, int64_t lease_end);
extern void slot_end(Slot *slot, Verdict verdict, const char *reason);
extern void slot_kill(Slot *slot);
extern void slot_exited(Slot *slot);
extern void slot_job_over(Slot *slot);
extern void slot_write(Slot *slot);
extern void slot_leave(Slot *slot);
extern void slot_free(Slot *slot);

#endif
