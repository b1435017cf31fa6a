/*-------------------------------------------------------------------------
 *
 * viewplan.c
 *	  Plans of queries that read bgjob's views: they cost what they return.
 *
 * bgjob.jobs, job_states and job_logs are security_barrier views. The server
 * plans such a view by itself: ORDER BY, LIMIT and joins of the query do not
 * reach the index of the table below, so the newest 20 of ten million jobs would
 * cost all ten million. The planner hook here keeps the barrier and moves it down
 * to the table, where the planner has a better one: that of row-level security.
 *
 * OPENING A VIEW. Its condition "may the reader see this role" becomes a security
 * qual of the table that it is about (RangeTblEntry.securityQuals). The server
 * checks these for each row of the table before any condition of the reader that
 * may leak. Then the view itself needs no barrier any more, and the server merges it
 * into the query. What the view has besides that table stays as safe:
 *	 - functions in its FROM clause return only what the reader may see;
 *	 - a LATERAL subquery becomes a barrier of its own, so a condition on its
 *	   columns is checked after the row of the table that it depends on;
 *	 - columns of other tables are only part of expressions with a column of that
 *	   table, so a condition on them is checked above the table, and the server's
 *	   statistics of them are not asked for by an operator of the reader.
 * src/sql/30_views.sql is written for these rules, and test/pgtap/16_plans.sql
 * tries to get round them. A view that has a condition which cannot be moved keeps
 * its barrier. So does every view without the library in shared_preload_libraries:
 * the result is the same, only slower.
 *
 * JOBS IN A STATE. A condition state = 'failed' (or IN a list) on bgjob.jobs is on
 * an expression, and an index on the state would make each update of a job
 * an insertion into all indexes. But the jobs in these states are in small tables of
 * their own. So the view gets one condition more, id = ANY (ids of the jobs in these
 * states), which the index on id answers. It is added to the condition of the
 * query, which stays. The ids are listed once for a query (an InitPlan), but sorted for each
 * scan of the index: so in a join it is done only for few jobs.
 *
 * Runs in each session that plans a query. A query without a security_barrier view
 * costs a look at its range table. No locks: the views are locked by the query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "api/viewplan.h"
#include "base/database.h"
#include "catalog/dependency.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
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

/* The query that is planned, with all that is below it. */
typedef struct Planned
{
	Query *top;
	ParamListInfo params;
} Planned;

static planner_hook_type next_planner = NULL;

/* ---- which views ---- */

/*
 * Returns the view that a subquery has come from, InvalidOid for any other. The
 * rewriter leaves the view's OID in the entry (16 and later), or in the first entry
 * of the view's own range table.
 */
static Oid
view_of(const RangeTblEntry *rte)
{
	const RangeTblEntry *old;

	if (OidIsValid(rte->relid))
		return rte->relid;
	if (rte->subquery->rtable == NIL)
		return InvalidOid;
	old = linitial_node(RangeTblEntry, rte->subquery->rtable);
	return old->rtekind == RTE_RELATION && old->relkind == RELKIND_VIEW ? old->relid
																		: InvalidOid;
}

/* Returns whether an entry of a range table is one of the extension's views that can be opened; *jobs: it is bgjob.jobs. */
static bool
is_own_view(const RangeTblEntry *rte, bool *jobs)
{
	static const char *const names[] = {"jobs", "job_states", "job_logs"};
	Oid view = view_of(rte);
	const char *name = OidIsValid(view) ? get_rel_name(view) : NULL;

	for (int i = 0; name != NULL && i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
		{
			Oid extension = get_extension_oid("bgjob", true);

			*jobs = i == 0;
			return OidIsValid(extension) && get_rel_namespace(view) == bgjob_schema_oid(true) &&
				   getExtensionOfObject(RelationRelationId, view) == extension;
		}
	return false;
}

/* ---- opening a view ---- */

/* Returns the table whose column a condition passes to may_see() or may_see_job(), NULL for any other condition. */
static RangeTblEntry *
table_of_sight(Node *condition, const Query *query)
{
	const FuncExpr *call = (const FuncExpr *) condition;
	const char *name;
	const Var *var;
	RangeTblEntry *rte;

	if (!IsA(condition, FuncExpr) || list_length(call->args) != 1 ||
		!IsA(linitial(call->args), Var))
		return NULL;
	name = get_func_name(call->funcid);
	if (name == NULL || (strcmp(name, "may_see") != 0 && strcmp(name, "may_see_job") != 0))
		return NULL;
	var = linitial_node(Var, call->args);
	if (var->varlevelsup != 0)
		return NULL;
	rte = rt_fetch(var->varno, query->rtable);
	return rte->rtekind == RTE_RELATION ? rte : NULL;
}

static bool can_open(const Query *query);

static bool
is_table(Node *node, void *query)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblRef))
		return rt_fetch(((RangeTblRef *) node)->rtindex, ((Query *) query)->rtable)->rtekind ==
			   RTE_RELATION;
	return expression_tree_walker(node, is_table, query);
}

/* Returns whether the FROM clause of a query has tables of its own. */
static bool
reads_tables(const Query *query)
{
	return is_table((Node *) query->jointree, (void *) query);
}

/* Returns whether that can be done with a subquery of a view. */
static bool
can_open_subquery(const RangeTblEntry *rte)
{
	return rte->rtekind != RTE_SUBQUERY || rte->lateral || can_open(rte->subquery);
}

/* Returns whether a query does more than to select rows of its tables: to condition them is not to filter its result then. */
static bool
does_more(const Query *query)
{
	return query->cteList != NIL || query->hasAggs || query->groupClause != NIL ||
		   query->groupingSets != NIL || query->havingQual != NULL || query->hasWindowFuncs ||
		   query->hasTargetSRFs || query->distinctClause != NIL || query->limitOffset != NULL ||
		   query->limitCount != NULL || query->rowMarks != NIL;
}

/* Returns whether all conditions of a view's query can be moved, and there is one, unless its subqueries have them. */
static bool
can_open(const Query *query)
{
	ListCell *cell;

	if (query->jointree == NULL || does_more(query))
		return false;
	foreach (cell, query->rtable)
		if (!can_open_subquery(lfirst_node(RangeTblEntry, cell)))
			return false;
	foreach (cell, make_ands_implicit((Expr *) query->jointree->quals))
		if (table_of_sight(lfirst(cell), query) == NULL)
			return false;
	return query->jointree->quals != NULL || !reads_tables(query);
}

/* Moves the conditions of a view's query, which can_open() has approved. */
static void
open_query(Query *query)
{
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			rte->security_barrier = true;
		else if (rte->rtekind == RTE_SUBQUERY)
			open_query(rte->subquery);
	}
	foreach (cell, make_ands_implicit((Expr *) query->jointree->quals))
	{
		RangeTblEntry *rte = table_of_sight(lfirst(cell), query);

		rte->securityQuals = lappend(rte->securityQuals, lfirst(cell));
	}
	query->jointree->quals = NULL;
}

/* ---- jobs in a state ---- */

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

/* Returns the function job_ids(text[]), InvalidOid if it is missing. The reader need not have USAGE on its schema. */
static Oid
find_job_ids(void)
{
	Oid argument = TEXTARRAYOID;

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("job_ids"),
						   PointerGetDatum(buildoidvector(&argument, 1)),
						   ObjectIdGetDatum(bgjob_tables_schema_oid(true)));
}

/* Builds the expression bgjob_internal.job_ids(states); NULL if that function is missing. */
static FuncExpr *
make_id_list(uint32 states)
{
	Oid function = find_job_ids();
	Datum names[BGJOB_NSTATES];
	int n = 0;
	ArrayType *list;

	if (!OidIsValid(function))
		return NULL;
	for (int state = 0; state < BGJOB_NSTATES; state++)
		if ((states & (1u << state)) != 0)
			names[n++] = CStringGetTextDatum(bgjob_state_name(state));
	list = construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
	return makeFuncExpr(function, INT8ARRAYOID,
						list_make1(makeConst(TEXTARRAYOID, -1, DEFAULT_COLLATION_OID, -1,
											 PointerGetDatum(list), false, false)),
						InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
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

/* Adds to the view of all jobs that it need only return those in the states that the query wants. */
static void
narrow(const Query *query, int varno, Query *view, const Planned *planned)
{
	const TargetEntry *id = output_of(view, "id");
	const TargetEntry *state = output_of(view, "state");
	bool alone = query == planned->top && list_length(query->jointree->fromlist) == 1 &&
				 IsA(linitial(query->jointree->fromlist), RangeTblRef);
	List *quals = make_ands_implicit((Expr *) query->jointree->quals);
	ListCell *cell;

	if (id == NULL || state == NULL)
		return;
	foreach (cell, quals)
	{
		uint32 states = states_of(lfirst(cell), varno, state->resno, planned->params);
		FuncExpr *list = states != 0 && are_few(states, alone) ? make_id_list(states) : NULL;

		if (list == NULL)
			continue;
		view->jointree->quals = make_and_qual(
			view->jointree->quals, make_id_condition(copyObject((Node *) id->expr), list));
		view->hasSubLinks = true;
		return;
	}
}

/* ---- the hook ---- */

/* Opens the views among the entries of a query's range table. */
static void
open_views(Query *query, const Planned *planned)
{
	int varno = 0;
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);
		bool jobs;

		varno++;
		if (rte->rtekind != RTE_SUBQUERY || !rte->security_barrier ||
			!is_own_view(rte, &jobs) || !can_open(rte->subquery))
			continue;
		open_query(rte->subquery);
		rte->security_barrier = false;
		/* before 17, the condition of a MERGE is that of its join */
		if (jobs && query->jointree != NULL && query->commandType != CMD_MERGE)
			narrow(query, varno, rte->subquery, planned);
	}
}

/* Does so in each query below a node. */
static bool
walk(Node *node, void *planned)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, walk, planned);
	open_views((Query *) node, planned);
	return query_tree_walker((Query *) node, walk, planned, 0);
}

/* Returns whether a query may have a view anywhere. */
static bool
may_have_views(const Query *query)
{
	ListCell *cell;

	if (query->hasSubLinks || query->cteList != NIL)
		return true;
	foreach (cell, query->rtable)
		if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_SUBQUERY)
			return true;
	return false;
}

static PlannedStmt *
plan(Query *query, const char *source, int options, ParamListInfo params)
{
	Planned planned = {query, params};

	if (may_have_views(query))
		walk((Node *) query, &planned);
	return next_planner != NULL ? next_planner(query, source, options, params)
								: standard_planner(query, source, options, params);
}

/* bgjob_viewplan_install installs the planner hook; called once, when the library is preloaded. */
void
bgjob_viewplan_install(void)
{
	next_planner = planner_hook;
	planner_hook = plan;
}
