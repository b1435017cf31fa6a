/*-------------------------------------------------------------------------
 *
 * bulkrun.h
 *	  A bulk of jobs on its way: see bulkrun.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_BULKRUN_H
#define BGJOB_DASHBOARD_BULKRUN_H

#include "client/loop.h"
#include "dashboard/bulkorder.h"
#include "dashboard/database.h"

#include <time.h>

typedef enum BulkState
{
	BULK_RUNNING,
	BULK_DONE,
	BULK_STOPPED,
	BULK_FAILED
} BulkState;

typedef struct Bulk Bulk;

struct Bulk
{
	/* Set by the owner. */
	Bulk *next;
	int64_t number;
	Login *login;
	struct Session *session; /* null: it has ended */
	char *database_name;
	BulkOrder order;
	void (*ended)(Bulk *bulk);

	BulkState state;
	bool stop; /* after the batch that runs */
	time_t started_at;
	time_t ended_at;
	int64_t looked_at; /* jobs that were compared with the query, or ids */
	int64_t changed;
	int64_t refused; /* not in the state, or gone */
	int64_t errors;
	char *last_error;
	char last_sqlstate[6];
	double percent; /* of the ids, or of the range of ids */

	Database *database; /* its own connection */
	Work *work;
	int64_t *batch; /* the ids of this batch */
	int batch_size;
	int batch_at;   /* of them were dealt with */
	int batch_sent; /* are in the statement that runs */
	bool one_by_one;
	bool searched;     /* to the end */
	int64_t before_id; /* 0: from the newest */
	int64_t first_id;
	int errors_in_a_row;
	int64_t deadline;
	LoopTimer timer;
};

extern void bulk_run(Bulk *bulk);
extern void bulk_stop(Bulk *bulk);
extern void bulk_close(Bulk *bulk);
extern void bulk_free(Bulk *bulk);
extern const char *bulk_state_name(BulkState state);

#endif
