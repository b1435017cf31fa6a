/*-------------------------------------------------------------------------
 *
 * help.h
 *	  What --help says: see help.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_HELP_H
#define BGJOB_DASHBOARD_HELP_H

extern void help_show(void);

#endif
