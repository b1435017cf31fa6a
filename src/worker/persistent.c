/*-------------------------------------------------------------------------
 *
 * persistent.c
 *	  A handler for many jobs, one after the other: lines of JSON in and out.
 *
 *	  {"id":7,"job":"resize","args":{…},"attempt":1,"queue":"images",
 *	   "lease_until":"…","deadline":null,"parameters":null}				to the handler
 *	  {"id":7,"result":…}													success
 *	  {"id":7,"error":"…","retry":false,"detail":{…}}						failure
 *	  {"id":7,"release":60}												given back
 *
 * A handler has one job at a time. A line that is not JSON, that comes without a job,
 * or that answers another one, says that the two sides do not agree any more what is
 * answered by what: the handler is ended, and the job that it has fails.
 *
 * JSON of the database goes to the handler as the text that it is, and JSON of the
 * handler's results to the database (client/json.c).
 *
 *-------------------------------------------------------------------------
 */
#include "worker/persistent.h"
#include "client/json.h"
#include "client/log.h"
#include "client/memory.h"
#include "worker/config.h"
#include "worker/oneshot.h"
#include "worker/outcome.h"

#include <stdlib.h>
#include <string.h>

/* The members of an answer. */
enum
{
	M_ID,
	M_RESULT,
	M_ERROR,
	M_RETRY,
	M_DETAIL,
	M_RELEASE,
	M_COUNT
};

static const char *const member_names[M_COUNT] = {"id",    "result", "error",
												  "retry", "detail", "release"};

/* persistent_environment makes the environment of a handler for many jobs. */
char **
persistent_environment(const Slot *slot)
{
	return environment_make(slot, NULL);
}

static void
add_json(Buffer *line, const char *name, const char *json, size_t len)
{
	buffer_add_text(line, name);
	if (json != NULL)
		buffer_add(line, json, len);
	else
		buffer_add_text(line, "null");
}

static void
add_text(Buffer *line, const char *name, const char *text)
{
	buffer_add_text(line, name);
	json_add_string(line, text, strlen(text));
}

static size_t
length(const char *text)
{
	return text != NULL ? strlen(text) : 0;
}

/* persistent_send makes ready the line that gives the handler its job. */
void
persistent_send(Slot *slot)
{
	const Job *job = slot->job;
	Buffer *line = &slot->to_handler;

	buffer_clear(line);
	buffer_add_text(line, "{\"id\":");
	buffer_add_number(line, job->id);
	add_text(line, ",\"job\":", job->name);
	add_json(line, ",\"args\":", job->args, job->args_len);
	buffer_add_text(line, ",\"attempt\":");
	buffer_add_number(line, job->attempt);
	add_text(line, ",\"queue\":", job->queue);
	add_json(line, ",\"lease_until\":", job->lease_until, length(job->lease_until));
	add_json(line, ",\"deadline\":", job->deadline, length(job->deadline));
	add_json(line, ",\"parameters\":", job->parameters, length(job->parameters));
	buffer_add(line, "}\n", 2);
}

/* breach ends a handler that has broken the protocol. */
static void
breach(Slot *slot, const char *what)
{
	char *reason = mem_print("the handler has broken the protocol: %s", what);

	log_warning("slot %d: %s", slot->number, reason);
	slot_end(slot, slot->job != NULL ? VERDICT_FAIL : VERDICT_DROP, reason);
	free(reason);
}

/* answer_failure passes an error on; one that is no string as the JSON that it is. */
static void
answer_failure(Slot *slot, const JsonValue *members)
{
	JsonValue error = members[M_ERROR];
	JsonValue detail = members[M_DETAIL];
	Buffer text = {0};
	JsonValue none = {NULL, 0};

	if (!json_string(error, &text))
		buffer_add(&text, error.start, error.len);
	outcome_failure(slot, text.data, text.len, json_is_object(detail) ? detail : none,
					!json_is(members[M_RETRY], "false"));
	buffer_free(&text);
}

/* answer_release gives the job back; false: "release" is neither true nor a number of seconds. */
static bool
answer_release(Slot *slot, JsonValue release)
{
	double delay = 0;

	if (json_is(release, "true"))
		outcome_unknown(slot);
	else if (json_double(release, &delay) && delay >= 0 && delay < 1e9)
		outcome_release(slot, delay);
	else
		return false;
	return true;
}

/* take_answer handles a line; returns null, or the breach of the protocol. */
static const char *
take_answer(Slot *slot, const char *line, size_t len)
{
	JsonValue members[M_COUNT];
	JsonValue answer;
	int64_t id;

	if (json_check(line, len, &answer) != NULL || !json_is_object(answer))
		return "a line is no JSON object";
	json_members(answer, member_names, members, M_COUNT);
	if (!json_int64(members[M_ID], &id))
		return "an answer has no id";
	if (slot->job == NULL)
		return "an answer to no job";
	if (id != slot->job->id)
		return "an answer to another job";
	if (members[M_ERROR].start != NULL && !json_is(members[M_ERROR], "null"))
		answer_failure(slot, members);
	else if (members[M_RELEASE].start != NULL && !json_is(members[M_RELEASE], "false"))
	{
		if (!answer_release(slot, members[M_RELEASE]))
			return "\"release\" is neither true nor a number of seconds";
	}
	else
		outcome_success(slot, members[M_RESULT]);
	slot->proven = true;
	slot->early_ends = 0;
	slot_job_over(slot);
	return NULL;
}

/* is_blank returns whether a line is empty. */
static bool
is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] != ' ' && line[i] != '\r' && line[i] != '\t')
			return false;
	return true;
}

/* persistent_lines handles the lines that the handler has written; those of one that is ending do not count. */
void
persistent_lines(Slot *slot)
{
	Buffer *from = &slot->from_handler;
	const char *end;

	while (slot->verdict == VERDICT_NONE && from->len > slot->searched &&
		   (end = memchr(from->data + slot->searched, '\n', from->len - slot->searched)) !=
			   NULL)
	{
		size_t len = end - from->data;
		const char *wrong =
			is_blank(from->data, len) ? NULL : take_answer(slot, from->data, len);

		buffer_take(from, len + 1);
		slot->searched = 0;
		if (wrong != NULL)
			breach(slot, wrong);
	}
	slot->searched = from->len;
}
