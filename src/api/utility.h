/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  Commands on databases and on the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_UTILITY_H
#define BGJOB_API_UTILITY_H

/* bgjob_utility_install hooks them; by _PG_init in the postmaster. */
extern void bgjob_utility_install(void);

#endif /* BGJOB_API_UTILITY_H */
