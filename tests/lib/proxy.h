/* proxy.h: a network that goes wrong, between a client and a server of ours:
 * a TCP proxy on 127.0.0.1, in a thread of the test program, before the
 * server's unix socket. It passes what comes until it is told to do harm:
 * at a byte or at words of either side, or at once.
 *
 * Held up connections stay so until proxy_stop(): what the client closes is
 * then not closed at the server, as with a proxy that froze. */
#ifndef BACKFILL_TESTS_PROXY_H
#define BACKFILL_TESTS_PROXY_H

#include <stdint.h>

enum proxy_fault {
	PROXY_PASS,
	PROXY_RESET,	   /* cut: an RST to the client, the server's closed */
	PROXY_CLOSE,	   /* cut: what was passed, then FIN to both */
	PROXY_STALL,	   /* nothing more of the side that was watched */
	PROXY_FREEZE,	   /* nothing more of either side; both are ACKed */
	PROXY_LOSE_SERVER, /* half open: the server's end is closed, the
			    * client's stays and is silent */
	PROXY_LOSE_CLIENT, /* half open: an RST to the client, the server's
			    * end stays and is silent */
	PROXY_SPLIT,	   /* from here on each byte comes by itself */
	PROXY_DELAY	   /* from here on all comes delay_ms later */
};

enum proxy_side { PROXY_CLIENT, PROXY_SERVER };

/* On the connection that first meets it, and so many others. */
struct proxy_rule {
	enum proxy_fault fault;
	enum proxy_side side; /* whose bytes are watched */

	/* The fault comes in place of the byte that completes these words,
	 * or else of that number, from 1; 0: when the client connects. */
	const char *words; /* at most 63 bytes; a zero byte is written \1 */
	int64_t at_byte;
	const char *after; /* and not before the client said this; or NULL */
	unsigned delay_ms;
	int times; /* 0 counts as 1 */
};

struct proxy;

/* dir and port as cluster_dir() and cluster_port() tell them. */
struct proxy *proxy_start(const char *dir, const char *port);
int proxy_port(const struct proxy *p);

/* From now on this rule, copied but for its strings; NULL: none. */
void proxy_arm(struct proxy *p, const struct proxy_rule *rule);

/* How often rules have acted since the start. */
int proxy_count(struct proxy *p);

/* Now, with all connections of the moment. */
void proxy_act(struct proxy *p, enum proxy_fault fault);

/* Cuts what is left. p may be NULL. */
void proxy_stop(struct proxy *p);

#endif
