/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  Keeps a scheduler in each database that has bgjob.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_LAUNCHER_H
#define BGJOB_PROCESS_LAUNCHER_H

#include "postgres.h"

extern void bgjob_launcher_register(void);
extern PGDLLEXPORT void bgjob_launcher_main(Datum arg);

#endif /* BGJOB_PROCESS_LAUNCHER_H */
