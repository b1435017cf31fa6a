/*-------------------------------------------------------------------------
 *
 * viewplan.c
 *	  Plans of queries that read bgjob's views: they cost what they return.
 *
 * bgjob.jobs, job_states, job_logs and batches are security_barrier views. The server
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
 * api/viewids.c adds what makes a condition on the state, and the newest jobs, cheap.
 *
 * Runs in each session that plans a query. A query without a security_barrier view
 * costs a look at its range table. No locks: the views are locked by the query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/viewplan.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "store/trust.h"
#include "utils/lsyscache.h"

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
	static const char *const names[] = {"jobs", "job_states", "job_logs", "batches"};
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

/* Returns whether a node of a query's FROM clause is, or contains, a table. */
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

/* Returns whether an entry of a view's range table does not keep the view from being opened. */
static bool
can_open_with(const RangeTblEntry *rte)
{
	return rte->rtekind != RTE_SUBQUERY || rte->lateral || can_open(rte->subquery);
}

/*
 * Returns whether a view's query can be opened: it selects rows, all of its conditions
 * can be moved, and there is one, unless its subqueries have them.
 */
static bool
can_open(const Query *query)
{
	ListCell *cell;

	if (query->jointree == NULL || !bgjob_viewplan_returns_rows(query) ||
		query->cteList != NIL || query->limitOffset != NULL || query->limitCount != NULL)
		return false;
	foreach (cell, query->rtable)
		if (!can_open_with(lfirst_node(RangeTblEntry, cell)))
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

/* ---- the hook ---- */

/* Opens the views among the entries of a query's range table. */
static void
open_views(Query *query, const BgjobPlanned *planned)
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
			bgjob_viewplan_narrow(query, varno, rte->subquery, planned);
	}
}

/* Opens the views of all queries in a tree. */
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

/* Plans a query; the hook itself. */
static PlannedStmt *
plan(Query *query, const char *source, int options, ParamListInfo params)
{
	BgjobPlanned planned = {query, params};

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
