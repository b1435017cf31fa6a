/*-------------------------------------------------------------------------
 *
 * settle.h
 *	  Effects, in the same transaction, of jobs and attempts that have ended.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SETTLE_H
#define BGJOB_STORE_SETTLE_H

extern void bgjob_settle_install(void);

#endif /* BGJOB_STORE_SETTLE_H */
