/* loop.h: a libuv loop under test, and a pgc connection on it that records
 * what happened. Every helper asserts by cmocka. */
#ifndef BACKFILL_TESTS_LOOP_H
#define BACKFILL_TESTS_LOOP_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/text.h"
#include "pg/pgc.h"

enum {
	LOOP_LIMIT_MS = 30000, /* for what should happen at once */
	LOOP_RESULTS = 8       /* of a request, the first are kept */
};

/* Turn the loop until *value is at least wanted; fail after LOOP_LIMIT_MS. */
void loop_wait(uv_loop_t *loop, const int *value, int wanted);

/* Turn the loop until nothing is left in it; assert that uv_loop_close()
 * finds no handle. */
void loop_end(uv_loop_t *loop);

/* A timer of a few milliseconds on a loop, and the longest time that it did
 * not fire: how long the loop was held up. */
struct loop_ticker {
	uv_timer_t timer;
	uint64_t last_ns;
	uint64_t gap_ms;
};
void loop_ticker_start(uv_loop_t *loop, struct loop_ticker *ticker);

/* Asserts that no gap was longer than what no busy machine should reach and
 * any blocking call of these tests exceeds. ticker is the loop's until its
 * next turn has closed the timer. */
enum { LOOP_GAP_MS = 3000 };
void loop_ticker_end(struct loop_ticker *ticker);

/* Open file descriptors of this process. */
int loop_fd_count(void);

/* The outcome of one request. */
struct loop_reply {
	struct loop_client *client;
	int number; /* of the request on its client, from 1 */
	int is_done;
	struct err err; /* code BFE_OK: it succeeded */
	int failed_at;
	uint64_t elapsed_us;
	char *results[LOOP_RESULTS]; /* "a|b\n\\N|d\n"; NULL: did not run */
	void (*then)(struct loop_client *client);
	struct loop_reply *next;
};

struct loop_client {
	uv_loop_t *loop;
	struct pgc *pgc;
	struct text trace; /* "ready, 1 ok, 2 sql, lost, closed, " */
	int is_calling;	   /* inside a starting call */
	int connects, losses, closes, notifies, notices;
	int sent, done;
	struct err connect_err, lost_err;
	char channel[64], payload[128];
	char sqlstate[6], message[256];
	struct loop_reply *replies;
	void (*on_connect)(struct loop_client *client);
	void (*on_lost)(struct loop_client *client);
	void (*on_notice)(struct loop_client *client);
	void (*on_closed)(struct loop_client *client);
	void *data;
	const char *const *setup; /* of pgc_options */
};

/* Clears all of client but loop, setup and the functions. */
void loop_client_open(struct loop_client *client, const char *conninfo,
	uint64_t connect_timeout_ms);
void loop_client_connect(struct loop_client *client);
void loop_client_close(struct loop_client *client);

/* open, connect, wait for success. */
void loop_client_start(struct loop_client *client, const char *conninfo);

/* close when open, wait, free what was recorded; each callback must have
 * come exactly once. */
void loop_client_end(struct loop_client *client);

/* The reply belongs to the client. */
struct loop_reply *loop_client_send(
	struct loop_client *client, struct pgc_request *request);

/* The same for one statement, waiting for the reply. */
struct loop_reply *loop_client_run(struct loop_client *client, const char *sql);
struct loop_reply *loop_client_wait(struct loop_reply *reply);

#endif
