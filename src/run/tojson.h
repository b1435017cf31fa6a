/*-------------------------------------------------------------------------
 *
 * tojson.h
 *	  Turning SQL values into jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_TOJSON_H
#define BGJOB_RUN_TOJSON_H

#include "postgres.h"

#include "tcop/dest.h"
#include "utils/jsonb.h"

extern Jsonb *bgjob_to_jsonb(Datum value, Oid type);
extern Jsonb *bgjob_result_to_jsonb(Datum value, Oid type);

/* So many bytes of rows are kept as a result. */
#define BGJOB_ROWS_KEPT (1024 * 1024)

/* What becomes of the rows that a receiver gets. */
typedef enum BgjobRows
{
	BGJOB_ROWS_OBJECTS, /* an array of objects */
	BGJOB_ROWS_VALUES,  /* an array of the values of the first column */
	BGJOB_ROWS_ONE      /* the only row, an object */
} BgjobRows;

extern DestReceiver *bgjob_rows_receiver(BgjobRows shape);
extern Jsonb *bgjob_rows_result(DestReceiver *receiver);

#endif /* BGJOB_RUN_TOJSON_H */
