/*-------------------------------------------------------------------------
 *
 * state.h
 *	  The states of a job and the one table of its transitions.
 *
 * Pure: no SPI, no shared memory, no memory allocation, no errors. Any
 * process may call it, and the unit tests link it without a server.
 *
 * The names are those of the SQL surface; the letters are what bgjob_internal.job
 * stores. BGJOB_PROCESSING is stored only for jobs whose claim is committed
 * on its own (procedures, utility commands); that any other job is being
 * processed is known from the slot of its worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_STATE_H
#define BGJOB_RULES_STATE_H

#include <stdbool.h>

typedef enum BgjobState
{
	BGJOB_NONE, /* not yet there */
	BGJOB_ENQUEUED,
	BGJOB_SCHEDULED,
	BGJOB_AWAITING,
	BGJOB_PROCESSING,
	BGJOB_SUCCEEDED,
	BGJOB_FAILED,
	BGJOB_DELETED
} BgjobState;

#define BGJOB_NSTATES (BGJOB_DELETED + 1)

/* What can happen to a job. */
typedef enum BgjobEvent
{
	BGJOB_EV_ENQUEUE,    /* created, to run now */
	BGJOB_EV_SCHEDULE,   /* created, to run later */
	BGJOB_EV_AWAIT,      /* created, to run when what it awaits is there */
	BGJOB_EV_DUE,        /* its time has come */
	BGJOB_EV_RELEASE,    /* its predecessor has ended as required */
	BGJOB_EV_START,      /* a worker has claimed it */
	BGJOB_EV_SUCCEED,    /* it ran */
	BGJOB_EV_FAIL,       /* it raised an error, no retry left */
	BGJOB_EV_RETRY,      /* it raised an error, to be tried again later */
	BGJOB_EV_INTERRUPT,  /* its worker was lost or shut down */
	BGJOB_EV_DELETE,     /* deleted by a user */
	BGJOB_EV_REQUEUE,    /* a user wants it to run now */
	BGJOB_EV_RESCHEDULE, /* a user wants it to run later */
	BGJOB_EV_REVIVE, /* a user has it, or what it awaited, run again: it awaits that again */
} BgjobEvent;

#define BGJOB_NEVENTS (BGJOB_EV_REVIVE + 1)

/*
 * bgjob_transition returns the state that a job in state "from" is in after
 * "event", or BGJOB_NONE where that event cannot happen to such a job.
 */
extern BgjobState bgjob_transition(BgjobState from, BgjobEvent event);

/* bgjob_state_name returns the name of a state as the SQL surface has it. */
extern const char *bgjob_state_name(BgjobState state);

/* bgjob_state_by_name returns the state of that name, BGJOB_NONE if there is none. */
extern BgjobState bgjob_state_by_name(const char *name);

/* bgjob_state_letter returns the letter that bgjob_internal.job stores for a state. */
extern char bgjob_state_letter(BgjobState state);

/* bgjob_state_by_letter is the reverse; BGJOB_NONE for an unknown letter. */
extern BgjobState bgjob_state_by_letter(char letter);

/* bgjob_state_is_final returns whether a job stays in a state until a user acts. */
extern bool bgjob_state_is_final(BgjobState state);

#endif /* BGJOB_RULES_STATE_H */
