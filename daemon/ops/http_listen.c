/* The sockets that are listened at. The happy path:
 *
 *   open: (look the name up ->) bind, listen -> accept as long as there is
 *     room -> http_take()
 *
 * How it fails: a place that cannot be had is warned of, once for each
 * reason, and tried again every HTTP_RETRY_MS. A socket in the file system
 * that nobody listens at is left from one of us that was killed: it makes
 * room. Where accept() has no descriptor left, it pauses until the retry.
 *
 * A change of the configuration closes what has changed, and opens anew. */

#include "http_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { BACKLOG = HTTP_CONNECTIONS, SEND_BYTES = 64 * 1024 };

static const char OFF[] = "off";

static void open_posts(struct http *h);

/* ---- telling ---- */

static void __attribute__((format(printf, 2, 3)))
complain(struct http_post *post, const char *format, ...)
{
	char line[sizeof post->told];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (strcmp(line, post->told) != 0) {
		log_warning("http: could not listen on %s -> again every"
			    " %d s, jobs go on",
			line, HTTP_RETRY_MS / 1000);
		(void)snprintf(post->told, sizeof post->told, "%s", line);
	}
}

/* ---- accepting ---- */

static void on_client(uv_poll_t *poll, int status, int events);

static void set_accepting(struct http *h, int is_accepting)
{
	h->is_accepting = is_accepting;
	for (size_t i = 0; i < HTTP_PLACES; i++) {
		struct http_listener *l = h->posts[i].socket;

		if (l == NULL) {
			continue;
		}
		if (is_accepting) {
			(void)uv_poll_start(&l->poll, UV_READABLE, on_client);
		} else {
			(void)uv_poll_stop(&l->poll);
		}
	}
}

void http_listen_room(struct http *h)
{
	int has_room = h->connections < HTTP_CONNECTIONS;

	/* While it pauses for want of descriptors, the retry ends that. */
	if (!h->is_closing && has_room != h->is_accepting &&
		!(has_room && h->is_starved)) {
		set_accepting(h, has_room);
	}
}

static void on_retry(uv_timer_t *timer)
{
	struct http *h = timer->data;

	h->is_starved = 0;
	http_listen_room(h);
	open_posts(h);
}

static void retry_later(struct http *h)
{
	if (!h->is_closing && !uv_is_active((uv_handle_t *)&h->retry)) {
		(void)uv_timer_start(&h->retry, on_retry, HTTP_RETRY_MS, 0);
	}
}

static int is_of_the_client(int code)
{
	return code == EAGAIN || code == EINTR || code == ECONNABORTED ||
		code == EPROTO;
}

static void refuse_clients(struct http *h, const char *why)
{
	log_warning("http: a client could not be accepted: %s -> again in %d s",
		why, HTTP_RETRY_MS / 1000);
	h->is_starved = 1;
	set_accepting(h, 0);
	retry_later(h);
}

/* One at a time: the poll comes again while others wait. */
static void on_client(uv_poll_t *poll, int status, int events)
{
	struct http_listener *l = poll->data;
	struct http *h = l->http;
	struct sockaddr_storage from;
	socklen_t length = sizeof from;
	/* The kernel's memory is bounded, too. */
	int buffer = SEND_BYTES;
	int fd;

	(void)events;
	if (status < 0) {
		/* libuv has stopped the poll. */
		refuse_clients(h, uv_strerror(status));
		return;
	}
	memset(&from, 0, sizeof from);
	fd = accept4(l->fd, (struct sockaddr *)&from, &length,
		SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		(void)setsockopt(
			fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
		http_take(h, fd, (struct sockaddr *)&from, length);
	} else if (!is_of_the_client(errno)) {
		refuse_clients(h, strerror(errno));
		return;
	}
	http_listen_room(h);
}

/* ---- one place ---- */

static void on_poll_closed(uv_handle_t *handle)
{
	struct http_listener *l = handle->data;
	struct http *h = l->http;

	free(l);
	http_closed(h);
}

static void remove_path(struct http_post *post)
{
	if (post->path != NULL) {
		(void)unlink(post->path);
		free(post->path);
		post->path = NULL;
	}
}

static void close_post(struct http_post *post)
{
	if (post->socket != NULL) {
		uv_close((uv_handle_t *)&post->socket->poll, on_poll_closed);
		(void)close(post->socket->fd);
		post->socket = NULL;
	}
	remove_path(post);
	post->told[0] = '\0';
}

/* fd is bound. Takes it. */
static void listen_at(
	struct http *h, struct http_post *post, int fd, const char *name)
{
	struct http_listener *l;

	if (listen(fd, BACKLOG) != 0) {
		complain(post, "%s: %s", name, strerror(errno));
		(void)close(fd);
		return;
	}
	l = mem_new(1, sizeof *l);
	l->http = h;
	l->fd = fd;
	(void)uv_poll_init(h->loop, &l->poll, fd);
	http_opened(h, &l->poll);
	l->poll.data = l;
	post->socket = l;
	post->told[0] = '\0';
	log_info("http: listening on %s", name);
	set_accepting(h, h->is_accepting);
}

static int new_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* ---- TCP ---- */

static void open_at(struct http *h, struct sockaddr *address)
{
	struct http_post *post = &h->posts[HTTP_TCP];
	socklen_t length = address->sa_family == AF_INET
		? sizeof(struct sockaddr_in)
		: sizeof(struct sockaddr_in6);
	int fd = new_socket(address->sa_family);
	int on = 1;

	if (fd < 0) {
		complain(post, "%s: %s", post->where, strerror(errno));
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, address, length) != 0) {
		complain(post, "%s: %s", post->where, strerror(errno));
		(void)close(fd);
		return;
	}
	listen_at(h, post, fd, post->where);
}

static void set_port(struct sockaddr *address, uint16_t port)
{
	if (address->sa_family == AF_INET) {
		((struct sockaddr_in *)address)->sin_port = htons(port);
	} else {
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
	}
}

static void on_looked_up(
	uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
	struct http *h = lookup->data;
	struct http_post *post = &h->posts[HTTP_TCP];
	struct address a;

	h->is_looking_up = 0;
	if (!h->is_closing && post->socket == NULL) {
		(void)address_parse(post->where, &a);
		if (strcmp(a.host, h->looked_up) != 0) {
			/* The configuration has changed meanwhile. */
			open_posts(h);
		} else if (status != 0) {
			complain(post, "%s: %s", post->where,
				uv_strerror(status));
		} else {
			set_port(found->ai_addr, a.port);
			open_at(h, found->ai_addr);
		}
		if (post->socket == NULL) {
			retry_later(h);
		}
	}
	uv_freeaddrinfo(found);
	http_closed(h);
}

static void look_up(struct http *h, const struct address *a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

	if (h->is_looking_up) {
		return;
	}
	http_opened(h, &h->lookup);
	(void)snprintf(h->looked_up, sizeof h->looked_up, "%s", a->host);
	if (uv_getaddrinfo(h->loop, &h->lookup, on_looked_up, a->host, NULL,
		    &hints) == 0) {
		h->is_looking_up = 1;
	} else {
		http_closed(h);
	}
}

static void open_tcp(struct http *h)
{
	struct sockaddr_storage place;
	struct address a;

	(void)address_parse(h->posts[HTTP_TCP].where, &a);
	if (a.host[0] == '\0') {
		return;
	}
	if (uv_ip4_addr(strcmp(a.host, "localhost") == 0 ? "127.0.0.1" : a.host,
		    a.port, (struct sockaddr_in *)&place) == 0 ||
		uv_ip6_addr(a.host, a.port, (struct sockaddr_in6 *)&place) ==
			0) {
		open_at(h, (struct sockaddr *)&place);
	} else {
		look_up(h, &a);
	}
}

/* ---- a socket in the file system ---- */

/* Connecting to one that nobody listens at fails at once, as it does to a
 * file that is no socket. */
static int is_left_over(const struct sockaddr_un *address)
{
	struct stat file;
	int is_refused;
	int fd;

	if (lstat(address->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode)) {
		return 0;
	}
	fd = new_socket(AF_UNIX);
	if (fd < 0) {
		return 0;
	}
	is_refused = connect(fd, (const struct sockaddr *)address,
			     sizeof *address) != 0 &&
		errno == ECONNREFUSED;
	(void)close(fd);
	return is_refused;
}

static int bind_path(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *place = (const struct sockaddr *)address;

	if (bind(fd, place, sizeof *address) == 0) {
		return 0;
	}
	if (errno != EADDRINUSE) {
		return -1;
	}
	if (!is_left_over(address)) {
		errno = EADDRINUSE;
		return -1;
	}
	(void)unlink(address->sun_path);
	return bind(fd, place, sizeof *address);
}

/* Where the configuration is silent: in the directory that the service
 * manager made for us, the first if there are several. */
static void find_path(const char *configured, char *path, size_t size)
{
	const char *directory = getenv("RUNTIME_DIRECTORY");

	path[0] = '\0';
	if (configured[0] != '\0') {
		(void)snprintf(path, size, "%s", configured);
	} else if (directory != NULL && directory[0] == '/') {
		(void)snprintf(path, size, "%.*s/http.sock",
			(int)strcspn(directory, ":"), directory);
	}
}

static void open_unix(struct http *h)
{
	struct http_post *post = &h->posts[HTTP_UNIX];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	find_path(post->where, address.sun_path, sizeof address.sun_path);
	if (address.sun_path[0] == '\0' || strcmp(post->where, OFF) == 0) {
		return;
	}
	fd = new_socket(AF_UNIX);
	if (fd < 0 || bind_path(fd, &address) != 0) {
		complain(post, "%s: %s", address.sun_path, strerror(errno));
		if (fd >= 0) {
			(void)close(fd);
		}
		return;
	}
	post->path = mem_strdup(address.sun_path);
	listen_at(h, post, fd, address.sun_path);
	if (post->socket == NULL) {
		remove_path(post);
	}
}

/* ---- all of them ---- */

static void open_posts(struct http *h)
{
	if (h->posts[HTTP_TCP].socket == NULL) {
		open_tcp(h);
	}
	if (h->posts[HTTP_UNIX].socket == NULL) {
		open_unix(h);
	}
	for (size_t i = 0; i < HTTP_PLACES; i++) {
		if (h->posts[i].told[0] != '\0') {
			retry_later(h);
		}
	}
}

void http_listen_start(struct http *h, const char *listen, const char *socket)
{
	h->posts[HTTP_TCP].where = mem_strdup(listen);
	h->posts[HTTP_UNIX].where = mem_strdup(socket);
	h->lookup.data = h;
	h->is_accepting = 1;
	open_posts(h);
}

void http_listen_change(struct http *h, const char *listen, const char *socket)
{
	const char *wanted[HTTP_PLACES] = { listen, socket };

	for (size_t i = 0; i < HTTP_PLACES; i++) {
		struct http_post *post = &h->posts[i];

		if (strcmp(post->where, wanted[i]) != 0) {
			close_post(post);
			free(post->where);
			post->where = mem_strdup(wanted[i]);
		}
	}
	open_posts(h);
}

void http_listen_stop(struct http *h)
{
	for (size_t i = 0; i < HTTP_PLACES; i++) {
		close_post(&h->posts[i]);
	}
	if (h->is_looking_up) {
		(void)uv_cancel((uv_req_t *)&h->lookup);
	}
}
