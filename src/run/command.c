/*-------------------------------------------------------------------------
 *
 * command.c
 *	  Jobs of kind 'sql': one SQL command.
 *
 * At enqueue the command is parsed, no more: tables that it names may come
 * later. At run time it goes the way of a statement that a client sends with
 * parameters: parse, analyze (the parameters' types are inferred), bind the
 * elements of the JSON array, rewrite, plan, and run in a portal at top
 * level. So VACUUM, CREATE INDEX CONCURRENTLY and a DO block that commits
 * work.
 *
 * Commands that would end the worker's own transaction under it (BEGIN,
 * COMMIT, …) and COPY from or to a client, which is not there, are refused.
 *
 * Checking runs in the session that enqueues, running in workers and, for bgjob_run(),
 * in sessions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/params.h"
#include "parser/analyze.h"
#include "run/arguments.h"
#include "run/command.h"
#include "run/invoke.h"
#include "run/tojson.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* Moves the position of a syntax error from the statement that enqueues the job to the job's command. */
static void
set_position(void *sql)
{
	int position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery((const char *) sql);
}

/* Parses a command. 42601 on a syntax error, and if there is not just one. */
static RawStmt *
parse(const char *sql)
{
	ErrorContextCallback context = {.callback = set_position, .arg = unconstify(char *, sql)};
	List *statements;

	context.previous = error_context_stack;
	error_context_stack = &context;
	statements = pg_parse_query(sql);
	error_context_stack = context.previous;
	if (list_length(statements) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						statements == NIL ? errmsg("the command of a job must not be empty")
										  : errmsg("a job must be a single command, not %d",
												   list_length(statements)),
						errhint("Use a DO block or a function for several commands.")));
	return linitial_node(RawStmt, statements);
}

static bool
is_plain(const RawStmt *raw)
{
	switch (nodeTag(raw->stmt))
	{
		case T_SelectStmt:
			return castNode(SelectStmt, raw->stmt)->intoClause == NULL;
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		case T_MergeStmt:
			return true;
		default:
			return false;
	}
}

/* Finds the highest parameter of a command; a tree walker. */
static bool
find_highest_parameter(Node *node, void *highest)
{
	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
	{
		*(int *) highest = Max(*(int *) highest, castNode(ParamRef, node)->number);
		return false;
	}
	return raw_expression_tree_walker(node, find_highest_parameter, highest);
}

/* Returns whether a command begins, ends or shapes a transaction; SET SESSION CHARACTERISTICS does not. */
static bool
is_transaction_command(const RawStmt *raw)
{
	const VariableSetStmt *set = (const VariableSetStmt *) raw->stmt;

	if (IsA(raw->stmt, TransactionStmt))
		return true;
	return IsA(raw->stmt, VariableSetStmt) && set->kind == VAR_SET_MULTI &&
		   strncmp(set->name, "TRANSACTION", strlen("TRANSACTION")) == 0;
}

static void
refuse_unsuitable(const RawStmt *raw)
{
	if (is_transaction_command(raw))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a job cannot be a transaction command"),
						errdetail("The worker begins and ends the transactions of its jobs."),
						errhint("A procedure or a DO block may commit.")));
	if (IsA(raw->stmt, CopyStmt) && castNode(CopyStmt, raw->stmt)->filename == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a job cannot copy from or to a client"),
						errdetail("It runs in a background worker."),
						errhint("Name a file or a program.")));
}

/*
 * bgjob_command_is_plain returns whether a command can share a transaction with
 * its job's bookkeeping; utility commands may end transactions. *tag is its kind.
 */
bool
bgjob_command_is_plain(const char *sql, CommandTag *tag)
{
	const RawStmt *raw = parse(sql);

	*tag = CreateCommandTag(raw->stmt);
	return is_plain(raw);
}

/* bgjob_command_log_level returns from which log_statement on a command is logged. */
LogStmtLevel
bgjob_command_log_level(const char *sql)
{
	return GetCommandLogLevel(parse(sql)->stmt);
}

/* Says which parameter an error is about. */
static void
name_parameter(void *number)
{
	errcontext("parameter $%d of the command", *(int *) number);
}

/* Binds the elements of a JSON array to parameters of known types. */
static ParamListInfo
bind_parameters(const Jsonb *args, const Oid *types, int ntypes)
{
	ParamListInfo params;
	int given = args == NULL ? 0 : JB_ROOT_COUNT(args);
	int number;
	ErrorContextCallback context = {.callback = name_parameter, .arg = &number};

	if (ntypes == 0)
		return NULL;
	if (given < ntypes)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%d parameters expected, but %d given", ntypes, given)));
	params = makeParamList(ntypes);
	for (int i = 0; i < ntypes; i++)
	{
		BgjobValue value;

		if (!OidIsValid(types[i]))
			ereport(ERROR, (errcode(ERRCODE_INDETERMINATE_DATATYPE),
							errmsg("could not determine data type of parameter $%d", i + 1),
							errdetail("The command does not use it."),
							errhint("Number the parameters of the command without gaps.")));
		number = i + 1;
		context.previous = error_context_stack;
		error_context_stack = &context;
		value = bgjob_value_of(
			getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &args->root), i),
			types[i]);
		error_context_stack = context.previous;
		params->params[i] = (ParamExternData){.value = value.value,
											  .isnull = value.isnull,
											  .pflags = PARAM_FLAG_CONST,
											  .ptype = types[i]};
	}
	return params;
}

/*
 * Infers the types of a command's parameters. Returns their number, -1 if that
 * cannot be done now: a table may be there only when the job runs. The
 * subtransaction is rolled back in any case: the session that enqueues must
 * not be left with the locks that the analysis takes. A cancel is no failure
 * of the analysis, and is passed on.
 */
static pg_noinline int
infer_types(const char *sql, RawStmt *raw, Oid **types)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	volatile int n = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int ntypes = 0;

		(void) parse_analyze_varparams(raw, sql, types, &ntypes, NULL);
		n = ntypes;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		n = -1;
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return n;
}

/* Raises the error of a parameter that cannot be converted to its type. */
static void
check_parameter_types(const char *sql, RawStmt *raw, const Jsonb *args)
{
	Oid *types = NULL;
	int ntypes = infer_types(sql, raw, &types);

	if (ntypes > 0)
		(void) bind_parameters(args, types, ntypes);
}

/*
 * bgjob_command_check checks a command and its parameters without running
 * anything. 42601: it does not parse, or is not one command; 22023: the
 * parameters are not an array, or not as many as the command has; 0A000: a
 * command that cannot be a job; the type's own error for a parameter whose
 * type can be determined already.
 */
void
bgjob_command_check(const char *sql, const Jsonb *args)
{
	RawStmt *raw = parse(sql);
	int given = 0;
	int highest = 0;

	refuse_unsuitable(raw);
	if (args != NULL)
	{
		if (!JB_ROOT_IS_ARRAY(args) || JB_ROOT_IS_SCALAR(args))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("args of a command must be a JSON array"),
							errdetail("Its elements are the parameters $1, $2 and so on."),
							errhint("Write [1, \"two\"] for two parameters.")));
		given = JB_ROOT_COUNT(args);
	}
	if (is_plain(raw))
		(void) find_highest_parameter(raw->stmt, &highest);
	if (given != highest)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%d parameters expected, but %d given", highest, given),
						errdetail("Each element of args is a parameter: $1, $2 and so on."),
						errhint("Only SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES have "
								"parameters.")));
	if (given > 0)
		check_parameter_types(sql, raw, args);
}

/* Returns whether running the plans sends rows. */
static bool
sends_rows(List *plans)
{
	ListCell *cell;

	foreach (cell, plans)
	{
		PlannedStmt *plan = lfirst_node(PlannedStmt, cell);

		if (plan->commandType == CMD_UTILITY
				? UtilityReturnsTuples(plan->utilityStmt)
				: plan->commandType == CMD_SELECT || plan->hasReturning)
			return true;
	}
	return false;
}

/*
 * bgjob_command_run runs a command as one statement, at top level in a worker, as
 * the current user. Returns its rows as an array of objects, in the current
 * memory context; NULL for a command that has none. Errors: those of the
 * command, and 22023 or the type's own about its parameters.
 */
Jsonb *
bgjob_command_run(const char *sql, const Jsonb *args, BgjobCaller caller)
{
	DestReceiver *receiver = bgjob_rows_receiver(BGJOB_ROWS_OBJECTS);
	RawStmt *raw = parse(sql);
	Oid *types = NULL;
	int ntypes = 0;
	ParamListInfo params;
	List *plans;
	bool rows;

	PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_analyze_and_rewrite_varparams(raw, sql, &types, &ntypes, NULL);
	params = bind_parameters(args, types, ntypes);
	plans = pg_plan_queries(plans, sql, CURSOR_OPT_PARALLEL_OK, params);
	PopActiveSnapshot();

	rows = sends_rows(plans);
	bgjob_run_in_portal(plans, params, sql, CreateCommandTag(raw->stmt), receiver, caller);
	return rows ? bgjob_rows_result(receiver) : NULL;
}
