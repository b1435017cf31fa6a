/*-------------------------------------------------------------------------
 *
 * jobkind.h
 *	  What the text of a job is if its kind is not given: a function or a command.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_JOBKIND_H
#define BGJOB_RUN_JOBKIND_H

#include "postgres.h"

#include "store/jobrow.h"
#include "utils/jsonb.h"

extern BgjobKind bgjob_kind_of_text(const char *text);
extern BgjobKind bgjob_kind_by_name(const char *kind, const char *job);
extern Oid bgjob_function_or_hint(const char *name, const Jsonb *args, Oid role);

#endif /* BGJOB_RUN_JOBKIND_H */
