/*-------------------------------------------------------------------------
 *
 * statsfile.h
 *	  The files that keep statistics over a restart.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_STATSFILE_H
#define BGJOB_BASE_STATSFILE_H

extern void bgjob_stats_files_startup(void);

#endif /* BGJOB_BASE_STATSFILE_H */
