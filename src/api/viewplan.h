/*-------------------------------------------------------------------------
 *
 * viewplan.h
 *	  Plans of queries that read bgjob's views.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_VIEWPLAN_H
#define BGJOB_API_VIEWPLAN_H

extern void bgjob_viewplan_install(void);

#endif /* BGJOB_API_VIEWPLAN_H */
