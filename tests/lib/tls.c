#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "child.h"
#include "sql.h"

enum {
	RECORD_BYTES = 16384,
	GATHER_MS = 3,	       /* silence after which a record is sent */
	SSL_REQUEST_BYTES = 8, /* PostgreSQL docs, 55.2.10 */
	PATH_BYTES = 512
};

/* ---- certificates */

/* In the cluster's directory, as the server's user. */
static void openssl(struct cluster *c, const char *command)
{
	char output[4096];
	char shell[] = "/bin/sh", option[] = "-c";
	char *script = mem_strdup(command);
	char *const argv[] = { shell, option, script, NULL };
	struct child child = {
		.argv = argv,
		.directory = cluster_dir(c),
		.uid = cluster_run_as(c),
	};

	if (child_run(&child, output, sizeof output) != 0) {
		fail_msg("%s: %s", command, output);
	}
	free(script);
}

static void make_certificates(struct cluster *c)
{
	openssl(c,
		"set -e; umask 077\n"
		"for ca in ca other; do\n"
		" openssl req -x509 -newkey rsa:2048 -nodes -days 2"
		"  -subj /CN=$ca -keyout $ca.key -out $ca.pem 2>&1\n"
		"done\n"
		"openssl req -newkey rsa:2048 -nodes -subj /CN=" TLS_HOST
		" -keyout server.key -out server.csr 2>&1\n"
		"echo subjectAltName=DNS:" TLS_HOST " >server.ext\n"
		"openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key"
		" -CAcreateserial -days 2 -extfile server.ext"
		" -out server.pem 2>&1\n"
		"chmod 644 ca.pem other.pem");
}

const char *tls_start(struct cluster *c)
{
	static char address[32];
	const char *dir = cluster_dir(c);
	PGconn *conn = cluster_connect(c, "postgres", "postgres");
	int pid = (int)getpid();
	char hba[PATH_BYTES];
	FILE *file;

	/* Of our own: all clusters have the same port. */
	(void)snprintf(address, sizeof address, "127.%d.%d.%d",
		pid / 65536 % 250 + 1, pid / 256 % 256, pid % 256 / 2 + 1);
	make_certificates(c);
	sql_exec(conn, "ALTER SYSTEM SET ssl = on");
	sql_exec(conn, "ALTER SYSTEM SET listen_addresses = '%s'", address);
	sql_exec(conn, "ALTER SYSTEM SET ssl_cert_file = '%s/server.pem'", dir);
	sql_exec(conn, "ALTER SYSTEM SET ssl_key_file = '%s/server.key'", dir);
	PQfinish(conn);
	(void)snprintf(hba, sizeof hba, "%s/data/pg_hba.conf", dir);
	file = fopen(hba, "ae");
	assert_non_null(file);
	assert_true(fputs("hostssl all all 127.0.0.0/8 trust\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	cluster_restart(c);
	return address;
}

/* ---- the proxy */

struct tls_proxy {
	pthread_t thread;
	SSL_CTX *context;
	int listener; /* shut down to stop */
	int port;
	struct sockaddr_un server;
};

static int write_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, data, length);

		if (written <= 0) {
			return 0;
		}
		data += written;
		length -= (size_t)written;
	}
	return 1;
}

/* Wait for either side; what OpenSSL holds counts as the client's. */
static int is_readable(SSL *ssl, int server, int *is_server)
{
	struct pollfd fds[] = { { SSL_get_fd(ssl), POLLIN, 0 },
		{ server, POLLIN, 0 } };

	*is_server = 0;
	if (SSL_pending(ssl) > 0) {
		return 1;
	}
	if (poll(fds, 2, -1) <= 0) {
		return 0;
	}
	*is_server = fds[1].revents != 0;
	return 1;
}

static int pass_to_server(SSL *ssl, int server)
{
	char data[RECORD_BYTES];
	int length = SSL_read(ssl, data, sizeof data);

	return length > 0 && write_all(server, data, (size_t)length);
}

/* One SSL_write() of at most 16 kB is one record. */
static int pass_to_client(SSL *ssl, int server)
{
	char data[RECORD_BYTES];
	size_t length = 0;
	struct pollfd fd = { server, POLLIN, 0 };

	do {
		ssize_t got = read(server, data + length, sizeof data - length);

		if (got <= 0) {
			return 0;
		}
		length += (size_t)got;
	} while (length < sizeof data && poll(&fd, 1, GATHER_MS) > 0);
	return SSL_write(ssl, data, (int)length) == (int)length;
}

static void pass_all(SSL *ssl, int server)
{
	int is_server, goes_on = 1;

	while (goes_on && is_readable(ssl, server, &is_server)) {
		goes_on = is_server ? pass_to_client(ssl, server)
				    : pass_to_server(ssl, server);
	}
}

static void serve(const struct tls_proxy *p, int client)
{
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(p->context);
	char request[SSL_REQUEST_BYTES];

	if (recv(client, request, sizeof request, MSG_WAITALL) ==
			sizeof request &&
		write_all(client, "S", 1) && SSL_set_fd(ssl, client) == 1 &&
		SSL_accept(ssl) == 1 &&
		connect(server, (const struct sockaddr *)&p->server,
			sizeof p->server) == 0) {
		pass_all(ssl, server);
	}
	SSL_free(ssl);
	(void)close(server);
	(void)close(client);
}

static void *run(void *arg)
{
	const struct tls_proxy *p = arg;
	int client;

	while ((client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		serve(p, client);
	}
	return NULL;
}

static void listen_on_loopback(struct tls_proxy *p)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
		bind(p->listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(p->listener, 1), 0);
	assert_int_equal(
		getsockname(p->listener, (struct sockaddr *)&address, &length),
		0);
	p->port = ntohs(address.sin_port);
}

struct tls_proxy *tls_proxy_start(struct cluster *c)
{
	struct tls_proxy *p = mem_new(1, sizeof *p);
	char path[PATH_BYTES];

	p->context = SSL_CTX_new(TLS_server_method());
	assert_non_null(p->context);
	(void)snprintf(path, sizeof path, "%s/server.pem", cluster_dir(c));
	assert_int_equal(SSL_CTX_use_certificate_file(
				 p->context, path, SSL_FILETYPE_PEM),
		1);
	(void)snprintf(path, sizeof path, "%s/server.key", cluster_dir(c));
	assert_int_equal(
		SSL_CTX_use_PrivateKey_file(p->context, path, SSL_FILETYPE_PEM),
		1);
	p->server.sun_family = AF_UNIX;
	(void)snprintf(p->server.sun_path, sizeof p->server.sun_path,
		"%s/.s.PGSQL.%s", cluster_dir(c), cluster_port(c));
	listen_on_loopback(p);
	assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
	return p;
}

int tls_proxy_port(const struct tls_proxy *p)
{
	return p->port;
}

void tls_proxy_stop(struct tls_proxy *p)
{
	assert_int_equal(shutdown(p->listener, SHUT_RDWR), 0);
	assert_int_equal(pthread_join(p->thread, NULL), 0);
	(void)close(p->listener);
	SSL_CTX_free(p->context);
	free(p);
}
