/* Who is answered: GET and HEAD of a moderate size, without a body, from a
 * client that knows whom it speaks to. A page of the internet whose name its
 * owner lets point to 127.0.0.1 is, to a browser, of one origin with us; but
 * the browser tells us that name. */
#include "http_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static int is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 ||
		inet_pton(AF_INET6, host, &address) == 1;
}

/* Without port, brackets and the dot of the root; -1: not a host. */
static int take_host(const char *value, char *host, size_t size)
{
	const char *end = value + strcspn(value, ":");
	size_t length;

	if (value[0] == '[') {
		value++;
		end = strchr(value, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':')) {
			return -1;
		}
	}
	if (strspn(end, "]:0123456789") != strlen(end)) {
		return -1;
	}
	length = (size_t)(end - value);
	if (length > 0 && value[length - 1] == '.') {
		length--;
	}
	if (length == 0 || length >= size) {
		return -1;
	}
	memcpy(host, value, length);
	host[length] = '\0';
	return 0;
}

int http_host_is_ours(const char *value, const char *host)
{
	char given[ADDRESS_HOST_BYTES];

	if (take_host(value, given, sizeof given) != 0) {
		return 0;
	}
	return is_address(given) || strcasecmp(given, "localhost") == 0 ||
		strcasecmp(given, host) == 0;
}

struct hosts {
	const char *first;
	int count;
};

static enum MHD_Result count_host(void *data, enum MHD_ValueKind kind,
	const char *name, const char *value)
{
	struct hosts *hosts = data;

	(void)kind;
	if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0 &&
		hosts->count++ == 0) {
		hosts->first = value != NULL ? value : "";
	}
	return MHD_YES;
}

static unsigned guard_host(struct MHD_Connection *c, const char *version,
	const char *listen, const char **why)
{
	struct hosts hosts = { NULL, 0 };
	struct address a;

	(void)MHD_get_connection_values(c, MHD_HEADER_KIND, count_host, &hosts);
	/* Before 1.1 it need not be there, and no browser is so old. */
	if (hosts.count == 0 && strcmp(version, MHD_HTTP_VERSION_1_0) == 0) {
		return 0;
	}
	if (hosts.count != 1) {
		*why = "one Host header is needed\n";
		return MHD_HTTP_BAD_REQUEST;
	}
	(void)address_parse(listen, &a);
	if (!http_host_is_ours(hosts.first, a.host)) {
		*why = "not known by this name: use an address, localhost, or"
		       " the name that http.listen gives\n";
		return MHD_HTTP_MISDIRECTED_REQUEST;
	}
	return 0;
}

static int has_body(struct MHD_Connection *c)
{
	const char *length = MHD_lookup_connection_value(
		c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return (length != NULL && strcmp(length, "0") != 0) ||
		MHD_lookup_connection_value(c, MHD_HEADER_KIND,
			MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

unsigned http_guard(struct MHD_Connection *c, const char *method,
	const char *version, const char *listen, const char **why)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
		strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		*why = "only GET and HEAD\n";
		return MHD_HTTP_METHOD_NOT_ALLOWED;
	}
	if (info == NULL || info->header_size > HTTP_REQUEST_BYTES) {
		*why = "the request is larger than 4 kB\n";
		return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
	}
	if (has_body(c)) {
		*why = "no body is taken\n";
		return MHD_HTTP_CONTENT_TOO_LARGE;
	}
	return guard_host(c, version, listen, why);
}
