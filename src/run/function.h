/*-------------------------------------------------------------------------
 *
 * function.h
 *	  The function that a job means: found by name, remembered by signature.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FUNCTION_H
#define BGJOB_RUN_FUNCTION_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* An input argument of a function. */
typedef struct BgjobArgument
{
	const char *name; /* NULL: it has none */
	Oid type;
	const char *type_name; /* for messages */
	Node *default_expr;    /* NULL: none */
} BgjobArgument;

/* What must be known of a function to call it. In the caller's memory context. */
typedef struct BgjobFunction
{
	Oid oid;
	const char *signature; /* for messages */
	const char *qualified; /* as it is stored: bgjob_function_signature */
	bool callable;         /* no aggregate, no window function */
	bool procedure;
	const char
		*unsupported_reason; /* why it cannot be a job although it is callable; NULL: it can */
	bool set;                /* returns a set */
	Oid result_type;
	bool variadic; /* the last argument collects the rest */
	bool whole;    /* takes its arguments whole, as one json value */
	bool
		chunk; /* likewise; its argument is an array of these, one for each job (run/chunk.c) */
	int nargs; /* input arguments */
	BgjobArgument *args;
	int nall; /* with those that are only output, in the order of declaration */
	Oid *all_types;
	char *all_modes; /* NULL: all are input */
} BgjobFunction;

extern bool bgjob_function_is_overloaded(const char *name);
extern Oid bgjob_function_by_name(const char *name, Oid role);
extern Oid bgjob_function_resolve(const char *name, const Jsonb *args, Oid role);
extern char *bgjob_function_signature(Oid func);
extern Oid bgjob_function_find(const char *signature);
extern const char *bgjob_function_unusable_reason(const char *signature, Oid role);
extern bool bgjob_function_is_gone(const char *signature);
extern bool bgjob_function_is_procedure(Oid func);
extern const BgjobFunction *bgjob_function_describe(Oid func);
extern void bgjob_function_check_execute(Oid func, Oid role);
extern void bgjob_function_check(Oid func, Oid role);

#endif /* BGJOB_RUN_FUNCTION_H */
