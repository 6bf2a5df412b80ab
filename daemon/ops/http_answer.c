/* What every answer has, and the refusals. */
#include "http_internal.h"

#include <string.h>

/* A page of somebody else's may neither frame what is shown nor load it. */
static const struct {
	const char *name;
	const char *value;
} headers[] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "X-Frame-Options", "DENY" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cache-Control", "no-store" },
	{ "Connection", "close" },
};

static const char NOTHING[] = "default-src 'none'; frame-ancestors 'none'";

static enum MHD_Result queue(struct MHD_Connection *c, unsigned status,
	const char *type, const char *csp, struct MHD_Response *response)
{
	enum MHD_Result result;

	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		(void)MHD_add_response_header(
			response, headers[i].name, headers[i].value);
	}
	(void)MHD_add_response_header(response, "Content-Security-Policy",
		csp != NULL ? csp : NOTHING);
	(void)MHD_add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
		(void)MHD_add_response_header(response, "Allow", "GET, HEAD");
	}
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result http_refuse(
	struct MHD_Connection *c, unsigned status, const char *why)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(why), (void *)(uintptr_t)why, MHD_RESPMEM_PERSISTENT);

	if (response == NULL) {
		return MHD_NO;
	}
	return queue(c, status, "text/plain; charset=utf-8", NULL, response);
}

void http_answer(struct http_request *rq, unsigned status, const char *type,
	const char *csp, struct text *body)
{
	size_t length = body->length;
	char *data = text_take(body);
	struct MHD_Response *response = MHD_create_response_from_buffer(
		length, data, MHD_RESPMEM_MUST_FREE);

	rq->is_answered = 1;
	rq->result = response == NULL
		? MHD_NO
		: queue(rq->connection, status, type, csp, response);
}
