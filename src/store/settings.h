/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  Settings that many jobs share, each combination stored once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SETTINGS_H
#define BGJOB_STORE_SETTINGS_H

#include "postgres.h"

#include "utils/jsonb.h"

extern int64 bgjob_settings_store(const Jsonb *settings);
extern const Jsonb *bgjob_settings_read(int64 id);
extern uint64 bgjob_settings_forgotten(void);

#endif /* BGJOB_STORE_SETTINGS_H */
