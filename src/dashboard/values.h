/*-------------------------------------------------------------------------
 *
 * values.h
 *	  The values of a statement's parameters: see values.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_VALUES_H
#define BGJOB_DASHBOARD_VALUES_H

#include "client/buffer.h"
#include "client/json.h"
#include "dashboard/request.h"
#include "dashboard/statement.h"

extern const Parameter *values_wrong_in_query(const Statement *statement, Request *request);
extern char **values_from_query(const Statement *statement, Request *request);
extern char **values_from_json(const Statement *statement, JsonValue object);
extern char **values_of(const Statement *statement, ...);
extern char *values_array(char *const *list);
extern void values_add_element(Buffer *array, const char *element);

#endif
