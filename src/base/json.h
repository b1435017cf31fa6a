/*-------------------------------------------------------------------------
 *
 * json.h
 *	  jsonb values, made piece by piece.
 *
 * The server makes a jsonb value by pushing its pieces to a JsonbParseState;
 * these push a key with its value at once. What they are given is not copied:
 * it must stay until the value is finished.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_JSON_H
#define BGJOB_BASE_JSON_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

extern void
bgjob_json_string(JsonbParseState **state, JsonbIteratorToken token, const char *string);
extern void bgjob_json_text(JsonbParseState **state, const char *key, const char *text);
extern void bgjob_json_number(JsonbParseState **state, const char *key, Numeric number);
extern void bgjob_json_member(JsonbParseState **state, const char *key, const Jsonb *json);
extern void bgjob_json_begin(JsonbParseState **state);
extern Jsonb *bgjob_json_end(JsonbParseState **state);

#endif /* BGJOB_BASE_JSON_H */
