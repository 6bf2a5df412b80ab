/* One thread, one loop. A link is a pair of connections; each of its two
 * flows passes on what one side says. What the test's thread asks for is
 * done by the loop at the next turn of on_wish(), and waited for.
 *
 *	listen -> on_client: link -> on_server: reading
 *	       -> on_read: watch() each byte, pass() or hold()
 *	       -> end of file: passed on -> close_link -> freed
 */
#include "proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/mem.h"
#include "base/text.h"

enum { WINDOW_BYTES = 64, LINK_HANDLES = 4, BACKLOG = 64 };

struct link;

struct flow {
	struct link *link;
	uv_stream_t *from, *to;
	uv_timer_t timer;	   /* of what is delayed */
	char window[WINDOW_BYTES]; /* the last bytes of from */
	int64_t bytes;
	struct text held;
	int is_held;  /* for good */
	int is_ended; /* from said its last */
	int is_split;
	unsigned delay_ms;
};

struct link {
	struct proxy *proxy;
	struct link *next;
	uv_tcp_t client;
	uv_pipe_t server;
	uv_connect_t connect;
	struct flow flows[2]; /* by proxy_side */
	int has_server;
	int has_begun; /* the client said the rule's `after` */
	int is_open;
	int handles; /* to be closed before it is freed */
};

enum wish { WISH_ARM, WISH_COUNT, WISH_ACT, WISH_STOP };

struct proxy {
	uv_thread_t thread;
	uv_loop_t loop;
	uv_tcp_t listener;
	uv_async_t async;
	uv_sem_t done;

	/* Of the test's thread, which waits for done after async. */
	enum wish wish;
	struct proxy_rule wanted;
	enum proxy_fault fault;
	int counted;

	struct proxy_rule rule;
	int count;
	struct link *links;
	int port;
	char path[256];
};

static void do_fault(struct link *l, enum proxy_fault fault,
	enum proxy_side side, unsigned delay_ms);

/* ---- the end of a link */

static void on_link_closed(uv_handle_t *handle)
{
	struct link *l = handle->data;
	struct link **at = &l->proxy->links;

	if (--l->handles > 0) {
		return;
	}
	while (*at != l) {
		at = &(*at)->next;
	}
	*at = l->next;
	text_close(&l->flows[0].held);
	text_close(&l->flows[1].held);
	free(l);
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle)) {
		uv_close(handle, on_link_closed);
	}
}

static void reset_client(struct link *l)
{
	if (!uv_is_closing((uv_handle_t *)&l->client) &&
		uv_tcp_close_reset(&l->client, on_link_closed) != 0) {
		uv_close((uv_handle_t *)&l->client, on_link_closed);
	}
}

static void close_link(struct link *l)
{
	l->is_open = 0;
	close_handle((uv_handle_t *)&l->client);
	close_handle((uv_handle_t *)&l->server);
	for (int i = 0; i < 2; i++) {
		(void)uv_timer_stop(&l->flows[i].timer);
		l->flows[i].timer.data = l; /* as on_link_closed() expects */
		close_handle((uv_handle_t *)&l->flows[i].timer);
	}
}

/* ---- passing on */

struct write {
	uv_write_t request;
	char data[];
};

static void on_written(uv_write_t *request, int status)
{
	(void)status; /* reading finds out */
	free(request->data);
}

static void write_bytes(uv_stream_t *to, const char *data, size_t length)
{
	struct write *w = mem_new(1, sizeof *w + length);
	uv_buf_t buffer = uv_buf_init(w->data, (unsigned)length);

	memcpy(w->data, data, length);
	w->request.data = w;
	if (uv_is_closing((uv_handle_t *)to) ||
		uv_write(&w->request, to, &buffer, 1, on_written) != 0) {
		free(w);
	}
}

static void pass(struct flow *f, const char *data, size_t length)
{
	size_t step = f->is_split ? 1 : length;

	for (; length > 0; data += step, length -= step) {
		write_bytes(f->to, data, step);
	}
}

static void on_delay_over(uv_timer_t *timer)
{
	struct flow *f = timer->data;

	pass(f, f->held.data, f->held.length);
	text_reset(&f->held);
	if (f->is_ended) {
		close_link(f->link);
	}
}

static void hand_on(struct flow *f, const char *data, size_t length)
{
	if (f->is_held) {
		return;
	}
	if (f->delay_ms == 0) {
		pass(f, data, length);
		return;
	}
	text_add_bytes(&f->held, data, length);
	if (!uv_is_active((uv_handle_t *)&f->timer)) {
		(void)uv_timer_start(&f->timer, on_delay_over, f->delay_ms, 0);
	}
}

/* ---- the rule */

static int ends_with(const struct flow *f, const char *words)
{
	size_t length = strlen(words);

	for (size_t i = 0; i < length; i++) {
		char wanted = words[i] == '\1' ? '\0' : words[i];

		if (f->window[WINDOW_BYTES - length + i] != wanted) {
			return 0;
		}
	}
	return 1;
}

/* Whether the fault is to come in place of this byte. */
static int watch(struct flow *f, char byte)
{
	struct link *l = f->link;
	const struct proxy_rule *rule = &l->proxy->rule;
	int is_client = f == &l->flows[PROXY_CLIENT];

	memmove(f->window, f->window + 1, WINDOW_BYTES - 1);
	f->window[WINDOW_BYTES - 1] = byte;
	f->bytes++;
	if (is_client && rule->after != NULL && ends_with(f, rule->after)) {
		l->has_begun = 1;
	}
	return rule->times > 0 && f == &l->flows[rule->side] &&
		(rule->after == NULL || l->has_begun) &&
		(rule->words != NULL ? ends_with(f, rule->words)
				     : f->bytes == rule->at_byte);
}

static void obey(struct link *l)
{
	struct proxy *p = l->proxy;

	p->rule.times--;
	p->count++;
	do_fault(l, p->rule.fault, p->rule.side, p->rule.delay_ms);
}

static void take_bytes(struct flow *f, const char *data, size_t length)
{
	size_t from = 0;

	for (size_t i = 0; i < length && f->link->is_open; i++) {
		if (watch(f, data[i])) {
			hand_on(f, data + from, i - from);
			from = i;
			obey(f->link);
		}
	}
	if (f->link->is_open) {
		hand_on(f, data + from, length - from);
	}
}

static void do_fault(struct link *l, enum proxy_fault fault,
	enum proxy_side side, unsigned delay_ms)
{
	struct flow *flows = l->flows;

	switch (fault) {
	case PROXY_PASS:
		return;
	case PROXY_RESET:
		reset_client(l);
		close_link(l);
		return;
	case PROXY_CLOSE:
		close_link(l);
		return;
	case PROXY_STALL:
		flows[side].is_held = 1;
		return;
	case PROXY_LOSE_SERVER:
		close_handle((uv_handle_t *)&l->server);
		break;
	case PROXY_LOSE_CLIENT:
		reset_client(l);
		break;
	case PROXY_FREEZE:
		break;
	case PROXY_SPLIT:
		flows[PROXY_CLIENT].is_split = 1;
		flows[PROXY_SERVER].is_split = 1;
		return;
	case PROXY_DELAY:
		flows[PROXY_CLIENT].delay_ms = delay_ms;
		flows[PROXY_SERVER].delay_ms = delay_ms;
		return;
	}
	flows[PROXY_CLIENT].is_held = 1;
	flows[PROXY_SERVER].is_held = 1;
}

/* ---- reading */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
	(void)handle;
	*buffer = uv_buf_init(mem_new(1, size), (unsigned)size);
}

static void end_flow(struct flow *f)
{
	f->is_ended = 1;
	(void)uv_read_stop(f->from);
	if (!f->is_held && !uv_is_active((uv_handle_t *)&f->timer)) {
		close_link(f->link);
	}
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
	struct link *l = stream->data;
	struct flow *f = stream == (uv_stream_t *)&l->client
		? &l->flows[PROXY_CLIENT]
		: &l->flows[PROXY_SERVER];

	if (length > 0) {
		take_bytes(f, buffer->base, (size_t)length);
	} else if (length < 0) {
		end_flow(f);
	}
	free(buffer->base);
}

static void on_server(uv_connect_t *connect, int status)
{
	struct link *l = connect->data;

	if (status != 0) {
		if (status != UV_ECANCELED) {
			close_link(l);
		}
		return;
	}
	(void)uv_read_start((uv_stream_t *)&l->client, on_alloc, on_read);
	(void)uv_read_start((uv_stream_t *)&l->server, on_alloc, on_read);
}

static void init_flow(struct link *l, enum proxy_side side, uv_stream_t *from,
	uv_stream_t *to)
{
	struct flow *f = &l->flows[side];

	f->link = l;
	f->from = from;
	f->to = to;
	text_init(&f->held);
	(void)uv_timer_init(&l->proxy->loop, &f->timer);
	f->timer.data = f;
}

static void on_client(uv_stream_t *listener, int status)
{
	struct proxy *p = listener->data;
	struct link *l = mem_new(1, sizeof *l);
	uv_stream_t *client = (uv_stream_t *)&l->client;
	uv_stream_t *server = (uv_stream_t *)&l->server;

	(void)status;
	l->proxy = p;
	l->next = p->links;
	p->links = l;
	l->is_open = 1;
	l->handles = LINK_HANDLES;
	(void)uv_tcp_init(&p->loop, &l->client);
	(void)uv_pipe_init(&p->loop, &l->server, 0);
	l->client.data = l;
	l->server.data = l;
	l->connect.data = l;
	init_flow(l, PROXY_CLIENT, client, server);
	init_flow(l, PROXY_SERVER, server, client);
	if (uv_accept(listener, client) != 0) {
		close_link(l);
		return;
	}
	(void)uv_tcp_nodelay(&l->client, 1);
	if (p->rule.times > 0 && p->rule.words == NULL &&
		p->rule.at_byte == 0) {
		obey(l);
	}
	if (l->is_open && !l->flows[PROXY_CLIENT].is_held) {
		uv_pipe_connect(&l->connect, &l->server, p->path, on_server);
	}
}

/* ---- what the test asks for */

static void stop_all(struct proxy *p)
{
	for (struct link *l = p->links; l != NULL; l = l->next) {
		close_link(l);
	}
	uv_close((uv_handle_t *)&p->listener, NULL);
	uv_close((uv_handle_t *)&p->async, NULL);
}

static void act_on_all(struct proxy *p)
{
	for (struct link *l = p->links; l != NULL; l = l->next) {
		if (l->is_open) {
			do_fault(l, p->fault, PROXY_SERVER, 0);
		}
	}
}

static void on_wish(uv_async_t *async)
{
	struct proxy *p = async->data;

	switch (p->wish) {
	case WISH_ARM:
		p->rule = p->wanted;
		break;
	case WISH_COUNT:
		p->counted = p->count;
		break;
	case WISH_ACT:
		act_on_all(p);
		break;
	case WISH_STOP:
		stop_all(p);
		break;
	}
	uv_sem_post(&p->done);
}

static void wish(struct proxy *p, enum wish what)
{
	p->wish = what;
	(void)uv_async_send(&p->async);
	uv_sem_wait(&p->done);
}

static void run(void *arg)
{
	struct proxy *p = arg;

	(void)uv_run(&p->loop, UV_RUN_DEFAULT);
}

struct proxy *proxy_start(const char *dir, const char *port)
{
	struct proxy *p = mem_new(1, sizeof *p);
	struct sockaddr_in address;
	int length = sizeof address;

	(void)snprintf(p->path, sizeof p->path, "%s/.s.PGSQL.%s", dir, port);
	assert_int_equal(uv_loop_init(&p->loop), 0);
	assert_int_equal(uv_tcp_init(&p->loop, &p->listener), 0);
	assert_int_equal(uv_async_init(&p->loop, &p->async, on_wish), 0);
	assert_int_equal(uv_sem_init(&p->done, 0), 0);
	p->listener.data = p;
	p->async.data = p;
	assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
	assert_int_equal(
		uv_tcp_bind(&p->listener, (const struct sockaddr *)&address, 0),
		0);
	assert_int_equal(
		uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_client), 0);
	assert_int_equal(uv_tcp_getsockname(&p->listener,
				 (struct sockaddr *)&address, &length),
		0);
	p->port = ntohs(address.sin_port);
	assert_int_equal(uv_thread_create(&p->thread, run, p), 0);
	return p;
}

int proxy_port(const struct proxy *p)
{
	return p->port;
}

void proxy_arm(struct proxy *p, const struct proxy_rule *rule)
{
	static const struct proxy_rule none = { .fault = PROXY_PASS };

	p->wanted = rule != NULL ? *rule : none;
	if (rule != NULL && rule->times == 0) {
		p->wanted.times = 1;
	}
	wish(p, WISH_ARM);
}

int proxy_count(struct proxy *p)
{
	wish(p, WISH_COUNT);
	return p->counted;
}

void proxy_act(struct proxy *p, enum proxy_fault fault)
{
	p->fault = fault;
	wish(p, WISH_ACT);
}

void proxy_stop(struct proxy *p)
{
	if (p == NULL) {
		return;
	}
	wish(p, WISH_STOP);
	assert_int_equal(uv_thread_join(&p->thread), 0);
	assert_int_equal(uv_loop_close(&p->loop), 0);
	uv_sem_destroy(&p->done);
	free(p);
}
