/*-------------------------------------------------------------------------
 *
 * ownserver.h
 *	  The server of this worker.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_OWNSERVER_H
#define BGJOB_BASE_OWNSERVER_H

#include "postgres.h"

#include "base/lane.h"

extern const char *bgjob_own_server_queues(void);
extern bool bgjob_own_server_is_gone(void);
extern const char *bgjob_own_server_name(void);
extern bool bgjob_own_server_has_others(void);
extern bool bgjob_own_server_takes(const BgjobLaneKey *key);

#endif /* BGJOB_BASE_OWNSERVER_H */
