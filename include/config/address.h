/* address.h: where the daemon listens, as the configuration has it. */
#ifndef BACKFILL_CONFIG_ADDRESS_H
#define BACKFILL_CONFIG_ADDRESS_H

#include <stdint.h>

enum { ADDRESS_HOST_BYTES = 256 };

struct address {
	char host[ADDRESS_HOST_BYTES]; /* without brackets; "": off */
	uint16_t port;
};

/* "host:port", "[IPv6 address]:port" or "off". Returns 0, or -1. */
int address_parse(const char *text, struct address *a);

/* For the option table: NULL, or what is wrong with text, a sentence.
 * Constant. */
const char *address_check_listen(const char *text);

/* The same of the path of a Unix socket, which may be empty, or "off". */
const char *address_check_socket(const char *text);

#endif
