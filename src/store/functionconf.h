/*-------------------------------------------------------------------------
 *
 * functionconf.h
 *	  What administrators have configured of functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_FUNCTIONCONF_H
#define BGJOB_STORE_FUNCTIONCONF_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/unique.h"
#include "utils/jsonb.h"

/* Defaults for the jobs that call a function. What is not configured is NULL, or has its has_… false. */
typedef struct BgjobFunctionConf
{
	const char *func;
	const char *queue;
	bool has_priority;
	int priority;
	bool has_max_retries;
	int max_retries;
	const Interval *timeout;
	const char *unique_key;
	BgjobDuplicate on_duplicate;
	Datum tags; /* text[], 0: none */
	const Jsonb *parameters;
	const Jsonb *policy; /* run/policy.h */
	const Interval *retention;
} BgjobFunctionConf;

extern const BgjobFunctionConf *bgjob_functionconf_find(const char *func);
extern void bgjob_functionconf_set(const BgjobFunctionConf *conf);
extern bool bgjob_functionconf_remove(const char *func);
extern int bgjob_functionconf_list(const char *after, const char **signatures, int max);
extern void bgjob_functionconf_drop(const char *func);
extern bool bgjob_functionconf_shortest(Interval *retention);

#endif /* BGJOB_STORE_FUNCTIONCONF_H */
