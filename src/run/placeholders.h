/*-------------------------------------------------------------------------
 *
 * placeholders.h
 *	  Texts with placeholders for arguments, such as 'tenant:{tenant_id}'.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PLACEHOLDERS_H
#define BGJOB_RUN_PLACEHOLDERS_H

#include "postgres.h"

#include "utils/jsonb.h"

/* Stands for the function of a job for external workers: it has any arguments. */
#define BGJOB_ANY_ARGUMENTS ((Oid) 1)

#include "utils/jsonb.h"

extern void bgjob_placeholders_check(Oid func, const char *text);
extern char *
bgjob_placeholders_fill(Oid func, const char *text, const Jsonb *args, bool needed);
extern const char *bgjob_placeholders_last(const char *text, char character);

#endif /* BGJOB_RUN_PLACEHOLDERS_H */
