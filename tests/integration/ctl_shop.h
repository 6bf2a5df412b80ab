/* ctl_shop.h: each test has a database "shop" of its own in one cluster, with
 * these logins: app owns a table, dba has CREATEROLE and owns the database in
 * some tests. For the tests of install and uninstall only. */
#ifndef BACKFILL_TESTS_CTL_SHOP_H
#define BACKFILL_TESTS_CTL_SHOP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "child.h"
#include "ctl_output.h"
#include "pgdata.h"
#include "sql.h"
#include "store/scripts.h"

static PGconn *server; /* as postgres, database postgres */
static PGconn *shop;   /* as postgres, database shop */

static inline int start_cluster(void **state)
{
	(void)state;
	cluster = cluster_start();
	server = cluster_connect(cluster, "postgres", "postgres");
	sql_exec(server, "SET client_min_messages = warning");
	return 0;
}

static inline int stop_cluster(void **state)
{
	(void)state;
	PQfinish(server);
	cluster_stop(cluster);
	return 0;
}

static inline int create_shop(void **state)
{
	(void)state;
	sql_exec(server, "CREATE ROLE app LOGIN");
	sql_exec(server, "CREATE ROLE dba LOGIN CREATEROLE");
	sql_exec(server, "CREATE DATABASE shop");
	shop = cluster_connect(cluster, "shop", "postgres");
	sql_exec(shop,
		"SET client_min_messages = warning;"
		"CREATE TABLE users (id bigint PRIMARY KEY);"
		"ALTER TABLE users OWNER TO app");
	return 0;
}

static inline int drop_shop(void **state)
{
	static const char *const roles[] = { "backfill_admin",
		"backfill_submit", "backfill_daemon", "backfill_owner",
		"backfilld", "app", "dba", "\"App 2\"" };

	(void)state;
	PQfinish(shop);
	sql_exec(server, "DROP DATABASE IF EXISTS other WITH (FORCE)");
	sql_exec(server, "DROP DATABASE shop WITH (FORCE)");
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
		sql_exec(server, "DROP ROLE IF EXISTS %s", roles[i]);
	}
	return 0;
}

/* ---- helpers */

static inline int shell(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* In a shell with the server's programs in its path, and ours in $BUILD. */
static inline int shell(const char *format, ...)
{
	char command[1024], path[512];
	const char *const env[] = { "PGHOST", cluster_dir(cluster), "PGPORT",
		cluster_port(cluster), "PGUSER", "postgres", "PGDATABASE",
		"shop", "PATH", path, "BUILD", pgdata_build_dir(), "DIR",
		cluster_dir(cluster), NULL };
	char *const argv[] = { "/bin/sh", "-c", command, NULL };
	struct child child = { .argv = argv, .env = env, .output = -1 };
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	(void)snprintf(path, sizeof path, "%s", getenv("PATH"));
	return child_run(&child, output, sizeof output);
}

/* All that the catalogs say of roles and of the database; the caller frees
 * it. Newer pg_dumps frame it with a random \restrict key. */
static inline char *dump(void)
{
	char dumpall[256], dumpdb[256];

	pgdata_program(dumpall, sizeof dumpall, "pg_dumpall");
	pgdata_program(dumpdb, sizeof dumpdb, "pg_dump");
	assert_int_equal(shell("{ %s --globals-only && %s -s -C; }"
			       " | grep -v restrict",
				 dumpall, dumpdb),
		0);
	assert_non_null(strstr(output, "CREATE TABLE public.users"));
	assert_non_null(strstr(output, "CREATE ROLE app"));
	assert_true(strlen(output) + 1 < sizeof output);
	return mem_strdup(output);
}

static inline void assert_dump_is(char *wanted)
{
	char *found = dump();

	if (strcmp(found, wanted) != 0) {
		fprintf(stderr, "---- wanted\n%s---- found\n%s", wanted, found);
		fail_msg("the catalogs differ");
	}
	free(found);
}

static inline int newest(void)
{
	return scripts[scripts_count - 1].version;
}

static inline void assert_installed(void)
{
	assert_int_equal(sql_int(shop,
				 "SELECT max(version)"
				 " FROM backfill.schema_version"),
		newest());
	assert_int_equal(
		sql_int(shop, "SELECT count(*) FROM backfill.schema_version"),
		(int64_t)scripts_count);
}

static inline void own_by_dba(void)
{
	sql_exec(shop, "ALTER DATABASE shop OWNER TO dba");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create_shop, drop_shop)

#endif
