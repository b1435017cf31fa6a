/*-------------------------------------------------------------------------
 *
 * invoke.c
 *	  Calling the function or procedure of a job.
 *
 * The call is built as an expression tree around the function's OID, never as
 * text: it is exactly the function that was found, whatever else has the same
 * name. A plain function is evaluated as an expression, which is all that a
 * SELECT of it would do in the end; a set-returning one is the target list of
 * a query; a procedure is a CALL at top level in a portal, so that it may
 * commit.
 *
 * The server's executor checks EXECUTE for the current user when it prepares
 * the call; the schema's USAGE is checked here, and once more that the function
 * is one that a job can call: it may have been replaced since the job came.
 *
 * Runs in workers, inside a transaction that is no block; for bgjob_run() in a
 * session, inside of its statement.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "optimizer/optimizer.h"
#include "run/arguments.h"
#include "run/function.h"
#include "run/invoke.h"
#include "run/tojson.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

/* ---- building the call ---- */

static Expr *
constant(Oid type, const BgjobValue *value)
{
	int16 length;
	bool byval;

	get_typlenbyval(type, &length, &byval);
	return (Expr *) makeConst(type, -1, get_typcollation(type), length, value->value,
							  value->isnull, byval);
}

/* Returns the input arguments as expressions: the value that was given, else the default. */
static List *
input_expressions(const BgjobFunction *function, const BgjobValue *values)
{
	List *expressions = NIL;

	for (int i = 0; i < function->nargs; i++)
	{
		const BgjobArgument *arg = &function->args[i];
		Expr *expression = values[i].given
							   ? constant(arg->type, &values[i])
							   : expression_planner((Expr *) copyObject(arg->default_expr));

		expressions = lappend(expressions, expression);
	}
	return expressions;
}

/* Returns the collation that the call would have as a statement: that of its first argument that has one. */
static Oid
input_collation(List *expressions)
{
	ListCell *cell;

	foreach (cell, expressions)
		if (OidIsValid(exprCollation(lfirst(cell))))
			return exprCollation(lfirst(cell));
	return InvalidOid;
}

static FuncExpr *
build_call(const BgjobFunction *function, List *expressions)
{
	FuncExpr *call = makeFuncExpr(function->oid, function->result_type, expressions,
								  get_typcollation(function->result_type),
								  input_collation(expressions), COERCE_EXPLICIT_CALL);

	call->funcretset = function->set;
	call->funcvariadic = function->variadic;
	return call;
}

/* ---- plain functions ---- */

/* Evaluates a call; *isnull is whether it has returned SQL null. The result is in the memory of "estate". */
static Datum
evaluate_call(const BgjobFunction *function, List *expressions, EState *estate, bool *isnull)
{
	ExprContext *context = GetPerTupleExprContext(estate);
	MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);
	ExprState *state = ExecInitExpr((Expr *) build_call(function, expressions), NULL);
	Datum value = ExecEvalExprSwitchContext(state, context, isnull);

	MemoryContextSwitchTo(caller);
	return value;
}

static Jsonb *
call_function(const BgjobFunction *function, List *expressions)
{
	EState *estate = CreateExecutorState();
	Jsonb *result = NULL;
	bool isnull;
	Datum value = evaluate_call(function, expressions, estate, &isnull);

	if (!isnull && function->result_type != VOIDOID)
		result = bgjob_result_to_jsonb(value, function->result_type);
	FreeExecutorState(estate);
	return result;
}

/* ---- functions of several jobs ---- */

/*
 * bgjob_invoke_chunk_misfit returns why a function cannot be called once for several
 * jobs; NULL: it can.
 */
const char *
bgjob_invoke_chunk_misfit(Oid func)
{
	const BgjobFunction *function = bgjob_function_describe(func);

	if (function->procedure)
		return "It is a procedure.";
	if (!function->chunk)
		return "It does not have exactly one parameter, of type jsonb[].";
	if (function->set ||
		(function->result_type != VOIDOID && function->result_type != JSONBARRAYOID))
		return "It returns neither nothing nor jsonb[].";
	return NULL;
}

/* Returns whether the results of a function are the elements of what it returns. */
static bool
returns_chunk(const BgjobFunction *function)
{
	return function->chunk && function->result_type == JSONBARRAYOID && !function->set &&
		   !function->procedure;
}

/* Sets *results to the elements of an array, which must have "n". 22023: it has not. */
static void
split_results(const BgjobFunction *function, ArrayType *array, int n, Jsonb **results)
{
	Datum *values;
	bool *nulls;
	int count;

	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count != n || ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s returned %d results for %d jobs", function->signature, count, n),
				 errdetail("The array must have one dimension, and an element for each job."),
				 errhint("Return the results in the order of the arguments, or null.")));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			results[i] = DatumGetJsonbPCopy(values[i]);
}

/* Calls a function that returns nothing, or an array with a result for each of n jobs. */
static void
call_for_chunk(const BgjobFunction *function, List *expressions, int n, Jsonb **results)
{
	EState *estate = CreateExecutorState();
	bool isnull;
	Datum value = evaluate_call(function, expressions, estate, &isnull);

	memset(results, 0, n * sizeof(Jsonb *));
	if (!isnull && function->result_type == JSONBARRAYOID)
		split_results(function, DatumGetArrayTypeP(value), n, results);
	FreeExecutorState(estate);
}

/* Calls a function for one job; its result is the one element of the array that it returns. */
static Jsonb *
call_for_one(const BgjobFunction *function, List *expressions)
{
	Jsonb *result;

	call_for_chunk(function, expressions, 1, &result);
	return result;
}

/* ---- functions that return a set ---- */

static Jsonb *
call_set_function(const BgjobFunction *function, List *expressions)
{
	Query *query = makeNode(Query);
	DestReceiver *receiver = bgjob_rows_receiver(BGJOB_ROWS_VALUES);
	PlannedStmt *plan;
	QueryDesc *desc;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->hasTargetSRFs = true;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(
		makeTargetEntry((Expr *) build_call(function, expressions), 1, "result", false));
	plan = pg_plan_query(query, debug_query_string ? debug_query_string : "", 0, NULL);
	desc = CreateQueryDesc(plan, debug_query_string ? debug_query_string : "",
						   GetActiveSnapshot(), InvalidSnapshot, receiver, NULL, NULL, 0);
	ExecutorStart(desc, 0);
	bgjob_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	return bgjob_rows_result(receiver);
}

/* ---- procedures ---- */

/* Returns the output arguments of a CALL: nulls for OUT arguments, the inputs for INOUT arguments. */
static List *
output_expressions(const BgjobFunction *function, List *inputs)
{
	List *outputs = NIL;
	int input = 0;

	for (int i = 0; function->all_modes != NULL && i < function->nall; i++)
		switch (function->all_modes[i])
		{
			case PROARGMODE_OUT:
				outputs =
					lappend(outputs, makeNullConst(function->all_types[i], -1,
												   get_typcollation(function->all_types[i])));
				break;
			case PROARGMODE_INOUT:
				outputs = lappend(outputs, copyObject(list_nth(inputs, input)));
				input++;
				break;
			default:
				input++;
				break;
		}
	return outputs;
}

/*
 * bgjob_run_in_portal runs planned statements as one statement at top level,
 * as if a client had sent it: they may be ones that end transactions. Within a
 * statement of a session they may not, and the server refuses that. Rows go
 * to the receiver. The plans must live until it returns.
 */
void
bgjob_run_in_portal(List *plans, ParamListInfo params, const char *source, CommandTag tag,
					DestReceiver *receiver, BgjobCaller caller)
{
	bool at_top = caller != BGJOB_CALLER_STATEMENT; /* else the unnamed portal may be in use */
	Portal portal = at_top ? CreatePortal("", true, true) : CreateNewPortal();
	QueryCompletion completion;

	portal->visible = false;
	InitializeQueryCompletion(&completion);
	PortalDefineQuery(portal, NULL, source, tag, plans, NULL);
	PortalStart(portal, params, 0, InvalidSnapshot);
	bgjob_portal_run(portal, at_top, receiver, &completion);
	PortalDrop(portal, false);
}

static Jsonb *
call_procedure(const BgjobFunction *function, List *expressions, BgjobCaller caller)
{
	CallStmt *stmt = makeNode(CallStmt);
	PlannedStmt *plan = makeNode(PlannedStmt);
	DestReceiver *receiver = bgjob_rows_receiver(BGJOB_ROWS_ONE);

	stmt->funccall = makeFuncCall(
		list_make2(makeString(get_namespace_name(get_func_namespace(function->oid))),
				   makeString(get_func_name(function->oid))),
		NIL, COERCE_EXPLICIT_CALL, -1);
	stmt->funcexpr = build_call(function, expressions);
	stmt->outargs = output_expressions(function, expressions);
	plan->commandType = CMD_UTILITY;
	plan->canSetTag = true;
	plan->utilityStmt = (Node *) stmt;
	plan->stmt_location = -1;
	bgjob_run_in_portal(list_make1(plan), NULL,
						debug_query_string ? debug_query_string : "CALL", CMDTAG_CALL, receiver,
						caller);
	return bgjob_rows_result(receiver);
}

/* Raises the error for a function that was replaced by a procedure after the claim, which was not committed. */
static void
replaced_by_procedure(const BgjobFunction *function)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("%s was replaced by a procedure while the job started",
						   function->signature)));
}

/* Raises an error unless the current user may call a function, and it is one that a job can call. */
static void
check_call(const BgjobFunction *function)
{
	bgjob_function_check_execute(function->oid, GetUserId());
	if (!function->callable || function->unsupported_reason != NULL)
		bgjob_function_check(function->oid, GetUserId());
}

/*
 * bgjob_invoke_chunk calls a function once, as the current user, for n jobs with these
 * arguments (NULL: none), and sets *results to their results, NULL for null. Errors: as
 * bgjob_invoke; 22023 if it does not return a result for each, nor null.
 */
void
bgjob_invoke_chunk(Oid func, const Jsonb *const *args, int n, Jsonb **results)
{
	BgjobFunction copy = *bgjob_function_describe(func);
	BgjobValue values;

	check_call(&copy);
	if (bgjob_invoke_chunk_misfit(func) != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s was replaced while its jobs started", copy.signature)));
	PushActiveSnapshot(GetTransactionSnapshot());
	values = bgjob_arguments_chunk(args, n);
	call_for_chunk(&copy, input_expressions(&copy, &values), n, results);
	PopActiveSnapshot();
}

/* Calls a function that is no procedure. */
static Jsonb *
call_any_function(const BgjobFunction *function, List *expressions)
{
	if (returns_chunk(function))
		return call_for_one(function, expressions);
	return function->set ? call_set_function(function, expressions)
						 : call_function(function, expressions);
}

/*
 * bgjob_invoke calls a function or procedure as the current user and returns
 * its result as jsonb, in the current memory context: NULL for void, SQL null
 * and procedures without output; an array for a set; an object for a row. A function whose one
 * parameter is jsonb[] gets an array of the arguments; if it returns jsonb[], that
 * must have one element, which is the result.
 * A procedure may commit where the claim has been committed. Errors: what
 * bgjob_arguments_bind and bgjob_function_check raise, 55000 a procedure in the
 * transaction of the claim, and whatever the function raises.
 */
Jsonb *
bgjob_invoke(Oid func, const Jsonb *args, BgjobCaller caller)
{
	const BgjobFunction *function = bgjob_function_describe(func);
	BgjobFunction copy = *function; /* the cache may be emptied while the function runs */
	List *expressions;
	Jsonb *result;

	check_call(&copy);
	if (copy.procedure && caller == BGJOB_CALLER_CLAIM)
		replaced_by_procedure(&copy);
	PushActiveSnapshot(GetTransactionSnapshot());
	expressions = input_expressions(&copy, bgjob_arguments_bind(&copy, args));
	if (copy.procedure)
	{
		if (copy.all_modes != NULL)
		{
			copy.all_types = memcpy(palloc(copy.nall * sizeof(Oid)), copy.all_types,
									copy.nall * sizeof(Oid));
			copy.all_modes = memcpy(palloc(copy.nall), copy.all_modes, copy.nall);
		}
		PopActiveSnapshot();
		return call_procedure(&copy, expressions, caller);
	}
	result = call_any_function(&copy, expressions);
	PopActiveSnapshot();
	return result;
}
