/*-------------------------------------------------------------------------
 *
 * json.h
 *	  Reading and writing JSON without changing it: see json.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_JSON_H
#define BGJOB_CLIENT_JSON_H

#include "client/buffer.h"

#include <stdbool.h>

/* A value in a text: where it begins, and its length. start is null where there is none. */
typedef struct JsonValue
{
	const char *start;
	size_t len;
} JsonValue;

/* How deep arrays and objects may be in each other. The server refuses more than some thousands, too. */
#define JSON_MAX_DEPTH 5000

extern const char *json_check(const char *text, size_t len, JsonValue *value);
extern int
json_members(JsonValue object, const char *const *names, JsonValue *values, int count);
extern bool json_is(JsonValue value, const char *literal);
extern bool json_is_string(JsonValue value);
extern bool json_is_number(JsonValue value);
extern bool json_is_array(JsonValue value);
extern bool json_next(JsonValue array, JsonValue *element);
extern bool json_next_member(JsonValue object, JsonValue *name, JsonValue *value);
extern bool json_is_object(JsonValue value);
extern bool json_int64(JsonValue value, int64_t *number);
extern bool json_double(JsonValue value, double *number);
extern bool json_string(JsonValue value, Buffer *to);
extern void json_add_string(Buffer *to, const char *text, size_t len);

#endif
