/*-------------------------------------------------------------------------
 *
 * settle.h
 *	  What follows, in the same transaction, from jobs and attempts that are over.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SETTLE_H
#define BGJOB_STORE_SETTLE_H

extern void bgjob_settle_install(void);

#endif /* BGJOB_STORE_SETTLE_H */
