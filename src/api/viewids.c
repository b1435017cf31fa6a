/*-------------------------------------------------------------------------
 *
 * viewids.c
 *	  Plans of queries on bgjob.jobs that want the jobs in a state, or the newest.
 *
 * A condition state = 'failed' (or IN a list) on bgjob.jobs is on an expression, and an
 * index on the state would make each update of a job an insertion into all indexes.
 * ORDER BY id DESC LIMIT 20 goes along the index on id, but may pass a million jobs of
 * other roles before it has 20 that the reader may see. In both cases bgjob can list
 * the ids of the jobs at the cost of these jobs: those in a state from the
 * small tables in which they stand (store/instate.c), the newest from the map of jobs
 * (store/listing.c). So the view gets one condition more, id = ANY (the ids), which the
 * index on id answers. The query itself stays, so a list may have too many ids.
 *
 * The ids are listed once for a query (an InitPlan), but sorted for each scan of the
 * index: so in a join it is done only for few jobs.
 *
 * Runs in the planner (api/viewplan.c). No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "api/list.h"
#include "api/rights.h"
#include "api/viewplan.h"
#include "base/database.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rules/state.h"
#include "store/count.h"
#include "store/instate.h"
#include "store/trust.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* Jobs in a state are few if they are not more than this; or, where only they are read, such a part of all jobs. */
#define FEW        5000
#define FEW_IN_ALL 20

/* ---- queries ---- */

/*
 * bgjob_viewplan_returns_rows returns whether a query returns a row for each row that
 * it selects: no aggregates, groups, windows, DISTINCT or sets, and no row locks.
 */
bool
bgjob_viewplan_returns_rows(const Query *query)
{
	return !query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL &&
		   query->havingQual == NULL && !query->hasWindowFuncs && !query->hasTargetSRFs &&
		   query->distinctClause == NIL && query->rowMarks == NIL;
}

/* ---- values ---- */

/* Returns the value of an expression as a constant, NULL if it has none before execution. */
static const Const *
value_of(Node *node, ParamListInfo params)
{
	const Param *param;
	ParamExternData space;
	const ParamExternData *value;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (IsA(node, Const))
		return (const Const *) node;
	param = (const Param *) node;
	if (!IsA(node, Param) || param->paramkind != PARAM_EXTERN || params == NULL ||
		param->paramid <= 0 || param->paramid > params->numParams)
		return NULL;
	value = params->paramFetch != NULL
				? params->paramFetch(params, param->paramid, true, &space)
				: &params->params[param->paramid - 1];
	if (value->ptype != param->paramtype || (value->pflags & PARAM_FLAG_CONST) == 0)
		return NULL;
	return makeConst(param->paramtype, param->paramtypmod, param->paramcollid,
					 get_typlen(param->paramtype), value->value, value->isnull,
					 get_typbyval(param->paramtype));
}

/* Adds a state, given by its name, to a set; false if its jobs are not listed anywhere but among all. */
static bool
add_state(Node *node, ParamListInfo params, uint32 *states)
{
	const Const *value = value_of(node, params);
	BgjobState state;

	if (value == NULL || value->constisnull ||
		(value->consttype != TEXTOID && value->consttype != VARCHAROID))
		return false;
	state = bgjob_state_by_name(TextDatumGetCString(value->constvalue));
	if (state == BGJOB_NONE || !bgjob_state_is_listed(state))
		return false;
	*states |= 1u << state;
	return true;
}

/* Does so for each element of an array. */
static bool
add_states(Node *node, ParamListInfo params, uint32 *states)
{
	const Const *value;
	Datum *elements;
	bool *nulls;
	int n;

	if (IsA(node, ArrayExpr))
	{
		ListCell *cell;

		foreach (cell, ((ArrayExpr *) node)->elements)
			if (!add_state(lfirst(cell), params, states))
				return false;
		return true;
	}
	value = value_of(node, params);
	if (value == NULL || value->constisnull || value->consttype != TEXTARRAYOID)
		return false;
	deconstruct_array(DatumGetArrayTypeP(value->constvalue), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!add_state(
				(Node *) makeConst(TEXTOID, -1, InvalidOid, -1, elements[i], nulls[i], false),
				params, states))
			return false;
	return true;
}

/* Returns whether a node is a column of an entry of the range table. */
static bool
is_column(Node *node, int varno, AttrNumber column)
{
	const Var *var;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (const Var *) node;
	return IsA(node, Var) && var->varlevelsup == 0 && var->varno == varno &&
		   var->varattno == column;
}

/* Returns whether texts that are equal by a collation are the same bytes. */
static bool
is_bytewise(Oid collation)
{
	return OidIsValid(collation) && get_collation_isdeterministic(collation);
}

/* Returns the states that a condition allows for the column "state" of an entry, 0 if it is another condition. */
static uint32
states_of(Node *condition, int varno, AttrNumber column, ParamListInfo params)
{
	uint32 states = 0;

	if (IsA(condition, OpExpr) && ((OpExpr *) condition)->opno == TextEqualOperator &&
		is_bytewise(((OpExpr *) condition)->inputcollid))
	{
		Node *left = linitial(((OpExpr *) condition)->args);
		Node *right = lsecond(((OpExpr *) condition)->args);

		if (is_column(right, varno, column))
			return add_state(left, params, &states) ? states : 0;
		return is_column(left, varno, column) && add_state(right, params, &states) ? states : 0;
	}
	if (IsA(condition, ScalarArrayOpExpr) &&
		((ScalarArrayOpExpr *) condition)->opno == TextEqualOperator &&
		((ScalarArrayOpExpr *) condition)->useOr &&
		is_bytewise(((ScalarArrayOpExpr *) condition)->inputcollid))
	{
		List *args = ((ScalarArrayOpExpr *) condition)->args;

		return is_column(linitial(args), varno, column) &&
					   add_states(lsecond(args), params, &states)
				   ? states
				   : 0;
	}
	return 0;
}

/* Returns the entry of a view's target list with a name; there is one. */
static TargetEntry *
output_of(const Query *view, const char *name)
{
	ListCell *cell;

	foreach (cell, view->targetList)
		if (!lfirst_node(TargetEntry, cell)->resjunk &&
			strcmp(lfirst_node(TargetEntry, cell)->resname, name) == 0)
			return lfirst_node(TargetEntry, cell);
	return NULL;
}

/* Builds a call of one of bgjob's functions for plans; NULL if it is missing. The reader need not have USAGE on its schema. */
static FuncExpr *
make_call(const char *function, Const *argument)
{
	Oid oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(function),
							  PointerGetDatum(buildoidvector(&argument->consttype, 1)),
							  ObjectIdGetDatum(bgjob_tables_schema_oid(true)));

	if (!OidIsValid(oid))
		return NULL;
	return makeFuncExpr(oid, INT8ARRAYOID, list_make1(argument), InvalidOid, InvalidOid,
						COERCE_EXPLICIT_CALL);
}

/* Builds the expression bgjob_internal.job_ids(states). */
static FuncExpr *
make_ids_in_states(uint32 states)
{
	Datum names[BGJOB_NSTATES];
	int n = 0;
	ArrayType *list;

	for (int state = 0; state < BGJOB_NSTATES; state++)
		if ((states & (1u << state)) != 0)
			names[n++] = CStringGetTextDatum(bgjob_state_name(state));
	list = construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
	return make_call("job_ids", makeConst(TEXTARRAYOID, -1, DEFAULT_COLLATION_OID, -1,
										  PointerGetDatum(list), false, false));
}

/* Builds the condition id = ANY ((SELECT list)). */
static Node *
make_id_condition(Node *id, FuncExpr *list)
{
	ScalarArrayOpExpr *condition = makeNode(ScalarArrayOpExpr);
	SubLink *link = makeNode(SubLink);
	Query *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = list_make1(makeTargetEntry((Expr *) list, 1, "ids", false));
	link->subLinkType = EXPR_SUBLINK;
	link->subselect = (Node *) query;
	link->location = -1;
	condition->opno =
		get_opfamily_member(INTEGER_BTREE_FAM_OID, INT8OID, INT8OID, BTEqualStrategyNumber);
	condition->opfuncid = F_INT8EQ;
	condition->useOr = true;
	condition->args = list_make2(id, link);
	condition->location = -1;
	return (Node *) condition;
}

/*
 * Returns whether so few jobs are in these states that listing them costs less than
 * reading all jobs. alone: the query reads nothing but the view, and is not part of another.
 */
static bool
are_few(uint32 states, bool alone)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	int64 counts[BGJOB_NSTATES];
	int64 in_states = 0;
	int64 all = 0;

	if (entry == NULL || !bgjob_count_read(entry, counts))
		return alone;
	for (int state = BGJOB_NONE + 1; state < BGJOB_NSTATES; state++)
	{
		all += counts[state];
		if ((states & (1u << state)) != 0)
			in_states += counts[state];
	}
	return in_states <= (alone ? Max(FEW, all / FEW_IN_ALL) : FEW);
}

/* ---- the newest jobs ---- */

/* Returns a LIMIT or OFFSET, -1 if it is not known or not below "most". None is "otherwise". */
static int
rows_of(Node *node, int otherwise, int most, ParamListInfo params)
{
	const Const *value;

	if (node == NULL)
		return otherwise;
	value = value_of(eval_const_expressions(NULL, node), params);
	if (value == NULL || value->constisnull || value->consttype != INT8OID ||
		DatumGetInt64(value->constvalue) < 0 || DatumGetInt64(value->constvalue) > most)
		return -1;
	return (int) DatumGetInt64(value->constvalue);
}

/* Returns whether a query sorts by one column of an entry alone, the greatest first. */
static bool
sorts_down(const Query *query, int varno, AttrNumber column)
{
	const SortGroupClause *sort;

	if (list_length(query->sortClause) != 1)
		return false;
	sort = linitial_node(SortGroupClause, query->sortClause);
	return is_column(
			   (Node *) get_sortgroupclause_tle((SortGroupClause *) sort, query->targetList)
				   ->expr,
			   varno, column) &&
		   sort->sortop == get_opfamily_member(INTEGER_BTREE_FAM_OID, INT8OID, INT8OID,
											   BTGreaterStrategyNumber);
}

/* Returns how many of the newest jobs a query wants, whatever they are; 0: it wants others, or too many. */
static int
newest_wanted(const Query *query, int varno, AttrNumber id, ParamListInfo params)
{
	int limit = rows_of(query->limitCount, -1, BGJOB_LIST_MOST, params);
	int offset = rows_of(query->limitOffset, 0, BGJOB_LIST_MOST, params);

	if (query->commandType != CMD_SELECT || query->jointree->quals != NULL ||
		query->limitOption != LIMIT_OPTION_COUNT || limit < 0 || offset < 0 ||
		limit + offset > BGJOB_LIST_MOST || !bgjob_viewplan_returns_rows(query) ||
		!sorts_down(query, varno, id))
		return 0;
	return limit + offset;
}

/* Builds the list of the newest jobs, if a query wants these, and its reader does not see all; else NULL. */
static FuncExpr *
make_newest(const Query *query, int varno, AttrNumber id, ParamListInfo params)
{
	int n = newest_wanted(query, varno, id, params);

	if (n == 0 || bgjob_sees_all())
		return NULL;
	return make_call("newest_ids", makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
											 Int32GetDatum(n), false, true));
}

/* ---- both ---- */

/* Returns whether a condition is that a column equals something, or one of several things. */
static bool
is_equality(Node *condition, int varno, AttrNumber column)
{
	List *args = NIL;
	Oid operation = InvalidOid;

	if (IsA(condition, OpExpr))
	{
		args = ((OpExpr *) condition)->args;
		operation = ((OpExpr *) condition)->opno;
	}
	else if (IsA(condition, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) condition)->useOr)
	{
		args = ((ScalarArrayOpExpr *) condition)->args;
		operation = ((ScalarArrayOpExpr *) condition)->opno;
	}
	return list_length(args) == 2 &&
		   get_op_opfamily_strategy(operation, INTEGER_BTREE_FAM_OID) ==
			   BTEqualStrategyNumber &&
		   (is_column(linitial(args), varno, column) ||
			is_column(lsecond(args), varno, column));
}

/*
 * Builds the list of the jobs in the states that a query wants, if it wants only some
 * and these are few; else NULL. The index finds those with given ids without a list.
 */
static FuncExpr *
make_in_states(const Query *query, int varno, AttrNumber id, AttrNumber state, bool alone,
			   ParamListInfo params)
{
	uint32 wanted = 0;
	ListCell *cell;

	foreach (cell, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (is_equality(lfirst(cell), varno, id))
			return NULL;
		if (wanted == 0)
			wanted = states_of(lfirst(cell), varno, state, params);
	}
	return wanted != 0 && are_few(wanted, alone) ? make_ids_in_states(wanted) : NULL;
}

/*
 * bgjob_viewplan_narrow adds to the view of all jobs, entry "varno" of a query, that it
 * need only return some of them, if that makes the query cheaper.
 */
void
bgjob_viewplan_narrow(const Query *query, int varno, Query *view, const BgjobPlanned *planned)
{
	const TargetEntry *id = output_of(view, "id");
	const TargetEntry *state = output_of(view, "state");
	bool alone = query == planned->top && list_length(query->jointree->fromlist) == 1 &&
				 IsA(linitial(query->jointree->fromlist), RangeTblRef);
	FuncExpr *list = NULL;

	if (id == NULL || state == NULL)
		return;
	list = make_in_states(query, varno, id->resno, state->resno, alone, planned->params);
	if (list == NULL && alone)
		list = make_newest(query, varno, id->resno, planned->params);
	if (list == NULL)
		return;
	view->jointree->quals = make_and_qual(
		view->jointree->quals, make_id_condition(copyObject((Node *) id->expr), list));
	view->hasSubLinks = true;
}
