/*-------------------------------------------------------------------------
 *
 * outcome.h
 *	  What became of a statement, in the terms of HTTP: see outcome.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_OUTCOME_H
#define BGJOB_DASHBOARD_OUTCOME_H

#include "dashboard/backend.h"
#include "dashboard/database.h"

extern void outcome_of_result(const PGresult *result, Outcome *outcome);
extern void outcome_of_failure(const BackendFailure *failure, Outcome *outcome);

#endif
