/* service.h: the running daemon: its loop, its databases, its signals, and
 * what it tells the service manager. */
#ifndef BACKFILL_OPS_SERVICE_H
#define BACKFILL_OPS_SERVICE_H

/* Serve the databases of the configuration at path until a signal ends it,
 * or a database that cannot be served. Errors of the file are told on
 * standard error. Root is refused unless allow_root. Returns the exit status
 * of the program. */
int service_run(const char *path, int allow_root);

/* Read the file, tell every error of it on standard error, or that there is
 * none. Returns the exit status. */
int service_check(const char *path);

#endif
