/*-------------------------------------------------------------------------
 *
 * signals.h
 *	  Signals as events of the loop: see signals.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_SIGNALS_H
#define BGJOB_CLIENT_SIGNALS_H

extern void signals_open(void (*arrived)(int signal));
extern void signals_catch(int signal);
extern void signals_restore(void);

#endif
