/* test_step_constraints_key.c: add_foreign_key, and the rows that reference
 * nothing, which validate_constraint looks for. */
#include "constraint_drive.h"

/* users (1 to 100), and a table whose user_id references them. */
static int start(void **state)
{
	(void)shop_start(state);
	sql_exec(shop.app,
		"CREATE TABLE users (id bigint PRIMARY KEY, tenant integer,"
		" name text UNIQUE, UNIQUE (tenant, id));"
		"INSERT INTO users SELECT i, i / 50, 'u' || i"
		" FROM generate_series(1, 100) i");
	return 0;
}

static void make_table(const char *name)
{
	sql_exec(shop.app,
		"CREATE TABLE %s (id integer PRIMARY KEY, tenant integer,"
		" user_id integer, name varchar(10));"
		"INSERT INTO %s SELECT i, i / 50, i, 'u' || i"
		" FROM generate_series(1, 100) i",
		name, name);
}

static const char *warning(const char *name)
{
	return sql_text(shop.db,
		"SELECT (SELECT detail FROM backfill.events"
		" WHERE event = 'warning' AND job_id = %lld)",
		(long long)job_id(name));
}

static void orphans(const char *name, const char *count, const char *keys)
{
	char message[256];
	char detail[256];

	(void)snprintf(message, sizeof message,
		"foreign key \"f\" of table \"public.%s\" has %s orphans", name,
		count);
	(void)snprintf(detail, sizeof detail, "Keys: %s.", keys);
	job_fails(name, "BF033", message, detail, MEND_KEY);
}

static void test_added_not_valid_then_validated(void **state)
{
	int64_t file;

	(void)state;
	make_table("happy");
	sql_exec(shop.app, "UPDATE happy SET user_id = NULL WHERE id = 5");
	file = file_of("happy");
	succeeds("happy", "add_foreign_key", "happy", "f",
		"FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE");
	assert_string_equal(
		steps("happy"), "ADD CONSTRAINT f FOREIGN KEY NOT VALID");
	assert_string_equal(constraint("happy", "f"),
		"FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"
		" NOT VALID");
	assert_string_equal(warning("happy"),
		"no index of table public.happy leads with (user_id): whoever"
		" deletes a row of table public.users reads all of it");
	succeeds("happy v", "validate_constraint", "happy", "f", NULL);
	assert_string_equal(steps("happy v"), "VALIDATE CONSTRAINT f");
	assert_string_equal(constraint("happy", "f"),
		"FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE"
		" CASCADE");
	assert_int_equal(file_of("happy"), file);

	succeeds("happy again", "add_foreign_key", "happy", "f",
		"/* ( */ foreign -- (\n key(\"user_id\")references\n"
		" public . USERS(Id) match simple on update no action on delete"
		" cascade not deferrable not valid -- the same");
	did_nothing("happy again");
	succeeds("happy v again", "validate_constraint", "happy", "f", NULL);
	did_nothing("happy v again");
}

static void another(const char *name, const char *definition, const char *asked)
{
	char detail[512];

	submit(name, "add_foreign_key", "other", "f", definition);
	(void)snprintf(detail, sizeof detail,
		"It is: FOREIGN KEY (user_id) REFERENCES public.users(id)."
		" Asked for: FOREIGN KEY (user_id) REFERENCES %s.",
		asked);
	job_fails(name, "BF034",
		"constraint \"f\" of table \"public.other\" exists and is"
		" defined differently",
		detail,
		"Name another constraint in object_name, or drop this one"
		" first.");
}

static void test_another_of_the_name(void **state)
{
	(void)state;
	make_table("other");
	sql_exec(shop.db, "CREATE SCHEMA mine AUTHORIZATION app");
	sql_exec(shop.app,
		"ALTER TABLE other ADD CONSTRAINT f"
		" FOREIGN KEY (user_id) REFERENCES users;"
		"CREATE TABLE mine.users"
		" (id integer PRIMARY KEY); SET search_path = mine, public");
	another("other 1", "FOREIGN KEY (user_id) REFERENCES users (id)",
		"mine.users(id)");
	sql_exec(shop.app, "RESET search_path");
	another("other 2",
		"FOREIGN KEY (user_id) REFERENCES users (id) MATCH FULL"
		" ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED",
		"public.users(id) MATCH FULL ON UPDATE SET NULL DEFERRABLE"
		" INITIALLY DEFERRED");
}

static void fails(const char *name, const char *definition,
	const char *sqlstate, const char *message, const char *detail,
	const char *hint)
{
	submit(name, "add_foreign_key", "bad", "f", definition);
	job_fails(name, sqlstate, message, detail, hint);
	assert_string_equal(constraint("bad", "f"), "(null)");
}

static void test_definitions_that_are_none(void **state)
{
	const char *not_one =
		"the definition of constraint \"f\" is not one FOREIGN KEY";
	const char *write =
		"Write: FOREIGN KEY (column) REFERENCES table (column).";

	(void)state;
	make_table("bad");
	fails("bad 1", "CHECK (id > 0)", "42601", not_one, NULL, write);
	fails("bad 2", "FOREIGN KEY (user_id) REFERENCES users, CHECK (id > 0)",
		"42601", not_one, NULL, write);
	fails("bad 3", "FOREIGN KEY (user_id) REFERENCES users, x integer",
		"42601", not_one, NULL, write);
	fails("bad 4", "FOREIGN KEY (user_id) REFERENCES usres", "42P01",
		"relation \"usres\" does not exist", NULL, NULL);
	fails("bad 5", "FOREIGN KEY (user_ids) REFERENCES users", "42703",
		"column \"user_ids\" referenced in foreign key constraint does"
		" not exist",
		NULL, NULL);
	fails("bad 6", "FOREIGN KEY (tenant) REFERENCES users (tenant)",
		"42830",
		"there is no unique constraint matching given keys for"
		" referenced table \"users\"",
		NULL, NULL);
	fails("bad 7", "FOREIGN KEY (name) REFERENCES users", "42804",
		"foreign key constraint \"f\" cannot be implemented",
		PQserverVersion(shop.db) >= 180000
			? "Key columns \"name\" of the referencing table and"
			  " \"id\" of the referenced table are of incompatible"
			  " types: character varying and bigint."
			: "Key columns \"name\" and \"id\" are of incompatible"
			  " types: character varying and bigint.",
		NULL);
}

/* An index warns nobody whose first columns, in any order, are the key's. */
static void test_warns_of_no_index(void **state)
{
	(void)state;
	make_table("idx");
	sql_exec(shop.app,
		"CREATE INDEX ON idx (user_id, tenant, name);"
		"CREATE INDEX ON idx (name) WHERE name > 'a';"
		"CREATE INDEX ON idx (lower(name), name)");
	succeeds("idx 1", "add_foreign_key", "idx", "f1",
		"FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)");
	assert_string_equal(warning("idx 1"), "(null)");
	succeeds("idx 2", "add_foreign_key", "idx", "f2",
		"FOREIGN KEY (name) REFERENCES users (name)");
	assert_string_equal(warning("idx 2"),
		"no index of table public.idx leads with (name): whoever"
		" deletes a row of table public.users reads all of it");
	succeeds("idx 3", "add_foreign_key", "idx", "f3",
		"FOREIGN KEY (user_id) REFERENCES users");
	assert_string_equal(warning("idx 3"), "(null)");
}

/* Whoever writes the referenced table for long is waited for, not queued
 * behind. */
static void test_both_tables_are_guarded(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	make_table("guarded");
	sql_exec(other,
		"BEGIN; UPDATE users SET tenant = tenant WHERE id = 1;"
		"SELECT pg_sleep(0.6)");
	submit("guarded", "add_foreign_key", "guarded", "f",
		"FOREIGN KEY (user_id) REFERENCES users");
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT reason LIKE 'waits for a lock: pid %% holds"
		" RowExclusiveLock on public.users' FROM backfill.jobs"
		" WHERE name = 'guarded'");
	sql_exec(other, "COMMIT");
	job_wait("guarded", "succeeded");
	PQfinish(other);
}

/* ---- orphans */

static void add_and_break(
	const char *name, const char *definition, const char *change)
{
	char add[64];

	make_table(name);
	sql_exec(shop.app, "UPDATE %s SET %s", name, change);
	(void)snprintf(add, sizeof add, "%s add", name);
	succeeds(add, "add_foreign_key", name, "f", definition);
	submit(name, "validate_constraint", name, "f", NULL);
}

static void test_orphans_then_mended(void **state)
{
	(void)state;
	add_and_break("orphan", "FOREIGN KEY (user_id) REFERENCES users",
		"user_id = user_id + 2");
	orphans("orphan", "2", "(99), (100)");
	assert_string_equal(in_the_way("orphan"), "{100} 23503, {99} 23503");
	assert_string_equal(constraint("orphan", "f"),
		"FOREIGN KEY (user_id) REFERENCES users(id) NOT VALID");
	sql_exec(shop.app, "DELETE FROM orphan WHERE user_id > 100");
	retry("orphan");
	assert_string_equal(constraint("orphan", "f"),
		"FOREIGN KEY (user_id) REFERENCES users(id)");
}

static void test_key_of_two_columns(void **state)
{
	const char *change =
		"tenant = CASE WHEN id <> 1 THEN tenant END,"
		" user_id = CASE WHEN id = 2 THEN 50 WHEN id <> 3 THEN"
		" user_id END WHERE id < 4";

	(void)state;
	/* A key that is NULL in part is fine, but for MATCH FULL. */
	add_and_break("simple",
		"FOREIGN KEY (tenant, user_id) REFERENCES users (tenant, id)",
		change);
	orphans("simple", "1", "(2)");
	add_and_break("whole",
		"FOREIGN KEY (user_id, tenant) REFERENCES users (id, tenant)"
		" MATCH FULL",
		change);
	orphans("whole", "3", "(1), (2), (3)");
	sql_exec(shop.app,
		"UPDATE whole SET user_id = NULL, tenant = NULL WHERE id < 4");
	retry("whole");
}

/* As the server compares: varchar as text, under the collation of the
 * referenced column. */
static void test_compares_as_the_key_does(void **state)
{
	(void)state;
	add_and_break("texts", "FOREIGN KEY (name) REFERENCES users (name)",
		"name = 'U1' WHERE id = 1");
	orphans("texts", "1", "(1)");
	sql_exec(shop.app, "UPDATE texts SET name = 'u1' WHERE id = 1");
	retry("texts");

	sql_exec(shop.app,
		"CREATE TABLE fixed (name char(5) COLLATE \"C\" PRIMARY KEY);"
		"INSERT INTO fixed VALUES ('ab');"
		"CREATE TABLE padded (id integer PRIMARY KEY,"
		" name char(9) COLLATE \"POSIX\");"
		"INSERT INTO padded VALUES (1, 'ab'), (2, 'ac')");
	succeeds("padded add", "add_foreign_key", "padded", "f",
		"FOREIGN KEY (name) REFERENCES fixed");
	submit("padded", "validate_constraint", "padded", "f", NULL);
	orphans("padded", "1", "(2)");

	sql_exec(shop.app,
		"CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE moods"
		" (m mood, a integer[], PRIMARY KEY (m, a));"
		"CREATE TABLE felt (id integer PRIMARY KEY, m mood,"
		" a integer[]); INSERT INTO felt VALUES (1, 'sad', '{1}')");
	succeeds("felt add", "add_foreign_key", "felt", "f",
		"FOREIGN KEY (m, a) REFERENCES moods");
	submit("felt", "validate_constraint", "felt", "f", NULL);
	orphans("felt", "1", "(1)");
}

static void test_itself_and_odd_names(void **state)
{
	const char *table = "\"N %s\".\"users\"";

	(void)state;
	sql_exec(shop.db, "CREATE SCHEMA \"N %%s\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE %s (\"i \"\" )\" integer PRIMARY KEY,"
		" \"up, REFERENCES\" integer);"
		"INSERT INTO %s VALUES (1, NULL), (2, 1)",
		table, table);
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "odd" : "odd again";

		succeeds(name, "add_foreign_key", table, "f \"%s;",
			"FOREIGN KEY (\"up, REFERENCES\") REFERENCES"
			" \"N %s\" . users (\"i \"\" )\")");
	}
	did_nothing("odd again");
	succeeds("odd v", "validate_constraint", table, "f \"%s;", NULL);
	assert_string_equal(constraint(table, "f \"%s;"),
		"FOREIGN KEY (\"up, REFERENCES\") REFERENCES \"N %s\".users(\"i"
		" \"\" )\")");
}

/* ---- partitions */

static void test_of_a_partitioned_table(void **state)
{
	(void)state;
	if (PQserverVersion(shop.db) >= 180000) {
		print_message("skip: this server adds NOT VALID keys there\n");
		skip();
	}
	sql_exec(shop.app,
		"CREATE TABLE parts (id integer PRIMARY KEY, user_id integer)"
		" PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF"
		" parts FOR VALUES FROM (0) TO (10);"
		"INSERT INTO parts VALUES (1, 1)");
	submit("parts", "add_foreign_key", "parts", "f",
		"FOREIGN KEY (user_id) REFERENCES users");
	job_fails("parts", "0A000",
		"cannot add foreign key \"f\" NOT VALID to partitioned table"
		" \"public.parts\"",
		"PostgreSQL can from version 18 on.",
		"Submit jobs that add and validate it for each partition; then"
		" ALTER TABLE ... ADD, in a job of kind \"ddl\", takes those"
		" and does not read the table.");
	/* What the hint says: a lie in the partition's key is not found. */
	succeeds("parts 1", "add_foreign_key", "parts_1", "f",
		"FOREIGN KEY (user_id) REFERENCES users");
	succeeds("parts 2", "validate_constraint", "parts_1", "f", NULL);
	sql_exec(shop.db,
		"SET session_replication_role = replica;"
		"UPDATE parts SET user_id = 1000; RESET ALL");
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, definition)"
		" VALUES ('parts 3', 'ddl', 'parts', 'ALTER TABLE parts ADD"
		" CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users')");
	job_wait("parts 3", "succeeded");
	succeeds("parts 4", "add_foreign_key", "parts", "f",
		"FOREIGN KEY (user_id) REFERENCES users");
	did_nothing("parts 4");
}

static void test_references_a_partitioned_table(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE whole_p (id integer PRIMARY KEY)"
		" PARTITION BY RANGE (id); CREATE TABLE whole_1 PARTITION OF"
		" whole_p FOR VALUES FROM (0) TO (99);"
		"INSERT INTO whole_p SELECT generate_series(1, 98)");
	add_and_break("refers", "FOREIGN KEY (user_id) REFERENCES whole_p",
		"id = id");
	orphans("refers", "2", "(99), (100)");
	sql_exec(shop.app, "DELETE FROM refers WHERE id > 98");
	retry("refers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_added_not_valid_then_validated),
		cmocka_unit_test(test_another_of_the_name),
		cmocka_unit_test(test_definitions_that_are_none),
		cmocka_unit_test(test_warns_of_no_index),
		cmocka_unit_test(test_both_tables_are_guarded),
		cmocka_unit_test(test_orphans_then_mended),
		cmocka_unit_test(test_key_of_two_columns),
		cmocka_unit_test(test_compares_as_the_key_does),
		cmocka_unit_test(test_itself_and_odd_names),
		cmocka_unit_test(test_of_a_partitioned_table),
		cmocka_unit_test(test_references_a_partitioned_table),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
