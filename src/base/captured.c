/*-------------------------------------------------------------------------
 *
 * captured.c
 *	  Settings of the caller that travel with a job.
 *
 * The session that enqueues captures two objects of names and values:
 *
 *	 listed	the settings that bgjob.capture_settings names; nearly the
 *			same for all jobs of an application, so it is stored once
 *	 custom	the settings with a dot that this session has set (SET,
 *			SET LOCAL, set_config, a function's SET, connection options):
 *			tenant, user, request…; differs from job to job, mostly absent
 *
 * The worker sets both inside the job's transaction, as SET would: an abort
 * takes them back with the rest, and after a commit bgjob_session_clean does.
 *
 * A listed setting without a dot is set with a superuser's rights, since an
 * administrator has chosen it. One with a dot gets the rights of PUBLIC, even
 * in a superuser's worker: if its library was not loaded, any role could set it to
 * any value, and then call a SECURITY DEFINER function that enqueues. So a setting
 * that turns out to need a privilege in the worker is skipped, now or when its
 * library is loaded, as in the caller's own session.
 *
 * Never captured: settings that only superusers may see, settings that RESET ALL does
 * not reset (role, session_authorization, transaction_isolation…), and bgjob's own.
 *
 * Both sides run for every job, so both remember their last result: a capture
 * costs one comparison a setting, and so does the application of values that
 * are in force already. The record of a setting without a dot stays where it
 * is for the life of a process and is remembered too; that of one with a dot
 * may be freed, when a library defines a former placeholder.
 *
 * Any process, inside a transaction. The caches are per backend.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/captured.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/json.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#define NEVER_CAPTURED (GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NO_RESET_ALL)

#define NUMBER_LENGTH DOUBLE_SHORTEST_DECIMAL_LEN

typedef struct Setting
{
	const struct config_generic *record; /* NULL: to be looked up each time */
	char *name;
	char *value; /* NULL: there is no such setting, or it is not to be captured */
} Setting;

/* Settings in order, and the object that says the same. All in "context". */
typedef struct Combination
{
	MemoryContext context;
	int count;
	Setting *settings;
	Jsonb *object; /* NULL: not valid */
} Combination;

static Combination captured;       /* by bgjob_capture_listed */
static char *captured_names;       /* the bgjob.capture_settings that it was made for */
static Combination applied_listed; /* by bgjob_captured_apply */
static Combination applied_custom;

/* Forgets a combination and makes room for another. */
static void
combination_begin(Combination *combination, int count)
{
	combination->object = NULL;
	combination->count = 0;
	if (combination->context == NULL)
		combination->context = AllocSetContextCreate(
			TopMemoryContext, "bgjob captured settings", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(combination->context);
	combination->settings =
		MemoryContextAllocZero(combination->context, Max(count, 1) * sizeof(Setting));
}

static Setting *
combination_add(Combination *combination, const char *name, int length)
{
	Setting *setting = &combination->settings[combination->count];

	setting->name = MemoryContextAllocZero(combination->context, length + 1);
	memcpy(setting->name, name, length);
	if (strchr(setting->name, GUC_QUALIFIER_SEPARATOR) == NULL)
		setting->record = bgjob_find_setting(setting->name);
	combination->count++;
	return setting;
}

static const struct config_generic *
record_of(const Setting *setting)
{
	return setting->record != NULL ? setting->record : bgjob_find_setting(setting->name);
}

/*
 * Returns the value in force, as SET would take it; no show hooks, no units, and
 * numbers in full. Points into the setting or to "number".
 */
static const char *
value_of(const struct config_generic *record, char *number)
{
	const char *text;

	switch (record->vartype)
	{
		case PGC_BOOL:
			return *((const struct config_bool *) record)->variable ? "on" : "off";
		case PGC_INT:
			snprintf(number, NUMBER_LENGTH, "%d",
					 *((const struct config_int *) record)->variable);
			return number;
		case PGC_REAL:
			double_to_shortest_decimal_buf(*((const struct config_real *) record)->variable,
										   number);
			return number;
		case PGC_STRING:
			text = *((const struct config_string *) record)->variable;
			return text != NULL ? text : "";
		case PGC_ENUM:
			return config_enum_lookup_by_value(
				unconstify(struct config_enum *, (const struct config_enum *) record),
				*((const struct config_enum *) record)->variable);
	}
	return ""; /* cannot be */
}

static bool
may_be_captured(const struct config_generic *record)
{
	int never = NEVER_CAPTURED;

	if (record->flags & GUC_CUSTOM_PLACEHOLDER)
		never &= ~GUC_NO_SHOW_ALL; /* means nothing there */
	return (record->context == PGC_USERSET || record->context == PGC_SUSET) &&
		   (record->flags & never) == 0 &&
		   pg_strncasecmp(record->name, "bgjob.", strlen("bgjob.")) != 0;
}

/* Reads bgjob.capture_settings; names of unknown settings have no value. */
static void
read_names(void)
{
	char *copy = pstrdup(bgjob_capture_settings);
	List *names = NIL;
	ListCell *cell;

	captured_names = NULL;
	if (!SplitGUCList(copy, ',', &names))
		names = NIL;
	combination_begin(&captured, list_length(names));
	foreach (cell, names)
		(void) combination_add(&captured, lfirst(cell), strlen(lfirst(cell)));
	captured_names = MemoryContextStrdup(captured.context, bgjob_capture_settings);
	list_free(names);
	pfree(copy);
}

/* Brings one value up to date. */
static void
refresh(Setting *setting)
{
	const struct config_generic *record = record_of(setting);
	const char *now = NULL;
	char number[NUMBER_LENGTH];
	char *old = setting->value;

	if (record != NULL && may_be_captured(record))
		now = value_of(record, number);
	if (now == NULL ? old == NULL : old != NULL && strcmp(now, old) == 0)
		return;

	captured.object = NULL;
	setting->value = now != NULL ? MemoryContextStrdup(captured.context, now) : NULL;
	if (old != NULL)
		pfree(old);
}

/* Returns the object of the captured settings, in the combination's context. */
static Jsonb *
captured_object(void)
{
	JsonbParseState *state = NULL;
	Jsonb *object;
	Jsonb *copy;

	bgjob_json_begin(&state);
	for (int i = 0; i < captured.count; i++)
	{
		const Setting *setting = &captured.settings[i];

		if (setting->value == NULL)
			continue;
		bgjob_json_text(&state, record_of(setting)->name, setting->value);
	}
	object = bgjob_json_end(&state);
	copy = MemoryContextAlloc(captured.context, VARSIZE(object));
	memcpy(copy, object, VARSIZE(object));
	pfree(object);
	return copy;
}

/*
 * bgjob_capture_listed returns the values in force of the settings that
 * bgjob.capture_settings names, as {"TimeZone": "UTC", …}. Names of no setting
 * are left out. The result belongs to this file: it is valid until the next
 * call, and the same object as long as nothing changes.
 */
Jsonb *
bgjob_capture_listed(void)
{
	Jsonb *last;

	if (captured_names == NULL || strcmp(captured_names, bgjob_capture_settings) != 0)
		read_names();
	last = captured.object;
	for (int i = 0; i < captured.count; i++)
		refresh(&captured.settings[i]);
	if (captured.object == NULL)
	{
		captured.object = captured_object();
		if (last != NULL)
			pfree(last);
	}
	return captured.object;
}

/*
 * bgjob_capture_custom returns the custom settings that this session has set
 * and that every role may set; NULL if there are none. Allocated in the
 * current memory context.
 */
Jsonb *
bgjob_capture_custom(void)
{
	JsonbParseState *state = NULL;
	const struct config_generic *record;

	bgjob_foreach_custom_setting(record)
	{
		char number[NUMBER_LENGTH];

		if ((record->source != PGC_S_SESSION && record->source != PGC_S_CLIENT) ||
			record->context != PGC_USERSET ||
			strchr(record->name, GUC_QUALIFIER_SEPARATOR) == NULL || !may_be_captured(record))
			continue;
		if (state == NULL)
			bgjob_json_begin(&state);
		bgjob_json_text(&state, record->name, pstrdup(value_of(record, number)));
	}
	if (state == NULL)
		return NULL;
	return bgjob_json_end(&state);
}

/* An error's context. */
static void
applying(void *name)
{
	errcontext("setting \"%s\" as it was when the job was enqueued", (const char *) name);
}

/* Gives a setting its captured value, if it has another. */
static void
apply(const Setting *setting, bool privileged)
{
	const struct config_generic *record = record_of(setting);
	ErrorContextCallback context = {.callback = applying, .arg = setting->name};
	char number[NUMBER_LENGTH];
	int level = ERROR;

	if (record != NULL && strcmp(value_of(record, number), setting->value) == 0)
		return;
	if (record == NULL || pg_strncasecmp(setting->name, "lc_", strlen("lc_")) == 0)
		level = DEBUG1; /* this worker may lack a library, this machine a locale */
	if (strchr(setting->name, GUC_QUALIFIER_SEPARATOR) != NULL)
		privileged = false;
	if (record != NULL && !privileged && record->context != PGC_USERSET)
		return;

	context.previous = error_context_stack;
	error_context_stack = &context;
	(void) set_config_option_ext(
		setting->name, setting->value, privileged ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
		privileged ? GetUserId() : ACL_ID_PUBLIC, GUC_ACTION_SET, true, level, false);
	error_context_stack = context.previous;
}

/* Reads an object of names and values. A value that is no text was written by hand, and is left out. */
static void
read_object(Combination *combination, const Jsonb *object)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue name = {.type = jbvNull};
	JsonbValue value;
	Setting *setting;

	combination_begin(combination, JsonContainerSize(&object->root));
	iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &object->root));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE && value.type == jbvString)
		{
			setting = combination_add(combination, name.val.string.val, name.val.string.len);
			setting->value = MemoryContextAlloc(combination->context, value.val.string.len + 1);
			memcpy(setting->value, value.val.string.val, value.val.string.len);
			setting->value[value.val.string.len] = '\0';
		}
	}
	combination->object = MemoryContextAlloc(combination->context, VARSIZE(object));
	memcpy(combination->object, object, VARSIZE(object));
}

/* Puts an object's settings in force, and remembers it as "last". */
static void
apply_object(Combination *last, const Jsonb *object, bool privileged)
{
	if (last->object == NULL || VARSIZE(last->object) != VARSIZE(object) ||
		memcmp(last->object, object, VARSIZE(object)) != 0)
		read_object(last, object);
	for (int i = 0; i < last->count; i++)
		apply(&last->settings[i], privileged);
}

/*
 * bgjob_captured_apply puts captured settings in force; either may be NULL.
 * Called by a worker inside the job's transaction, before the job. A value
 * that is not valid here raises the error that SET would; passed over are a
 * locale that this machine does not have, a name that is unknown, and with a
 * dot in its name what not every role may set.
 */
void
bgjob_captured_apply(const Jsonb *listed, const Jsonb *custom)
{
	if (listed != NULL)
		apply_object(&applied_listed, listed, true);
	if (custom != NULL)
		apply_object(&applied_custom, custom, false);
}
