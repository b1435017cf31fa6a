/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Binding JSON to the arguments of a function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_ARGUMENTS_H
#define BGJOB_RUN_ARGUMENTS_H

#include "postgres.h"

#include "run/function.h"
#include "utils/jsonb.h"

/* A value for an argument. */
typedef struct BgjobValue
{
	bool given; /* false: the default applies */
	bool isnull;
	Datum value;
} BgjobValue;

extern bool bgjob_arguments_fit(const BgjobFunction *function, const Jsonb *args);
extern void bgjob_arguments_check(const BgjobFunction *function, const Jsonb *args);
extern BgjobValue *bgjob_arguments_bind(const BgjobFunction *function, const Jsonb *args);
extern BgjobValue bgjob_arguments_chunk(const Jsonb *const *args, int n);
extern BgjobValue bgjob_value_of(JsonbValue *json, Oid type);

#endif /* BGJOB_RUN_ARGUMENTS_H */
