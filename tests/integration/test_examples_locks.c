/* test_examples_locks.c: the locks that README.md of the examples tells for
 * each job are those that its runner is seen to have: no stronger ones, no
 * others, and none that it does not take. */
#include "examples_drive.h"

static PGconn *holder;

/* What a runner has when a statement of its ends, and its transaction has
 * not. Only tables that are there before the example count. */
static const char WATCH_SQL[] =
	"CREATE TABLE seen (job bigint, mode text, relation oid);"
	"CREATE TABLE shop_table (id oid, name text);"
	"CREATE FUNCTION note_locks(runner integer) RETURNS void LANGUAGE sql"
	" SECURITY DEFINER AS $$"
	" INSERT INTO public.seen SELECT substring(a.application_name FROM"
	"  '^backfilld (\\d+)/')::bigint, l.mode, l.relation"
	" FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
	" WHERE l.pid = runner AND l.granted"
	"  AND l.relation IN (SELECT id FROM public.shop_table)"
	"  AND a.application_name ~ '^backfilld \\d+/' $$;"
	"CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql"
	" SECURITY DEFINER AS $$ BEGIN"
	" PERFORM public.note_locks(pg_backend_pid()); END $$;"
	"CREATE FUNCTION on_rows() RETURNS trigger LANGUAGE plpgsql"
	" SECURITY DEFINER AS $$ BEGIN"
	" PERFORM public.note_locks(pg_backend_pid()); RETURN NULL; END $$;"
	"CREATE EVENT TRIGGER on_ddl ON ddl_command_end"
	" EXECUTE FUNCTION on_ddl()";

static const char WATCH_SHOP_SQL[] =
	"DO $$ DECLARE t regclass; BEGIN"
	" FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p')"
	"  AND relnamespace = 'shop'::regnamespace LOOP"
	"  EXECUTE format('CREATE TRIGGER on_rows AFTER INSERT OR UPDATE OR"
	" DELETE ON %s EXECUTE FUNCTION public.on_rows()', t);"
	" END LOOP; END $$;"
	"DELETE FROM seen; DELETE FROM shop_table;"
	"INSERT INTO shop_table SELECT c.oid, coalesce('partitions of ' ||"
	" p.relname, c.relname) FROM pg_class c LEFT JOIN pg_inherits h"
	" ON h.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = h.inhparent"
	" WHERE c.relkind IN ('r', 'p')"
	" AND c.relnamespace = 'shop'::regnamespace";

/* A line per kind and table, with the strongest mode. */
static const char SEEN_SQL[] =
	"SELECT string_agg(line, E'\\n' ORDER BY line) FROM ("
	" SELECT format('%s: %s on %s', j.kind, (array_agg(s.mode ORDER BY"
	"  array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock',"
	"  'ShareRowExclusiveLock', 'ShareLock', 'ShareUpdateExclusiveLock',"
	"  'RowExclusiveLock', 'RowShareLock', 'AccessShareLock'], "
	"s.mode)))[1],"
	"  t.name) AS line"
	" FROM seen s JOIN backfill.jobs j ON j.id = s.job"
	" JOIN shop_table t ON t.id = s.relation GROUP BY j.kind, t.name) l";

static const char TOLD_SQL[] =
	"SELECT string_agg(DISTINCT line, E'\\n' ORDER BY line) FROM ("
	" SELECT format('%s: %s on %s', substring(part FROM '^\\s*(\\w+):'),"
	"  m[1], btrim(m[2])) AS line"
	" FROM regexp_split_to_table($1, '<br>') AS part,"
	"  regexp_matches(part, '`(\\w+Lock)` on ([a-z_ ]+)', 'g') AS m) l";

/* The last cell of the row that links to the file. */
static void find_told(const char *name, char *cell, size_t size)
{
	char line[4096], link[128];
	FILE *file = fopen("conf/examples/README.md", "r");
	char *at;

	assert_non_null(file);
	(void)snprintf(link, sizeof link, "(%s.up.sql)", name);
	for (;;) {
		if (fgets(line, sizeof line, file) == NULL) {
			fail_msg("README.md has no row with %s", link);
		}
		if (line[0] == '|' && strstr(line, link) != NULL) {
			break;
		}
	}
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	at = strrchr(line, '|');
	assert_string_equal(at, "|");
	*at = '\0';
	at = strrchr(line, '|');
	assert_non_null(at);
	(void)snprintf(cell, size, "%s", at + 1);
}

static const char *told(const char *name)
{
	static char lines[4096];
	char cell[4096];
	const char *values[] = { cell };
	PGresult *result;

	find_told(name, cell, sizeof cell);
	result =
		PQexecParams(shop.db, TOLD_SQL, 1, NULL, values, NULL, NULL, 0);
	assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
	(void)snprintf(lines, sizeof lines, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return lines;
}

/* What runs alone is seen while it waits: a build for an old snapshot, a drop
 * for who uses the table. */
static void hold(const struct example *e)
{
	sql_exec(holder,
		"ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ;"
		"SELECT count(*) FROM gate");
	if (strcmp(e->name, "13_drop_index") == 0) {
		sql_exec(holder, "SELECT FROM shop.orders LIMIT 1");
	}
}

static int look_at_waiting(void)
{
	return sql_int(shop.db,
		       "SELECT count(*) FROM (SELECT note_locks(pid) FROM"
		       " pg_stat_activity WHERE wait_event = 'virtualxid'"
		       " AND application_name ~ '^backfilld \\d+/') n") > 0;
}

static int is_done(const struct example *e)
{
	return sql_true(shop.db,
		"SELECT bool_and(state = 'succeeded') OR bool_or(state ="
		" 'failed') FROM backfill.jobs WHERE plan = '%s'",
		e->name);
}

static void test_locks(void **state)
{
	const struct example *e = *state;
	char seen[4096];

	make_shop();
	sql_exec(shop.db, "%s", WATCH_SHOP_SQL);
	hold(e);
	run_up(e->name, "");
	if (e->held != NULL) {
		wait_held(e);
		approve(e);
	}
	while (!is_done(e)) {
		if (look_at_waiting()) {
			hold(e);
		}
	}
	sql_exec(holder, "ROLLBACK");
	wait_up(e->name);
	(void)snprintf(
		seen, sizeof seen, "%s", sql_text(shop.db, "%s", SEEN_SQL));
	assert_string_equal(told(e->name), seen);
}

static int start(void **state)
{
	int code = examples_start(state);

	sql_exec(shop.db, "%s", WATCH_SQL);
	holder = cluster_connect(shop.cluster, "shop", "app");
	sql_exec(holder, "SET client_min_messages = error");
	return code;
}

static int stop(void **state)
{
	PQfinish(holder);
	return shop_stop(state);
}

int main(void)
{
	struct CMUnitTest tests[EXAMPLES];

	for (size_t i = 0; i < EXAMPLES; i++) {
		tests[i] = (struct CMUnitTest){
			.name = examples[i].name,
			.test_func = test_locks,
			.initial_state = (void *)&examples[i],
		};
	}
	return cmocka_run_group_tests(tests, start, stop);
}
