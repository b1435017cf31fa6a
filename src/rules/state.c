/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The states of a job and the one table of its transitions.
 *
 * Everything that ever happens to a job is a row and a column of the table
 * below; store/job.c, which writes the tables, asks it for every change and
 * changes a state nowhere else. To see what a new event may do, read down a
 * column; to see what can happen to a job, read along a row. An empty cell
 * means "cannot happen": the caller treats it as an internal error, or, for
 * the events that people cause (DELETE, REQUEUE, RESCHEDULE), has checked
 * before.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors; linked by the
 * unit tests without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/state.h"

#include <string.h>

static const struct
{
	const char *name;
	char letter;
	bool final;
} states[BGJOB_NSTATES] = {
	[BGJOB_NONE] = {"", '\0', false},
	[BGJOB_ENQUEUED] = {"enqueued", 'e', false},
	[BGJOB_SCHEDULED] = {"scheduled", 's', false},
	[BGJOB_AWAITING] = {"awaiting", 'a', false},
	[BGJOB_PROCESSING] = {"processing", 'p', false},
	[BGJOB_SUCCEEDED] = {"succeeded", 'k', true},
	[BGJOB_FAILED] = {"failed", 'f', true},
	[BGJOB_DELETED] = {"deleted", 'd', true},
};

#define E BGJOB_ENQUEUED
#define S BGJOB_SCHEDULED
#define A BGJOB_AWAITING
#define P BGJOB_PROCESSING
#define K BGJOB_SUCCEEDED
#define F BGJOB_FAILED
#define D BGJOB_DELETED
#define _ BGJOB_NONE

/*
 * A released job is enqueued. If it has a time as well, it is rescheduled to that time
 * when its predecessor has ended. So there is one way into the schedule from every
 * state.
 */

/* clang-format off */
static const unsigned char transitions[BGJOB_NSTATES][BGJOB_NEVENTS] = {
	/*                     ENQUEUE SCHEDULE AWAIT DUE RELEASE START SUCCEED FAIL RETRY INTERRUPT DELETE REQUEUE RESCHEDULE REVIVE */
	[BGJOB_NONE] =       { E,      S,       A,    _,  _,      _,    _,      _,   _,    _,        _,     _,      _,          _ },
	[BGJOB_ENQUEUED] =   { _,      _,       _,    _,  _,      P,    _,      F,   _,    _,        D,     E,      S,          _ },
	[BGJOB_SCHEDULED] =  { _,      _,       _,    E,  _,      _,    _,      F,   _,    _,        D,     E,      S,          _ },
	[BGJOB_AWAITING] =   { _,      _,       _,    _,  E,      _,    _,      F,   _,    _,        D,     E,      S,          _ },
	[BGJOB_PROCESSING] = { _,      _,       _,    _,  _,      _,    K,      F,   S,    E,        D,     E,      S,          _ },
	[BGJOB_SUCCEEDED] =  { _,      _,       _,    _,  _,      _,    _,      _,   _,    _,        D,     E,      S,          A },
	[BGJOB_FAILED] =     { _,      _,       _,    _,  _,      _,    _,      _,   _,    _,        D,     E,      S,          A },
	[BGJOB_DELETED] =    { _,      _,       _,    _,  _,      _,    _,      _,   _,    _,        _,     E,      S,          A },
};
/* clang-format on */

#undef E
#undef S
#undef A
#undef P
#undef K
#undef F
#undef D
#undef _

/* bgjob_transition returns the state after an event, BGJOB_NONE where it cannot happen. */
BgjobState
bgjob_transition(BgjobState from, BgjobEvent event)
{
	return (BgjobState) transitions[from][event];
}

/* bgjob_state_name returns the name of a state. */
const char *
bgjob_state_name(BgjobState state)
{
	return states[state].name;
}

/* bgjob_state_by_name returns the state of that name, BGJOB_NONE if there is none. */
BgjobState
bgjob_state_by_name(const char *name)
{
	for (int state = BGJOB_NONE + 1; state < BGJOB_NSTATES; state++)
		if (strcmp(states[state].name, name) == 0)
			return (BgjobState) state;
	return BGJOB_NONE;
}

/* bgjob_state_letter returns the letter that bgjob_internal.job stores for a state. */
char
bgjob_state_letter(BgjobState state)
{
	return states[state].letter;
}

/* bgjob_state_by_letter returns the state of that letter, BGJOB_NONE if there is none. */
BgjobState
bgjob_state_by_letter(char letter)
{
	for (int state = BGJOB_NONE + 1; state < BGJOB_NSTATES; state++)
		if (states[state].letter == letter)
			return (BgjobState) state;
	return BGJOB_NONE;
}

/* bgjob_state_is_final returns whether a job stays in a state until a user acts. */
bool
bgjob_state_is_final(BgjobState state)
{
	return states[state].final;
}
