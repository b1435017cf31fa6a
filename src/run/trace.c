/*-------------------------------------------------------------------------
 *
 * trace.c
 *	  The trace that a job belongs to.
 *
 * A session that enqueues a job may pass on the trace that it is part of, as the job's
 * parameter "traceparent" (W3C Trace Context, level 1, section 3.2). While the
 * job runs it is the session's application_name, for pg_stat_activity, and
 * stands behind "bgjob worker" where log_line_prefix has %b (and in the logs
 * for machines), before every line that the job causes in the server's log:
 * there a collector of traces finds it. The server shows %a only of clients.
 *
 * Run by workers, and in sessions for bgjob_run(), where the setting is all. It is
 * undone as any setting is, the other by bgjob_trace_end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "postmaster/bgworker.h"
#include "run/trace.h"
#include "utils/guc.h"

/* What this process is called otherwise; empty: it is called that now. */
static char plain_type[BGW_MAXLEN] = "";

/*
 * bgjob_traceparent_is_valid returns whether a text is a traceparent: version,
 * trace id, parent id and flags, in lower-case hexadecimal digits. It has
 * less than NAMEDATALEN bytes, so it fits into application_name.
 */
bool
bgjob_traceparent_is_valid(const char *value, int length)
{
	static const char pattern[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";

	if (length != sizeof(pattern) - 1)
		return false;
	for (int i = 0; i < length; i++)
	{
		bool digit =
			(value[i] >= '0' && value[i] <= '9') || (value[i] >= 'a' && value[i] <= 'f');

		if (pattern[i] == 'x' ? !digit : value[i] != pattern[i])
			return false;
	}
	return true;
}

/* bgjob_trace_begin makes the trace in a job's parameters (NULL: it has none) that of the session. */
void
bgjob_trace_begin(const Jsonb *parameters)
{
	static const char name[] = "traceparent";
	JsonbValue *value;
	char *text;

	if (parameters == NULL || !JB_ROOT_IS_OBJECT(parameters))
		return;
	value = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &parameters->root), name,
										 sizeof(name) - 1, NULL);
	if (value == NULL || value->type != jbvString ||
		!bgjob_traceparent_is_valid(value->val.string.val, value->val.string.len))
		return;
	text = pnstrdup(value->val.string.val, value->val.string.len);
	if (MyBgworkerEntry != NULL)
	{
		strlcpy(plain_type, MyBgworkerEntry->bgw_type, BGW_MAXLEN);
		snprintf(MyBgworkerEntry->bgw_type, BGW_MAXLEN, "%s %s", plain_type, text);
	}
	(void) set_config_option("application_name", text, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SET, true, WARNING, false);
}

/* bgjob_trace_end ends what bgjob_trace_begin has begun, if it has. */
void
bgjob_trace_end(void)
{
	if (plain_type[0] == '\0')
		return;
	strlcpy(MyBgworkerEntry->bgw_type, plain_type, BGW_MAXLEN);
	plain_type[0] = '\0';
}
