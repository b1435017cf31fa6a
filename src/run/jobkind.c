/*-------------------------------------------------------------------------
 *
 * jobkind.c
 *	  What the text of a job is if its kind is not given: a function or a command.
 *
 * A text that can be the name of a function, with or without the types of its
 * arguments, is a function, even if there is none of that name. Any other text is
 * a command if it parses as one:
 *
 *	 send_mail, app."Send mail", send_mail(int, text), vacuum	 a function
 *	 SELECT 1, VACUUM letter, CALL clean_up()					 a command
 *	 send_mail(13), SELEC 1										 neither
 *
 * Only the syntax decides. No catalog is looked at, so no role can have a text
 * taken for something else by creating or dropping a function, a type or a
 * schema.
 *
 * Runs in the session that enqueues, inside a transaction; takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/text.h"
#include "run/function.h"
#include "run/functionname.h"
#include "run/jobkind.h"
#include "run/parse.h"

/* Returns whether a text would be a command with SELECT before it. */
static bool
is_call(const char *text)
{
	ErrorData *error;

	return bgjob_name_is_call(text) &&
		   bgjob_parse_count(psprintf("SELECT %s", text), &error) == 1;
}

/*
 * Raises 42601: the text is neither a name nor a command. "error" is why it does
 * not parse, NULL if it is empty.
 */
static void
refuse_text(const char *text, const ErrorData *error)
{
	const char *shown = bgjob_text_cut(text, BGJOB_TITLE_MAX);
	bool call = is_call(text);

	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%s\" is neither the name of a function nor a command", shown),
			 call ? errdetail("The parentheses enclose the types of the arguments, not their "
							  "values.")
			 : error != NULL ? errdetail("It does not parse as a command: %s.", error->message)
							 : errdetail("It is empty."),
			 call ? errhint("Give the values in args, and only the name in job. Or enqueue the "
							"command SELECT %s, or CALL for a procedure.",
							shown)
				  : errhint("Write a function like send_mail, app.send_mail or "
							"send_mail(integer), and the values of its arguments in args."),
			 error != NULL && !call ? internalerrposition(error->cursorpos) : 0,
			 error != NULL && !call ? internalerrquery(text) : 0));
}

/*
 * bgjob_kind_of_text returns the kind of a job whose text is given without one: a
 * function if it can be the name of one, else a command. Raises 42601 if it is
 * neither.
 */
BgjobKind
bgjob_kind_of_text(const char *text)
{
	ErrorData *error;

	if (bgjob_name_is_function(text))
		return BGJOB_KIND_FUNCTION;
	if (bgjob_parse_count(text, &error) == 0)
		refuse_text(text, error);
	return BGJOB_KIND_SQL;
}

/*
 * bgjob_kind_by_name returns the kind of a name; the text of the job decides if that is NULL. Raises
 * 22023 if there is no such kind, or the text cannot be that of a job of it.
 */
BgjobKind
bgjob_kind_by_name(const char *kind, const char *job)
{
	if (kind == NULL)
		return bgjob_kind_of_text(job);
	if (strcmp(kind, "function") == 0)
		return BGJOB_KIND_FUNCTION;
	if (strcmp(kind, "sql") == 0)
		return BGJOB_KIND_SQL;
	if (strcmp(kind, "external") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("kind '%s' does not exist", kind),
						errdetail("The kind determines what the job runs."),
						errhint("The kinds are 'function', 'sql' and 'external'.")));
	if (job[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the name of a job for external workers is empty"),
						errdetail("Workers know by the name what to do."),
						errhint("Give any other name.")));
	return BGJOB_KIND_EXTERNAL;
}

/*
 * bgjob_function_or_hint does the same as bgjob_function_resolve for a job whose
 * kind is not given. If there is no function of the name, and the name is also a
 * command, such as CHECKPOINT, the hint of the error says how to enqueue that.
 */
Oid
bgjob_function_or_hint(const char *name, const Jsonb *args, Oid role)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid func = InvalidOid;

	PG_TRY();
	{
		func = bgjob_function_resolve(name, args, role);
	}
	PG_CATCH();
	{
		ErrorData *error;
		ErrorData *syntax;

		if (geterrcode() != ERRCODE_UNDEFINED_FUNCTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		if (bgjob_parse_count(name, &syntax) > 0)
			error->hint = "To run it as a command, specify kind => 'sql'.";
		ReThrowError(error);
	}
	PG_END_TRY();
	return func;
}
