/*-------------------------------------------------------------------------
 *
 * control.h
 *	  Changes jobs, for other functions of the SQL surface.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CONTROL_H
#define BGJOB_API_CONTROL_H

#include "postgres.h"

#include "rules/state.h"

extern bool bgjob_control_delete(const char *function, int64 id, const char *reason);
extern bool bgjob_control_requeue(const char *function, int64 id, BgjobState from);

#endif /* BGJOB_API_CONTROL_H */
