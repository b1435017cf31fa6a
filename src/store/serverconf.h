/*-------------------------------------------------------------------------
 *
 * serverconf.h
 *	  The configuration of servers by administrators.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SERVERCONF_H
#define BGJOB_STORE_SERVERCONF_H

#include "postgres.h"

#include "base/servers.h"

/* Called for each configured server. */
typedef void (*BgjobServerVisitor)(const char *name, const BgjobServerConf *conf, void *arg);

extern void bgjob_serverconf_put(const char *name, const BgjobServerConf *conf);
extern bool bgjob_serverconf_set_paused(const char *name, bool paused);
extern bool bgjob_serverconf_remove(const char *name);
extern void bgjob_serverconf_visit(BgjobServerVisitor visitor, void *arg);
extern void bgjob_serverconf_load(void);
extern BgjobServer *bgjob_serverconf_list(int *n);

#endif /* BGJOB_STORE_SERVERCONF_H */
