/*-------------------------------------------------------------------------
 *
 * notices.c
 *	  What a client would be shown while a job runs, in the log of the job.
 *
 * A session sends its notices, warnings and the output of VACUUM VERBOSE to its
 * client. A worker has none. While its job runs it behaves as if it had one
 * (whereToSendOutput), as parallel workers do, and the functions that would send a
 * message (PqCommMethods) add it to the job's output (base/console.h), among the lines
 * of bgjob_log(). So client_min_messages decides which messages these are, nothing is
 * done for a job that raises none, and the server's log gets what it got before.
 * Errors are not kept here: the job has them.
 *
 * Only what the job itself raises is kept: its function or command, and its deferred
 * triggers; neither filters nor the bookkeeping. An attempt may fill MOST_MESSAGES lines
 * and MOST_BYTES, so that a loop of notices leaves room for bgjob_log(). A last line
 * has the number of the others.
 *
 * A message is raised anywhere, so keeping it must raise nothing. The server converts
 * messages for the client, which fails for characters that the client's encoding
 * lacks; so they are "sent" in the encoding of the database (bgjob_notices_prepare).
 * Known hole: where the machine has no shared memory left, the job fails, as by
 * bgjob_log().
 *
 * Run by workers. Other processes never collect, even if they run a job's code.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

/* libpq.h wants the headers of these libraries, which need not be installed, for connections. */
#undef ENABLE_GSS
#undef USE_OPENSSL

#include "base/console.h"
#include "base/slot.h"
#include "lib/stringinfo.h"
#include "libpq/libpq.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "run/notices.h"
#include "run/perform.h"
#include "run/underway.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/elog.h"

/* Maximal number of messages that an attempt keeps, and of their bytes. */
#define MOST_MESSAGES 1000
#define MOST_BYTES    (256 * 1024)

/* The parts of a message that are kept; NULL: absent. */
typedef struct Message
{
	const char *severity;
	const char *text;
	const char *detail;
	const char *hint;
} Message;

/* By the current attempt. */
static struct
{
	int messages;
	int bytes;
	int64 left_out;
} kept;

#define NO_ENCODING (-1)

/* Messages of the protocol. */
#define NOTICE_RESPONSE 'N'
#define COPY_IN         'G'
#define COPY_OUT        'H'

static bool is_worker = false;
static int client_encoding = NO_ENCODING; /* to return to, once a message has been "sent" */

static void
use_database_encoding(void)
{
	if (client_encoding == NO_ENCODING)
		client_encoding = pg_get_client_encoding();
	(void) SetClientEncoding(GetDatabaseEncoding());
}

static void
restore_encoding(void)
{
	if (client_encoding == NO_ENCODING)
		return;
	(void) SetClientEncoding(client_encoding);
	client_encoding = NO_ENCODING;
}

/* ---- keeping a message ---- */

/* Reads the fields of a message of the protocol: each is a letter and a string; a zero ends them. */
static Message
read_message(const char *fields, size_t length)
{
	Message message = {0};
	const char *end = fields + length;

	while (fields < end && *fields != '\0')
	{
		const char *value = fields + 1;

		switch (*fields)
		{
			case PG_DIAG_SEVERITY_NONLOCALIZED:
				message.severity = value;
				break;
			case PG_DIAG_MESSAGE_PRIMARY:
				message.text = value;
				break;
			case PG_DIAG_MESSAGE_DETAIL:
				message.detail = value;
				break;
			case PG_DIAG_MESSAGE_HINT:
				message.hint = value;
				break;
		}
		fields = value + strnlen(value, end - value) + 1;
	}
	return message;
}

/* Appends as much of a part of a message as there is room for. */
static void
append_part(StringInfo line, const char *title, const char *part)
{
	int room = MOST_BYTES - kept.bytes - line->len;

	if (part == NULL || room <= (int) strlen(title))
		return;
	appendStringInfoString(line, title);
	room -= (int) strlen(title);
	appendBinaryStringInfo(line, part, pg_mbcliplen(part, strnlen(part, room + 1), room));
}

/* Replaces bytes that are no characters, as messages of libraries may have: whoever reads the line would get an error. */
static void
make_valid(StringInfo line)
{
	if (pg_verifymbstr(line->data, line->len, true))
		return;
	for (int i = 0; i < line->len; i++)
		if (IS_HIGHBIT_SET(line->data[i]))
			line->data[i] = '?';
}

/* Adds a message to the output of the job, with its detail and hint as psql shows them. */
static void
keep(const Message *message)
{
	const BgjobJob *job = &bgjob_underway.job;
	StringInfoData line;
	char level[BGJOB_LEVEL_MAX + 1];

	if (kept.messages == MOST_MESSAGES || kept.bytes >= MOST_BYTES || CritSectionCount > 0)
	{
		kept.left_out++;
		return;
	}
	strlcpy(level, message->severity, sizeof(level));
	for (char *c = level; *c != '\0'; c++)
		*c = pg_tolower((unsigned char) *c);
	initStringInfo(&line);
	append_part(&line, "", message->text);
	append_part(&line, "\nDETAIL:  ", message->detail);
	append_part(&line, "\nHINT:  ", message->hint);
	make_valid(&line);
	bgjob_console_log(job->id, DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)) + 1, level,
					  line.data);
	kept.messages++;
	kept.bytes += line.len;
	pfree(line.data);
}

/* ---- what the server takes for a client ---- */

static void
do_nothing(void)
{
}

static int
flush(void)
{
	restore_encoding();
	return 0;
}

static bool
is_send_pending(void)
{
	return false;
}

/* Raises an error for COPY from or to the client, which not only jobs can contain, but scripts of extensions. */
static void
refuse_copy(void)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a job cannot copy from or to a client"),
					errdetail("It runs in a background worker.")));
}

static int
put_message(char type, const char *content, size_t length)
{
	static bool keeping = false;

	if (type == COPY_IN || type == COPY_OUT)
		refuse_copy();
	if (type == NOTICE_RESPONSE && !keeping && whereToSendOutput == DestRemote &&
		bgjob_my_slot != NULL && !proc_exit_inprogress)
	{
		Message message = read_message(content, length);

		keeping = true;
		if (message.severity != NULL && message.text != NULL)
			keep(&message);
		keeping = false;
	}
	return 0;
}

static void
put_message_noblock(char type, const char *content, size_t length)
{
	(void) put_message(type, content, length);
}

static const PQcommMethods methods = {.comm_reset = do_nothing,
									  .flush = flush,
									  .flush_if_writable = flush,
									  .is_send_pending = is_send_pending,
									  .putmessage = put_message,
									  .putmessage_noblock = put_message_noblock};

/* ---- what workers call ---- */

/* bgjob_notices_init prepares a worker; once. */
void
bgjob_notices_init(void)
{
	PqCommMethods = &methods;
	is_worker = true;
}

/* bgjob_notices_resume begins to collect, or goes on; bgjob_notices_pause stops it, after an error too. */
void
bgjob_notices_resume(void)
{
	if (is_worker)
		whereToSendOutput = DestRemote;
}

void
bgjob_notices_pause(void)
{
	if (!is_worker)
		return;
	whereToSendOutput = DestNone;
	restore_encoding();
}

/*
 * bgjob_notices_prepare has a message that is about to be sent converted to the
 * encoding of the database, not to that of the client. From an error context callback,
 * which is called before that.
 */
void
bgjob_notices_prepare(void)
{
	MemoryContext caller;
	ErrorData *error;

	if (whereToSendOutput != DestRemote || !is_worker ||
		pg_get_client_encoding() == GetDatabaseEncoding())
		return;
	if (CritSectionCount > 0)
	{
		use_database_encoding(); /* nothing may be allocated; some later message restores it */
		return;
	}
	caller = MemoryContextSwitchTo(bgjob_job_context);
	error = CopyErrorData();
	if (error->output_to_client && error->elevel != ERROR)
		use_database_encoding();
	FreeErrorData(error);
	MemoryContextSwitchTo(caller);
}

/* bgjob_notices_report_error logs the error that was caught, by EmitErrorReport, and stops collecting. */
void
bgjob_notices_report_error(void)
{
	int encoding = pg_get_client_encoding();

	bgjob_notices_pause();
	(void) SetClientEncoding(GetDatabaseEncoding());
	EmitErrorReport();
	(void) SetClientEncoding(encoding);
}

/* bgjob_notices_sum_up adds the number of messages that were not kept; before the output is stored. */
void
bgjob_notices_sum_up(void)
{
	char line[100];

	if (kept.left_out == 0)
		return;
	snprintf(line, sizeof(line), INT64_FORMAT " more %s left out", kept.left_out,
			 kept.left_out == 1 ? "message was" : "messages were");
	bgjob_console_log(bgjob_underway.job.id,
					  DatumGetInt32(bgjob_job_datum(&bgjob_underway.job, BGJOB_C_LOGS)) + 1,
					  "warning", line);
}

/* bgjob_notices_forget ends the attempt. */
void
bgjob_notices_forget(void)
{
	memset(&kept, 0, sizeof(kept));
}
