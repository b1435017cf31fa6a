/*-------------------------------------------------------------------------
 *
 * jobname.h
 *	  Whether a name means a job's function.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_JOBNAME_H
#define BGJOB_STORE_JOBNAME_H

#include "postgres.h"

extern bool bgjob_name_means(const char *name, const char *job, const char *func);

#endif /* BGJOB_STORE_JOBNAME_H */
