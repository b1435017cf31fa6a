/*-------------------------------------------------------------------------
 *
 * oneshot.c
 *	  A handler for each job: arguments on its standard input, all else in its
 *	  environment.
 *
 * The environment is that of the worker, without variables that begin with BGJOB_,
 * and with those that the manual page lists. A value that is longer than
 * VALUE_MAX_BYTES is left out, since the kernel would refuse to execute the handler.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/oneshot.h"
#include "client/json.h"
#include "client/memory.h"
#include "worker/config.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_MAX_BYTES 65536
#define MAX_OWN         16 /* variables of the worker */

extern char **environ;

/* is_replaced returns whether a variable is not passed on. */
static bool
is_replaced(const char *variable)
{
	return strncmp(variable, "BGJOB_", 6) == 0 || strncmp(variable, "TRACEPARENT=", 12) == 0;
}

static char *
variable(const char *name, const char *value)
{
	return strlen(value) <= VALUE_MAX_BYTES ? mem_print("%s=%s", name, value) : NULL;
}

/* add adds a variable unless it has no value, or a value that is too long. */
static void
add(char **list, const char *name, const char *value)
{
	char *text = value != NULL ? variable(name, value) : NULL;

	if (text == NULL)
		return;
	while (*list != NULL)
		list++;
	*list = text;
}

/* add_json_string adds a variable whose value is that of a JSON string. */
static void
add_json_string(char **list, const char *name, JsonValue value)
{
	Buffer text = {0};

	if (json_string(value, &text))
	{
		buffer_add(&text, "", 1);
		add(list, name, text.data);
	}
	buffer_free(&text);
}

static char *
join_labels(void)
{
	Buffer joined = {0};
	char *text;

	for (char **label = config.labels; label != NULL && *label != NULL; label++)
	{
		if (joined.len > 0)
			buffer_add(&joined, ",", 1);
		buffer_add_text(&joined, *label);
	}
	text = mem_copy_part(joined.data, joined.len);
	buffer_free(&joined);
	return text;
}

/*
 * environment_make makes the environment of a handler: what all handlers have, and
 * own variables of the caller, which are freed with it.
 */
char **
environment_make(const Slot *slot, char **own)
{
	int count = 0;
	char **environment;
	char number[16];
	char *labels;

	while (environ[count] != NULL)
		count++;
	environment = mem_zero((count + 2 * MAX_OWN + 1) * sizeof(char *));
	count = 0;
	for (char **inherited = environ; *inherited != NULL; inherited++)
		if (!is_replaced(*inherited))
			environment[count++] = mem_copy(*inherited);
	add(environment + count, "BGJOB_FD", "3");
	add(environment + count, "BGJOB_PROTOCOL", "1");
	add(environment + count, "BGJOB_WORKER", config.name);
	snprintf(number, sizeof(number), "%d", slot->number);
	add(environment + count, "BGJOB_SLOT", number);
	labels = join_labels();
	add(environment + count, "BGJOB_LABELS", labels);
	free(labels);
	while (environment[count] != NULL)
		count++;
	for (; own != NULL && *own != NULL; own++)
		environment[count++] = *own;
	return environment;
}

/* oneshot_environment makes the environment of a handler for the slot's job. */
char **
oneshot_environment(const Slot *slot)
{
	static const char *const names[] = {"traceparent"};
	const Job *job = slot->job;
	char *own[MAX_OWN + 1] = {NULL};
	char number[24];
	JsonValue parameters = {job->parameters,
							job->parameters != NULL ? strlen(job->parameters) : 0};
	JsonValue lease = {job->lease_until,
					   job->lease_until != NULL ? strlen(job->lease_until) : 0};
	JsonValue deadline = {job->deadline, job->deadline != NULL ? strlen(job->deadline) : 0};
	JsonValue traceparent;

	snprintf(number, sizeof(number), "%lld", (long long) job->id);
	add(own, "BGJOB_ID", number);
	snprintf(number, sizeof(number), "%d", job->attempt);
	add(own, "BGJOB_ATTEMPT", number);
	add(own, "BGJOB_JOB", job->name);
	add(own, "BGJOB_QUEUE", job->queue);
	add(own, "BGJOB_PARAMETERS", job->parameters);
	add_json_string(own, "BGJOB_LEASE_UNTIL", lease);
	add_json_string(own, "BGJOB_DEADLINE", deadline);
	json_members(parameters, names, &traceparent, 1);
	add_json_string(own, "TRACEPARENT", traceparent);
	return environment_make(slot, own);
}

void
oneshot_free_environment(char **environment)
{
	for (char **variable = environment; *variable != NULL; variable++)
		free(*variable);
	free(environment);
}

/* oneshot_send makes ready what the handler reads: the arguments. */
void
oneshot_send(Slot *slot)
{
	const Job *job = slot->job;

	buffer_clear(&slot->to_handler);
	if (job->args != NULL)
		buffer_add(&slot->to_handler, job->args, job->args_len);
	else
		buffer_add_text(&slot->to_handler, "null");
	buffer_add(&slot->to_handler, "\n", 1);
}
