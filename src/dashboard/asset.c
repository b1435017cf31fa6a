/*-------------------------------------------------------------------------
 *
 * asset.c
 *	  Sends the files of the page, which are in the program.
 *
 * assets.sh writes the files of the folder web into C when the program is built, each
 * compressed and as it is. Their addresses have a hash of all of them in it,
 * /static/HASH/NAME: a browser keeps them for ever, and after an upgrade asks for
 * others. The one file that may change under its address is index.html, which is sent
 * for every address that is none of the API: the page's script reads the address. It
 * has the base path and the hash written in, and is checked with the server by its
 * ETag each time.
 *
 * Nothing is read from the disk, so no name in a request can lead anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/asset.h"
#include "client/buffer.h"
#include "client/memory.h"
#include "dashboard/config.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Nothing is loaded but from here; no script and no style is written into the page. */
static const char page_policy[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
	"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
	"frame-ancestors 'none'";

static Buffer page;     /* index.html, with everything written in */
static char *page_etag; /* differs where the page differs */
static char *asset_etag;

static const Asset *
find_asset(const char *name)
{
	for (const Asset *asset = assets; asset->name != NULL; asset++)
		if (strcmp(asset->name, name) == 0)
			return asset;
	return NULL;
}

/* add_page writes index.html with the base path and the hash. */
static void
add_page(const Asset *index)
{
	const char *at = index->plain;

	while (*at != '\0')
	{
		const char *mark = strchr(at, '@');

		if (mark == NULL)
			mark = at + strlen(at);
		buffer_add(&page, at, mark - at);
		at = mark;
		if (strncmp(at, "@base@", 6) == 0)
		{
			buffer_add_text(&page, config.base_path);
			at += 6;
		}
		else if (strncmp(at, "@hash@", 6) == 0)
		{
			buffer_add_text(&page, asset_hash);
			at += 6;
		}
		else if (*at == '@')
			buffer_add(&page, at++, 1);
	}
}

void
asset_open(void)
{
	const Asset *index = find_asset("index.html");

	if (index != NULL)
		add_page(index);
	asset_etag = mem_print("\"%s\"", asset_hash);
	page_etag = mem_print("\"%s%s\"", asset_hash, config.base_path);
}

void
asset_close(void)
{
	buffer_free(&page);
	free(asset_etag);
	free(page_etag);
}

/*
 * accepts_gzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip or *, unless its weight
 * is zero. Without the header the answer is not compressed.
 */
static bool
accepts_gzip(Request *request)
{
	const char *at = request_header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING);

	while (at != NULL && *at != '\0')
	{
		size_t len;
		size_t name;

		at += strspn(at, " \t,");
		len = strcspn(at, ",");
		name = strcspn(at, " \t;,");
		if ((name == 4 && strncasecmp(at, "gzip", 4) == 0) || (name == 1 && *at == '*'))
		{
			const char *weight = memchr(at, '=', len);

			return weight == NULL || strtod(weight + 1, NULL) > 0;
		}
		at += len;
	}
	return false;
}

/* is_known returns whether the browser has the version that an ETag names. */
static bool
is_known(Request *request, const char *etag)
{
	const char *known = request_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);

	return known != NULL && strstr(known, etag) != NULL;
}

/* send_bytes sends what stays in memory as long as the program runs. */
static void
send_bytes(Request *request, const char *type, const char *etag, const char *bytes, size_t len,
		   bool packed)
{
	bool known = is_known(request, etag);
	struct MHD_Response *response = MHD_create_response_from_buffer(
		known ? 0 : len, (void *) bytes, MHD_RESPMEM_PERSISTENT);

	if (!known)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (packed && !known)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	if (etag == page_etag)
		MHD_add_response_header(response, "Content-Security-Policy", page_policy);
	MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
	MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
							etag == page_etag ? "no-cache"
											  : "public, max-age=31536000, immutable");
	request_respond(request, known ? 304 : 200, response);
}

/* asset_request answers /static/REST, where REST is HASH/NAME. */
void
asset_request(Request *request, const char *rest)
{
	size_t len = strlen(asset_hash);
	const Asset *asset = NULL;

	if (strncmp(rest, asset_hash, len) == 0 && rest[len] == '/')
		asset = find_asset(rest + len + 1);
	if (asset == NULL)
		request_fail(request, 404, NULL, "there is no such file", NULL, NULL);
	else if (accepts_gzip(request))
		send_bytes(request, asset->type, asset_etag, asset->packed, asset->packed_len, true);
	else
		send_bytes(request, asset->type, asset_etag, asset->plain, asset->plain_len, false);
}

/* asset_index answers with the page itself. */
void
asset_index(Request *request)
{
	send_bytes(request, "text/html; charset=utf-8", page_etag, page.data, page.len, false);
}
