/*-------------------------------------------------------------------------
 *
 * recurringkept.c
 *	  The options of a recurring job that stay when it is updated.
 *
 * The row of a recurring job has the value of every option. Its column "given" names those that
 * callers gave; they stay until a call gives another value. Keys and limits are stored
 * twice: filled with the arguments, for the jobs, and as they were given, with placeholders, since a
 * later call may give other arguments.
 *
 * Runs in the session that calls bgjob_recurring(), which has locked the row. Locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/recurringkept.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The name of the kind in the column "given"; it is no option of store/optionlist.h. */
#define KIND_NAME "kind"

/* Returns whether an option is stored with a recurring job, so that it can stay. */
static bool
is_option(int option)
{
	return (bgjob_options[option].places & BGJOB_IN_RECURRING) != 0 &&
		   bgjob_options[option].recurring != 0;
}

/* Returns the column that has an option as it was given: its own, or one for the text whose placeholders are filled there. */
static BgjobRecurringColumn
given_column(int option)
{
	switch (option)
	{
		case BGJOB_O_SEQUENCE_KEY:
			return BGJOB_R_SEQUENCE_PLACES;
		case BGJOB_O_LIMITS:
			return BGJOB_R_LIMIT_PLACES;
		case BGJOB_O_FAIRNESS_KEY:
			return BGJOB_R_FAIRNESS_PLACES;
		default:
			return (BgjobRecurringColumn) bgjob_options[option].recurring;
	}
}

/* Reads the options that earlier calls gave, and whether one gave the kind. */
static void
read_kept(const BgjobRecurring *row, BgjobOptionSet *kept, bool *kind)
{
	Datum *names;
	int n;

	memset(kept, 0, sizeof(*kept));
	*kind = false;
	if (bgjob_recurring_is_null(row, BGJOB_R_GIVEN))
		return;
	deconstruct_array(DatumGetArrayTypeP(bgjob_recurring_datum(row, BGJOB_R_GIVEN)), TEXTOID,
					  -1, false, TYPALIGN_INT, &names, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char *name = TextDatumGetCString(names[i]);
		int option = bgjob_option_by_name(name, BGJOB_IN_RECURRING);
		BgjobRecurringColumn column;

		if (strcmp(name, KIND_NAME) == 0)
			*kind = true;
		if (option == BGJOB_NOPTIONS || !is_option(option))
			continue;
		column = given_column(option);
		if (!bgjob_recurring_is_null(row, column))
			bgjob_option_set(kept, (BgjobOption) option, bgjob_recurring_datum(row, column));
	}
}

/* Stores which options have been given, by this call or an earlier one. */
static void
write_given(BgjobRecurring *row, const BgjobOptionSet *given, const BgjobOptionSet *kept,
			bool kind)
{
	Datum names[BGJOB_NOPTIONS + 1];
	int n = 0;

	for (int option = 0; option < BGJOB_NOPTIONS; option++)
		if (is_option(option) && (given->given[option] || kept->given[option]))
			names[n++] = CStringGetTextDatum(bgjob_options[option].name);
	if (kind)
		names[n++] = CStringGetTextDatum(KIND_NAME);
	if (n == 0)
		bgjob_recurring_set_null(row, BGJOB_R_GIVEN);
	else
		bgjob_recurring_set(
			row, BGJOB_R_GIVEN,
			PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* Keeps the texts with placeholders, since other arguments may fill them later. */
static void
write_places(BgjobRecurring *row, const BgjobOptionSet *given, const BgjobOptionSet *kept)
{
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		BgjobRecurringColumn column = given_column(option);

		if (!is_option(option) ||
			column == (BgjobRecurringColumn) bgjob_options[option].recurring)
			continue;
		if (given->given[option])
			bgjob_recurring_set(row, column, given->values[option]);
		else if (kept->given[option])
			bgjob_recurring_set(row, column, kept->values[option]);
		else
			bgjob_recurring_set_null(row, column);
	}
}

/* Empty keys take away those that were given. */
static void
drop_empty_keys(BgjobOptionSet *given, BgjobOptionSet *kept)
{
	static const BgjobOption keys[] = {BGJOB_O_UNIQUE_KEY, BGJOB_O_SEQUENCE_KEY,
									   BGJOB_O_FAIRNESS_KEY};

	for (int i = 0; i < lengthof(keys); i++)
	{
		char *key = bgjob_option_text(given, keys[i]);

		if (key != NULL && key[0] == '\0')
			given->given[keys[i]] = kept->given[keys[i]] = false;
	}
}

/*
 * bgjob_kept_read reads the options that earlier calls of bgjob_recurring() gave, and whether one
 * gave the kind. "given" are those of this call; its empty keys take away what stays.
 */
void
bgjob_kept_read(const BgjobRecurring *row, BgjobOptionSet *given, BgjobOptionSet *kept,
				bool *kind)
{
	read_kept(row, kept, kind);
	drop_empty_keys(given, kept);
}

/* bgjob_kept_write stores which options have been given, by this call or an earlier one, and the kind. */
void
bgjob_kept_write(BgjobRecurring *row, const BgjobOptionSet *given, const BgjobOptionSet *kept,
				 bool kind)
{
	write_given(row, given, kept, kind);
	write_places(row, given, kept);
}
