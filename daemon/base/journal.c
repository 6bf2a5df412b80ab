#include "base/journal.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
	int fd;
	struct sockaddr_un address;
} journal = { .fd = -1 };

void journal_open(const char *path)
{
	if (journal.fd >= 0) {
		(void)close(journal.fd);
		journal.fd = -1;
	}
	if (path == NULL || strlen(path) >= sizeof journal.address.sun_path) {
		return;
	}
	memset(&journal.address, 0, sizeof journal.address);
	journal.address.sun_family = AF_UNIX;
	memcpy(journal.address.sun_path, path, strlen(path));
	journal.fd =
		socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void journal_begin(struct text *entry)
{
	text_init(entry);
	journal_add(entry, "SYSLOG_IDENTIFIER", "backfilld");
}

/* A value of several lines is preceded by its length, 64 bits and the least
 * significant byte first. */
void journal_add(struct text *entry, const char *field, const char *value)
{
	size_t length = value != NULL ? strlen(value) : 0;

	if (length == 0) {
		return;
	}
	text_add(entry, field);
	if (strchr(value, '\n') == NULL) {
		text_add(entry, "=");
	} else {
		text_add(entry, "\n");
		for (int i = 0; i < 64; i += 8) {
			char byte = (char)((uint64_t)length >> i & 0xff);

			text_add_bytes(entry, &byte, 1);
		}
	}
	text_add_bytes(entry, value, length);
	text_add(entry, "\n");
}

/* One that is too long for a datagram is refused here, and its caller has
 * another way. */
int journal_send(struct text *entry)
{
	ssize_t sent = -1;

	if (journal.fd >= 0) {
		sent = sendto(journal.fd, entry->data, entry->length,
			MSG_NOSIGNAL, (const struct sockaddr *)&journal.address,
			sizeof journal.address);
	}
	text_close(entry);
	return sent >= 0;
}
