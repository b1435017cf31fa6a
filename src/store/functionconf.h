/*-------------------------------------------------------------------------
 *
 * functionconf.h
 *	  The configuration of functions, by their owners or administrators.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_FUNCTIONCONF_H
#define BGJOB_STORE_FUNCTIONCONF_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/option.h"
#include "utils/jsonb.h"

/* Columns of bgjob_internal.function_conf, in their order. */
typedef enum BgjobFunctionColumn
{
	BGJOB_F_FUNC = 1,
	BGJOB_F_QUEUE,
	BGJOB_F_PRIORITY,
	BGJOB_F_MAX_RETRIES,
	BGJOB_F_TIMEOUT,
	BGJOB_F_UNIQUE_KEY,
	BGJOB_F_ON_DUPLICATE,
	BGJOB_F_TAGS,
	BGJOB_F_PARAMETERS,
	BGJOB_F_POLICY,
	BGJOB_F_RETENTION,
#define BGJOB_OPTION_COLUMN(symbol, ...) BGJOB_F_##symbol,
#include "store/optionlist.h"
	BGJOB_F_END
} BgjobFunctionColumn;

#define BGJOB_F_COUNT (BGJOB_F_END - 1)

/* The configuration of a function: defaults for the jobs that call it. */
typedef struct BgjobFunctionConf
{
	const char *func;
	BgjobOptionSet options; /* as they are stored */
	const Jsonb *policy;    /* run/policy.h; NULL: none */
} BgjobFunctionConf;

extern char *bgjob_functionconf_external(const char *job);
extern bool bgjob_functionconf_is_external(const char *signature);
extern const BgjobFunctionConf *bgjob_functionconf_find(const char *func);
extern void bgjob_functionconf_set(const BgjobFunctionConf *conf);
extern bool bgjob_functionconf_remove(const char *func);
extern int bgjob_functionconf_list(const char *after, const char **signatures, int max);
extern void bgjob_functionconf_drop(const char *func);
extern bool bgjob_functionconf_shortest(Interval *retention);

#endif /* BGJOB_STORE_FUNCTIONCONF_H */
