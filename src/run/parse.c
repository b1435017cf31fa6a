/*-------------------------------------------------------------------------
 *
 * parse.c
 *	  Whether a text parses, without an error if it does not.
 *
 * The raw parser alone is asked, so the answer depends on the text and not on the
 * catalogs: no table, function or type needs to exist.
 *
 * Any process, inside a transaction; looks nothing up and takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "run/parse.h"
#include "tcop/tcopprot.h"

/*
 * bgjob_parse_count returns how many commands a text has. If it does not parse,
 * returns 0 and *error is why, else that is NULL. The error is caught without a
 * subtransaction: the raw parser looks nothing up and only allocates memory.
 */
int
bgjob_parse_count(const char *sql, ErrorData **error)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile caught = NULL;
	volatile int n = 0;

	PG_TRY();
	{
		n = list_length(pg_parse_query(sql));
	}
	PG_CATCH();
	{
		int category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category != ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) &&
			category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		caught = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	*error = caught;
	return n;
}
