/*-------------------------------------------------------------------------
 *
 * prometheus.h
 *	  The rows of bgjob.metrics as text for Prometheus: see prometheus.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_PROMETHEUS_H
#define BGJOB_DASHBOARD_PROMETHEUS_H

#include "client/buffer.h"

#include <stdbool.h>

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct Prometheus Prometheus;

extern Prometheus *prometheus_begin(void);
extern bool prometheus_add(Prometheus *page, const char *name, const char *labels,
						   const char *value, const char *help, const char *type);
extern void prometheus_end(Prometheus *page, Buffer *to);

#endif /* BGJOB_DASHBOARD_PROMETHEUS_H */
