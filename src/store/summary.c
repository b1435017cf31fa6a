/*-------------------------------------------------------------------------
 *
 * summary.c
 *	  What the map of jobs (base/jobmap.h) is told of a job's row.
 *
 * That is the state, the time of its creation, and hashes of names: the queue, the
 * call, the role, each tag, the batch, and the recurring job. The last two count as tags: few jobs
 * in a row have different ones. A function is known by the number of its call
 * (store/call.h), a command by the length of its text. All of it is computed from the
 * row alone, without fetching anything that is stored elsewhere: while a range is
 * cleaned nothing may be waited for. Tags that are compressed or out of line stand for
 * any tag.
 *
 * A note follows the write of the row, never the other way round. It is made wherever
 * this library writes bgjob_internal.job: by bgjob_job_save, and for jobs that are
 * inserted in bulk. What SQL writes is told by triggers (api/utility.c).
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "store/summary.h"
#include "utils/array.h"
#include "utils/builtins.h"

static void
add_bytes(BgjobMapNames *names, BgjobMapKind kind, const void *bytes, int length)
{
	bgjob_jobmap_add_name(names, kind, hash_bytes_extended(bytes, length, kind));
}

/* Returns whether a value of variable length is in the row as it is. */
static bool
is_plain(Datum value)
{
	return !VARATT_IS_EXTERNAL(DatumGetPointer(value)) &&
		   !VARATT_IS_COMPRESSED(DatumGetPointer(value));
}

static void
add_text(BgjobMapNames *names, BgjobMapKind kind, Datum value)
{
	if (is_plain(value))
		add_bytes(names, kind, VARDATA_ANY(DatumGetPointer(value)),
				  VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
	else
		bgjob_jobmap_add_any(names, kind);
}

/* bgjob_summary_add_queue adds the name of a queue to a set of names; those below do so for other names. */
void
bgjob_summary_add_queue(BgjobMapNames *names, const char *queue)
{
	add_bytes(names, BGJOB_MAP_QUEUE, queue, strlen(queue));
}

void
bgjob_summary_add_call(BgjobMapNames *names, int64 call)
{
	add_bytes(names, BGJOB_MAP_CALL, &call, sizeof(call));
}

/* A command, by the bytes of its text. */
void
bgjob_summary_add_command(BgjobMapNames *names, Size length)
{
	bgjob_summary_add_call(names, -1 - (int64) length);
}

void
bgjob_summary_add_role(BgjobMapNames *names, Oid role)
{
	add_bytes(names, BGJOB_MAP_ROLE, &role, sizeof(role));
}

void
bgjob_summary_add_tag(BgjobMapNames *names, const char *tag)
{
	add_bytes(names, BGJOB_MAP_TAG, tag, strlen(tag));
}

/* A batch, by its id. */
void
bgjob_summary_add_batch(BgjobMapNames *names, int64 batch)
{
	add_bytes(names, BGJOB_MAP_TAG, &batch, sizeof(batch));
}

static void
add_tags(BgjobMapNames *names, Datum tags)
{
	Datum *elements;
	bool *nulls;
	int n;

	if (!is_plain(tags))
	{
		bgjob_jobmap_add_any(names, BGJOB_MAP_TAG);
		return;
	}
	deconstruct_array(DatumGetArrayTypeP(tags), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			add_text(names, BGJOB_MAP_TAG, elements[i]);
	pfree(elements);
	pfree(nulls);
}

/* Adds what a row calls: the number of the call, or for a command the length of its text. */
static void
add_call(BgjobMapNames *names, const Datum *values, const bool *nulls)
{
	Size length = 0;

	if (!nulls[BGJOB_C_CALL_ID - 1])
	{
		bgjob_summary_add_call(names, DatumGetInt64(values[BGJOB_C_CALL_ID - 1]));
		return;
	}
	if (!nulls[BGJOB_C_JOB - 1])
		length = toast_raw_datum_size(values[BGJOB_C_JOB - 1]) - VARHDRSZ;
	bgjob_summary_add_command(names, length);
}

static void
add_names(BgjobMapNames *names, const Datum *values, const bool *nulls)
{
	add_text(names, BGJOB_MAP_QUEUE, values[BGJOB_C_QUEUE - 1]);
	add_call(names, values, nulls);
	bgjob_summary_add_role(names, DatumGetObjectId(values[BGJOB_C_RUN_AS - 1]));
	if (!nulls[BGJOB_C_TAGS - 1])
		add_tags(names, values[BGJOB_C_TAGS - 1]);
	if (!nulls[BGJOB_C_BATCH_ID - 1])
		bgjob_summary_add_batch(names, DatumGetInt64(values[BGJOB_C_BATCH_ID - 1]));
	if (!nulls[BGJOB_C_RECURRING_NAME - 1])
		add_text(names, BGJOB_MAP_TAG, values[BGJOB_C_RECURRING_NAME - 1]);
}

/* The names of a row, which most rows have in common with the one before. */
static struct
{
	int length; /* of the queue's name; 0: there was none */
	char queue[NAMEDATALEN];
	int64 call;
	Oid role;
	BgjobMapNames names;
} last;

/* Returns whether a row calls a function, has nothing that counts as a tag, and a queue whose name fits. */
static bool
is_simple(const Datum *values, const bool *nulls)
{
	Pointer queue = DatumGetPointer(values[BGJOB_C_QUEUE - 1]);

	return !nulls[BGJOB_C_CALL_ID - 1] && nulls[BGJOB_C_TAGS - 1] &&
		   nulls[BGJOB_C_BATCH_ID - 1] && nulls[BGJOB_C_RECURRING_NAME - 1] &&
		   is_plain(PointerGetDatum(queue)) && VARSIZE_ANY_EXHDR(queue) < sizeof(last.queue);
}

/* Returns the names of a row that is simple. */
static const BgjobMapNames *
names_of_simple(const Datum *values, const bool *nulls)
{
	Pointer queue = DatumGetPointer(values[BGJOB_C_QUEUE - 1]);
	int length = VARSIZE_ANY_EXHDR(queue);
	int64 call = DatumGetInt64(values[BGJOB_C_CALL_ID - 1]);
	Oid role = DatumGetObjectId(values[BGJOB_C_RUN_AS - 1]);

	if (last.length == length && last.call == call && last.role == role && length > 0 &&
		memcmp(last.queue, VARDATA_ANY(queue), length) == 0)
		return &last.names;
	memset(&last, 0, sizeof(last));
	add_names(&last.names, values, nulls);
	memcpy(last.queue, VARDATA_ANY(queue), length);
	last.length = length;
	last.call = call;
	last.role = role;
	return &last.names;
}

/* bgjob_summary_add adds a row of bgjob_internal.job, as far as its tags, to a note. */
void
bgjob_summary_add(BgjobMapNote *note, const Datum *values, const bool *nulls)
{
	note->states |= UINT64CONST(1)
					<< bgjob_state_by_letter(DatumGetChar(values[BGJOB_C_STATE - 1]));
	note->created_at =
		Max(note->created_at, DatumGetTimestampTz(values[BGJOB_C_CREATED_AT - 1]));
	if (is_simple(values, nulls))
	{
		const BgjobMapNames *names = names_of_simple(values, nulls);

		for (int word = 0; word < BGJOB_MAP_WORDS; word++)
			note->names.words[word] |= names->words[word];
	}
	else
		add_names(&note->names, values, nulls);
}

/* bgjob_summary_written tells the map of a job whose row has just been inserted, or updated. */
void
bgjob_summary_written(const BgjobJob *job, bool updated)
{
	BgjobMapNote note = {.states = updated ? BGJOB_MAP_TOUCHED : 0};

	bgjob_summary_add(&note, job->values, job->nulls);
	bgjob_jobmap_note(job->id, &note);
}

/* bgjob_summary_written_many does so for n new jobs that differ only in ids and arguments; the ids are consecutive. */
void
bgjob_summary_written_many(const BgjobJob *job, int64 first, int n)
{
	BgjobMapNote note = {.states = 0};

	if (n == 0)
		return;
	bgjob_summary_add(&note, job->values, job->nulls);
	bgjob_jobmap_note_many(first, n, &note);
}

/* bgjob_summary_removed tells the map that a job's row has been deleted. */
void
bgjob_summary_removed(int64 job)
{
	BgjobMapNote note = {.states = BGJOB_MAP_TOUCHED};

	bgjob_jobmap_note(job, &note);
}
