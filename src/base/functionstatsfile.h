/*-------------------------------------------------------------------------
 *
 * functionstatsfile.h
 *	  The file that keeps the statistics of functions over a restart.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FUNCTIONSTATSFILE_H
#define BGJOB_BASE_FUNCTIONSTATSFILE_H

extern void bgjob_function_stats_file_startup(void);

#endif /* BGJOB_BASE_FUNCTIONSTATSFILE_H */
