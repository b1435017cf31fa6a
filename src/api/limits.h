/*-------------------------------------------------------------------------
 *
 * limits.h
 *	  Names of limits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_LIMITS_H
#define BGJOB_API_LIMITS_H

#include "postgres.h"

extern void bgjob_check_limit_name(const char *name);

#endif /* BGJOB_API_LIMITS_H */
