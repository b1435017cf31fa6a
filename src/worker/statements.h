/*-------------------------------------------------------------------------
 *
 * statements.h
 *	  The protocol's calls, as SQL: see statements.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_STATEMENTS_H
#define BGJOB_WORKER_STATEMENTS_H

#include "client/buffer.h"

#include <stdbool.h>

/* The version of the protocol that this program speaks. */
#define STATEMENTS_PROTOCOL 1

typedef enum Statement
{
	STATEMENT_IDENTIFY,
	STATEMENT_PROTOCOL,
	STATEMENT_UNBIND,
	STATEMENT_LOG,
	STATEMENT_PROGRESS,
	STATEMENT_HEARTBEAT,
	STATEMENT_BOUND,
	STATEMENT_CANCEL,
	STATEMENT_COMPLETE,
	STATEMENT_FAIL,
	STATEMENT_RELEASE,
	STATEMENT_FETCH,
	STATEMENT_AWAIT,
	STATEMENT_COUNT
} Statement;

extern const char *statement_text(Statement statement);
extern void statements_set_schema(const char *schema, bool has_deadline);
extern void statements_free(void);

extern void array_begin(Buffer *array, int element_type, int count);
extern void array_add_null(Buffer *array);
extern void array_add_int64(Buffer *array, int64_t value);
extern void array_add_double(Buffer *array, double value);
extern void array_add_bool(Buffer *array, bool value);
extern void array_add_text(Buffer *array, const char *text, size_t len);
extern void array_add_jsonb(Buffer *array, const char *json, size_t len);

/* Types of elements, as the server's catalog numbers them. */
#define TYPE_BOOL   16
#define TYPE_INT8   20
#define TYPE_TEXT   25
#define TYPE_FLOAT8 701
#define TYPE_JSONB  3802

#endif
