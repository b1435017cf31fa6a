/*-------------------------------------------------------------------------
 *
 * creationfilters.h
 *	  Calls the filters around the creation of a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CREATIONFILTERS_H
#define BGJOB_API_CREATIONFILTERS_H

extern void bgjob_filters_install(void);

#endif /* BGJOB_API_CREATIONFILTERS_H */
