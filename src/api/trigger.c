/*-------------------------------------------------------------------------
 *
 * trigger.c
 *	  bgjob_enqueue_trigger(): enqueues a job for each changed row.
 *
 *	 CREATE TRIGGER t AFTER INSERT ON comment FOR EACH ROW
 *	   EXECUTE FUNCTION bgjob_enqueue_trigger('notify', 'columns=id', 'queue=mail');
 *
 * The first argument is the job, the others are options "name=value": those
 * of bgjob_enqueue(), and "columns", a list of columns. The job gets the row
 * (the new one, on DELETE the old one), or the named columns of it, as named
 * arguments; a function that takes one json value gets them as an object. A
 * statement trigger needs a transition table and enqueues a job for each of
 * its rows.
 *
 * The server does not compute virtual generated columns for triggers, so they
 * are computed here.
 *
 * Runs in the session that changes the table, in its transaction. The jobs
 * belong to the session's current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/enqueue.h"
#include "api/rights.h"
#include "base/compat.h"
#include "base/json.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "run/jobkind.h"
#include "run/tojson.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

/* The virtual generated columns of a table, which its tuples do not contain. */
typedef struct VirtualColumns
{
	EState *estate;
	TupleTableSlot *slot;
	ExprState **columns; /* by column; NULL: in the tuple, or not wanted */
} VirtualColumns;

/* The parsed arguments of a trigger. */
typedef struct TriggerPlan
{
	BgjobOptions options;
	List *columns;            /* names; NIL: all */
	VirtualColumns *computed; /* NULL: none */
} TriggerPlan;

/* ---- virtual generated columns ---- */

static bool
is_wanted(const TriggerPlan *plan, Form_pg_attribute column)
{
	ListCell *cell;

	foreach (cell, plan->columns)
		if (strcmp(lfirst(cell), NameStr(column->attname)) == 0)
			return true;
	return plan->columns == NIL;
}

/* Prepares the expressions of the virtual columns that the job gets. */
static void
prepare_virtual(TriggerPlan *plan, Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		VirtualColumns *computed = plan->computed;

		if (!bgjob_is_virtual(column) || column->attisdropped || !is_wanted(plan, column))
			continue;
		if (computed == NULL)
		{
			plan->computed = computed = palloc(sizeof(VirtualColumns));
			computed->estate = CreateExecutorState();
			computed->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
			computed->columns = palloc0(desc->natts * sizeof(ExprState *));
		}
		computed->columns[i] =
			ExecPrepareExpr((Expr *) bgjob_generation_expression(rel, i + 1), computed->estate);
	}
}

/* Returns a tuple with its virtual columns computed. None refers to another virtual column. */
static HeapTuple
compute_virtual(const VirtualColumns *computed, HeapTuple tuple, TupleDesc desc)
{
	ExprContext *context = GetPerTupleExprContext(computed->estate);
	Datum *values = palloc0(desc->natts * sizeof(Datum));
	bool *nulls = palloc0(desc->natts * sizeof(bool));
	bool *replaced = palloc0(desc->natts * sizeof(bool));

	ResetExprContext(context);
	ExecStoreHeapTuple(tuple, computed->slot, false);
	context->ecxt_scantuple = computed->slot;
	for (int i = 0; i < desc->natts; i++)
	{
		replaced[i] = computed->columns[i] != NULL;
		if (replaced[i])
			values[i] = ExecEvalExprSwitchContext(computed->columns[i], context, &nulls[i]);
	}
	return heap_modify_tuple(tuple, desc, values, nulls, replaced);
}

static void
end_virtual(VirtualColumns *computed)
{
	ExecDropSingleTupleTableSlot(computed->slot);
	FreeExecutorState(computed->estate);
}

/* ---- the arguments of the trigger ---- */

static void
check_columns(const TriggerPlan *plan, Relation rel)
{
	ListCell *cell;

	foreach (cell, plan->columns)
		if (SPI_fnumber(RelationGetDescr(rel), lfirst(cell)) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							(char *) lfirst(cell), RelationGetRelationName(rel)),
					 errdetail("It is named by option \"columns\" of trigger function "
							   "bgjob_enqueue_trigger()."),
					 errhint("Names are case-sensitive. Only a name that contains a comma "
							 "needs double quotes.")));
}

/* Reads a name in double quotes, in place. Returns the rest of the list, NULL if the closing quote is missing. */
static char *
read_quoted(char *quoted, char **name)
{
	char *to = quoted;

	*name = quoted;
	for (char *from = quoted + 1; *from != '\0'; from++)
	{
		if (*from == '"' && *++from != '"')
		{
			*to = '\0';
			return from;
		}
		*to++ = *from;
	}
	return NULL;
}

/* Reads a name without quotes up to the next comma, in place. Returns the rest of the list, NULL at its end. */
static char *
read_plain(char *plain, char **name)
{
	size_t length = strcspn(plain, ",");
	char *rest = plain + length;
	bool more = *rest == ',';

	while (length > 0 && plain[length - 1] == ' ')
		length--;
	plain[length] = '\0';
	*name = plain;
	return more ? rest + 1 : NULL;
}

/*
 * Splits a list of columns at its commas and removes blanks around the names.
 * Case is kept. A name with a comma is written in double quotes. Returns false if
 * the list is malformed.
 */
static bool
split_columns(char *list, List **columns)
{
	while (list != NULL)
	{
		char *name;

		list += strspn(list, " ");
		if (*list != '"')
			list = read_plain(list, &name);
		else
		{
			list = read_quoted(list, &name);
			if (list == NULL)
				return false;
			list += strspn(list, " ");
			if (*list != ',' && *list != '\0')
				return false;
			list = *list == ',' ? list + 1 : NULL;
		}
		if (*name == '\0')
			return false;
		*columns = lappend(*columns, name);
	}
	return true;
}

/* Sets an option of bgjob_enqueue() by its name. Raises 22023 if there is none. */
static void
set_option(BgjobOptions *options, const char *name, const char *value)
{
	BgjobOption option = bgjob_option_by_name(name, BGJOB_IN_ENQUEUE);

	if (strcmp(name, "kind") == 0)
		options->kind = value;
	else if (option != BGJOB_NOPTIONS)
		bgjob_option_from_text(&options->set, option, value);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no option \"%s\"", name),
						errdetail("It is named by an argument of bgjob_enqueue_trigger()."),
						errhint("The options are the parameters of bgjob_enqueue(), and "
								"\"columns\".")));
}

static void
read_option(TriggerPlan *plan, const char *text)
{
	char *copy = pstrdup(text);
	char *value = strchr(copy, '=');

	if (value == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid argument of bgjob_enqueue_trigger(): \"%s\"", text),
						errdetail("It contains no \"=\"."),
						errhint("Arguments after the first have the form 'option=value'.")));
	*value++ = '\0';
	if (strcmp(copy, "columns") != 0)
		set_option(&plan->options, copy, value);
	else if (!split_columns(value, &plan->columns))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list of columns in \"%s\"", text),
				 errdetail("A name or a closing double quote is missing."),
				 errhint("Write columns=a,b for two columns. Enclose a name that contains "
						 "a comma in double quotes.")));
}

/* Raises 22023 if the job is a command: it has no names for the columns of a row. */
static void
refuse_command(const BgjobOptions *options)
{
	if (options->kind != NULL ? strcmp(options->kind, "sql") != 0
							  : bgjob_kind_of_text(options->job) != BGJOB_KIND_SQL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("bgjob_enqueue_trigger() cannot enqueue a command"),
			 errdetail("The columns of the row become named arguments, and the parameters of a "
					   "command have no names."),
			 errhint("Enqueue a function that runs the command.")));
}

static void
read_plan(TriggerPlan *plan, TriggerData *data)
{
	Trigger *trigger = data->tg_trigger;

	memset(plan, 0, sizeof(*plan));
	if (trigger->tgnargs < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bgjob_enqueue_trigger() needs the job as its first argument"),
				 errdetail("The trigger was created without arguments."),
				 errhint("Write EXECUTE FUNCTION bgjob_enqueue_trigger('my_function').")));
	plan->options.job = trigger->tgargs[0];
	for (int i = 1; i < trigger->tgnargs; i++)
		read_option(plan, trigger->tgargs[i]);
	refuse_command(&plan->options);
	check_columns(plan, data->tg_relation);
	prepare_virtual(plan, data->tg_relation);
}

/* ---- rows ---- */

/* Returns an object with only those columns of a row that the plan names. */
static Jsonb *
pick_columns(const TriggerPlan *plan, Jsonb *row)
{
	JsonbParseState *state = NULL;
	ListCell *cell;

	bgjob_json_begin(&state);
	foreach (cell, plan->columns)
	{
		JsonbValue key = {.type = jbvString};
		JsonbValue *value;

		key.val.string.val = lfirst(cell);
		key.val.string.len = strlen(lfirst(cell));
		value = findJsonbValueFromContainer(&row->root, JB_FOBJECT, &key);
		if (value == NULL)
			continue;
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, value);
	}
	return bgjob_json_end(&state);
}

/* Enqueues the job for one of n rows. The first row creates the template. */
static void
enqueue_row(TriggerPlan *plan, BgjobTemplate **template, HeapTuple tuple, Relation rel, int n)
{
	Datum row;
	Jsonb *args;

	if (plan->computed != NULL)
		tuple = compute_virtual(plan->computed, tuple, RelationGetDescr(rel));
	row = heap_copy_tuple_as_datum(tuple, RelationGetDescr(rel));
	args = bgjob_to_jsonb(row, RelationGetForm(rel)->reltype);
	if (plan->columns != NIL)
		args = pick_columns(plan, args);
	if (*template == NULL)
	{
		*template = bgjob_template_create(&plan->options, args);
		bgjob_template_expect(*template, n);
	}
	(void) bgjob_template_enqueue(*template, args);
}

/* Enqueues a job for each row of the transition table. */
static void
enqueue_transition_table(TriggerPlan *plan, TriggerData *data)
{
	Tuplestorestate *table =
		TRIGGER_FIRED_BY_DELETE(data->tg_event) ? data->tg_oldtable : data->tg_newtable;
	TupleTableSlot *slot;
	BgjobTemplate *template = NULL;
	MemoryContext per_row;
	int n;

	if (table == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg(
				 "a statement trigger with bgjob_enqueue_trigger() needs a transition table"),
			 errhint("Add REFERENCING NEW TABLE AS …, or OLD TABLE on DELETE.")));
	n = (int) Min(tuplestore_tuple_count(table), PG_INT32_MAX);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(data->tg_relation), &TTSOpsMinimalTuple);
	per_row = AllocSetContextCreate(CurrentMemoryContext, "bgjob rows", ALLOCSET_DEFAULT_SIZES);
	tuplestore_rescan(table);
	while (tuplestore_gettupleslot(table, true, false, slot))
	{
		MemoryContext old = CurrentMemoryContext;
		HeapTuple tuple;

		CHECK_FOR_INTERRUPTS();
		if (template != NULL) /* the template must outlive the first row */
			MemoryContextSwitchTo(per_row);
		tuple = ExecCopySlotHeapTuple(slot);
		enqueue_row(plan, &template, tuple, data->tg_relation, n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	if (template != NULL)
		bgjob_template_free(template);
	ExecDropSingleTupleTableSlot(slot);
}

static void
enqueue_changed_row(TriggerPlan *plan, TriggerData *data)
{
	BgjobTemplate *template = NULL;
	HeapTuple tuple =
		TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;

	enqueue_row(plan, &template, tuple, data->tg_relation, 1);
	bgjob_template_free(template);
}

PG_FUNCTION_INFO_V1(bgjob_enqueue_trigger);

/*
 * bgjob_enqueue_trigger enqueues a job for each changed row. Errors: 39P01 not
 * called as a trigger of a supported kind; 22023 invalid arguments of the
 * trigger; and those of bgjob_enqueue().
 */
Datum
bgjob_enqueue_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TriggerPlan plan;
	HeapTuple result;

	if (!CALLED_AS_TRIGGER(fcinfo) || TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) ||
		TRIGGER_FIRED_INSTEAD(data->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("bgjob_enqueue_trigger() must be called as a trigger on INSERT, "
							   "UPDATE or DELETE of a table")));
	bgjob_check_usage();
	bgjob_check_writable("bgjob_enqueue_trigger()");
	read_plan(&plan, data);
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event))
		enqueue_changed_row(&plan, data);
	else
		enqueue_transition_table(&plan, data);
	if (plan.computed != NULL)
		end_virtual(plan.computed);

	result = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	return PointerGetDatum(TRIGGER_FIRED_FOR_ROW(data->tg_event) ? result : NULL);
}
