/*-------------------------------------------------------------------------
 *
 * request.c
 *	  A request by HTTP, and its answer.
 *
 * A request belongs to libmicrohttpd's connection: made when its header is there,
 * freed when it is over (web.c). The part of the program that serves it answers once, at
 * once or in a later turn of the loop: request_respond keeps the answer and resumes the
 * connection. Until then the connection is suspended, so the request cannot vanish.
 *
 * Every answer has the headers that keep other sites out. Where it sets no policy of its
 * own, as the page does (asset.c), a browser may load nothing at all by it, and show it
 * in no frame. Answers of the API are not stored anywhere.
 *
 * An error is {"error": {"sqlstate", "message", "detail", "hint"}}; what is not known
 * is null. sqlstate is PostgreSQL's; errors of the program itself have none.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/request.h"
#include "client/json.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "dashboard/config.h"
#include "dashboard/database.h"
#include "dashboard/web.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char *const common_headers[][2] = {
	/* Of what is no page: nothing at all. */
	{"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"}};

static Method
read_method(const char *method)
{
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return METHOD_GET;
	if (strcmp(method, "POST") == 0)
		return METHOD_POST;
	return strcmp(method, "DELETE") == 0 ? METHOD_DELETE : METHOD_OTHER;
}

/* skip_base returns a path without the base path. A proxy may have removed it. */
static const char *
skip_base(const char *path)
{
	size_t len = strlen(config.base_path);

	if (len > 0 && strncmp(path, config.base_path, len) == 0)
	{
		if (path[len] == '/')
			return path + len;
		if (path[len] == '\0')
			return "/";
	}
	return path;
}

Request *
request_new(struct MHD_Connection *http, const char *method, const char *path)
{
	Request *request = mem_zero(sizeof(*request));

	request->http = http;
	request->method = read_method(method);
	request->path = mem_copy(skip_base(path));
	return request;
}

void
request_free(Request *request)
{
	if (request->gone != NULL)
		request->gone(request);
	if (request->response != NULL)
		MHD_destroy_response(request->response);
	if (request->secret && request->body.memory != NULL)
		explicit_bzero(request->body.memory, request->body.size);
	buffer_free(&request->body);
	free(request->path);
	free(request->database);
	free(request->cookie);
	free(request);
}

const char *
request_header(Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->http, MHD_HEADER_KIND, name);
}

/* request_argument returns a value of the query string, decoded; null if there is none. */
const char *
request_argument(Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->http, MHD_GET_ARGUMENT_KIND, name);
}

/* request_flag returns whether the query string has "name=1". */
bool
request_flag(Request *request, const char *name)
{
	const char *value = request_argument(request, name);

	return value != NULL && strcmp(value, "1") == 0;
}

const char *
request_cookie(Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->http, MHD_COOKIE_KIND, name);
}

/* request_peer returns the address that the connection comes from; what headers say of others is not believed. */
const struct sockaddr *
request_peer(Request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->http, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	return info != NULL ? info->client_addr : NULL;
}

/* request_respond gives a response, with the headers that all have, and takes it over. */
void
request_respond(Request *request, int status, struct MHD_Response *response)
{
	if (response == NULL)
	{
		log_error("out of memory");
		exit(EX_OSERR);
	}
	for (int i = 0; i < (int) (sizeof(common_headers) / sizeof(common_headers[0])); i++)
		if (MHD_get_response_header(response, common_headers[i][0]) == NULL)
			MHD_add_response_header(response, common_headers[i][0], common_headers[i][1]);
	if (config.tls_cert != NULL)
		MHD_add_response_header(response, "Strict-Transport-Security", "max-age=31536000");
	if (MHD_get_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL) == NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (request->cookie != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_SET_COOKIE, request->cookie);
	if (request->retry_after > 0)
	{
		char seconds[16];

		snprintf(seconds, sizeof(seconds), "%d", request->retry_after);
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	request->status = status;
	request->response = response;
	web_resume(request);
}

/* request_answer answers with a body, whose memory it takes over. */
void
request_answer(Request *request, int status, const char *type, Buffer *body)
{
	struct MHD_Response *response;

	/* The response frees where the data begins, which is where the memory begins if nothing was taken. */
	if (body->data == body->memory && body->memory != NULL)
	{
		response =
			MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_FREE);
		memset(body, 0, sizeof(*body));
	}
	else
	{
		response =
			MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
		buffer_free(body);
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	request_respond(request, status, response);
}

/* request_answer_text answers with a line of plain text. */
void
request_answer_text(Request *request, int status, const char *text)
{
	Buffer body = {0};

	buffer_add_text(&body, text);
	buffer_add_text(&body, "\n");
	request_answer(request, status, "text/plain; charset=utf-8", &body);
}

/* request_add_text adds a text of the server as a JSON string, or null. */
void
request_add_text(Buffer *to, const char *text)
{
	Buffer clean = {0};

	if (text == NULL)
	{
		buffer_add_text(to, "null");
		return;
	}
	utf8_clean(&clean, text, strlen(text));
	json_add_string(to, clean.data, clean.len);
	buffer_free(&clean);
}

/* request_add_error adds {"error": …}. */
void
request_add_error(Buffer *to, const char *sqlstate, const char *message, const char *detail,
				  const char *hint)
{
	buffer_add_text(to, "{\"error\": {\"sqlstate\": ");
	request_add_text(to, sqlstate != NULL && *sqlstate != '\0' ? sqlstate : NULL);
	buffer_add_text(to, ", \"message\": ");
	request_add_text(to, message);
	buffer_add_text(to, ", \"detail\": ");
	request_add_text(to, detail);
	buffer_add_text(to, ", \"hint\": ");
	request_add_text(to, hint);
	buffer_add_text(to, "}}\n");
}

/* request_fail answers with an error; what is not known is null. */
void
request_fail(Request *request, int status, const char *sqlstate, const char *message,
			 const char *detail, const char *hint)
{
	Buffer body = {0};

	request_add_error(&body, sqlstate, message, detail, hint);
	request_answer(request, status, "application/json", &body);
}

/* request_fail_as answers with what became of a statement. */
void
request_fail_as(Request *request, const Outcome *outcome)
{
	request->retry_after = outcome->retry_after;
	request_fail(request, outcome->status, outcome->sqlstate, outcome->message, outcome->detail,
				 outcome->hint);
}

/* request_fail_busy answers that too much waits for the connection already. */
void
request_fail_busy(Request *request)
{
	request->retry_after = 1;
	request_fail(request, 503, NULL, "too many statements wait for the connection", NULL, NULL);
}
