/*-------------------------------------------------------------------------
 *
 * viewplan.h
 *	  Plans of queries that read bgjob's views.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_VIEWPLAN_H
#define BGJOB_API_VIEWPLAN_H

#include "postgres.h"

#include "nodes/params.h"
#include "nodes/parsenodes.h"

/* The query that is planned, with all that is below it. */
typedef struct BgjobPlanned
{
	Query *top;
	ParamListInfo params;
} BgjobPlanned;

extern bool bgjob_viewplan_returns_rows(const Query *query);
extern void bgjob_viewplan_install(void);
extern void
bgjob_viewplan_narrow(const Query *query, int varno, Query *view, const BgjobPlanned *planned);

#endif /* BGJOB_API_VIEWPLAN_H */
