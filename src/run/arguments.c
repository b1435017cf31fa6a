/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  Binding JSON to the arguments of a function.
 *
 * An array gives positional arguments, an object named ones; a missing argument
 * takes its default. A function whose only argument is json or jsonb gets the
 * JSON whole; one whose only argument is jsonb[] gets an array of it. Values are converted as jsonb_to_record() does: strings by
 * their content, numbers and booleans by their text, through the input
 * function of the type; arrays and objects for array and row types by
 * jsonb_to_record() itself, since the server has no function for one value
 * before version 17.
 *
 * The same code binds at enqueue, where it only checks, and at run time; so
 * arguments that have passed the check bind, unless the function has changed since.
 *
 * Runs in the session that enqueues and in workers, inside a transaction, as
 * the current user: domains and types may call functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "run/arguments.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* ---- counting and naming ---- */

static int
count_required(const BgjobFunction *function)
{
	int n = function->nargs - (function->variadic ? 1 : 0);

	while (n > 0 && function->args[n - 1].default_expr != NULL)
		n--;
	return n;
}

static int
find_argument(const BgjobFunction *function, const char *name, int length)
{
	for (int i = 0; i < function->nargs; i++)
		if (function->args[i].name != NULL && strlen(function->args[i].name) == length &&
			memcmp(function->args[i].name, name, length) == 0)
			return i;
	return -1;
}

static JsonbValue *
get_member(const Jsonb *object, const char *name)
{
	JsonbValue key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	return findJsonbValueFromContainer(unconstify(JsonbContainer *, &object->root), JB_FOBJECT,
									   &key);
}

static bool
is_object(const Jsonb *args)
{
	return JB_ROOT_IS_OBJECT(args);
}

static bool
is_array(const Jsonb *args)
{
	return JB_ROOT_IS_ARRAY(args) && !JB_ROOT_IS_SCALAR(args);
}

/* Returns the text of a function with the names, types and defaults of its arguments. */
static char *
describe_call(const BgjobFunction *function)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%.*s(", (int) strcspn(function->signature, "("),
					 function->signature);
	for (int i = 0; i < function->nargs; i++)
	{
		const BgjobArgument *arg = &function->args[i];

		appendStringInfo(&text, "%s%s%s%s%s%s", i > 0 ? ", " : "",
						 function->variadic && i == function->nargs - 1 ? "VARIADIC " : "",
						 arg->name != NULL ? quote_identifier(arg->name) : "",
						 arg->name != NULL ? " " : "", format_type_be(arg->type),
						 arg->default_expr != NULL ? " DEFAULT" : "");
	}
	appendStringInfoChar(&text, ')');
	return text.data;
}

static void
misfit(const BgjobFunction *function, const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
					errdetail("The function is %s.", describe_call(function)),
					errhint("An array gives the arguments in their order, such as [13], an "
							"object by their names.")));
}

/* Returns the first name in an object that is no argument's; NULL: there is none. */
static char *
unknown_name(const BgjobFunction *function, const Jsonb *args)
{
	JsonbIterator *it = JsonbIteratorInit(unconstify(JsonbContainer *, &args->root));
	JsonbIteratorToken token;
	JsonbValue value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY &&
			find_argument(function, value.val.string.val, value.val.string.len) < 0)
			return pnstrdup(value.val.string.val, value.val.string.len);
	return NULL;
}

static bool
may_be_missing(const BgjobFunction *function, int i)
{
	return function->args[i].default_expr != NULL ||
		   (function->variadic && i == function->nargs - 1);
}

/* Returns the first argument that has neither a value in an object nor a default; -1: there is none. */
static int
missing_argument(const BgjobFunction *function, const Jsonb *args)
{
	for (int i = 0; i < function->nargs; i++)
	{
		const BgjobArgument *arg = &function->args[i];

		if (may_be_missing(function, i))
			continue;
		if (arg->name == NULL || get_member(args, arg->name) == NULL)
			return i;
	}
	return -1;
}

static bool
count_fits(const BgjobFunction *function, int n)
{
	return n >= count_required(function) && (function->variadic || n <= function->nargs);
}

/* Returns whether an object has all that a function needs, and nothing else: the results of unknown_name and missing_argument in one pass. */
static bool
names_fit(const BgjobFunction *function, const Jsonb *args)
{
	int known = 0;

	for (int i = 0; i < function->nargs; i++)
	{
		const BgjobArgument *arg = &function->args[i];

		if (arg->name != NULL && get_member(args, arg->name) != NULL)
			known++;
		else if (!may_be_missing(function, i))
			return false;
	}
	return known == JB_ROOT_COUNT(args);
}

/* bgjob_arguments_fit returns whether JSON fits a function by number and names; types are not checked. */
bool
bgjob_arguments_fit(const BgjobFunction *function, const Jsonb *args)
{
	if (function->whole)
		return true;
	if (args == NULL)
		return count_required(function) == 0;
	if (is_object(args))
		return names_fit(function, args);
	return is_array(args) && count_fits(function, JB_ROOT_COUNT(args));
}

/* Raises 22023 if the arguments do not match a function. */
static void
check_fit(const BgjobFunction *function, const Jsonb *args)
{
	char *name;
	int missing;
	int n;

	if (function->whole || bgjob_arguments_fit(function, args))
		return;
	if (args == NULL || is_array(args))
	{
		n = args == NULL ? 0 : JB_ROOT_COUNT(args);
		misfit(function,
			   psprintf(
				   "too %s arguments: %d given, %s%d expected",
				   n < count_required(function) ? "few" : "many", n,
				   n < count_required(function) && count_required(function) < function->nargs
					   ? "at least "
					   : "",
				   n < count_required(function) ? count_required(function) : function->nargs));
	}
	if (!is_object(args))
		misfit(function, "args must be a JSON array or object");
	name = unknown_name(function, args);
	if (name != NULL)
		misfit(function, psprintf("the function has no argument named \"%s\"", name));
	missing = missing_argument(function, args);
	if (function->args[missing].name == NULL)
		misfit(function, psprintf("argument %d has no name and cannot be given by an object",
								  missing + 1));
	misfit(function, psprintf("argument \"%s\" is missing", function->args[missing].name));
}

/* ---- converting one value ---- */

/* How values of a type are made. Cached in the backend. */
typedef struct TypeEntry
{
	Oid type;
	bool structured; /* array or row, or a domain over one */
	Oid base;
	Oid io_param;
	int32 typmod;
	FmgrInfo input;
} TypeEntry;

static MemoryContext types_context = NULL;
static HTAB *types;
static bool types_stale = false;

static void
on_type_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	types_stale = true;
}

/* Makes the cache, or empties it if a type has changed. */
static void
prepare_types(void)
{
	static bool registered = false;
	HASHCTL info = {.keysize = sizeof(Oid), .entrysize = sizeof(TypeEntry)};
	MemoryContext fresh;

	if (types_context != NULL && !types_stale)
		return;
	if (!registered)
		CacheRegisterSyscacheCallback(TYPEOID, on_type_invalidation, (Datum) 0);
	registered = true;
	if (types_context != NULL)
	{
		/* A caller further up may be using it: it goes with the transaction. */
		MemoryContextSetParent(types_context, TopTransactionContext);
		types_context = NULL;
	}
	fresh = AllocSetContextCreate(TopMemoryContext, "bgjob types", ALLOCSET_DEFAULT_SIZES);
	info.hcxt = fresh;
	types = hash_create("bgjob types", 32, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	types_context = fresh;
	types_stale = false;
}

static TypeEntry *
find_type(Oid type)
{
	TypeEntry made = {.type = type, .typmod = -1};
	TypeEntry *entry;
	Oid input;

	prepare_types();
	entry = hash_search(types, &type, HASH_FIND, NULL);
	if (entry != NULL)
		return entry;
	getTypeInputInfo(type, &input, &made.io_param);
	made.base = getBaseType(type);
	made.structured = type_is_rowtype(made.base) || OidIsValid(get_element_type(made.base));
	prepare_types(); /* the look-ups may have received invalidations */
	fmgr_info_cxt(input, &made.input, types_context);
	entry = hash_search(types, &type, HASH_ENTER, NULL); /* nothing after this can fail */
	*entry = made;
	return entry;
}

/* Returns the text that a JSON value is converted by; NULL for null. */
static char *
text_of(JsonbValue *json)
{
	switch (json->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(json->val.string.val, json->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(json->val.numeric)));
		case jbvBool:
			return pstrdup(json->val.boolean ? "true" : "false");
		default:
			return JsonbToCString(NULL, &JsonbValueToJsonb(json)->root, -1);
	}
}

/* Converts an array or object for an array or row type: the server's own way, by SQL. */
static BgjobValue
convert_structured(JsonbValue *json, Oid type)
{
	JsonbParseState *state = NULL;
	BgjobValue result = {.given = true};
	Oid jsonb_type = JSONBOID;
	Datum whole;
	MemoryContext caller = CurrentMemoryContext;
	char *query = psprintf(
		"SELECT r.value FROM pg_catalog.jsonb_to_record($1) AS r(value %s)",
		format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY | FORMAT_TYPE_TYPEMOD_GIVEN));

	bgjob_json_begin(&state);
	bgjob_json_string(&state, WJB_KEY, "value"); /* the hints of errors name it */
	pushJsonbValue(&state, WJB_VALUE, json);
	whole = JsonbPGetDatum(bgjob_json_end(&state));

	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(query, 1, &jsonb_type, &whole, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not convert an argument");
	result.value =
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &result.isnull);
	if (!result.isnull)
	{
		int16 length;
		bool byval;
		MemoryContext old = MemoryContextSwitchTo(caller);

		get_typlenbyval(type, &length, &byval);
		result.value = datumCopy(result.value, byval, length);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return result;
}

/*
 * bgjob_value_of converts a JSON value to a type. Raises the type's own error
 * if it cannot be.
 */
BgjobValue
bgjob_value_of(JsonbValue *json, Oid type)
{
	TypeEntry *entry = find_type(type);
	BgjobValue result = {.given = true, .isnull = json->type == jbvNull};

	if (entry->structured && json->type != jbvNull &&
		(json->type == jbvBinary || json->type == jbvObject || json->type == jbvArray))
		return convert_structured(json, type);
	if (type == JSONBOID)
	{
		if (!result.isnull)
			result.value = JsonbPGetDatum(JsonbValueToJsonb(json));
		return result;
	}
	if (entry->base == JSONOID || entry->base == JSONBOID)
	{
		/* A string is a JSON string, not its content. */
		char *text =
			result.isnull ? NULL : JsonbToCString(NULL, &JsonbValueToJsonb(json)->root, -1);

		result.value = InputFunctionCall(&entry->input, text, entry->io_param, entry->typmod);
		return result;
	}
	result.value =
		InputFunctionCall(&entry->input, text_of(json), entry->io_param, entry->typmod);
	return result;
}

/* ---- binding ---- */

/* The argument that is being converted, for the context of an error. */
typedef struct Converting
{
	const BgjobFunction *function;
	int argument; /* counted from 0 */
} Converting;

/* Says which argument an error is about. Looks up nothing, since an error is under way. */
static void
name_argument(void *arg)
{
	const Converting *now = arg;
	int last = now->function->nargs - 1;
	const BgjobArgument *argument = &now->function->args[Min(now->argument, last)];

	if (argument->name != NULL)
		errcontext("argument \"%s\" (%d), type %s, of %s", argument->name, now->argument + 1,
				   argument->type_name, now->function->signature);
	else
		errcontext("argument %d, type %s, of %s", now->argument + 1, argument->type_name,
				   now->function->signature);
}

/* Collects positional arguments from number "first" on into an array; converting->argument follows. */
static BgjobValue
collect_variadic(const Jsonb *args, int first, Oid array_type, Converting *converting)
{
	Oid element_type = get_element_type(array_type);
	int n = JB_ROOT_COUNT(args) - first;
	Datum *values = palloc(n * sizeof(Datum));
	bool *nulls = palloc(n * sizeof(bool));
	int dims[1] = {n};
	int lower[1] = {1};
	int16 length;
	bool byval;
	char align;

	for (int i = 0; i < n; i++)
	{
		BgjobValue value;

		converting->argument = first + i;
		value = bgjob_value_of(
			getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &args->root), first + i),
			element_type);

		values[i] = value.value;
		nulls[i] = value.isnull;
	}
	get_typlenbyvalalign(element_type, &length, &byval, &align);
	return (BgjobValue){
		true, false,
		PointerGetDatum(construct_md_array(values, nulls, 1, dims, lower, element_type, length,
										   byval, align))};
}

static BgjobValue
empty_variadic(Oid array_type)
{
	return (BgjobValue){true, false,
						PointerGetDatum(construct_empty_array(get_element_type(array_type)))};
}

static void
bind_positional(Converting *converting, const Jsonb *args, BgjobValue *values)
{
	const BgjobFunction *function = converting->function;
	int n = JB_ROOT_COUNT(args);
	int fixed = function->nargs - (function->variadic ? 1 : 0);

	for (int i = 0; i < Min(n, fixed); i++)
	{
		converting->argument = i;
		values[i] = bgjob_value_of(
			getIthJsonbValueFromContainer(unconstify(JsonbContainer *, &args->root), i),
			function->args[i].type);
	}
	if (function->variadic && n > fixed)
		values[fixed] = collect_variadic(args, fixed, function->args[fixed].type, converting);
}

static void
bind_named(Converting *converting, const Jsonb *args, BgjobValue *values)
{
	const BgjobFunction *function = converting->function;

	for (int i = 0; i < function->nargs; i++)
	{
		const BgjobArgument *arg = &function->args[i];
		JsonbValue *json = arg->name == NULL ? NULL : get_member(args, arg->name);

		converting->argument = i;
		if (json != NULL)
			values[i] = bgjob_value_of(json, arg->type);
	}
}

/* Converts arguments that are not taken whole; an error says which argument it is about. */
static void
bind_each(const BgjobFunction *function, const Jsonb *args, BgjobValue *values)
{
	Converting converting = {.function = function};
	ErrorContextCallback context = {.callback = name_argument, .arg = &converting};

	context.previous = error_context_stack;
	error_context_stack = &context;
	if (is_object(args))
		bind_named(&converting, args, values);
	else
		bind_positional(&converting, args, values);
	error_context_stack = context.previous;
}

/* bgjob_arguments_chunk returns the argument of a function that takes an array of them, one for each job; NULL is null. */
BgjobValue
bgjob_arguments_chunk(const Jsonb *const *args, int n)
{
	Datum *values = palloc(n * sizeof(Datum));
	bool *nulls = palloc(n * sizeof(bool));
	int dims[1] = {n};
	int lower[1] = {1};

	for (int i = 0; i < n; i++)
	{
		values[i] = JsonbPGetDatum(args[i]);
		nulls[i] = args[i] == NULL;
	}
	return (BgjobValue){.given = true,
						.value = PointerGetDatum(construct_md_array(
							values, nulls, 1, dims, lower, JSONBOID, -1, false, TYPALIGN_INT))};
}

/* Returns the JSON itself, for a function that takes it whole; SQL null if there is none. */
static BgjobValue
bind_whole(const BgjobFunction *function, const Jsonb *args)
{
	BgjobValue value = {.given = args != NULL || function->args[0].default_expr == NULL,
						.isnull = args == NULL};

	if (function->chunk)
		return bgjob_arguments_chunk(&args, 1);
	if (args != NULL && function->args[0].type == JSONBOID)
		value.value = JsonbPGetDatum(args);
	else if (args != NULL)
		value.value = CStringGetTextDatum(
			JsonbToCString(NULL, unconstify(JsonbContainer *, &args->root), VARSIZE(args)));
	return value;
}

/*
 * bgjob_arguments_bind converts JSON to the input arguments of a function;
 * the result has function->nargs entries. Errors: 22023 number or names do
 * not fit; the type's own if a value cannot be converted.
 */
BgjobValue *
bgjob_arguments_bind(const BgjobFunction *function, const Jsonb *args)
{
	BgjobValue *values = palloc0(Max(1, function->nargs) * sizeof(BgjobValue));

	check_fit(function, args);
	if (function->whole)
		values[0] = bind_whole(function, args);
	else if (args != NULL)
		bind_each(function, args, values);
	if (function->variadic && !values[function->nargs - 1].given &&
		function->args[function->nargs - 1].default_expr == NULL)
		values[function->nargs - 1] = empty_variadic(function->args[function->nargs - 1].type);
	return values;
}

/* bgjob_arguments_check raises what bgjob_arguments_bind would, and nothing else happens. */
void
bgjob_arguments_check(const BgjobFunction *function, const Jsonb *args)
{
	if (function->whole)
		return;
	if (function->nargs == 0 || args == NULL)
		check_fit(function, args);
	else
		(void) bgjob_arguments_bind(function, args);
}
