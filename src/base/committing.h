/*-------------------------------------------------------------------------
 *
 * committing.h
 *	  What shared memory shows of a transaction while it commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_COMMITTING_H
#define BGJOB_BASE_COMMITTING_H

extern void bgjob_committing_filters(void);
extern void bgjob_committing_moves(void);
extern void bgjob_committed_filters(void);
extern void bgjob_committed_moves(void);

#endif /* BGJOB_BASE_COMMITTING_H */
