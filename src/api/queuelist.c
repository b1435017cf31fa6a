/*-------------------------------------------------------------------------
 *
 * queuelist.c
 *	  An array of queues, in the order of taking.
 *
 * Servers and external workers take the queues that they name, in the order of the array; '*' stands for all others.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/enqueue.h"
#include "api/queuelist.h"
#include "base/servers.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* Raises 22023 for the queues of a server, or of a worker. */
static void
refuse_queues(const char *of, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid queues of a %s: %s", of, what),
					errdetail("It takes 1 to %d queues, in the order of the array.",
							  BGJOB_SERVER_QUEUES),
					errhint("Name each queue once; '*' stands for all that are not named.")));
}

/* Adds a queue to a list. Raises 22023. */
static void
add_queue(const char *of, char *list, const char *queue)
{
	size_t used = strlen(list);

	if (strcmp(queue, "*") != 0)
		bgjob_check_queue_name(queue);
	if (list[0] != '\0' && bgjob_queue_names(list, queue))
		refuse_queues(of, psprintf("\"%s\" is there twice", queue));
	snprintf(list + used, BGJOB_SERVER_LIST_SIZE - used, "%s%s", used > 0 ? "," : "", queue);
}

/*
 * bgjob_arg_queues adds the queues of an array to an empty list, which has room for BGJOB_SERVER_LIST_SIZE bytes. Raises 22023. "of" says whose queues these
 * are: server or worker.
 */
void
bgjob_arg_queues(FunctionCallInfo fcinfo, int arg, const char *of, char *list)
{
	ArrayType *array;
	Datum *names;
	bool *nulls;
	int n;

	if (PG_ARGISNULL(arg))
		refuse_queues(of, "the array is null");
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		refuse_queues(of, "the array has more than one dimension");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	if (n == 0)
		refuse_queues(of, "the array is empty");
	if (n > BGJOB_SERVER_QUEUES)
		refuse_queues(of, psprintf("the array has %d elements", n));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			refuse_queues(of, "the array has a null");
		add_queue(of, list, TextDatumGetCString(names[i]));
	}
}
