/*-------------------------------------------------------------------------
 *
 * functionname.h
 *	  The names of functions, as callers write them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FUNCTIONNAME_H
#define BGJOB_RUN_FUNCTIONNAME_H

#include "postgres.h"

#include "nodes/pg_list.h"

extern bool bgjob_name_is_call(const char *text);
extern bool bgjob_name_is_function(const char *text);
extern int bgjob_name_explain_unknown(const char *name);
extern List *bgjob_name_signatures(const char *name);

#endif /* BGJOB_RUN_FUNCTIONNAME_H */
