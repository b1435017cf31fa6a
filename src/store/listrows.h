/*-------------------------------------------------------------------------
 *
 * listrows.h
 *	  The rows of the view bgjob.jobs for listed ids.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LISTROWS_H
#define BGJOB_STORE_LISTROWS_H

#include "postgres.h"

#include "utils/tuplestore.h"

extern int bgjob_list_rows(const int64 *ids, int n, const char *state, Tuplestorestate *to);

#endif /* BGJOB_STORE_LISTROWS_H */
