/*-------------------------------------------------------------------------
 *
 * places.h
 *	  Texts with places for arguments, such as 'tenant:{tenant_id}'.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PLACES_H
#define BGJOB_RUN_PLACES_H

#include "postgres.h"

#include "utils/jsonb.h"

extern void bgjob_places_check(Oid func, const char *text);
extern char *bgjob_places_fill(Oid func, const char *text, const Jsonb *args);

#endif /* BGJOB_RUN_PLACES_H */
