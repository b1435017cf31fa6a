/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  What came of a job: the answer that the server gets.
 *
 * The exit codes are those of sysexits.h. Of a handler that exits while it has a job:
 *
 *	  0		success; the output is the result (persistent handlers: a failure, since
 *			they have not answered)
 *	  75	EX_TEMPFAIL: failed; retried as the job's policy says
 *	  65	EX_DATAERR: failed; never retried
 *	  69	EX_UNAVAILABLE: the handler does not know the job; given back with a delay,
 *			since another worker may know it, or this one after its next deployment
 *	  else	failed, as with 75; likewise a handler that a signal ended
 *
 * The message of a failure is the end of standard error. Texts are made UTF-8 here;
 * JSON is passed through.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/outcome.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "worker/config.h"
#include "worker/session.h"
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

/* How long a job is delayed whose handler could not be started, in seconds. */
#define NOT_STARTED_DELAY 10

/* give passes the answer to a slot's job on. */
static void
give(Slot *slot, Answer *answer)
{
	worker_observe(slot->job);
	session_answer(answer);
}

/* outcome_success: the job has succeeded; a result without start is none. */
void
outcome_success(Slot *slot, JsonValue result)
{
	Answer *answer = answer_make(slot->job, ANSWER_COMPLETE);

	if (result.start != NULL)
	{
		answer->text = mem_copy_part(result.start, result.len);
		answer->len = result.len;
	}
	give(slot, answer);
}

/* outcome_failure: the job has failed. detail is JSON, or has no start. */
void
outcome_failure(Slot *slot, const char *error, size_t len, JsonValue detail, bool retry)
{
	Answer *answer = answer_make(slot->job, ANSWER_FAIL);
	Buffer clean = {0};

	utf8_clean(&clean, error, len);
	answer->text = mem_copy_part(clean.data, clean.len);
	answer->len = clean.len;
	buffer_free(&clean);
	if (detail.start != NULL)
		answer->detail = mem_copy_part(detail.start, detail.len);
	answer->retry = retry;
	give(slot, answer);
}

/* outcome_release: the job is given back; delay in seconds, negative: none. */
void
outcome_release(Slot *slot, double delay)
{
	Answer *answer = answer_make(slot->job, ANSWER_RELEASE);

	answer->delay = delay;
	session_answer(answer);
}

/* outcome_unknown: the handler does not know this job. */
void
outcome_unknown(Slot *slot)
{
	worker_warn_unknown(slot->job);
	outcome_release(slot, (double) config.unknown_delay / LOOP_SEC);
}

/* outcome_not_started: there is no handler to perform the job, which is given back. */
void
outcome_not_started(Slot *slot, const char *why)
{
	log_error("could not start the handler \"%s\": %s", config.handler_path, why);
	outcome_release(slot, NOT_STARTED_DELAY);
}

/* outcome_status describes how a process has ended, by its status. */
const char *
outcome_status(int status)
{
	static char text[80];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "the handler was terminated by signal %d: %s",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "the handler exited with code %d", WEXITSTATUS(status));
	return text;
}

/* failed_by_exit has the job fail with the end of standard error as the message. */
static void
failed_by_exit(Slot *slot, int status, bool retry)
{
	char *message = output_message(&slot->output);
	const char *how = outcome_status(status);
	Buffer detail = {0};
	JsonValue json = {NULL, 0};

	if (message != NULL)
	{
		buffer_add_text(&detail, "{\"detail\":");
		json_add_string(&detail, how, strlen(how));
		buffer_add_text(&detail, "}");
		json.start = detail.data;
		json.len = detail.len;
	}
	outcome_failure(slot, message != NULL ? message : how,
					strlen(message != NULL ? message : how), json, retry);
	buffer_free(&detail);
	free(message);
}

/* succeeded checks the output of a handler that exited with 0. */
static void
succeeded(Slot *slot)
{
	Buffer *output = &slot->from_handler;
	JsonValue result = {NULL, 0};
	JsonValue none = {NULL, 0};
	const char *wrong;
	char *message;

	if (output->len > 0 && strspn(output->data, " \t\r\n") < output->len)
	{
		wrong = json_check(output->data, output->len, &result);
		if (wrong != NULL)
		{
			message = mem_print("the output of the handler is not JSON: %s", wrong);
			outcome_failure(slot, message, strlen(message), none, true);
			free(message);
			return;
		}
	}
	outcome_success(slot, result);
}

/* by_exit_code answers a job whose handler ended by itself. */
static void
by_exit_code(Slot *slot, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == EX_OK && !config.persistent)
		succeeded(slot);
	else if (code == EX_UNAVAILABLE)
		outcome_unknown(slot);
	else
		failed_by_exit(slot, status, code != EX_DATAERR);
}

/* outcome_exited answers the job of a handler that has ended. */
void
outcome_exited(Slot *slot, int status, int exec_errno)
{
	JsonValue none = {NULL, 0};

	switch (slot->verdict)
	{
		case VERDICT_DROP:
			break;
		case VERDICT_RELEASE:
			outcome_release(slot, -1);
			break;
		case VERDICT_FAIL:
			outcome_failure(slot, slot->reason, strlen(slot->reason), none, true);
			break;
		case VERDICT_NONE:
			if (exec_errno != 0)
				outcome_not_started(slot, strerror(exec_errno));
			else
				by_exit_code(slot, status);
			break;
	}
}
