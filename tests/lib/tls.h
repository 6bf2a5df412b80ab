/* tls.h: TLS between a test and a cluster: a CA and a server certificate of
 * the test's own, made by openssl(1), and a proxy that writes records as
 * large as TLS allows. */
#ifndef BACKFILL_TESTS_TLS_H
#define BACKFILL_TESTS_TLS_H

#include "cluster.h"

/* The name in the certificate. */
#define TLS_HOST "db.test"

/* Make DIR/ca.pem, DIR/server.pem and DIR/server.key, and a CA that signed
 * nothing, DIR/other.pem; restart the server with ssl on at an address of the
 * loopback, which is returned, with TLS as the only way in there. */
const char *tls_start(struct cluster *c);

struct tls_proxy;

/* After tls_start(): a thread with a port on 127.0.0.1 that ends TLS by the
 * same certificate and passes on to the server's unix socket, one connection
 * at a time. What comes back is gathered into records of 16 kB. */
struct tls_proxy *tls_proxy_start(struct cluster *c);
int tls_proxy_port(const struct tls_proxy *p);

/* When its client has gone. */
void tls_proxy_stop(struct tls_proxy *p);

#endif
