/*-------------------------------------------------------------------------
 *
 * externalnotes.h
 *	  What the running transaction asks of external workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_EXTERNALNOTES_H
#define BGJOB_BASE_EXTERNALNOTES_H

#include "postgres.h"

#include "base/externalworkers.h"

extern bool bgjob_external_note(const char *name, BgjobExternalCommand command);

#endif /* BGJOB_BASE_EXTERNALNOTES_H */
