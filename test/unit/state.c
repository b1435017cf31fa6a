/*-------------------------------------------------------------------------
 *
 * state.c
 *	  Unit tests of rules/state: names, letters and the transition table.
 *
 * Does not repeat the table. Tests the rules that the table must obey, each over
 * all states and events.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/state.h"
#include "tap.h"

#include <string.h>

#define ALL_STATES(s) (BgjobState s = BGJOB_ENQUEUED; s < BGJOB_NSTATES; s++)

/* only_from tells whether an event can happen in the states of the set, leads to "to", and nowhere else. */
static bool
only_from(BgjobEvent event, unsigned set, BgjobState to)
{
	for (BgjobState from = BGJOB_NONE; from < BGJOB_NSTATES; from++)
	{
		BgjobState want = (set & (1u << from)) ? to : BGJOB_NONE;

		if (bgjob_transition(from, event) != want)
		{
			printf("# event %d in state \"%s\"\n", event, bgjob_state_name(from));
			return false;
		}
	}
	return true;
}

static void
test_names(void)
{
	static const char *const names[] = {"enqueued",  "scheduled", "awaiting", "processing",
										"succeeded", "failed",    "deleted"};
	bool same = true;
	bool distinct = true;

	for (int i = 0; i < 7; i++)
		same = same && strcmp(bgjob_state_name((BgjobState) (i + 1)), names[i]) == 0 &&
			   bgjob_state_by_name(names[i]) == (BgjobState) (i + 1);
	is_true(same, "the names are those of the SQL surface, and lead back");
	is_true(bgjob_state_by_name("") == BGJOB_NONE, "no name is no state");
	is_true(bgjob_state_by_name("Enqueued") == BGJOB_NONE, "names have small letters");
	is_true(bgjob_state_by_name("enqueue") == BGJOB_NONE, "part of a name is no name");

	for
		ALL_STATES(state)
	distinct = distinct && bgjob_state_by_letter(bgjob_state_letter(state)) == state;
	is_true(distinct, "each state has a letter of its own");
	is_true(bgjob_state_by_letter('\0') == BGJOB_NONE, "no letter is no state");
	is_true(bgjob_state_by_letter('?') == BGJOB_NONE, "an unknown letter is no state");
}

static void
test_transitions(void)
{
	const unsigned all = (1u << BGJOB_NSTATES) - 2;
	const unsigned none = 1u << BGJOB_NONE;
	const unsigned enqueued = 1u << BGJOB_ENQUEUED;
	const unsigned scheduled = 1u << BGJOB_SCHEDULED;
	const unsigned awaiting = 1u << BGJOB_AWAITING;
	const unsigned processing = 1u << BGJOB_PROCESSING;
	const unsigned final =
		(1u << BGJOB_SUCCEEDED) | (1u << BGJOB_FAILED) | (1u << BGJOB_DELETED);

	is_true(only_from(BGJOB_EV_ENQUEUE, none, BGJOB_ENQUEUED), "only a new job is enqueued");
	is_true(only_from(BGJOB_EV_SCHEDULE, none, BGJOB_SCHEDULED), "only a new job is scheduled");
	is_true(only_from(BGJOB_EV_AWAIT, none, BGJOB_AWAITING), "only a new job awaits others");
	is_true(only_from(BGJOB_EV_REVIVE, final, BGJOB_AWAITING),
			"only a job that has ended is revived");
	is_true(only_from(BGJOB_EV_DUE, scheduled, BGJOB_ENQUEUED),
			"only a scheduled job becomes due");
	is_true(only_from(BGJOB_EV_RELEASE, awaiting, BGJOB_ENQUEUED),
			"only a job that awaits others is released");
	is_true(only_from(BGJOB_EV_START, enqueued, BGJOB_PROCESSING),
			"only an enqueued job starts");
	is_true(only_from(BGJOB_EV_SUCCEED, processing, BGJOB_SUCCEEDED),
			"only a running job succeeds");
	is_true(only_from(BGJOB_EV_RETRY, processing, BGJOB_SCHEDULED),
			"only a running job is retried");
	is_true(only_from(BGJOB_EV_INTERRUPT, processing, BGJOB_ENQUEUED),
			"only a running job is interrupted, and goes back to its queue");
	is_true(only_from(BGJOB_EV_FAIL, all & ~final, BGJOB_FAILED),
			"a job that has ended does not fail");
	is_true(only_from(BGJOB_EV_DELETE, all & ~(1u << BGJOB_DELETED), BGJOB_DELETED),
			"every job can be deleted, once");
	is_true(only_from(BGJOB_EV_REQUEUE, all, BGJOB_ENQUEUED), "every job can be requeued");
	is_true(only_from(BGJOB_EV_RESCHEDULE, all, BGJOB_SCHEDULED),
			"every job can be rescheduled");
}

/* No state is left out of the table: each can be entered from, and left for, another one. */
static void
test_reach(void)
{
	bool entered = true;
	bool left = true;

	for
		ALL_STATES(state)
		{
			bool in = false;
			bool out = false;

			for (BgjobState other = BGJOB_NONE; other < BGJOB_NSTATES; other++)
				for (BgjobEvent event = BGJOB_EV_ENQUEUE; event < BGJOB_NEVENTS; event++)
				{
					in = in || (other != state && bgjob_transition(other, event) == state);
					out = out || (bgjob_transition(state, event) == other && other != state &&
								  other != BGJOB_NONE);
				}
			entered = entered && in;
			left = left && out;
		}
	is_true(entered, "every state is entered by some event");
	is_true(left, "every state is left by some event");
}

static void
test_final(void)
{
	bool kept = true;

	is_true(bgjob_state_is_final(BGJOB_SUCCEEDED), "succeeded is final");
	is_true(bgjob_state_is_final(BGJOB_FAILED), "failed stays until somebody acts");
	is_true(bgjob_state_is_final(BGJOB_DELETED), "deleted is final");
	for (BgjobState state = BGJOB_ENQUEUED; state <= BGJOB_PROCESSING; state++)
		kept = kept && !bgjob_state_is_final(state);
	is_true(kept, "all before them are not");

	/* Whatever happens by itself leaves a final state alone. */
	kept = true;
	for
		ALL_STATES(state)
	for (BgjobEvent event = BGJOB_EV_ENQUEUE; event < BGJOB_EV_DELETE; event++)
		kept = kept &&
			   (!bgjob_state_is_final(state) || bgjob_transition(state, event) == BGJOB_NONE);
	is_true(kept, "nothing but a person's command leaves a final state");
}

int
main(void)
{
	test_names();
	test_transitions();
	test_reach();
	test_final();
	return tap_end();
}
