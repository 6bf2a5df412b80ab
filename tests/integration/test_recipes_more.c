/* test_recipes_more.c: the recipes of constraints, indexes, statements and
 * deleted rows: what they insert, and what they refuse. */
#include "recipe_drive.h"

static void test_add_check(void **state)
{
	(void)state;
	submit("plan_add_check('users', 'n_ok', 'n > 0')");
	assert_steps("add_check shop.users.n_ok",
		"1_check|add_check|shop.users|n_ok|CHECK (n > 0)\n"
		"2_validate|validate_constraint|shop.users|n_ok|after 1");
	submit("plan_add_check('users', 'N ok', 'n > 0', 'n = 1', 'a')");
	assert_steps("a",
		"1_fill|update|shop.users|SET n = 1|WHERE NOT (n > 0)\n"
		"2_check|add_check|shop.users|N ok|CHECK (n > 0)|after 1\n"
		"3_sweep|update|shop.users|SET n = 1|WHERE NOT (n > 0)|"
		"after 2\n"
		"4_validate|validate_constraint|shop.users|N ok|after 3");
}

static void test_add_foreign_key_to_a_new_column(void **state)
{
	static const char call[] =
		"plan_add_foreign_key(target => 'orders',"
		" \"column\" => 'user_id', \"references\" => 'users',"
		" fill => 'users.id', from_clause => 'users',"
		" where_clause => 'users.email = owner OR false',"
		" prefix => 'a')";
	static const char steps[] =
		"1_add|add_column|shop.orders|user_id|bigint\n"
		"2_fill|update|shop.orders|SET user_id = users.id|FROM users|"
		"WHERE (orders.user_id IS NULL) AND"
		" (users.email = owner OR false)|after 1\n"
		"3_index|create_index|shop.orders|orders_user_id_idx|(user_id)|"
		"after 2\n"
		"4_foreign_key|add_foreign_key|shop.orders|orders_user_id_fkey|"
		"FOREIGN KEY (user_id) REFERENCES shop.users (id)|after 3\n"
		"5_validate|validate_constraint|shop.orders|"
		"orders_user_id_fkey|after 4";

	(void)state;
	submit(call);
	assert_steps("a", steps);
	/* Done in part, it is the same plan. */
	sql_exec(app,
		"ALTER TABLE orders ADD user_id bigint;"
		"CREATE INDEX orders_user_id_idx ON orders (user_id)");
	submit(call);
	assert_steps("a", steps);
}

static void test_add_foreign_key_to_a_column(void **state)
{
	(void)state;
	sql_exec(app,
		"ALTER TABLE orders ADD u bigint;"
		"ALTER TABLE users ADD UNIQUE (email);"
		"ALTER TABLE users ADD UNIQUE (n);"
		"CREATE INDEX half ON orders (u) WHERE u > 0;"
		"CREATE INDEX second ON orders (id, u)");
	submit("plan_add_foreign_key('orders', 'u',"
	       " 'shop . users(\"n\") ON DELETE CASCADE')");
	assert_steps("add_foreign_key shop.orders.u",
		"1_index|create_index|shop.orders|orders_u_idx|(u)\n"
		"2_foreign_key|add_foreign_key|shop.orders|orders_u_fkey|"
		"FOREIGN KEY (u) REFERENCES shop.users (n) ON DELETE CASCADE|"
		"after 1\n"
		"3_validate|validate_constraint|shop.orders|orders_u_fkey|"
		"after 2");
	sql_exec(app, "CREATE INDEX first ON orders (u, id)");
	submit("plan_add_foreign_key('orders', 'u', 'users (id)', '1',"
	       " prefix => 'b')");
	assert_steps("b",
		"1_fill|update|shop.orders|SET u = 1|WHERE (u IS NULL)\n"
		"2_foreign_key|add_foreign_key|shop.orders|orders_u_fkey|"
		"FOREIGN KEY (u) REFERENCES shop.users (id)|after 1\n"
		"3_validate|validate_constraint|shop.orders|orders_u_fkey|"
		"after 2");
	submit("plan_add_foreign_key('orders', 'mail', 'users (email)',"
	       " prefix => 'c')");
	assert_steps("c",
		"1_add|add_column|shop.orders|mail|character varying(20)\n"
		"2_index|create_index|shop.orders|orders_mail_idx|(mail)|"
		"after 1\n"
		"3_foreign_key|add_foreign_key|shop.orders|orders_mail_fkey|"
		"FOREIGN KEY (mail) REFERENCES shop.users (email)|after 2\n"
		"4_validate|validate_constraint|shop.orders|orders_mail_fkey|"
		"after 3");
}

static void test_indexes(void **state)
{
	(void)state;
	submit("plan_create_index('users', 'I x', 'UNIQUE (email) WHERE n > "
	       "0')");
	assert_steps("create_index shop.users.\"I x\"",
		"1_index|create_index|shop.users|I x|"
		"UNIQUE (email) WHERE n > 0");
	sql_exec(app,
		"CREATE UNIQUE INDEX \"I x\" ON users (lower(email), n DESC)"
		" INCLUDE (id) WITH (fillfactor = 80) WHERE n > 0;"
		"CREATE INDEX h ON \"Odd, Name\" USING hash (\"Odd, Column\")");
	submit("plan_reindex('users', 'I x')");
	assert_steps("reindex shop.users.\"I x\"",
		"1_reindex|reindex|shop.users|I x");
	submit("plan_drop_index('users', 'I x')");
	assert_steps("drop_index shop.users.\"I x\"",
		"1_drop|drop_index|shop.users|I x|undo UNIQUE USING btree"
		" (lower((email)::text), n DESC) INCLUDE (id)"
		" WITH (fillfactor='80') WHERE (n > 0)");
	submit("plan_drop_index('\"Odd, Name\"', 'h', 'h')");
	assert_steps("h",
		"1_drop|drop_index|shop.\"Odd, Name\"|h|undo USING hash"
		" (\"Odd, Column\")");
	sql_exec(app, "DROP INDEX h");
	submit("plan_drop_index('\"Odd, Name\"', 'h', 'h')");
	sql_exec(app,
		"CREATE TABLE parts (id int) PARTITION BY RANGE (id);"
		"CREATE INDEX p ON parts (id)");
	submit("plan_drop_index('parts', 'p', 'p')");
	assert_steps(
		"p", "1_drop|drop_index|shop.parts|p|undo USING btree (id)");
}

static void test_ddl(void **state)
{
	(void)state;
	submit("plan_ddl('users', 'ALTER TABLE users SET (fillfactor = 90)',"
	       " 'ALTER TABLE users RESET (fillfactor)')");
	assert_steps("ddl shop.users",
		"1_ddl|ddl|shop.users|ALTER TABLE users SET (fillfactor = 90)|"
		"undo ALTER TABLE users RESET (fillfactor)");
	submit("plan_ddl('later', 'CREATE TABLE later (id int)',"
	       " prefix => 'a')");
	assert_steps("a", "1_ddl|ddl|later|CREATE TABLE later (id int)");
}

static void test_delete(void **state)
{
	static const char archived[] =
		"1_archive|ddl|shop.users|CREATE TABLE IF NOT EXISTS"
		" shop.\"Old Users\" (LIKE shop.users, PRIMARY KEY (id))|"
		"undo SELECT backfill.drop_archive('shop.\"Old Users\"')\n"
		"2_delete|delete|shop.users|WHERE n < 0|"
		"INTO shop.\"Old Users\"|after 1";

	(void)state;
	submit("plan_delete('users', 'n < 0')");
	assert_steps(
		"delete shop.users", "1_delete|delete|shop.users|WHERE n < 0");
	submit("plan_delete('users', 'n < 0', '\"Old Users\"', 'a')");
	assert_steps("a", archived);
	sql_exec(app,
		"CREATE TABLE \"Old Users\" (LIKE users, PRIMARY KEY (id))");
	submit("plan_delete('users', 'n < 0', '\"Old Users\"', 'a')");
	assert_steps("a", archived);
	assert_string_equal(notices, "");
	/* What is made says what is made. */
	submit("plan_delete('users', 'n < 0', 'shop.\"Old Users\"', 'b')");
	assert_steps("b",
		"1_delete|delete|shop.users|WHERE n < 0|"
		"INTO shop.\"Old Users\"");
	assert_string_equal(notices,
		"table shop.\"Old Users\" exists already|plan_down() would move"
		" all of its rows.|");
}

static void test_bad_input(void **state)
{
	static const struct {
		const char *call, *sqlstate, *message, *detail, *hint;
	} cases[] = {
		{ "add_check('users', '', 'true')", "22023", "name is empty",
			"", "" },
		{ "add_check('users', 'c', NULL)", "22023",
			"expression is NULL", "", "" },
		{ "add_check('users', 'c', 'true', '')", "22023",
			"repair is empty", "",
			"Leave it NULL when there is none." },
		{ "add_foreign_key('orders', 'u', 'nowhere')", "42P01",
			"relation \"nowhere\" does not exist", "", "" },
		{ "add_foreign_key('orders', 'u', 'users (x)')", "42703",
			"column \"x\" of relation \"users\" does not exist", "",
			"" },
		{ "add_foreign_key('orders', 'u', 'users (id, n)')", "22023",
			"invalid references \"users (id, n)\"", "",
			"Write a table, or a table and one column, such as:"
			" users (id)." },
		{ "add_foreign_key('orders', 'u', '')", "22023",
			"references is empty", "", "" },
		{ "add_foreign_key('orders', 'u', 'keyless')", "42830",
			"there is no primary key of one column for referenced"
			" table \"keyless\"",
			"", "Name the column, such as: users (id)." },
		{ "add_foreign_key('orders', 'u', 'users', from_clause =>"
		  " 'users')",
			"22023", "from_clause without fill",
			"It says which rows are filled, and from where.", "" },
		{ "create_index('users', 'i', ' ')", "22023",
			"definition is empty", "", "" },
		{ "drop_index('users', 'i')", "42704",
			"index \"i\" of table \"shop.users\" does not exist",
			"", "" },
		{ "drop_index('users', 'users_pkey')", "2BP01",
			"cannot drop index users_pkey because constraint"
			" users_pkey on table shop.users requires it",
			"", "backfill.plan_ddl() can drop the constraint." },
		{ "reindex('users', 'orders_pkey')", "42704",
			"index \"orders_pkey\" of table \"shop.users\" does"
			" not exist",
			"", "" },
		{ "ddl('users', '')", "22023", "definition is empty", "", "" },
		{ "delete('users', ' ')", "22023", "where_clause is empty", "",
			"" },
		{ "delete('users', 'true', ' ')", "22023", "archive is empty",
			"", "Leave it NULL when there is none." },
	};

	(void)state;
	sql_exec(app, "CREATE TABLE keyless (id int)");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		FAILS(app, cases[i].sqlstate, cases[i].message, cases[i].detail,
			cases[i].hint, "SELECT backfill.plan_%s",
			cases[i].call);
	}
	assert_int_equal(sql_int(db, "SELECT count(*) FROM backfill.jobs"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_add_check),
		TEST(test_add_foreign_key_to_a_new_column),
		TEST(test_add_foreign_key_to_a_column),
		TEST(test_indexes),
		TEST(test_ddl),
		TEST(test_delete),
		TEST(test_bad_input),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
