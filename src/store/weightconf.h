/*-------------------------------------------------------------------------
 *
 * weightconf.h
 *	  The weights of fairness keys.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_WEIGHTCONF_H
#define BGJOB_STORE_WEIGHTCONF_H

#include "postgres.h"

/* Longest fairness key, in bytes. */
#define BGJOB_FAIRNESS_KEY_MAX 500

extern double bgjob_weightconf_find(const char *key);
extern void bgjob_weightconf_set(const char *key, float4 weight);
extern bool bgjob_weightconf_remove(const char *key);

#endif /* BGJOB_STORE_WEIGHTCONF_H */
