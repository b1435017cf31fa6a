/*-------------------------------------------------------------------------
 *
 * parse.h
 *	  Whether a text parses, without an error if it does not.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PARSE_H
#define BGJOB_RUN_PARSE_H

#include "postgres.h"

extern int bgjob_parse_count(const char *sql, ErrorData **error);

#endif /* BGJOB_RUN_PARSE_H */
