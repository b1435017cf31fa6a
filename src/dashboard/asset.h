/*-------------------------------------------------------------------------
 *
 * asset.h
 *	  The files of the page: see asset.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_ASSET_H
#define BGJOB_DASHBOARD_ASSET_H

#include "dashboard/request.h"

#include <stddef.h>

/* A file, as it is and compressed by gzip. The table and the hash are made by assets.sh. */
typedef struct Asset
{
	const char *name;
	const char *type;
	const char *plain;
	size_t plain_len;
	const char *packed;
	size_t packed_len;
} Asset;

extern const Asset assets[];
extern const char asset_hash[];

extern void asset_open(void);
extern void asset_close(void);
extern void asset_request(Request *request, const char *rest);
extern void asset_index(Request *request);

#endif
