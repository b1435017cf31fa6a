/*-------------------------------------------------------------------------
 *
 * trust.c
 *	  Whether bgjob's relations are those of the extension.
 *
 * A schema's name proves nothing: a role that may create schemas in a database
 * without the extension could make a "bgjob_internal" of its own, with tables whose
 * jobs run as any role. So nothing of a database is served, read or believed unless
 * extension "bgjob" is installed there and this very relation is a member of it
 * (pg_depend), an ordinary relation of the extension's owner, with the columns
 * that this library reads and writes. That owner is a superuser: the owner of
 * the tables can write jobs for any role.
 *
 * Indexes are no members by themselves; their tables are. They must have the
 * keys that the library scans with, and evaluate nothing.
 *
 * Any process, inside a transaction. Locks: AccessShareLock on the system
 * catalogs for a moment. Its answers are kept by store/tables.c until some
 * relation changes, so it costs a job nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "store/trust.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* The letters of the columns that store/optionlist.h adds to tables (BGJOB_OPTION_COLUMN). */
#define LETTER_text         "t"
#define LETTER_integer      "i"
#define LETTER_bigint       "l"
#define LETTER_interval     "v"
#define LETTER_timestamptz  "z"
#define LETTER_jsonb        "j"
#define LETTER_text_array   "T"
#define LETTER_bigint_array "L"

/* The tables, and a letter for the type of each column (type_of). */
static const struct
{
	const char *name;
	const char *types;
} tables[] = {
	{"job", "lzlllrjtccsiiiiiiizzlzzlvvtttjjjttLTjntrlTcvvVlt"
#define BGJOB_OPTION_COLUMN(symbol, name, type, ...) LETTER_##type
#include "store/optionlist.h"
			"jl"},
	{"queue", "llrplts"},
	{"schedule", "zlrt"},
	{"gate", "lllp"},
	{"sequence", "rll"},
	{"limit_use", "lL"},
	{"awaiting", "lrticzbp"},
	{"edge", "ll"},
	{"signal", "lltrzj"},
	{"batch", "lrlzztjt"},
	{"member", "lcl"},
	{"batch_total", "lzlll"},
	{"failure", "lrt"},
	{"claim", "liz"},
	{"lease", "lrllbzt"},
	{"unique_key", "rtl"},
	{"state", "licztj"},
	{"log", "liztt"},
	{"settings", "llj"},
	{"total", "cl"},
	{"stats_hour", "zrtllllllllllllllyyb"},
	{"stats_day", "zrtllllllllllllllyy"},
	{"queue_conf", "tlbivii"},
	{"limit_conf", "tliivccz"},
	{"weight_conf", "tlf"},
	{"server_conf", "tlbTi"},
	{"function_conf", "ttsivtcTjjv"
#define BGJOB_OPTION_COLUMN(symbol, name, type, ...) LETTER_##type
#include "store/optionlist.h"
	},
	{"recurring", "lrtzttbccvzzbzzzlZtbrllcsivvtttjjtcTjTVtTt"
#define BGJOB_OPTION_COLUMN(symbol, name, type, ...) LETTER_##type
#include "store/optionlist.h"
	},
	{"filter", "ttttizrb"},
	{"installation", "o"},
};

/* The indexes, and the columns of their keys. */
static const struct
{
	const char *name;
	const char *table;
	AttrNumber keys[3];
} indexes[] = {
	{"job_pkey", "job", {1}},
	{"queue_pkey", "queue", {3, 1, 2}},
	{"schedule_pkey", "schedule", {3, 1, 2}},
	{"gate_pkey", "gate", {1, 2}},
	{"sequence_pkey", "sequence", {1, 2, 3}},
	{"limit_use_pkey", "limit_use", {1}},
	{"awaiting_pkey", "awaiting", {1}},
	{"awaiting_deadline_idx", "awaiting", {6, 1}},
	{"edge_pkey", "edge", {1, 2}},
	{"signal_pkey", "signal", {1}},
	{"signal_hash_idx", "signal", {2, 4, 1}},
	{"batch_pkey", "batch", {1}},
	{"batch_key_idx", "batch", {2, 8}},
	{"stats_hour_pkey", "stats_hour", {1, 2, 3}},
	{"stats_hour_open_idx", "stats_hour", {1}},
	{"stats_day_pkey", "stats_day", {1, 2, 3}},
	{"member_pkey", "member", {1, 2, 3}},
	{"batch_total_idx", "batch_total", {1}},
	{"failure_pkey", "failure", {1}},
	{"claim_pkey", "claim", {1}},
	{"lease_pkey", "lease", {1}},
	{"unique_key_pkey", "unique_key", {1, 2}},
	{"state_pkey", "state", {1, 2}},
	{"log_pkey", "log", {1, 2}},
	{"settings_pkey", "settings", {1}},
	{"settings_hash_idx", "settings", {2}},
	{"queue_conf_pkey", "queue_conf", {1}},
	{"limit_conf_pkey", "limit_conf", {1}},
	{"weight_conf_pkey", "weight_conf", {1}},
	{"server_conf_pkey", "server_conf", {1}},
	{"function_conf_pkey", "function_conf", {1}},
	{"function_conf_retention_idx", "function_conf", {11}},
	{"recurring_pkey", "recurring", {1}},
	{"recurring_name", "recurring", {2, 3}},
	{"recurring_next_idx", "recurring", {14, 1}},
	{"recurring_queued_idx", "recurring", {1}},
	{"filter_pkey", "filter", {1}},
};

static const char *const sequences[] = {"job_id_seq", "settings_id_seq"};

static Oid
type_of(char letter)
{
	switch (letter)
	{
		case 'b':
			return BOOLOID;
		case 'y':
			return BYTEAOID;
		case 'c':
			return CHAROID;
		case 'f':
			return FLOAT4OID;
		case 'i':
			return INT4OID;
		case 'j':
			return JSONBOID;
		case 'l':
			return INT8OID;
		case 'L':
			return INT8ARRAYOID;
		case 'V':
			return INTERVALARRAYOID;
		case 'n':
			return NUMERICOID;
		case 'o':
			return OIDOID;
		case 'p':
			return TIDOID;
		case 'r':
			return REGROLEOID;
		case 's':
			return INT2OID;
		case 't':
			return TEXTOID;
		case 'T':
			return TEXTARRAYOID;
		case 'v':
			return INTERVALOID;
		case 'z':
			return TIMESTAMPTZOID;
		case 'Z':
			return TIMESTAMPTZARRAYOID;
		default:
			elog(ERROR, "unknown type letter \"%c\"", letter);
	}
}

/* Reads the owner and schema of an extension, which has no system cache. InvalidOid: there is none. */
static void
read_extension(Oid extension, Oid *owner, Oid *schema)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	*owner = *schema = InvalidOid;
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		*schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* bgjob_trust_owner returns the owner of an extension. */
Oid
bgjob_trust_owner(Oid extension)
{
	Oid owner;
	Oid schema;

	read_extension(extension, &owner, &schema);
	return owner;
}

/* bgjob_trust_schema returns the schema of an extension's functions. */
Oid
bgjob_trust_schema(Oid extension)
{
	Oid owner;
	Oid schema;

	read_extension(extension, &owner, &schema);
	return schema;
}

/* Returns why a relation is not one that an extension's script has made; NULL: it is one. */
static const char *
not_of_extension(const char *name, Oid relation, const FormData_pg_class *class, char relkind)
{
	Oid extension = get_extension_oid(name, true);
	Oid owner;

	if (extension == InvalidOid)
		return "The extension is not installed.";
	if (getExtensionOfObject(RelationRelationId, relation) != extension)
		return "It is not a member of the extension.";
	owner = bgjob_trust_owner(extension);
	if (!superuser_arg(owner))
		return "The owner of the extension is not a superuser.";
	if (class->relowner != owner)
		return "Its owner is not the owner of the extension.";
	if (class->relkind != relkind || class->relpersistence != RELPERSISTENCE_PERMANENT)
		return "It is of another kind.";
	return NULL;
}

/* Returns whether an index evaluates expressions. */
static bool
has_expressions(Oid index)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool has = HeapTupleIsValid(tuple) && !heap_attisnull(tuple, Anum_pg_index_indexprs, NULL);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return has;
}

/* Returns whether all triggers of a table are the extension's. */
static bool
has_own_triggers_only(Relation rel)
{
	Oid extension = get_extension_oid("bgjob", true);

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		if (getExtensionOfObject(ProcedureRelationId, rel->trigdesc->triggers[i].tgfoid) !=
			extension)
			return false;
	return true;
}

/* Returns why other code would be called for a table's rows; NULL: none would be. */
static const char *
has_foreign_code(Oid relation)
{
	Relation rel = RelationIdGetRelation(relation);
	const char *why = NULL;
	List *all;
	ListCell *cell;

	if (rel == NULL)
		return "It does not exist.";
	all = RelationGetIndexList(rel);
	foreach (cell, all)
		if (has_expressions(lfirst_oid(cell)))
			why = "It has an index on an expression.";
	list_free(all);
	if (rel->rd_rules != NULL)
		why = "It has rules.";
	if (!has_own_triggers_only(rel))
		why = "It has a trigger that is not the extension's.";
	RelationClose(rel);
	return why;
}

/* Returns why a table is not the one that this library knows; NULL: it is. */
static const char *
not_the_table(Oid relation, const FormData_pg_class *class, const char *types)
{
	const char *why = not_of_extension("bgjob", relation, class, RELKIND_RELATION);
	int n = (int) strlen(types);

	if (why != NULL)
		return why;
	if (class->relrowsecurity || class->relispartition || class->relchecks > 0)
		return "It has row-level security or checks, or is a partition.";
	/* That there are none any more is not seen in pg_class before a VACUUM. */
	if (class->relhassubclass && find_inheritance_children(relation, NoLock) != NIL)
		return "It has children.";
	if (class->relnatts != n)
		return psprintf("It has %d columns, not %d.", class->relnatts, n);
	for (int i = 0; i < n; i++)
		if (get_atttype(relation, i + 1) != type_of(types[i]))
			return psprintf("Its column %d is of another type.", i + 1);
	return has_foreign_code(relation);
}

/* Returns whether all keys of an index ascend, nulls last: the order that the library scans them in. */
static bool
is_ascending(HeapTuple index)
{
	bool isnull;
	Datum datum = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indoption, &isnull);
	const int2vector *options = (const int2vector *) DatumGetPointer(datum);

	for (int i = 0; i < options->dim1; i++)
		if (options->values[i] != 0)
			return false;
	return true;
}

/* Returns whether an index has these keys, and no expressions. */
static bool
has_keys(const FormData_pg_index *index, const AttrNumber *keys)
{
	for (int i = 0; i < lengthof(indexes[0].keys); i++)
	{
		if ((i < index->indnkeyatts) != (keys[i] != 0))
			return false;
		if (i < index->indnkeyatts && index->indkey.values[i] != keys[i])
			return false;
	}
	return index->indnkeyatts <= lengthof(indexes[0].keys);
}

/* Returns why an index is not the one that this library knows; NULL: it is. */
static const char *
not_the_index(Oid relation, const FormData_pg_class *class, const char *table,
			  const AttrNumber *keys)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relation));
	const FormData_pg_index *index;
	const char *why = NULL;

	if (!HeapTupleIsValid(tuple))
		return "It is no index.";
	index = (Form_pg_index) GETSTRUCT(tuple);
	if (!index->indisvalid || class->relam != BTREE_AM_OID || !has_keys(index, keys) ||
		!is_ascending(tuple))
		why = "Its keys are others, or it is not valid.";
	else if (strcmp(get_rel_name(index->indrelid), table) != 0)
		why = "It is an index of another table.";
	else
		why = bgjob_trust_refusal(table, index->indrelid);
	ReleaseSysCache(tuple);
	return why;
}

/* Returns why a relation of that name is not the one that this library knows, by what its name promises; NULL: it is. */
static const char *
refusal(const char *name, Oid relation, const FormData_pg_class *class)
{
	for (int i = 0; i < lengthof(tables); i++)
		if (strcmp(tables[i].name, name) == 0)
			return not_the_table(relation, class, tables[i].types);
	for (int i = 0; i < lengthof(indexes); i++)
		if (strcmp(indexes[i].name, name) == 0)
			return not_the_index(relation, class, indexes[i].table, indexes[i].keys);
	return not_of_extension("bgjob", relation, class, RELKIND_SEQUENCE);
}

/* bgjob_trust_refusal returns why a relation in schema bgjob_internal is not to be used, as a sentence; NULL: it may be. */
const char *
bgjob_trust_refusal(const char *name, Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	const char *why;

	if (!HeapTupleIsValid(tuple))
		return "It does not exist.";
	why = refusal(name, relation, (Form_pg_class) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return why;
}

/* bgjob_trust_columns returns how many columns a table has that this library knows. */
int
bgjob_trust_columns(const char *name)
{
	for (int i = 0; i < lengthof(tables); i++)
		if (strcmp(tables[i].name, name) == 0)
			return (int) strlen(tables[i].types);
	elog(ERROR, "unknown table \"%s\"", name);
}

/* bgjob_trust_table returns whether a relation is a plain table that an extension's script has made. */
bool
bgjob_trust_table(const char *extension, Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool genuine;

	if (!HeapTupleIsValid(tuple))
		return false;
	genuine = not_of_extension(extension, relation, (Form_pg_class) GETSTRUCT(tuple),
							   RELKIND_RELATION) == NULL;
	ReleaseSysCache(tuple);
	return genuine;
}

/* bgjob_trust_has_table returns whether there is such a table of that name. */
bool
bgjob_trust_has_table(const char *extension, const char *schema, const char *table)
{
	Oid namespace = get_namespace_oid(schema, true);

	return OidIsValid(namespace) &&
		   bgjob_trust_table(extension, get_relname_relid(table, namespace));
}

/* Returns why the relation of that name is not to be used, with its name; NULL: it may be. */
static const char *
check_name(Oid schema, const char *name)
{
	const char *why = bgjob_trust_refusal(name, get_relname_relid(name, schema));

	return why == NULL ? NULL : psprintf("relation \"%s\": %s", name, why);
}

static Oid
schema_oid(const char *name, bool missing_ok)
{
	Oid schema = get_namespace_oid(name, true);

	if (schema == InvalidOid && !missing_ok)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"bgjob\" is not installed in this database"),
						errhint("Run CREATE EXTENSION bgjob.")));
	return schema;
}

/*
 * bgjob_schema_oid returns schema bgjob: the views, and the right to use bgjob.
 * 42704 if there is none, or InvalidOid.
 */
Oid
bgjob_schema_oid(bool missing_ok)
{
	return schema_oid(BGJOB_VIEWS_SCHEMA, missing_ok);
}

/* bgjob_tables_schema_oid returns the schema of the tables; 42704 if there is none, or InvalidOid. */
Oid
bgjob_tables_schema_oid(bool missing_ok)
{
	return schema_oid(BGJOB_TABLES_SCHEMA, missing_ok);
}

/*
 * bgjob_trust_database returns whether this database is to be served; *why is
 * set if the extension is there, but differs from what the library expects.
 */
BgjobGenuine
bgjob_trust_database(const char **why)
{
	Oid schema = bgjob_tables_schema_oid(true);

	*why = NULL;
	if (get_extension_oid("bgjob", true) == InvalidOid)
		return BGJOB_NOT_INSTALLED;
	if (bgjob_schema_oid(true) == InvalidOid)
		*why = "schema \"bgjob\": It does not exist.";
	else if (schema == InvalidOid)
		*why = "schema \"bgjob_internal\": It does not exist.";
	for (int i = 0; i < lengthof(tables) && *why == NULL; i++)
		*why = check_name(schema, tables[i].name);
	for (int i = 0; i < lengthof(indexes) && *why == NULL; i++)
		*why = check_name(schema, indexes[i].name);
	for (int i = 0; i < lengthof(sequences) && *why == NULL; i++)
		*why = check_name(schema, sequences[i]);
	return *why == NULL ? BGJOB_GENUINE : BGJOB_NOT_GENUINE;
}
