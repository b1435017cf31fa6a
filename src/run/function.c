/*-------------------------------------------------------------------------
 *
 * function.c
 *	  The function that a job means: found by name, remembered by signature.
 *
 * At enqueue a name is looked up along the caller's search_path, as a call
 * would, and the one function that the arguments fit is chosen. The job keeps
 * its signature, schema.name(types): an OID would not survive a dump or an
 * upgrade, and a function that is dropped and created again is still meant.
 * At run time the signature, which no search_path can bend, is looked up.
 *
 * Descriptions and signatures are cached in the backend; the cache is emptied
 * whenever anything about functions, schemas or types changes. A description
 * stays valid until the end of the transaction.
 *
 * Runs in the session that enqueues and in workers, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "run/arguments.h"
#include "run/function.h"
#include "run/functionname.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#define SIGNATURE_CACHE_KEY 256

typedef struct SignatureEntry
{
	char signature[SIGNATURE_CACHE_KEY]; /* longer ones are not cached */
	Oid func;
} SignatureEntry;

typedef struct DescriptionEntry
{
	Oid func;
	BgjobFunction *function;
} DescriptionEntry;

static MemoryContext cache_context = NULL;
static HTAB *signatures;
static HTAB *descriptions;
static bool cache_stale = false;

static void
on_invalidation(Datum arg, int cacheid, uint32 hashvalue)
{
	cache_stale = true;
}

/* Makes the caches, or empties them if something has changed. */
static void
prepare_cache(void)
{
	static bool registered = false;
	HASHCTL by_signature = {.keysize = SIGNATURE_CACHE_KEY,
							.entrysize = sizeof(SignatureEntry)};
	HASHCTL by_oid = {.keysize = sizeof(Oid), .entrysize = sizeof(DescriptionEntry)};
	MemoryContext fresh;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, on_invalidation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, on_invalidation, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, on_invalidation, (Datum) 0);
		registered = true;
	}
	if (cache_context != NULL && !cache_stale)
		return;
	if (cache_context != NULL)
	{
		/* A caller further up may be using it: it goes with the transaction. */
		MemoryContextSetParent(cache_context, TopTransactionContext);
		cache_context = NULL;
	}
	fresh = AllocSetContextCreate(TopMemoryContext, "bgjob functions", ALLOCSET_DEFAULT_SIZES);
	by_signature.hcxt = by_oid.hcxt = fresh;
	signatures = hash_create("bgjob signatures", 64, &by_signature,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	descriptions =
		hash_create("bgjob functions", 64, &by_oid, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_context = fresh;
	cache_stale = false;
}

/* ---- describing ---- */

static bool
is_input(char mode)
{
	return mode == PROARGMODE_IN || mode == PROARGMODE_INOUT || mode == PROARGMODE_VARIADIC;
}

/* Fills in the input arguments and their defaults. */
static void
describe_arguments(BgjobFunction *function, HeapTuple tuple, char **names)
{
	bool isnull;
	Datum defaults_text = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargdefaults, &isnull);
	List *defaults =
		isnull ? NIL : castNode(List, stringToNode(TextDatumGetCString(defaults_text)));
	int first_default;

	function->args = palloc0(Max(1, function->nall) * sizeof(BgjobArgument));
	for (int i = 0; i < function->nall; i++)
	{
		BgjobArgument *arg = &function->args[function->nargs];

		if (function->all_modes != NULL && !is_input(function->all_modes[i]))
			continue;
		arg->name = names != NULL && names[i][0] != '\0' ? names[i] : NULL;
		arg->type = function->all_types[i];
		arg->type_name = format_type_be(arg->type);
		function->nargs++;
	}
	first_default = function->nargs - list_length(defaults);
	for (int i = first_default; i < function->nargs; i++)
		function->args[i].default_expr = list_nth(defaults, i - first_default);
}

/* Returns why a function cannot be a job; NULL: it can. */
static const char *
unsupported_reason(const BgjobFunction *function)
{
	for (int i = 0; i < function->nargs; i++)
	{
		if (IsPolymorphicType(function->args[i].type))
			return "JSON values do not determine the types of its polymorphic arguments.";
		if (get_typtype(function->args[i].type) == TYPTYPE_PSEUDO)
			return "It has an argument of a pseudo-type.";
	}
	switch (function->result_type)
	{
		case TRIGGEROID:
		case EVENT_TRIGGEROID:
			return "It is a trigger function.";
		case VOIDOID:
		case RECORDOID:
			break;
		default:
			if (get_typtype(function->result_type) == TYPTYPE_PSEUDO)
				return "It returns a pseudo-type.";
			break;
	}
	if (isAnyTempNamespace(get_func_namespace(function->oid)))
		return "It is a temporary function, which only this session can call.";
	return NULL;
}

static BgjobFunction *
describe(Oid func, HeapTuple tuple)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	BgjobFunction *function = palloc0(sizeof(BgjobFunction));
	char **names;

	function->oid = func;
	function->signature = format_procedure(func);
	function->qualified = format_procedure_qualified(func);
	function->procedure = form->prokind == PROKIND_PROCEDURE;
	function->callable = function->procedure || form->prokind == PROKIND_FUNCTION;
	function->set = form->proretset;
	function->result_type = form->prorettype;
	function->variadic = OidIsValid(form->provariadic);
	function->nall =
		get_func_arg_info(tuple, &function->all_types, &names, &function->all_modes);
	describe_arguments(function, tuple, names);
	function->chunk =
		function->nargs == 1 && !function->variadic && function->args[0].type == JSONBARRAYOID;
	function->whole =
		function->chunk ||
		(function->nargs == 1 && !function->variadic &&
		 (function->args[0].type == JSONOID || function->args[0].type == JSONBOID));
	function->unsupported_reason = unsupported_reason(function);
	return function;
}

static void
function_has_gone(Oid func)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
					errmsg("function with OID %u does not exist", func)));
}

/*
 * bgjob_function_describe returns what must be known of a function to call
 * it. 42883 if it has gone.
 */
const BgjobFunction *
bgjob_function_describe(Oid func)
{
	DescriptionEntry *entry;
	BgjobFunction *function;
	MemoryContext old;
	HeapTuple tuple;

	prepare_cache();
	entry = hash_search(descriptions, &func, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->function;

	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(func));
	if (!HeapTupleIsValid(tuple))
		function_has_gone(func);
	old = MemoryContextSwitchTo(cache_context);
	function = describe(func, tuple);
	MemoryContextSwitchTo(old);
	entry = hash_search(descriptions, &func, HASH_ENTER, NULL);
	entry->function = function;
	ReleaseSysCache(tuple);
	return entry->function;
}

/* ---- looking up at enqueue ---- */

static void
check_kind(Oid func, const char *name)
{
	const BgjobFunction *function = bgjob_function_describe(func);

	if (!function->callable)
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is an aggregate or a window function", name),
			 errhint("A job calls a function or a procedure; use kind 'sql' for a query.")));
	if (function->unsupported_reason != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("function %s cannot be called by a job", function->signature),
						errdetail("%s", function->unsupported_reason),
						errhint("Have the job call a function that calls it.")));
}

static void
unknown_function(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function \"%s\" does not exist", name), bgjob_name_explain_unknown(name)));
}

/* Turns the error of a missing function, schema or type into that of a missing function. */
static void
add_signature_hint(void *name)
{
	int code = geterrcode();

	if (code == ERRCODE_SYNTAX_ERROR || code == ERRCODE_INVALID_NAME)
	{
		(void) errmsg("invalid name of a function: \"%s\"", (const char *) name);
		errdetail("The parentheses enclose the types of the arguments, not their values.");
		errhint("Write it like send_mail or send_mail(integer), with args => '[13]'.");
		errposition(0);
		return;
	}
	if (code != ERRCODE_UNDEFINED_FUNCTION && code != ERRCODE_UNDEFINED_SCHEMA &&
		code != ERRCODE_UNDEFINED_OBJECT)
		return;
	errcode(ERRCODE_UNDEFINED_FUNCTION);
	(void) bgjob_name_explain_unknown(name);
	if (code != ERRCODE_UNDEFINED_FUNCTION)
		errdetail("The function is %s.", (const char *) name);
}

/* Returns the function that a name with the types of its arguments means. */
static Oid
find_by_signature(const char *name)
{
	ErrorContextCallback context = {.callback = add_signature_hint,
									.arg = unconstify(char *, name)};
	Oid func;

	context.previous = error_context_stack;
	error_context_stack = &context;
	func = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(name)));
	error_context_stack = context.previous;
	return func;
}

static void
add_name_hint(void *name)
{
	if (geterrcode() != ERRCODE_INVALID_NAME)
		return;
	errdetail("The name is \"%s\".", (const char *) name);
	errhint("Write a function as in SQL: name, schema.name, or \"Name\".");
}

/* Returns all functions of a name; 42883 if there is none, 42602 if it cannot be a name. */
static FuncCandidateList
candidates_of(const char *name)
{
	ErrorContextCallback context = {.callback = add_name_hint, .arg = unconstify(char *, name)};
	FuncCandidateList candidates;

	context.previous = error_context_stack;
	error_context_stack = &context;
	candidates =
		FuncnameGetCandidates(bgjob_qualified_name(name), -1, NIL, false, false, false, true);
	error_context_stack = context.previous;
	if (candidates == NULL)
		unknown_function(name);
	return candidates;
}

static const char *
describe_candidates(FuncCandidateList candidates)
{
	StringInfoData text;

	initStringInfo(&text);
	for (; candidates != NULL; candidates = candidates->next)
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "",
						 bgjob_function_describe(candidates->oid)->signature);
	return text.data;
}

static void
ambiguous(const char *name, FuncCandidateList candidates, Oid example)
{
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_FUNCTION),
			 errmsg("function name \"%s\" is not unique", name),
			 errdetail("The functions of that name are %s.", describe_candidates(candidates)),
			 errhint("Specify the types of the arguments, as in %s.",
					 bgjob_function_describe(example)->signature)));
}

/* Returns the function of a name whose parameters match the arguments. */
static Oid
find_by_name(const char *name, const Jsonb *args)
{
	FuncCandidateList candidates = candidates_of(name);
	FuncCandidateList all = candidates;
	Oid found = InvalidOid;
	bool callable = false; /* one of them is no aggregate or window function */
	int fitting = 0;

	if (candidates->next == NULL)
		return candidates->oid; /* the arguments are checked against it, with better messages */

	for (; candidates != NULL; candidates = candidates->next)
	{
		const BgjobFunction *function = bgjob_function_describe(candidates->oid);

		callable = callable || function->callable;
		if (!function->callable || function->unsupported_reason != NULL ||
			!bgjob_arguments_fit(function, args))
			continue;
		found = function->oid;
		fitting++;
	}
	if (!callable)
		check_kind(all->oid, name);
	if (fitting == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no function named \"%s\" matches the arguments", name),
				 errdetail("The functions of that name are %s.", describe_candidates(all)),
				 errhint("Check the number and the names of the arguments.")));
	if (fitting > 1)
		ambiguous(name, all, found);
	return found;
}

/*
 * bgjob_function_check_execute raises 42501 unless a role may execute a
 * function, and use its schema.
 */
void
bgjob_function_check_execute(Oid func, Oid role)
{
	Oid schema = get_func_namespace(func);
	AclResult result;

	if (!OidIsValid(schema))
		function_has_gone(func);
	result = bgjob_schema_aclcheck(schema, role, ACL_USAGE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(schema));
	result = bgjob_function_aclcheck(func, role, ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result,
					   bgjob_function_is_procedure(func) ? OBJECT_PROCEDURE : OBJECT_FUNCTION,
					   get_func_name(func));
}

/*
 * bgjob_function_check raises an error unless a role may execute a function, and
 * that is one that a job can call: 42501, and 42809 or 22023.
 */
void
bgjob_function_check(Oid func, Oid role)
{
	const BgjobFunction *function = bgjob_function_describe(func);

	bgjob_function_check_execute(func, role);
	if (!function->callable || function->unsupported_reason != NULL)
		check_kind(func, function->signature);
}

/* Returns whether a name has the types of its arguments. */
static bool
has_types(const char *name)
{
	const char *end = strrchr(name, ')');

	return end != NULL && end[1 + strspn(end + 1, " \t\r\n")] == '\0';
}

/* bgjob_function_is_overloaded returns whether a name, which has a function, has several. */
bool
bgjob_function_is_overloaded(const char *name)
{
	return !has_types(name) && candidates_of(name)->next != NULL;
}

/*
 * bgjob_function_by_name returns the function that a name alone, or one with
 * the types of its arguments, means. Errors: as bgjob_function_resolve; 42725 if
 * there are several of that name.
 */
Oid
bgjob_function_by_name(const char *name, Oid role)
{
	if (!has_types(name))
	{
		FuncCandidateList candidates = candidates_of(name);

		if (candidates->next != NULL)
			ambiguous(name, candidates, candidates->oid);
	}
	return bgjob_function_resolve(name, NULL, role);
}

/*
 * bgjob_function_resolve returns the function that a name means, which may be
 * qualified and may have the types of its arguments; "args" choose where a
 * name alone is not unique. "role" will call it. Errors: 42883 there
 * is none; 42725 several fit; 22023 none fits, or it cannot be a job; 42809
 * an aggregate or window function; 42501 the role may not execute it.
 */
Oid
bgjob_function_resolve(const char *name, const Jsonb *args, Oid role)
{
	Oid func = has_types(name) ? find_by_signature(name) : find_by_name(name, args);

	check_kind(func, name);
	bgjob_function_check_execute(func, role);
	return func;
}

/* bgjob_function_signature returns schema.name(types), which means the same under any search_path. */
char *
bgjob_function_signature(Oid func)
{
	return pstrdup(bgjob_function_describe(func)->qualified);
}

/* ---- looking up at run time ---- */

/*
 * bgjob_function_find returns the function of a signature. 42883 if it has
 * gone, or what says which it is: then the signature is empty. The role of the
 * worker may lack USAGE on its schema: then 42501.
 */
Oid
bgjob_function_find(const char *signature)
{
	SignatureEntry *entry;
	Oid func;

	if (signature[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("the call of the job is missing"),
				 errdetail("The row in bgjob_internal.settings is missing or malformed.")));
	prepare_cache();
	if (strlen(signature) >= SIGNATURE_CACHE_KEY)
		return find_by_signature(signature);
	entry = hash_search(signatures, signature, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->func;
	func = find_by_signature(signature);
	prepare_cache(); /* the look-up may have received invalidations */
	entry = hash_search(signatures, signature, HASH_ENTER, NULL);
	entry->func = func;
	return func;
}

/* Returns whether an error means that a signature has no function: it was dropped, or the signature is malformed. */
static bool
means_no_function(int sqlerrcode)
{
	int category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_UNDEFINED_FUNCTION) ||
		   category == ERRCODE_DATA_EXCEPTION;
}

/* Finds a function without an error: InvalidOid, and the message, if there is none. */
static Oid
find_quietly(Oid (*find)(const char *), const char *signature, const char **message)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile Oid func = InvalidOid;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		func = find(signature);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!means_no_function(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		*message = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return func;
}

/*
 * bgjob_function_unusable_reason returns why a role could not call the function of a
 * signature: the message of the error that bgjob_function_find or
 * bgjob_function_check_execute would raise. NULL if it could.
 */
const char *
bgjob_function_unusable_reason(const char *signature, Oid role)
{
	const char *message = NULL;
	SignatureEntry *entry = NULL;
	const BgjobFunction *function;
	Oid func;

	prepare_cache();
	if (strlen(signature) < SIGNATURE_CACHE_KEY)
		entry = hash_search(signatures, signature, HASH_FIND, NULL);
	func = entry != NULL ? entry->func : find_quietly(bgjob_function_find, signature, &message);
	if (!OidIsValid(func))
		return message;
	if (bgjob_schema_aclcheck(get_func_namespace(func), role, ACL_USAGE) != ACLCHECK_OK)
		return psprintf("permission denied for schema %s",
						get_namespace_name(get_func_namespace(func)));
	if (bgjob_function_aclcheck(func, role, ACL_EXECUTE) != ACLCHECK_OK)
		return psprintf("permission denied for %s %s",
						bgjob_function_is_procedure(func) ? "procedure" : "function",
						get_func_name(func));
	function = bgjob_function_describe(func);
	if (!function->callable)
		return psprintf("%s is an aggregate or a window function", function->signature);
	if (function->unsupported_reason != NULL)
		return psprintf("function %s cannot be called by a job", function->signature);
	return NULL;
}

/* bgjob_function_is_gone returns whether the function of a signature was dropped; the result is not cached. */
bool
bgjob_function_is_gone(const char *signature)
{
	const char *message;

	return !OidIsValid(find_quietly(find_by_signature, signature, &message));
}

/* bgjob_function_is_procedure returns whether a function is a procedure, which is called by CALL. */
bool
bgjob_function_is_procedure(Oid func)
{
	return bgjob_function_describe(func)->procedure;
}
