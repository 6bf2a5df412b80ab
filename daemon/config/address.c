#include "config/address.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static const char OFF[] = "off";

static int parse_port(const char *text, uint16_t *port)
{
	size_t digits = strspn(text, "0123456789");
	long value;

	if (digits == 0 || digits > 5 || text[digits] != '\0') {
		return -1;
	}
	value = strtol(text, NULL, 10);
	if (value < 1 || value > UINT16_MAX) {
		return -1;
	}
	*port = (uint16_t)value;
	return 0;
}

/* Letters of a name or of an IPv4 address. */
static int is_name(const char *host, size_t length)
{
	return length > 0 &&
		strspn(host,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			"0123456789.-_") >= length;
}

static int is_ipv6(const char *host, size_t length)
{
	return length > 1 && strspn(host, "0123456789abcdefABCDEF:.") >= length;
}

int address_parse(const char *text, struct address *a)
{
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t length;
	int is_valid;

	memset(a, 0, sizeof *a);
	if (strcmp(text, OFF) == 0) {
		return 0;
	}
	if (colon == NULL || parse_port(colon + 1, &a->port) != 0) {
		return -1;
	}
	length = (size_t)(colon - text);
	if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
		is_valid = is_ipv6(host, length);
	} else {
		is_valid = is_name(host, length);
	}
	if (!is_valid || length >= sizeof a->host) {
		return -1;
	}
	(void)snprintf(a->host, sizeof a->host, "%.*s", (int)length, host);
	return 0;
}

const char *address_check_listen(const char *text)
{
	struct address a;

	return address_parse(text, &a) == 0
		? NULL
		: "It is written HOST:PORT, with an IPv6 address in brackets,"
		  " or off.";
}

const char *address_check_socket(const char *text)
{
	const struct sockaddr_un *address = NULL;

	if (text[0] == '\0' || strcmp(text, OFF) == 0) {
		return NULL;
	}
	if (text[0] != '/') {
		return "It is a path that begins with \"/\", or off.";
	}
	if (strlen(text) >= sizeof address->sun_path) {
		return "The path of a socket has at most 107 bytes.";
	}
	return NULL;
}
