/* test_dependents.c: what people are told that uses a column or an index,
 * and that a failed step may be tried again. */
#include "recipe_drive.h"

static const char *dependents(const char *arguments)
{
	return sql_text(app,
		"SELECT coalesce(string_agg(d, E'\\n'), '-')"
		" FROM backfill.dependents(%s) AS d",
		arguments);
}

static void test_all_that_uses_a_column(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
		" 'BEGIN RETURN NEW; END';"
		"ALTER TABLE users ADD UNIQUE (email);"
		"ALTER TABLE users ADD CONSTRAINT c CHECK (email > '');"
		"ALTER TABLE users ADD low text GENERATED ALWAYS AS"
		" (lower(email)) STORED;"
		"CREATE INDEX i ON users (n) WHERE email > '';"
		"CREATE INDEX other ON users (n);"
		"CREATE STATISTICS s ON email, n FROM users;"
		"CREATE VIEW v AS SELECT email, email AS e FROM users;"
		"CREATE MATERIALIZED VIEW m AS SELECT id FROM users"
		" WHERE email > '';"
		"CREATE TRIGGER t BEFORE UPDATE OF email ON users"
		" FOR EACH ROW EXECUTE FUNCTION f();"
		"CREATE POLICY p ON users USING (email = current_user);"
		"ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (owner)"
		" REFERENCES users (email);"
		"CREATE FUNCTION uses(a int) RETURNS text LANGUAGE sql AS"
		" 'SELECT max(EMAIL) FROM shop.users';"
		"CREATE FUNCTION no() RETURNS text LANGUAGE sql AS"
		" 'SELECT max(email_s) FROM (SELECT 1 AS email_s) users'");
	assert_string_equal(dependents("'users', 'email'"),
		"constraint c on table shop.users\n"
		"constraint fk on table shop.orders\n"
		"constraint users_email_key on table shop.users\n"
		"function shop.uses(integer) may use it\n"
		"generated column low of table shop.users\n"
		"index shop.i\n"
		"materialized view shop.m\n"
		"policy p on table shop.users\n"
		"statistics object shop.s\n"
		"trigger t on table shop.users\n"
		"view shop.v");
	assert_string_equal(dependents("'users_email_key'"),
		"constraint fk on table shop.orders");
	assert_string_equal(dependents("'orders', 'owner'"),
		"constraint fk on table shop.orders");
	assert_string_equal(dependents("'\"Odd, Name\"', 'Odd, Column'"), "-");
	FAILS(app, "42703", "column \"x\" of relation \"users\" does not exist",
		"", "", "SELECT backfill.dependents('users', 'x')");
}

static void test_publications(void **state)
{
	(void)state;
	if (PQserverVersion(db) < 150000) {
		print_message("skip: no column lists before 15\n");
		skip();
	}
	sql_exec(db, "CREATE PUBLICATION pub FOR TABLE shop.users (id, n)");
	assert_string_equal(dependents("'users', 'n'"),
		"publication of table shop.users in publication pub");
	sql_exec(db, "DROP PUBLICATION pub");
}

static const char *told_of(const char *name)
{
	return sql_text(app,
		"SELECT detail FROM backfill.events WHERE event = 'depends'"
		" AND job_id = backfill.job_id('%s')",
		name);
}

/* Before it is approved; the schema is one that only its owner may use. */
static void test_event(void **state)
{
	(void)state;
	sql_exec(app,
		"CREATE INDEX i ON users (n);"
		"ALTER TABLE users REPLICA IDENTITY USING INDEX users_pkey");
	submit("plan_drop_column('users', 'n', 'a')");
	assert_string_equal(told_of("a.1_drop"), "index shop.i");
	submit("plan_drop_column('users', 'email', 'b')");
	assert_string_equal(
		told_of("b.1_drop"), "nothing that PostgreSQL knows of");
	submit("plan_drop_index('users', 'i', 'c')");
	assert_string_equal(
		told_of("c.1_drop"), "nothing that PostgreSQL knows of");
	sql_exec(app,
		"INSERT INTO backfill.jobs (name, kind, target, object_name)"
		" VALUES ('d', 'drop_index', 'users', 'users_pkey'),"
		" ('e', 'drop_column', 'users', 'nothing'),"
		" ('f', 'drop_column', 'nowhere', 'n')");
	assert_string_equal(
		told_of("d"), "replica identity of table shop.users");
	assert_int_equal(sql_int(db,
				 "SELECT count(*) FROM backfill.events"
				 " WHERE event = 'depends'"),
		4);
}

/* The rows that were in its way are looked for anew, and are no holes. */
static void test_retry_of_a_step(void **state)
{
	(void)state;
	sql_exec(app,
		"SELECT backfill.plan_add_check('users', 'c', 'n > 0',"
		" prefix => 'p')");
	sql_exec(db,
		"UPDATE backfill.jobs SET state = 'failed', error_sqlstate ="
		" 'BF033' WHERE id = 2;"
		"INSERT INTO backfill.ranges (job_id, number, begun_at,"
		" finished_at, notes) VALUES (2, 1, now(), now(),"
		" '{\"looked\": true, \"changed\": true}');"
		"INSERT INTO backfill.row_errors (job_id, number, key,"
		" sqlstate, message) VALUES (2, 1, '{7}', '23514', 'no')");
	sql_exec(app, "SELECT backfill.retry(2)");
	assert_string_equal(
		sql_text(db,
			"SELECT concat_ws('|', j.state, r.finished_at IS NULL,"
			" r.begun_at IS NOT NULL, r.notes, (SELECT count(*)"
			" FROM backfill.holes), (SELECT count(resolved_at)"
			" FROM backfill.row_errors)) FROM backfill.jobs j"
			" JOIN backfill.ranges r ON r.job_id = j.id"),
		"queued|t|t|{\"changed\": true}|0|1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_that_uses_a_column),
		TEST(test_publications),
		TEST(test_event),
		TEST(test_retry_of_a_step),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
