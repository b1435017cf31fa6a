/*-------------------------------------------------------------------------
 *
 * live.c
 *	  What goes on, as it happens: GET /api/d/<database>/live, as server-sent events.
 *
 *	  event: (none)		data: what sql/live.sql returns, once a second
 *	  event: problem	data: {"error": …}, when the statement has failed
 *	  event: end		the session has ended; a browser need not come back
 *
 * A feed is what the viewers of a role and a database share. It runs one statement a
 * second, however many look, and none if nobody does; where the statement takes long, it
 * pauses twice that time. The statement goes over a connection beside that for pages, of
 * one of the viewers' sessions: all are of one role, so each may see the same.
 *
 * An event is a text that its readers share, and that is freed with the last of them. A
 * viewer holds one event that is being sent, and at most one that comes next: whoever
 * reads slowly misses those in between, is never waited for, and costs no more memory
 * than the others. A viewer without an event to send is suspended.
 *
 * Looking does not keep a session alive: an open tab must not do that.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/live.h"
#include "client/buffer.h"
#include "client/loop.h"
#include "client/memory.h"
#include "dashboard/database.h"
#include "dashboard/login.h"
#include "dashboard/statement.h"
#include "dashboard/web.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD          (1 * LOOP_SEC)
#define PERIOD_IN_ERROR (5 * LOOP_SEC)
#define MOST_VIEWERS    400
#define MOST_OF_ROLE    64
#define MOST_OF_SESSION 16
#define CHUNK           16384

/* Sent first, so that the browser and what is between know at once that the answer has begun. */
static const char greeting[] = ": live\nretry: 2000\n\n";

/* A text that several viewers send. */
typedef struct Event
{
	int readers;
	size_t len;
	char text[];
} Event;

typedef struct Feed Feed;
typedef struct Viewer Viewer;

struct Viewer
{
	Viewer *next; /* of the same feed */
	Feed *feed;
	Session *session; /* null: it has ended */
	Request *request;
	Event *event; /* that is being sent; null: none */
	size_t sent;  /* of its bytes */
	Event *waiting;
	bool suspended;
};

struct Feed
{
	Feed *next;
	char *user;
	char *database;
	Viewer *viewers;
	Event *last;    /* for those who come; null: there is none that is new */
	Work *work;     /* null: no statement is on its way */
	Session *asker; /* over whose connection it goes */
	int64_t asked_at;
	LoopTimer timer;
};

static Feed *feeds = NULL;
static int nviewers = 0;

static void end_feed(Feed *feed);
static void feed_due(LoopTimer *timer);

/* ---- events ---- */

/* make_text makes an event of a text, without readers. */
static Event *
make_text(const char *text, size_t len)
{
	Event *event = mem_alloc(sizeof(Event) + len);

	event->readers = 0;
	event->len = len;
	memcpy(event->text, text, len);
	return event;
}

/* make_event makes an event without readers; type: null for the one that has none. */
static Event *
make_event(const char *type, const char *data, size_t len)
{
	Buffer text = {0};
	Event *event;

	if (type != NULL)
		buffer_print(&text, "event: %s\n", type);
	buffer_add_text(&text, "data: ");
	/* A line of data is a line of the text; JSON means the same with blanks. */
	for (size_t i = 0; i < len; i++)
		buffer_add(&text, data[i] == '\n' || data[i] == '\r' ? " " : &data[i], 1);
	buffer_add_text(&text, "\n\n");
	event = make_text(text.data, text.len);
	buffer_free(&text);
	return event;
}

/* drop_event gives up a reference to an event; the last one frees it. */
static void
drop_event(Event **event)
{
	if (*event != NULL && --(*event)->readers == 0)
		free(*event);
	*event = NULL;
}

/* take_event sets a reference to an event, instead of the one that was there. */
static void
take_event(Event **reference, Event *event)
{
	event->readers++;
	drop_event(reference);
	*reference = event;
}

/* ---- viewers ---- */

/* give has a viewer send an event next. One that has not begun to send is replaced. */
static void
give(Viewer *viewer, Event *event)
{
	if (viewer->event == NULL)
	{
		viewer->sent = 0;
		take_event(&viewer->event, event);
	}
	else
		take_event(&viewer->waiting, event);
	web_resume(viewer->request);
}

/* read_events gives the library what it can send. Without anything it has the connection wait. */
static ssize_t
read_events(void *arg, uint64_t position, char *to, size_t room)
{
	Viewer *viewer = arg;
	size_t len;

	if (viewer->event == NULL)
	{
		if (viewer->session == NULL)
			return MHD_CONTENT_READER_END_OF_STREAM;
		viewer->request->suspended = true;
		MHD_suspend_connection(viewer->request->http);
		return 0;
	}
	len = viewer->event->len - viewer->sent;
	if (len > room)
		len = room;
	memcpy(to, viewer->event->text + viewer->sent, len);
	viewer->sent += len;
	if (viewer->sent == viewer->event->len)
	{
		drop_event(&viewer->event);
		viewer->event = viewer->waiting;
		viewer->waiting = NULL;
		viewer->sent = 0;
	}
	return (ssize_t) len;
}

/* viewer_gone is called when the connection of a viewer is over. */
static void
viewer_gone(Request *request)
{
	Viewer *viewer = request->owner;
	Viewer **link = &viewer->feed->viewers;

	while (*link != viewer)
		link = &(*link)->next;
	*link = viewer->next;
	drop_event(&viewer->event);
	drop_event(&viewer->waiting);
	nviewers--;
	if (viewer->feed->viewers == NULL)
		end_feed(viewer->feed);
	free(viewer);
}

/* end_viewer tells a viewer that its session has ended, and ends its answer behind that. */
static void
end_viewer(Viewer *viewer)
{
	Event *end = make_event("end", "{}", 2);

	viewer->session = NULL;
	give(viewer, end);
}

/* has_room returns whether one more viewer of a session may come: nobody takes the room of all others. */
static bool
has_room(const Session *session)
{
	int of_role = 0;
	int of_session = 0;

	for (const Feed *feed = feeds; feed != NULL; feed = feed->next)
		for (const Viewer *viewer = feed->viewers; viewer != NULL; viewer = viewer->next)
		{
			of_role += strcmp(feed->user, session->login->user) == 0;
			of_session += viewer->session == session;
		}
	return nviewers < MOST_VIEWERS && of_role < MOST_OF_ROLE && of_session < MOST_OF_SESSION;
}

/* ---- feeds ---- */

static void
end_feed(Feed *feed)
{
	Feed **link = &feeds;

	while (*link != feed)
		link = &(*link)->next;
	*link = feed->next;
	loop_unset(&feed->timer);
	if (feed->work != NULL)
		work_forget(feed->work);
	drop_event(&feed->last);
	free(feed->user);
	free(feed->database);
	free(feed);
}

static Feed *
get_feed(const char *user, const char *database)
{
	Feed *feed;

	for (feed = feeds; feed != NULL; feed = feed->next)
		if (strcmp(feed->user, user) == 0 && strcmp(feed->database, database) == 0)
			return feed;
	feed = mem_zero(sizeof(*feed));
	feed->user = mem_copy(user);
	feed->database = mem_copy(database);
	feed->next = feeds;
	feeds = feed;
	loop_set(&feed->timer, loop_now(), feed_due, feed);
	return feed;
}

/* publish gives all viewers of a feed an event, but for those that have been told that it is the end. */
static void
publish(Feed *feed, Event *event)
{
	take_event(&feed->last, event);
	for (Viewer *viewer = feed->viewers; viewer != NULL; viewer = viewer->next)
		if (viewer->session != NULL)
			give(viewer, event);
}

/* fed is called with what the statement of a feed has come to. */
static void
fed(void *owner, const Outcome *outcome)
{
	Feed *feed = owner;
	int64_t took = loop_now() - feed->asked_at;
	bool good = outcome->status == 200 && outcome->value != NULL;
	int64_t period = good ? PERIOD : PERIOD_IN_ERROR;

	feed->work = NULL;
	feed->asker = NULL;
	if (good)
		publish(feed, make_event(NULL, outcome->value, outcome->value_len));
	else
	{
		Buffer problem = {0};

		request_add_error(&problem, outcome->sqlstate, outcome->message, outcome->detail,
						  outcome->hint);
		publish(feed, make_event("problem", problem.data, problem.len));
		buffer_free(&problem);
	}
	loop_set(&feed->timer, loop_now() + (period > 3 * took ? period - took : 2 * took),
			 feed_due, feed);
}

/* feed_due runs the statement of a feed. */
static void
feed_due(LoopTimer *timer)
{
	Feed *feed = timer->owner;
	WorkOrder order = {.statement = statement_find(STATEMENT_PAGE, "live"),
					   .read_only = true,
					   .done = fed,
					   .owner = feed};

	for (Viewer *viewer = feed->viewers; viewer != NULL && feed->asker == NULL;
		 viewer = viewer->next)
		feed->asker = viewer->session;
	/* Null: those that are left have been told that their session has ended, and go. */
	if (feed->asker == NULL)
		return;
	feed->asked_at = loop_now();
	feed->work = database_run(database_get_live(feed->asker->login, feed->database), &order);
	/* Null: so many pages wait for the connection already. */
	if (feed->work == NULL)
	{
		feed->asker = NULL;
		loop_set(&feed->timer, loop_now() + PERIOD, feed_due, feed);
	}
}

/* ---- the interface ---- */

/* live_request answers with events, until the viewer goes or its session ends. */
void
live_request(Request *request)
{
	Viewer *viewer;
	struct MHD_Response *response;

	if (request->method != METHOD_GET)
	{
		request_fail(request, 405, NULL, "live is for reading", NULL, NULL);
		return;
	}
	if (!has_room(request->session))
	{
		request->retry_after = 30;
		request_fail(request, 429, NULL, "too many viewers", NULL, NULL);
		return;
	}
	viewer = mem_zero(sizeof(*viewer));
	viewer->session = request->session;
	viewer->request = request;
	viewer->feed = get_feed(request->session->login->user, request->database);
	viewer->next = viewer->feed->viewers;
	viewer->feed->viewers = viewer;
	nviewers++;
	request->owner = viewer;
	request->gone = viewer_gone;
	take_event(&viewer->event, make_text(greeting, strlen(greeting)));
	if (viewer->feed->last != NULL)
		take_event(&viewer->waiting, viewer->feed->last);
	response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK, read_events, viewer, NULL);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	/* A proxy that gathers answers would hold up the events. */
	MHD_add_response_header(response, "X-Accel-Buffering", "no");
	request_respond(request, 200, response);
}

/* live_session_ended ends the answers of a session's viewers. */
void
live_session_ended(Session *session)
{
	for (Feed *feed = feeds; feed != NULL; feed = feed->next)
	{
		for (Viewer *viewer = feed->viewers; viewer != NULL; viewer = viewer->next)
			if (viewer->session == session)
				end_viewer(viewer);
		if (feed->asker != session)
			continue;
		/* Another one's session goes on asking. */
		work_forget(feed->work);
		feed->work = NULL;
		feed->asker = NULL;
		loop_set(&feed->timer, loop_now(), feed_due, feed);
	}
}

/* live_close ends all answers; the library sends what is left of them, or not. */
void
live_close(void)
{
	for (Feed *feed = feeds; feed != NULL; feed = feed->next)
		for (Viewer *viewer = feed->viewers; viewer != NULL; viewer = viewer->next)
			if (viewer->session != NULL)
				end_viewer(viewer);
}
