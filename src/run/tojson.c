/*-------------------------------------------------------------------------
 *
 * tojson.c
 *	  Turning SQL values into jsonb.
 *
 * Values go through the server's own to_jsonb(), called by its OID with the
 * type of the value as expression, so that nothing a job may have created can
 * take its place (but for casts from a type to json, which are part of
 * to_jsonb() and run as the job's role). Rows are collected by a receiver of
 * our own, which the executor and portals send them to.
 *
 * A command may return any number of rows, so no more of them are kept than
 * BGJOB_ROWS_KEPT bytes, and the first in any case; the others are only counted.
 * An array that is not all there ends with {"cut": true, "rows": number}.
 *
 * Everything that a receiver keeps lives in the memory context that was
 * current when it was made: a procedure's transactions may end while it runs.
 *
 * Runs in workers and in sessions that enqueue by a trigger.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "run/tojson.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* bgjob_to_jsonb returns a value, which is not null, as jsonb. */
Jsonb *
bgjob_to_jsonb(Datum value, Oid type)
{
	static Const *argument = NULL; /* only its type counts */
	static FuncExpr *call;
	FmgrInfo function;

	if (argument == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		Const *made = makeNullConst(TEXTOID, -1, InvalidOid);

		call = makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(made), InvalidOid, InvalidOid,
							COERCE_EXPLICIT_CALL);
		argument = made;
		MemoryContextSwitchTo(old);
	}
	argument->consttype = type;
	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) call, &function);
	return DatumGetJsonbP(FunctionCall1(&function, value));
}

/* ---- collecting rows ---- */

typedef struct RowsReceiver
{
	DestReceiver pub;
	MemoryContext context;
	MemoryContext per_row;
	BgjobRows shape;
	TupleDesc desc;         /* of the rows, with the names of the columns */
	JsonbParseState *state; /* of the array */
	int64 rows;             /* that have come */
	int64 bytes;            /* of those that are kept */
	bool cut;               /* no more are kept */
	Jsonb *only;
	bool started;
} RowsReceiver;

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	RowsReceiver *receiver = (RowsReceiver *) self;
	MemoryContext old;

	old = MemoryContextSwitchTo(receiver->context);
	receiver->desc = BlessTupleDesc(CreateTupleDescCopy(desc)); /* with rules, more than once */
	if (!receiver->started)
	{
		receiver->started = true;
		receiver->per_row =
			AllocSetContextCreate(receiver->context, "bgjob row", ALLOCSET_DEFAULT_SIZES);
		if (receiver->shape != BGJOB_ROWS_ONE)
			pushJsonbValue(&receiver->state, WJB_BEGIN_ARRAY, NULL);
	}
	MemoryContextSwitchTo(old);
}

/* A row as an object, or its first column. NULL: the column is null. */
static Jsonb *
row_to_jsonb(const RowsReceiver *receiver, TupleTableSlot *slot)
{
	if (receiver->shape == BGJOB_ROWS_VALUES)
	{
		bool isnull;
		Datum value = slot_getattr(slot, 1, &isnull);

		return isnull ? NULL
					  : bgjob_to_jsonb(value,
									   TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid);
	}
	slot_getallattrs(slot);
	return bgjob_to_jsonb(
		HeapTupleGetDatum(heap_form_tuple(receiver->desc, slot->tts_values, slot->tts_isnull)),
		RECORDOID);
}

/* Appends a row to the array; what the array points to must outlive the row. */
static void
append(RowsReceiver *receiver, const Jsonb *row)
{
	MemoryContext old = MemoryContextSwitchTo(receiver->context);
	JsonbValue value = {.type = jbvNull};

	if (row != NULL)
	{
		Jsonb *copy = palloc(VARSIZE(row));

		memcpy(copy, row, VARSIZE(row));
		if (!JB_ROOT_IS_SCALAR(copy) || !JsonbExtractScalar(&copy->root, &value))
		{
			value.type = jbvBinary;
			value.val.binary.data = &copy->root;
			value.val.binary.len = VARSIZE(copy) - VARHDRSZ;
		}
	}
	pushJsonbValue(&receiver->state, WJB_ELEM, &value);
	MemoryContextSwitchTo(old);
}

/* Keeps a row, if there is room for it and was for all before it. */
static void
keep(RowsReceiver *receiver, const Jsonb *row)
{
	receiver->bytes += row == NULL ? 1 : VARSIZE(row);
	receiver->cut = receiver->rows > 1 && receiver->bytes > BGJOB_ROWS_KEPT;
	if (!receiver->cut)
		append(receiver, row);
}

static bool
receiver_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowsReceiver *receiver = (RowsReceiver *) self;
	MemoryContext old;
	bool pushed;
	Jsonb *row;

	receiver->rows++;
	if (receiver->cut)
		return true;
	old = MemoryContextSwitchTo(receiver->per_row);
	pushed = !ActiveSnapshotSet();
	/* A cast to json may need a snapshot, and the rows of a CALL come without one. */
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	row = row_to_jsonb(receiver, slot);
	if (pushed)
		PopActiveSnapshot();
	if (receiver->shape == BGJOB_ROWS_ONE)
	{
		receiver->only = MemoryContextAlloc(receiver->context, VARSIZE(row));
		memcpy(receiver->only, row, VARSIZE(row));
	}
	else
		keep(receiver, row);
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->per_row);
	return true;
}

static void
receiver_nothing(DestReceiver *self)
{
}

/* bgjob_rows_receiver makes a receiver that collects rows as jsonb, in the current memory context. */
DestReceiver *
bgjob_rows_receiver(BgjobRows shape)
{
	RowsReceiver *receiver = palloc0(sizeof(RowsReceiver));

	receiver->pub.receiveSlot = receiver_receive;
	receiver->pub.rStartup = receiver_startup;
	receiver->pub.rShutdown = receiver_nothing;
	receiver->pub.rDestroy = receiver_nothing;
	receiver->pub.mydest = DestNone;
	receiver->context = CurrentMemoryContext;
	receiver->shape = shape;
	return &receiver->pub;
}

/* Appends what tells that there were more rows, and how many there were. */
static void
mark_cut(RowsReceiver *receiver)
{
	JsonbValue yes = {.type = jbvBool, .val.boolean = true};

	(void) pushJsonbValue(&receiver->state, WJB_BEGIN_OBJECT, NULL);
	bgjob_json_string(&receiver->state, WJB_KEY, "cut");
	(void) pushJsonbValue(&receiver->state, WJB_VALUE, &yes);
	bgjob_json_number(&receiver->state, "rows", int64_to_numeric(receiver->rows));
	(void) pushJsonbValue(&receiver->state, WJB_END_OBJECT, NULL);
}

/* bgjob_rows_result returns what a receiver has collected; NULL if no rows were sent at all. */
Jsonb *
bgjob_rows_result(DestReceiver *self)
{
	RowsReceiver *receiver = (RowsReceiver *) self;

	if (receiver->shape == BGJOB_ROWS_ONE)
		return receiver->only;
	if (!receiver->started)
		return NULL;
	if (receiver->cut)
		mark_cut(receiver);
	return JsonbValueToJsonb(pushJsonbValue(&receiver->state, WJB_END_ARRAY, NULL));
}
