/* test_step_columns_drop.c: drop_column: what goes with a column, and what
 * lets it not be dropped. */
#include "column_drive.h"

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id bigint PRIMARY KEY, n integer, t text)",
		name);
}

/* ---- what is dropped */

static void test_drops(void **state)
{
	int64_t before;

	(void)state;
	make_table("plain");
	before = sql_int(shop.db, "SELECT pg_relation_filenode('plain')");
	sql_exec(shop.app,
		"ALTER TABLE plain ALTER n SET DEFAULT 3,"
		" ALTER n SET NOT NULL");
	column_submit("plain", "plain", "n", NULL);
	column_done("plain", "DROP COLUMN n");
	assert_false(has_column("plain", "n"));
	assert_string_equal(column_told("plain", "warning"), "(null)");
	assert_string_equal(job_events("plain"),
		"submitted,depends,started,step,succeeded");
	assert_int_equal(
		sql_int(shop.db, "SELECT pg_relation_filenode('plain')"),
		before);
	column_submit("plain 2", "plain", "n", NULL);
	column_done("plain 2", NULL);
	column_submit("plain 3", "plain", "never", NULL);
	column_done("plain 3", NULL);
}

static void test_tells_what_goes_with_it(void **state)
{
	(void)state;
	make_table("shared");
	sql_exec(shop.app,
		"CREATE TABLE shared_to (n integer, t text, PRIMARY KEY (n, "
		"t))");
	sql_exec(shop.app,
		"CREATE INDEX \"by, t\" ON shared (t, n);"
		"CREATE INDEX by_half ON shared (t) WHERE n > 1;"
		"ALTER TABLE shared ADD CONSTRAINT positive CHECK (n > 0),"
		" ADD CONSTRAINT both_of UNIQUE (id, n),"
		" ADD FOREIGN KEY (n, t) REFERENCES shared_to;"
		"CREATE STATISTICS related (dependencies) ON n, t FROM shared;"
		"CREATE SEQUENCE counting OWNED BY shared.n;"
		"ALTER TABLE shared ALTER n SET DEFAULT nextval('counting')");
	column_submit("shared", "shared", "n", NULL);
	column_done("shared", "DROP COLUMN n");
	assert_string_equal(column_told("shared", "warning"),
		"goes with the column: constraint both_of on table"
		" public.shared, constraint positive on table public.shared,"
		" constraint shared_n_t_fkey on table public.shared, index"
		" public.\"by, t\", index public.by_half, sequence"
		" public.counting, statistics object public.related");
	assert_true(sql_true(shop.db, "SELECT to_regclass('by_half') IS NULL"));
}

static void test_identity_goes_alone(void **state)
{
	(void)state;
	make_table("numbered");
	sql_exec(shop.app,
		"ALTER TABLE numbered ADD i integer GENERATED ALWAYS AS"
		" IDENTITY, ADD g integer GENERATED ALWAYS AS (n + 1) STORED");
	column_submit("numbered", "numbered", "i", NULL);
	column_done("numbered", "DROP COLUMN i");
	assert_string_equal(column_told("numbered", "warning"), "(null)");
	column_submit("numbered g", "numbered", "g", NULL);
	column_done("numbered g", "DROP COLUMN g");
}

static void test_odd_identifiers(void **state)
{
	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"Odd, S\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE \"Odd, S\".\"Odd, \"\"Name\" (id bigint PRIMARY"
		" KEY, \"C \"\"q\"\" %%I; --\" integer UNIQUE)");
	column_submit(
		"odd", "\"Odd, S\".\"Odd, \"\"Name\"", "C \"q\" %I; --", NULL);
	column_done("odd", "DROP COLUMN \"C \"\"q\"\" %I; --\"");
	assert_false(
		has_column("\"Odd, S\".\"Odd, \"\"Name\"", "C \"q\" %I; --"));
}

static const char *lock_tables(const char *job)
{
	return sql_text(shop.db,
		"SELECT string_agg(t::regclass::text, ',' ORDER BY"
		" t::regclass::text) FROM backfill.jobs j, LATERAL"
		" backfill.step_drop_column(j, '{}') s,"
		" unnest(s.lock_tables) t WHERE j.name = '%s'",
		job);
}

/* The server locks both tables of a foreign key: nobody waits for either. */
static void test_waits_for_the_referenced_table(void **state)
{
	(void)state;
	make_table("pointed_at");
	make_table("pointer");
	sql_exec(shop.app,
		"ALTER TABLE pointer ADD p bigint REFERENCES pointed_at");
	sql_exec(
		shop.db, "BEGIN; SELECT FROM pointed_at; SELECT pg_sleep(0.6)");
	column_submit("pointer", "pointer", "p", NULL);
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason ~ 'waits for a lock: .* on public.pointed_at$'"
		" FROM backfill.jobs WHERE name = 'pointer'");
	assert_string_equal(lock_tables("pointer"), "pointed_at,pointer");
	sql_exec(shop.db, "COMMIT");
	column_done("pointer", "DROP COLUMN p");
}

static void test_partitions_and_children(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE parts (id bigint, n integer, t text) PARTITION"
		" BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR"
		" VALUES FROM (1) TO (100);"
		"CREATE INDEX parts_n ON parts (n);"
		"CREATE INDEX only_here ON parts_1 (n);"
		"CREATE TABLE root (id integer, n integer);"
		"CREATE TABLE heir (more integer) INHERITS (root);"
		"CREATE TABLE keeper (n integer) INHERITS (root);"
		"CREATE VIEW of_keeper AS SELECT n FROM keeper");
	column_submit("parts", "parts", "n", NULL);
	assert_string_equal(lock_tables("parts"), "parts,parts_1");
	column_done("parts", "DROP COLUMN n");
	assert_string_equal(column_told("parts", "warning"),
		"goes with the column: index public.only_here, index"
		" public.parts_n");
	assert_false(has_column("parts_1", "n"));
	/* What a child has of its own stays, with what is made of it. */
	column_submit("root", "root", "n", NULL);
	column_done("root", "DROP COLUMN n");
	assert_false(has_column("heir", "n"));
	assert_true(has_column("keeper", "n"));
}

/* ---- what is refused */

static void refuse(const char *table, const char *column, const char *detail)
{
	char name[64], message[128];
	char *before = column_table(table);

	(void)snprintf(name, sizeof name, "%s of %s", column, table);
	(void)snprintf(message, sizeof message,
		"cannot drop column \"%s\" of table \"public.%s\": others"
		" depend on it",
		column, table);
	column_submit(name, table, column, NULL);
	job_fails(name, "2BP01", message, detail,
		"Drop or change them first, such as by a job of kind"
		" \"ddl\".");
	column_untouched(table, before);
	/* And so does the server: what it would not refuse is here by
	 * mistake. Before 15 it lets go of generated columns. */
	if (PQserverVersion(shop.db) >= 150000) {
		struct sql_failure failure;

		sql_fails(shop.app, &failure,
			"ALTER TABLE %s DROP COLUMN %s RESTRICT", table,
			column);
		assert_string_equal(failure.sqlstate, "2BP01");
	}
}

static void test_refuses_what_others_use(void **state)
{
	(void)state;
	make_table("used");
	sql_exec(shop.app,
		"CREATE VIEW \"a view\" AS SELECT n FROM used;"
		"CREATE VIEW of_view AS SELECT * FROM \"a view\";"
		"CREATE MATERIALIZED VIEW kept AS SELECT sum(n) FROM used;"
		"CREATE TABLE elsewhere (n integer);"
		"CREATE RULE follows AS ON UPDATE TO used DO ALSO"
		" UPDATE elsewhere SET n = NEW.n;"
		"CREATE POLICY seen ON used USING (n > 1);"
		"ALTER TABLE used ADD g integer GENERATED ALWAYS AS (n + 1)"
		" STORED;"
		"CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS"
		" 'BEGIN RETURN NEW; END';"
		"CREATE TRIGGER touch BEFORE UPDATE OF n ON used FOR EACH ROW"
		" EXECUTE FUNCTION touched();"
		"CREATE INDEX used_n ON used (n)");
	refuse("used", "n",
		"column g of table public.used\n"
		"materialized view public.kept\n"
		"policy seen on table public.used\n"
		"rule follows on table public.used\n"
		"trigger touch on table public.used\n"
		"view public.\"a view\"");
	if (PQserverVersion(shop.db) >= 140000) {
		sql_exec(shop.app,
			"CREATE FUNCTION total() RETURNS bigint BEGIN ATOMIC"
			" SELECT count(t) FROM used; END");
		refuse("used", "t", "function public.total()");
	}
	if (PQserverVersion(shop.db) >= 150000) {
		sql_exec(
			shop.db, "CREATE PUBLICATION news FOR TABLE used (id)");
		refuse("used", "id",
			"publication of table public.used in publication"
			" news");
	}
}

/* What hangs on something that would go. */
static void test_refuses_what_hangs_on_it(void **state)
{
	(void)state;
	make_table("keyed");
	make_table("grouped");
	sql_exec(shop.app,
		"CREATE TABLE pointing (id bigint REFERENCES keyed, n integer"
		" REFERENCES keyed);"
		"CREATE SEQUENCE lent OWNED BY keyed.n;"
		"CREATE TABLE lending (n bigint DEFAULT nextval('lent'));"
		"CREATE VIEW groups AS SELECT t FROM grouped GROUP BY id");
	sql_exec(shop.app,
		"CREATE TABLE pieces (id bigint REFERENCES keyed) PARTITION BY"
		" RANGE (id); CREATE TABLE pieces_1 PARTITION OF pieces"
		" DEFAULT");
	refuse("keyed", "id",
		"constraint pieces_id_fkey on table public.pieces\n"
		"constraint pointing_id_fkey on table public.pointing\n"
		"constraint pointing_n_fkey on table public.pointing");
	refuse("keyed", "n", "column n of table public.lending");
	refuse("grouped", "id", "view public.groups");
	/* Who points lets go of its own. */
	column_submit("pointing", "pointing", "n", NULL);
	column_done("pointing", "DROP COLUMN n");
}

/* Of a partitioned table also what uses only one partition's column. */
static void test_refuses_what_uses_a_partition(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE split (id bigint, n integer, PRIMARY KEY (id))"
		" PARTITION BY RANGE (id);"
		"CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (1)"
		" TO (9); CREATE VIEW of_split_1 AS SELECT n FROM split_1");
	refuse("split", "n", "view public.of_split_1");
	sql_exec(shop.app,
		"ALTER TABLE split ADD m integer DEFAULT 1, ADD UNIQUE (id, m);"
		"CREATE TABLE to_split (id bigint, m integer, FOREIGN KEY (id,"
		" m) REFERENCES split (id, m))");
	refuse("split", "m",
		"constraint to_split_id_m_fkey on table public.to_split");
	column_submit("split id", "split", "id", NULL);
	job_fails("split id", "42P16",
		"column \"id\" belongs to the partition key of table"
		" \"public.split\"",
		"PostgreSQL cannot drop it.", NULL);
	column_submit("split_1 n", "split_1", "n", NULL);
	job_fails("split_1 n", "42P16",
		"column \"n\" of table \"public.split_1\" is inherited",
		"It comes from \"public.split\".",
		"Submit the job for that table.");
	assert_true(has_column("split_1", "n"));
}

/* As the catalog of PostgreSQL 13 and 14 has it, by which a generated column
 * goes with what it is made of. */
static void test_refuses_to_lose_a_generated_column(void **state)
{
	(void)state;
	make_table("old");
	sql_exec(shop.app,
		"ALTER TABLE old ADD g integer GENERATED ALWAYS AS (n + 1)"
		" STORED");
	sql_exec(shop.db,
		"SET allow_system_table_mods = on;"
		"DELETE FROM pg_depend WHERE classid = 'pg_attrdef'::regclass"
		" AND refobjid = 'old'::regclass AND refobjsubid = 2;"
		"DELETE FROM pg_depend WHERE classid = 'pg_class'::regclass"
		" AND objid = 'old'::regclass AND objsubid = 4;"
		"INSERT INTO pg_depend VALUES ('pg_class'::regclass,"
		" 'old'::regclass, 4, 'pg_class'::regclass, 'old'::regclass,"
		" 2, 'a'); RESET allow_system_table_mods");
	column_submit("old", "old", "n", NULL);
	job_fails("old", "2BP01",
		"cannot drop column \"n\" of table \"public.old\": others"
		" depend on it",
		"column g of table public.old",
		"Drop or change them first, such as by a job of kind"
		" \"ddl\".");
	assert_true(has_column("old", "g"));
}

/* A way out that the hint tells, then retry. */
static void test_goes_on_when_it_may(void **state)
{
	(void)state;
	make_table("freed");
	sql_exec(shop.app, "CREATE VIEW of_freed AS SELECT n FROM freed");
	refuse("freed", "n", "view public.of_freed");
	sql_exec(shop.app,
		"DROP VIEW of_freed; SELECT backfill.retry('n of freed')");
	column_done("n of freed", "DROP COLUMN n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drops),
		cmocka_unit_test(test_tells_what_goes_with_it),
		cmocka_unit_test(test_identity_goes_alone),
		cmocka_unit_test(test_waits_for_the_referenced_table),
		cmocka_unit_test(test_odd_identifiers),
		cmocka_unit_test(test_partitions_and_children),
		cmocka_unit_test(test_refuses_what_others_use),
		cmocka_unit_test(test_refuses_what_hangs_on_it),
		cmocka_unit_test(test_refuses_what_uses_a_partition),
		cmocka_unit_test(test_refuses_to_lose_a_generated_column),
		cmocka_unit_test(test_goes_on_when_it_may),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
