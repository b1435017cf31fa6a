/*-------------------------------------------------------------------------
 *
 * failure.h
 *	  What errors mean: see failure.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_FAILURE_H
#define BGJOB_WORKER_FAILURE_H

#include "client/connection.h"

extern bool failure_ends_session(const char *sqlstate);
extern bool failure_passes(const char *sqlstate);
extern int failure_exit_code(const ConnectionFailure *failure);
extern void identity_told(const PGresult *result, const char *database);
extern void identity_protocol_told(const PGresult *result);

#endif
