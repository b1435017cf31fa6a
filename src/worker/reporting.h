/*-------------------------------------------------------------------------
 *
 * reporting.h
 *	  Sending what jobs have to tell: see reporting.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_WORKER_REPORTING_H
#define BGJOB_WORKER_REPORTING_H

#include <stdbool.h>
#include <stdint.h>

extern bool reporting_wants(void);
extern bool reporting_send(void);
extern int64_t reporting_due(void);

#endif
