/*-------------------------------------------------------------------------
 *
 * session.h
 *	  What one job leaves behind in a worker's session, and its removal.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SESSION_H
#define BGJOB_BASE_SESSION_H

#include "postgres.h"

extern void bgjob_session_pin(void);
extern void bgjob_session_pin_all(void);
extern void bgjob_session_wait_for_no_standby(void);
extern void bgjob_session_release_slot(void);
extern void bgjob_session_clean(void);
extern bool bgjob_session_clean_between(void);
extern bool bgjob_session_clean_in_transaction(void);

#endif /* BGJOB_BASE_SESSION_H */
