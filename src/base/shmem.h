/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  bgjob's shared memory, as a whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SHMEM_H
#define BGJOB_BASE_SHMEM_H

/* bgjob_shmem_install asks for it; by _PG_init in the postmaster. */
extern void bgjob_shmem_install(void);

#endif /* BGJOB_BASE_SHMEM_H */
