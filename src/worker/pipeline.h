/*-------------------------------------------------------------------------
 *
 * pipeline.h
 *	  Statements that go to the server together: see pipeline.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_PIPELINE_H
#define BGJOB_WORKER_PIPELINE_H

#include "client/buffer.h"
#include "client/connection.h"
#include "worker/statements.h"

/* How a group of statements, which is one transaction, has ended. */
typedef struct PipelineEnd
{
	int group; /* as given to pipeline_sync */
	bool failed;
	Statement culprit; /* of a failure */
	char sqlstate[6];
	char *message; /* null unless it has failed */
} PipelineEnd;

/* What the owner does with results. rows returns whether it keeps the result, to clear it later. */
typedef struct PipelineOwner
{
	bool (*rows)(Statement statement, PGresult *result);
	void (*ended)(const PipelineEnd *end);
} PipelineOwner;

/* A parameter: a text, or an array in binary form. */
typedef struct PipelineValue
{
	const char *data;
	int len;
	bool binary;
} PipelineValue;

extern void pipeline_begin(Connection *connection, const PipelineOwner *owner, bool prepare);
extern void pipeline_send(Statement statement, const PipelineValue *values, int count);
extern void pipeline_sync(int group);
extern void pipeline_read(void);
extern bool pipeline_is_busy(void);
extern void pipeline_reset(void);
extern PipelineValue pipeline_text(const char *text);
extern PipelineValue pipeline_array(const Buffer *array);

#endif
