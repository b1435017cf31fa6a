/*-------------------------------------------------------------------------
 *
 * signalrow.c
 *	  Signals that were sent.
 *
 * A signal is a row that is inserted, and removed when it expires; sending it
 * again inserts another one, so senders never wait for each other. It reaches the jobs
 * that its sender controls, now and later. They find it by a hash of its name, in an index, which
 * is read by sender: that others send very many signals of the name costs one look for each sender.
 *
 * Any process, inside a transaction. Signals are read as they are at this moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/signalrow.h"
#include "store/trust.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.signal. */
enum
{
	G_ID = 1,
	G_HASH,
	G_NAME,
	G_ROLE,
	G_AT,
	G_PAYLOAD
};

/* Whether a target is needed. */
typedef struct Needed
{
	int64 target;
	bool needed;
} Needed;

/* bgjob_signal_target returns the target that stands for signals of a name: a negative number. */
int64
bgjob_signal_target(const char *name)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);

	return -(int64) (hash >> 2) - 1;
}

/* bgjob_signal_insert inserts a signal; payload may be NULL. */
void
bgjob_signal_insert(const char *name, Oid role, TimestampTz at, const Jsonb *payload)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SIGNAL);
	Datum values[] = {
		Int64GetDatum(bgjob_next_id()), Int64GetDatum(bgjob_signal_target(name)),
		CStringGetTextDatum(name),      ObjectIdGetDatum(role),
		TimestampTzGetDatum(at),        payload == NULL ? (Datum) 0 : JsonbPGetDatum(payload)};
	bool nulls[lengthof(values)] = {false};

	nulls[G_PAYLOAD - 1] = payload == NULL;
	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
}

/* bgjob_signal_reaches returns whether a sender controls the jobs of a role. */
bool
bgjob_signal_reaches(Oid sender, Oid role)
{
	return sender == role || has_privs_of_role(sender, role) ||
		   has_privs_of_role(sender, bgjob_trust_owner(get_extension_oid("bgjob", false)));
}

/* Returns whether the row in rel->slot is a signal of a name. */
static bool
is_named(BgjobRel *rel, const char *name)
{
	slot_getallattrs(rel->slot);
	return strcmp(TextDatumGetCString(rel->slot->tts_values[G_NAME - 1]), name) == 0;
}

static BgjobScan *
scan_name(BgjobRel *rel, Snapshot snapshot, const char *name)
{
	ScanKeyData key;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
			  Int64GetDatum(bgjob_signal_target(name)));
	return bgjob_scan_begin(rel, "signal_hash_idx", snapshot, &key, 1);
}

/* Advances *role to the next role that has sent signals of a name; false: there is none. */
static bool
next_sender(BgjobRel *rel, Snapshot snapshot, const char *name, Oid *role)
{
	ScanKeyData keys[2];
	BgjobScan *scan;
	bool found;

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
			  Int64GetDatum(bgjob_signal_target(name)));
	bgjob_key(&keys[1], 2, BTGreaterStrategyNumber, F_OIDGT, ObjectIdGetDatum(*role));
	scan = bgjob_scan_begin(rel, "signal_hash_idx", snapshot, keys, 2);
	found = bgjob_scan_next(scan);
	if (found)
	{
		slot_getallattrs(rel->slot);
		*role = DatumGetObjectId(rel->slot->tts_values[G_ROLE - 1]);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/* Finds the last signal of a name that a role has sent, if it is newer than *id, which is advanced; rel->slot holds it. */
static bool
find_last(BgjobRel *rel, Snapshot snapshot, const char *name, Oid role, int64 *id)
{
	ScanKeyData keys[3];
	BgjobScan *scan;
	bool found = false;

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ,
			  Int64GetDatum(bgjob_signal_target(name)));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[2], 3, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*id));
	scan = bgjob_scan_begin(rel, "signal_hash_idx", snapshot, keys, 3);
	while (!found && bgjob_scan_previous(scan))
		found = is_named(rel, name);
	if (found)
	{
		ExecMaterializeSlot(rel->slot);
		*id = DatumGetInt64(rel->slot->tts_values[G_ID - 1]);
	}
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_signal_is_there returns whether a signal of a name has reached the jobs of a role. */
bool
bgjob_signal_is_there(const char *name, Oid role)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SIGNAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	Oid sender = InvalidOid;
	bool there = false;

	while (!there && next_sender(rel, snapshot, name, &sender))
	{
		int64 id = 0;

		there =
			bgjob_signal_reaches(sender, role) && find_last(rel, snapshot, name, sender, &id);
	}
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return there;
}

/* bgjob_signal_payload returns the payload of the last one of these, NULL: none. False: there is no signal. */
bool
bgjob_signal_payload(const char *name, Oid role, Jsonb **payload)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SIGNAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	Oid sender = InvalidOid;
	int64 last = 0;

	*payload = NULL;
	while (next_sender(rel, snapshot, name, &sender))
		if (bgjob_signal_reaches(sender, role) && find_last(rel, snapshot, name, sender, &last))
			*payload = rel->slot->tts_isnull[G_PAYLOAD - 1]
						   ? NULL
						   : DatumGetJsonbPCopy(rel->slot->tts_values[G_PAYLOAD - 1]);
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return last != 0;
}

/* bgjob_signal_delete removes the signals of a name whose senders "may" approves of. Returns whether there was one. */
bool
bgjob_signal_delete(const char *name, bool (*may)(Oid sender))
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SIGNAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = scan_name(rel, snapshot, name);
	bool any = false;

	while (bgjob_scan_next(scan))
	{
		if (is_named(rel, name) && may(DatumGetObjectId(rel->slot->tts_values[G_ROLE - 1])))
			any = bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL) || any;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return any;
}

/* Returns whether a target is needed, and remembers the answer. */
static bool
is_needed(HTAB *known, int64 target, bool (*needed)(int64 target))
{
	bool seen;
	Needed *entry = hash_search(known, &target, HASH_ENTER, &seen);

	if (!seen)
		entry->needed = needed(target);
	return entry->needed;
}

/*
 * bgjob_signal_expire removes signals that were sent before a time, at most "max" of the
 * oldest ones, unless they are "needed"; returns their number.
 */
int64
bgjob_signal_expire(TimestampTz before, int max, bool (*needed)(int64 target))
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SIGNAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, "signal_pkey", snapshot, NULL, 0);
	HASHCTL info = {
		.keysize = sizeof(int64), .entrysize = sizeof(Needed), .hcxt = CurrentMemoryContext};
	HTAB *known =
		hash_create("bgjob signals", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	int64 removed = 0;

	while (removed < max && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		if (DatumGetTimestampTz(rel->slot->tts_values[G_AT - 1]) >= before)
			break;
		CHECK_FOR_INTERRUPTS();
		if (!is_needed(known, DatumGetInt64(rel->slot->tts_values[G_HASH - 1]), needed) &&
			bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL))
			removed++;
	}
	ExecClearTuple(rel->slot);
	hash_destroy(known);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return removed;
}
