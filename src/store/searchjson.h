/*-------------------------------------------------------------------------
 *
 * searchjson.h
 *	  The arguments and the error of a job compared with terms of a query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SEARCHJSON_H
#define BGJOB_STORE_SEARCHJSON_H

#include "postgres.h"

#include "rules/query.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

extern bool bgjob_json_has_error(Jsonb *error, const char *word);
extern bool bgjob_json_has_sqlstate(Jsonb *error, const BgjobTerm *term);
extern bool bgjob_json_has_value(Jsonb *json, const BgjobTerm *term, Numeric number);

#endif /* BGJOB_STORE_SEARCHJSON_H */
