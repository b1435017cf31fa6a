/*-------------------------------------------------------------------------
 *
 * tojson.c
 *	  Turning SQL values into jsonb.
 *
 * Values go through the server's own to_jsonb(), called by its OID with the
 * type of the value as expression, so that nothing a job may have created can
 * take its place. But casts from a type to json are part of to_jsonb(), and the
 * owner of an enum, say, may write one: a query that only reads a column would run
 * it. So it runs as its owner where that is not as powerful as the current user
 * (run/identity.c). Rows are collected by a receiver of our own, which the executor
 * and portals send them to.
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

#include "access/htup_details.h"
#include "access/transam.h"
#include "base/console.h"
#include "base/json.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "run/identity.h"
#include "run/tojson.h"
#include "run/underway.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* ---- casts that others have written ---- */

static void find_cast_owner(Oid type, Datum value, Oid *owner);

/* Returns the function that to_jsonb() would call for a scalar type; InvalidOid: none. */
static Oid
cast_function(Oid type)
{
	Oid function = InvalidOid;

	if (type < FirstNormalObjectId || find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT,
															&function) != COERCION_PATH_FUNC)
		return InvalidOid;
	return function;
}

static Oid
function_owner(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid; /* to_jsonb() will say so */
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Notes the owner of a cast, if it has not all the rights of the current user. 42501: there is another such owner. */
static void
note_cast(Oid function, Oid *owner)
{
	Oid its = OidIsValid(function) ? function_owner(function) : InvalidOid;

	if (!OidIsValid(its) || its == *owner || has_privs_of_role(its, GetUserId()))
		return;
	if (OidIsValid(*owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot convert a value to JSON by the casts of several roles"),
			 errdetail("Roles \"%s\" and \"%s\" have written casts to json for types in it.",
					   GetUserNameFromId(*owner, true), GetUserNameFromId(its, true)),
			 errhint("Convert one of them in the query, for example to text.")));
	*owner = its;
}

/* Finds it for the columns of a row. Their values matter if the type does not decide. */
static void
find_in_row(Datum value, Oid *owner)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		bool isnull;
		Datum datum;

		if (column->attisdropped ||
			(column->atttypid < FirstNormalObjectId && column->atttypid != RECORDOID &&
			 column->atttypid != RECORDARRAYOID))
			continue;
		datum = heap_getattr(&tuple, i + 1, desc, &isnull);
		if (!isnull)
			find_cast_owner(column->atttypid, datum, owner);
	}
	ReleaseTupleDesc(desc);
}

static void
find_in_array(Datum value, Oid element, Oid *owner)
{
	ArrayIterator iterator;
	Datum datum;
	bool isnull;

	if (!type_is_rowtype(element))
	{
		note_cast(cast_function(element), owner);
		return;
	}
	iterator = array_create_iterator(DatumGetArrayTypeP(value), 0, NULL);
	while (array_iterate(iterator, &datum, &isnull))
		if (!isnull)
			find_in_row(datum, owner);
	array_free_iterator(iterator);
}

/* Finds the role as which a value has to be converted, because it has written a cast; unchanged: there is none. */
static void
find_cast_owner(Oid type, Datum value, Oid *owner)
{
	Oid base = getBaseType(type);
	Oid element = base == RECORDARRAYOID ? RECORDOID : get_element_type(base);

	check_stack_depth();
	if (OidIsValid(element))
		find_in_array(value, getBaseType(element), owner);
	else if (type_is_rowtype(base))
		find_in_row(value, owner);
	else
		note_cast(cast_function(base), owner);
}

/* ---- one value ---- */

/* Converts a value by to_jsonb() or to_json(), as the current user. */
static Datum
convert(Oid converter, Datum value, Oid type)
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
	fmgr_info(converter, &function);
	fmgr_info_set_expr((Node *) call, &function);
	return FunctionCall1(&function, value);
}

/* Converts a value as the role that has written casts for it, if that role is less powerful. */
static Datum
convert_safely(Oid converter, Datum value, Oid type)
{
	Oid owner = InvalidOid;
	BgjobIdentity before;
	Datum result;

	if (type >= FirstNormalObjectId || type == RECORDOID || type == RECORDARRAYOID)
		find_cast_owner(type, value, &owner);
	if (!OidIsValid(owner))
		return convert(converter, value, type);
	bgjob_identity_assume(&before, owner, true);
	result = convert(converter, value, type);
	bgjob_identity_resume(&before);
	return result;
}

/* bgjob_to_jsonb returns a value, which is not null, as jsonb. */
Jsonb *
bgjob_to_jsonb(Datum value, Oid type)
{
	return DatumGetJsonbP(convert_safely(F_TO_JSONB, value, type));
}

/* ---- results ---- */

/* Returns whether values of a type may hold json, which keeps the original text. */
static bool
may_hold_json(Oid type)
{
	Oid element;

	if (type == JSONOID || type == JSONARRAYOID || type == RECORDOID || type == RECORDARRAYOID)
		return true;
	if (type < FirstNormalObjectId)
		return false;
	type = getBaseType(type);
	element = get_element_type(type);
	return OidIsValid(element)
			   ? may_hold_json(element)
			   : type == JSONOID || type_is_rowtype(type) || OidIsValid(cast_function(type));
}

/* Notes in the job's log that its result is not quite what the job returned; once. */
static void
note_replacement(void)
{
	static int64 noted = 0;
	const BgjobJob *job = bgjob_underway_job();

	if (job == NULL || job->id == noted)
		return;
	noted = job->id;
	bgjob_console_log(job->id, DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)) + 1, "warning",
					  "The character U+0000, which jsonb does not hold, was replaced in the "
					  "result");
}

/*
 * Replaces the character U+0000, which json allows and jsonb refuses, by U+FFFD or
 * a question mark. An error would have a retry do the job's work again.
 */
static void
replace_null_characters(char *json)
{
	const char *instead = GetDatabaseEncoding() == PG_UTF8 ? "\\ufffd" : "\\u003f";

	for (char *c = strchr(json, '\\'); c != NULL; c = strchr(c, '\\'))
	{
		if (strncmp(c, "\\u0000", 6) == 0)
		{
			memcpy(c, instead, 6);
			note_replacement();
		}
		c += 2; /* an escaped character begins nothing */
	}
}

/* bgjob_result_to_jsonb returns a result, which is not null, as jsonb. */
Jsonb *
bgjob_result_to_jsonb(Datum value, Oid type)
{
	char *json;

	if (!may_hold_json(type))
		return bgjob_to_jsonb(value, type);
	json = TextDatumGetCString(convert_safely(F_TO_JSON, value, type));
	replace_null_characters(json);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* ---- the names of columns ---- */

/* A name that columns have, and the number that the next column of that name gets. */
typedef struct ColumnName
{
	NameData name;
	int next;
} ColumnName;

static HTAB *
collect_names(TupleDesc desc)
{
	HASHCTL info = {
		.keysize = NAMEDATALEN, .entrysize = sizeof(ColumnName), .hcxt = CurrentMemoryContext};
	HTAB *names = hash_create("bgjob columns", desc->natts, &info,
							  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	for (int i = 0; i < desc->natts; i++)
	{
		bool found;
		ColumnName *name =
			hash_search(names, NameStr(TupleDescAttr(desc, i)->attname), HASH_ENTER, &found);

		if (!found)
			name->next = 0;
	}
	return names;
}

/* Writes the next name with a number that no column has, such as name_1, into "name". */
static void
number_name(HTAB *names, ColumnName *entry, NameData *name)
{
	bool found = true;

	while (found)
	{
		char number[12];
		char *base = pstrdup(NameStr(entry->name));
		ColumnName *made;

		snprintf(number, sizeof(number), "_%d", entry->next++);
		base[pg_mbcliplen(base, (int) strlen(base), NAMEDATALEN - 1 - (int) strlen(number))] =
			'\0';
		namestrcpy(name, psprintf("%s%s", base, number));
		made = hash_search(names, NameStr(*name), HASH_ENTER, &found);
		if (!found)
			made->next = 1;
	}
}

/*
 * Gives the columns of a row names that differ, since an object has one value for a
 * name: of two columns "name" the second becomes "name_1", as in a view that the
 * server prints. A name that another column has is not taken.
 */
static void
rename_duplicates(TupleDesc desc)
{
	HTAB *names;

	if (desc->natts < 2)
		return;
	names = collect_names(desc);
	if (hash_get_num_entries(names) < desc->natts)
		for (int i = 0; i < desc->natts; i++)
		{
			NameData *name = &TupleDescAttr(desc, i)->attname;
			ColumnName *entry = hash_search(names, NameStr(*name), HASH_FIND, NULL);

			if (entry->next == 0)
				entry->next = 1; /* the first keeps its name */
			else
				number_name(names, entry, name);
		}
	hash_destroy(names);
}

/* ---- collecting rows ---- */

typedef struct RowsReceiver
{
	DestReceiver pub;
	MemoryContext context;
	MemoryContext per_row;
	BgjobRows shape;
	TupleDesc desc;         /* of the rows, with the names of the columns */
	bool may_hold_json;     /* one of them */
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
	receiver->desc = CreateTupleDescCopy(desc); /* with rules, more than once */
	if (receiver->shape == BGJOB_ROWS_OBJECTS)
		rename_duplicates(receiver->desc);
	BlessTupleDesc(receiver->desc);
	receiver->may_hold_json = false;
	for (int i = 0; i < desc->natts; i++)
		receiver->may_hold_json =
			receiver->may_hold_json || may_hold_json(TupleDescAttr(desc, i)->atttypid);
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

/* Returns a row as an object, or its first column. NULL: the column is null. */
static Jsonb *
row_to_jsonb(const RowsReceiver *receiver, TupleTableSlot *slot)
{
	Datum row;

	if (receiver->shape == BGJOB_ROWS_VALUES)
	{
		bool isnull;
		Datum value = slot_getattr(slot, 1, &isnull);

		return isnull ? NULL
					  : bgjob_result_to_jsonb(
							value, TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid);
	}
	slot_getallattrs(slot);
	row =
		HeapTupleGetDatum(heap_form_tuple(receiver->desc, slot->tts_values, slot->tts_isnull));
	return receiver->may_hold_json ? bgjob_result_to_jsonb(row, RECORDOID)
								   : bgjob_to_jsonb(row, RECORDOID);
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

/* Appends the note that the rows were truncated, and their number. */
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
