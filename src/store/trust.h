/*-------------------------------------------------------------------------
 *
 * trust.h
 *	  Whether bgjob's relations are those of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_TRUST_H
#define BGJOB_STORE_TRUST_H

#include "postgres.h"

/* The views are in one schema, the tables in the other, on which no role has USAGE. */
#define BGJOB_VIEWS_SCHEMA  "bgjob"
#define BGJOB_TABLES_SCHEMA "bgjob_internal"

/* What bgjob has in a database. */
typedef enum BgjobGenuine
{
	BGJOB_NOT_INSTALLED, /* the extension is not there */
	BGJOB_NOT_GENUINE,   /* it is, but its relations are not those that this library expects */
	BGJOB_GENUINE
} BgjobGenuine;

extern Oid bgjob_schema_oid(bool missing_ok);
extern Oid bgjob_tables_schema_oid(bool missing_ok);
extern BgjobGenuine bgjob_trust_database(const char **why);
extern int bgjob_trust_columns(const char *name);
extern bool bgjob_trust_table(const char *extension, Oid relation);
extern bool bgjob_trust_has_table(const char *extension, const char *schema, const char *table);
extern Oid bgjob_trust_owner(Oid extension);
extern Oid bgjob_trust_schema(Oid extension);
extern const char *bgjob_trust_refusal(const char *name, Oid relation);

#endif /* BGJOB_STORE_TRUST_H */
