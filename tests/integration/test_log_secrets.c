/* test_log_secrets.c: whatever jobs hold and however they fail, the log has no
 * value of a row, no key, no literal of a clause, no password and no DETAIL,
 * and nothing that acts on a terminal; at the level debug, as text and as
 * JSON. The schema keeps what the log does not tell. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "cmocka_all.h"
#include "daemon.h"
#include "sql.h"

#define SECRET "hush-hush"

enum { WAIT_SECONDS = 60 };

static struct cluster *cluster;
static PGconn *db, *app, *other;
static struct daemon *d;

static int start(void **state)
{
	(void)state;
	cluster = cluster_start();
	backfill_install(cluster, "shop");
	db = cluster_connect(cluster, "shop", "postgres");
	app = cluster_connect(cluster, "shop", "app");
	other = cluster_connect(cluster, "shop", "postgres");
	return 0;
}

static int stop(void **state)
{
	(void)state;
	daemon_free(d);
	PQfinish(other);
	PQfinish(app);
	PQfinish(db);
	cluster_stop(cluster);
	return 0;
}

static const char *yaml_of(
	char *yaml, size_t size, const char *format, const char *password)
{
	char conninfo[512];

	(void)snprintf(conninfo, sizeof conninfo, "%s",
		cluster_conninfo(cluster, "shop", NULL));
	(void)snprintf(yaml, size,
		"databases:\n"
		"  - name: t\n"
		"    dsn: \"%s user=backfilld password=%s\"\n"
		"    runner: \"%s password=" SECRET "-of-runners\"\n"
		"    expected_standbys: []\n"
		"daemon: {lease: 2s, poll_interval: 300ms, log_level: debug,"
		" log_format: %s}\n"
		"batch: {lock_timeout: 100ms, batch_rows: 10}\n",
		conninfo, password, conninfo, format);
	return yaml;
}

/* Ten rows, whose keys and values are secrets all. */
static void make_table(const char *table)
{
	sql_exec(app,
		"DROP TABLE IF EXISTS %s;"
		"CREATE TABLE %s (id text PRIMARY KEY, n int DEFAULT 0,"
		" note text DEFAULT 'as " SECRET "' CHECK (length(note) < 50),"
		" one int UNIQUE);"
		"INSERT INTO %s (id, one) SELECT '" SECRET " ' || i, i"
		" FROM generate_series(1, 10) i",
		table, table, table);
}

static void submit(const char *name, const char *set_clause, const char *more)
{
	make_table(name);
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" on_row_error) VALUES ('%s', '%s', $x$ %s $x$, '%s')",
		name, name, set_clause, more);
}

static void wait_state(const char *name, const char *state)
{
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = '%s' FROM backfill.jobs WHERE name = '%s'",
		state, name);
}

/* The schema tells whoever may read it. */
static void assert_kept(const char *name)
{
	assert_true(sql_true(db,
		"SELECT concat(error_message, error_detail) LIKE '%%" SECRET
		"%%' FROM backfill.jobs WHERE name = '%s'",
		name));
}

static void fails(const char *name, const char *set_clause)
{
	submit(name, set_clause, "stop");
	wait_state(name, "failed");
	assert_kept(name);
}

/* ---- ways to fail */

static void fail_at_values(void)
{
	fails("invalid", "n = note::int");
	fails("raised", "n = tells(note, 'P0001')");
	fails("raised_ours", "n = tells(note, 'BF011')");
	fails("raised_check", "n = tells(note, '23514')");
	fails("checked", "note = repeat(note, 9)");
	fails("twice", "one = 7");
}

static void fail_at_clauses(void)
{
	fails("no_column", "note = \"" SECRET "\"");
	fails("no_number", "n = '" SECRET "'::int");
	fails("no_syntax", "note = 'a' '" SECRET "'");
}

static void record_rows(void)
{
	submit("recorded", "n = note::int", "record");
	wait_state("recorded", "failed");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.row_errors e"
				 " JOIN backfill.jobs j ON j.id = e.job_id"
				 " WHERE j.name = 'recorded'"),
		10);
}

/* A trigger says that it is to be tried again, and what with. */
static void try_again(void)
{
	submit("again", "n = tells(note, '40001')", "stop");
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason LIKE '40001: no, %%" SECRET "%%'"
		" FROM backfill.jobs WHERE name = 'again'");
	daemon_wait_log(d, "40001: ... -> again in ", WAIT_SECONDS);
	sql_exec(app, "SELECT backfill.cancel('again')");
}

static void wait_for_a_row(void)
{
	make_table("held");
	sql_exec(other,
		"BEGIN; SELECT FROM held WHERE id = '" SECRET " 3'"
		" FOR UPDATE");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES ('held', 'held', 'n = n + 1')");
	sql_wait(db, WAIT_SECONDS,
		"SELECT reason LIKE 'waits for 1 rows held by others:"
		" key (" SECRET " 3)%%' FROM backfill.jobs"
		" WHERE name = 'held'");
	daemon_wait_log(d, "held by others: key (...) for ", WAIT_SECONDS);
	sql_exec(other, "COMMIT");
	wait_state("held", "succeeded");
}

static void change_the_schema(void)
{
	make_table("schema");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, definition)"
		" VALUES ('schema', 'ddl', 'schema', $x$ ALTER TABLE schema"
		" ALTER note SET DEFAULT '" SECRET "' $x$)");
	wait_state("schema", "succeeded");
	daemon_wait_log(d, "SET DEFAULT '...' -> done", WAIT_SECONDS);
}

/* Names that would be lines, fields and colours of their own. */
#define HOSTILE "a\\nFATAL:  b\\x1B[31m\\u202Ec\\u009B"

static void bear_hostile_names(void)
{
	sql_exec(app,
		"DO $$ BEGIN"
		" EXECUTE format('DROP TABLE IF EXISTS %%I', E'" HOSTILE "');"
		" EXECUTE format('CREATE TABLE %%I (id int PRIMARY KEY,"
		"  n int)', E'" HOSTILE "');"
		" EXECUTE format('INSERT INTO %%I VALUES (1)', E'" HOSTILE
		"'); END $$;"
		"INSERT INTO backfill.jobs (name, target, set_clause)"
		" VALUES (E'" HOSTILE "', quote_ident(E'" HOSTILE "'),"
		" 'n = 1')");
	sql_wait(db, WAIT_SECONDS,
		"SELECT state = 'succeeded' FROM backfill.jobs"
		" WHERE name = E'" HOSTILE "'");
}

static void run_all(void)
{
	sql_exec(app,
		"CREATE OR REPLACE FUNCTION tells(note text, code text)"
		" RETURNS int LANGUAGE plpgsql AS $f$ BEGIN"
		"  RAISE NOTICE 'you know, %%', note;"
		"  RAISE EXCEPTION 'no, %%', note USING ERRCODE = code,"
		"   DETAIL = note, HINT = note;"
		" END $f$");
	fail_at_values();
	fail_at_clauses();
	record_rows();
	try_again();
	wait_for_a_row();
	change_the_schema();
	bear_hostile_names();
}

/* ---- the log */

static void assert_absent(const char *log, const char *text)
{
	const char *at = strstr(log, text);

	if (at != NULL) {
		fail_msg("\"%s\" is in the log: %.200s", text,
			at - log > 80 ? at - 80 : log);
	}
}

/* But for the ends of lines. */
static void assert_nothing_acts(const char *log)
{
	size_t left = strlen(log);
	uint32_t c;

	while (left > 0) {
		size_t bytes = utf8_decode(log, left, &c);

		assert_true(bytes > 0);
		if (c != '\n' && utf8_is_control(c)) {
			fail_msg("U+%04X is in the log", (unsigned)c);
		}
		log += bytes;
		left -= bytes;
	}
}

static void assert_discreet(void)
{
	const char *log = daemon_log(d);

	assert_absent(log, SECRET);
	assert_absent(log, "DETAIL");
	assert_absent(log, "Failing row");
	assert_absent(log, "password");
	assert_nothing_acts(log);
}

/* What it is there for. */
static void assert_telling(void)
{
	static const char *const lines[] = {
		"(invalid): 22P02 (data_exception) -> failed",
		"(raised): P0001 (plpgsql_error) -> failed",
		"(raised_ours): BF011 (may not run now) -> failed",
		"(raised_check): 23514 (integrity_constraint_violation) ->"
		" failed",
		"(checked): 23514: new row for relation ",
		"(twice): 23505: duplicate key value violates unique"
		" constraint ",
		"(no_column): 42703 (syntax_error_or_access_rule_violation) ->"
		" failed",
		"(recorded): 22P02 (data_exception) -> the row is recorded in"
		" backfill.row_errors",
		"notice 00000",
	};

	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		if (strstr(daemon_log(d), lines[i]) == NULL) {
			fail_msg("not in the log: %s", lines[i]);
		}
	}
}

static void start_daemon(const char *format)
{
	char yaml[2048];

	sql_exec(db, "DELETE FROM backfill.jobs");
	d = daemon_start_yaml(
		cluster, yaml_of(yaml, sizeof yaml, format, SECRET "-of-ours"));
	daemon_wait_log(d, "-> serving", WAIT_SECONDS);
}

/* The other password is an option that changed. */
static void reload(const char *format)
{
	char yaml[2048];
	FILE *file = fopen(daemon_config(d), "we");

	assert_non_null(file);
	fputs(yaml_of(yaml, sizeof yaml, format, SECRET "-and-new"), file);
	fclose(file);
	assert_int_equal(kill(daemon_pid(d), SIGHUP), 0);
	daemon_wait_log(d, "dsn changed -> ", WAIT_SECONDS);
}

static void test_text(void **state)
{
	(void)state;
	start_daemon("text");
	run_all();
	reload("text");
	assert_int_equal(daemon_stop(d), 0);
	assert_telling();
	assert_non_null(strstr(daemon_log(d),
		"(a FATAL:  b?[31m?c?): no key and no hole is left, 1 rows"));
	assert_discreet();
	daemon_free(d);
	d = NULL;
}

/* A line that is no object fails here. */
static int read_lines(const char *log)
{
	char *copy = strdup(log);
	char *rest = copy;
	char *line;
	int lines = 0;

	sql_exec(db, "CREATE TEMP TABLE told (j jsonb)");
	while ((line = strsep(&rest, "\n")) != NULL) {
		char *quoted = PQescapeLiteral(db, line, strlen(line));

		if (line[0] != '\0') {
			sql_exec(db, "INSERT INTO told VALUES (%s)", quoted);
			lines++;
		}
		PQfreemem(quoted);
	}
	free(copy);
	return lines;
}

static void assert_members(void)
{
	assert_int_equal(
		sql_int(db,
			"SELECT count(*) FROM told WHERE NOT coalesce("
			" j - '{time,level,message,database,job,job_name,"
			"sqlstate}'::text[] = '{}'"
			" AND (j->>'time')::timestamptz <= clock_timestamp()"
			"  + interval '1 s'"
			" AND length(j->>'message') > 0"
			" AND j ? 'job' = j ? 'job_name'"
			" AND coalesce(j->>'sqlstate' ~ '^[0-9A-Z]{5}$', true)"
			" AND coalesce(j->>'database', 't') = 't', false)"),
		0);
}

/* Whoever collects lines finds each failure by its members alone. */
static void assert_fields(void)
{
	assert_string_equal(
		sql_text(db,
			"SELECT string_agg(concat_ws(' ', j->>'job_name',"
			" j->>'sqlstate'), ',') FROM told"
			" WHERE j->>'message' LIKE '%%-> failed'"),
		sql_text(db,
			"SELECT string_agg(concat_ws(' ', name,"
			" error_sqlstate), ',' ORDER BY id)"
			" FROM backfill.jobs WHERE state = 'failed'"));
	assert_true(sql_true(db,
		"SELECT count(*) > 2 FROM told t JOIN backfill.jobs b"
		" ON b.id = (j->>'job')::bigint AND b.name = j->>'job_name'"
		" WHERE b.name = E'" HOSTILE "'"));
}

static void test_json(void **state)
{
	(void)state;
	start_daemon("json");
	run_all();
	reload("json");
	assert_int_equal(daemon_stop(d), 0);
	assert_telling();
	assert_discreet();
	assert_true(read_lines(daemon_log(d)) > 50);
	assert_members();
	assert_fields();
	daemon_free(d);
	d = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
