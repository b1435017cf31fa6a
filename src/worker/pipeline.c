/*-------------------------------------------------------------------------
 *
 * pipeline.c
 *	  Statements that go to the server together, in groups of one transaction each.
 *
 * libpq's pipeline mode, with a queue beside it that knows which result belongs to
 * which statement. A group ends with a synchronization point; that is its commit. A
 * statement that fails takes its group along, not the other groups. The owner gets
 * the rows of each statement, and then how the group ended: rows count only if it
 * did not fail.
 *
 * Statements are prepared when they are sent for the first time, unless connections
 * are pooled: there the next statement may reach another server process. Once
 * connected, the server parses nothing any more, and this program writes no SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/pipeline.h"
#include "client/log.h"
#include "client/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS  128
#define MAX_VALUES 5

/* What the next result is of. */
typedef enum StepKind
{
	STEP_PREPARE,
	STEP_EXECUTE,
	STEP_SYNC
} StepKind;

typedef struct Step
{
	StepKind kind;
	int what; /* the statement, or the group */
} Step;

static Connection *connection;
static const PipelineOwner *owner;
static bool may_prepare;
static bool prepared[STATEMENT_COUNT];
static char names[STATEMENT_COUNT][16];
static Step steps[MAX_STEPS];
static int nsteps = 0;
static int at = 0;
static PipelineEnd group_end;

/* pipeline_begin begins with a connection that has just been opened. */
void
pipeline_begin(Connection *conn, const PipelineOwner *its_owner, bool prepare)
{
	connection = conn;
	owner = its_owner;
	may_prepare = prepare;
	for (int i = 0; i < STATEMENT_COUNT; i++)
		snprintf(names[i], sizeof(names[i]), "bgjob_%d", i);
	pipeline_reset();
	PQenterPipelineMode(conn->pg);
}

/* pipeline_reset forgets what was sent; the connection is gone. */
void
pipeline_reset(void)
{
	memset(prepared, 0, sizeof(prepared));
	nsteps = at = 0;
	free(group_end.message);
	memset(&group_end, 0, sizeof(group_end));
}

bool
pipeline_is_busy(void)
{
	return at < nsteps;
}

PipelineValue
pipeline_text(const char *text)
{
	return (PipelineValue){.data = text};
}

PipelineValue
pipeline_array(const Buffer *array)
{
	return (PipelineValue){.data = array->data, .len = (int) array->len, .binary = true};
}

static void
add_step(StepKind kind, int what)
{
	if (nsteps == MAX_STEPS)
		abort(); /* a round is bounded, see session.c */
	steps[nsteps++] = (Step){kind, what};
}

/* pipeline_send sends a statement. A failure shows when the connection is read. */
void
pipeline_send(Statement statement, const PipelineValue *values, int count)
{
	const char *data[MAX_VALUES];
	int lens[MAX_VALUES];
	int formats[MAX_VALUES];
	const char *name = names[statement];

	for (int i = 0; i < count; i++)
	{
		data[i] = values[i].data;
		lens[i] = values[i].len;
		formats[i] = values[i].binary;
	}
	if (may_prepare && !prepared[statement])
	{
		PQsendPrepare(connection->pg, name, statement_text(statement), count, NULL);
		add_step(STEP_PREPARE, statement);
	}
	if (may_prepare)
		PQsendQueryPrepared(connection->pg, name, count, data, lens, formats, 0);
	else
		PQsendQueryParams(connection->pg, statement_text(statement), count, NULL, data, lens,
						  formats, 0);
	add_step(STEP_EXECUTE, statement);
}

/* pipeline_sync ends a group. */
void
pipeline_sync(int group)
{
	PQpipelineSync(connection->pg);
	add_step(STEP_SYNC, group);
}

/* note_failure keeps the first error of a group. */
static void
note_failure(const PGresult *result, const Step *step)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	if (group_end.message != NULL)
		return;
	group_end.failed = true;
	group_end.culprit = step->kind == STEP_SYNC ? STATEMENT_COUNT : (Statement) step->what;
	snprintf(group_end.sqlstate, sizeof(group_end.sqlstate), "%s",
			 sqlstate != NULL ? sqlstate : "");
	if (primary == NULL)
		primary = PQresultErrorMessage(result);
	group_end.message =
		detail == NULL ? mem_copy(primary) : mem_print("%s: %s", primary, detail);
}

/* end_group tells the owner how a group has ended. */
static void
end_group(int group)
{
	PipelineEnd end = group_end;

	memset(&group_end, 0, sizeof(group_end));
	end.group = group;
	owner->ended(&end);
	free(end.message);
}

/* take_result handles a result of the present step, and clears it. */
static void
take_result(PGresult *result)
{
	Step *step = &steps[at];
	bool kept = false;

	switch (PQresultStatus(result))
	{
		case PGRES_PIPELINE_SYNC:
			at++;
			end_group(step->what);
			break;
		case PGRES_TUPLES_OK:
			kept = owner->rows((Statement) step->what, result);
			break;
		case PGRES_COMMAND_OK:
			if (step->kind == STEP_PREPARE)
				prepared[step->what] = true;
			break;
		case PGRES_PIPELINE_ABORTED:
			group_end.failed = true;
			break;
		default:
			note_failure(result, step);
			break;
	}
	if (!kept)
		PQclear(result);
}

/* pipeline_read handles what has arrived. The owner may lose the connection meanwhile. */
void
pipeline_read(void)
{
	while (connection->is_up && at < nsteps && !PQisBusy(connection->pg))
	{
		PGresult *result = PQgetResult(connection->pg);

		if (result != NULL)
			take_result(result);
		else if (at < nsteps && steps[at].kind != STEP_SYNC)
			at++;
		if (connection->is_up && PQstatus(connection->pg) == CONNECTION_BAD)
			connection_lost(connection, group_end.message);
	}
	if (at == nsteps)
		at = nsteps = 0;
}
