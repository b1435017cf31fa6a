/*-------------------------------------------------------------------------
 *
 * failures.c
 *	  The group that a failure falls into.
 *
 * Two failures are of one group if they are of the same function, or of commands with
 * the same pattern, with the same SQLSTATE and the same pattern of the message
 * (rules/pattern.h). The group is named by a hash of these, which is computed from the row
 * of a job whenever it is asked for: nothing is stored, so changing what a pattern is changes no
 * table. Who can make hashes collide can as well raise the same message.
 *
 * Runs in the session that looks for failures, inside a transaction. Allocates in the
 * current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "rules/pattern.h"
#include "store/call.h"
#include "store/failures.h"
#include "store/jobrow.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

/* Returns a member of an error that is a string; NULL: it has none. */
static char *
member(Jsonb *error, const char *key)
{
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(error) ||
		getKeyJsonValueFromContainer(&error->root, key, (int) strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* Writes the pattern of a text, in whole characters. */
static void
make_pattern(const char *text, char *pattern)
{
	size_t length = bgjob_pattern_of(text, strlen(text), pattern, BGJOB_PATTERN_MAX);

	pattern[pg_mbcliplen(pattern, (int) length, (int) length)] = '\0';
}

static uint64
add_to_hash(uint64 hash, const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, (int) strlen(text), hash);
}

/* Sets the name of the job. Returns what tells it apart from others. */
static const char *
identify(TupleTableSlot *slot, BgjobFailure *failure, char *pattern)
{
	const char *func;
	bool isnull;
	Datum value = slot_getattr(slot, BGJOB_C_CALL_ID, &isnull);

	if (!isnull)
	{
		bgjob_call_read(slot->tts_tableOid, DatumGetInt64(value), &failure->job, &func);
		return func[0] != '\0' ? func : failure->job;
	}
	value = slot_getattr(slot, BGJOB_C_JOB, &isnull);
	failure->job = isnull ? "" : bgjob_text_cut(TextDatumGetCString(value), BGJOB_TITLE_MAX);
	make_pattern(failure->job, pattern);
	return pattern;
}

/* bgjob_failure_of describes the last error of the job whose row is in a slot. False: it has had none. */
bool
bgjob_failure_of(TupleTableSlot *slot, BgjobFailure *failure)
{
	char pattern[BGJOB_PATTERN_MAX];
	bool isnull;
	Datum value = slot_getattr(slot, BGJOB_C_ERROR, &isnull);
	const char *name;
	const char *sqlstate;
	Jsonb *error;

	if (isnull)
		return false;
	error = DatumGetJsonbP(value);
	name = identify(slot, failure, pattern);
	sqlstate = member(error, "sqlstate");
	strlcpy(failure->sqlstate, sqlstate != NULL ? sqlstate : "", sizeof(failure->sqlstate));
	failure->message = member(error, "message");
	if (failure->message == NULL)
		failure->message = "";
	make_pattern(failure->message, failure->pattern);
	failure->group =
		add_to_hash(add_to_hash(add_to_hash(0, name), failure->sqlstate), failure->pattern);
	return true;
}
