/* test_bad_jobs.c: jobs that cannot run: each fails with the whole error, the
 * table is as it was, and a good job beside them goes on. What SQL can refuse
 * at INSERT is in test_bad_inserts.c, what fails in the middle of a job in
 * test_bad_batches.c. */
#include "cmocka_all.h"
#include "shop.h"

#define SET_HINT                                                               \
	"The clause must be what follows SET in an UPDATE: column ="           \
	" expression, …"
#define WHERE_HINT                                                             \
	"The clause must be one boolean expression with balanced"              \
	" parentheses."
#define VALUE_HINT "Write the value itself."
#define RIGHTS_HINT(table)                                                     \
	"The job runs as its run_as, which needs SELECT and UPDATE on " table  \
	" and the rights that its clauses use."
/* Detail and hint. */
#define SET_KEY                                                                \
	"The job walks the table by this column: a row whose key changes"      \
	" would be met twice or not at all.",                                  \
		"Name the columns of another unique index in key_columns."
#define NO_KEY                                                                 \
	"A key is a unique btree index that is valid, immediate, neither"      \
	" partial nor on expressions, of columns that are NOT NULL and all"    \
	" ascending or all descending.",                                       \
		"Add a primary key, or a unique index on NOT NULL columns"     \
		" (CREATE UNIQUE INDEX CONCURRENTLY)."

#define POLICIES                                                               \
	"Policies would hide rows from the job without a word.",               \
		"Let the job run as the table's owner, unless row-level"       \
		" security is forced on it, or as a role with BYPASSRLS."

struct bad_job {
	const char *name, *target, *set_clause, *where_clause, *key_columns;
	const char *sqlstate, *message, *detail, *hint;
};

/* clang-format off */
static const struct bad_job bad_jobs[] = {
	{ "set syntax", "victim", "n = = 1", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"=\"", NULL, SET_HINT },
	{ "set no column", "victim", "n + 1", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"+\"", NULL, SET_HINT },
	{ "set semicolon", "victim", "n = 1; DELETE FROM other", NULL, NULL,
		"42601",
		"set_clause: cannot insert multiple commands into a prepared"
		" statement",
		NULL, SET_HINT },
	{ "set where", "victim", "n = 1 WHERE true) --", NULL, NULL, "42601",
		"set_clause: syntax error at or near \")\"", NULL, SET_HINT },
	{ "set where 2", "victim", "n = 1 WHERE true", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"WHERE\"", NULL,
		SET_HINT },
	{ "set where block", "victim", "n = 1 WHERE true /*", NULL, NULL,
		"42601",
		"set_clause: unterminated /* comment at or near \"/*\nWHERE"
		" false\"",
		NULL, SET_HINT },
	{ "set from", "victim", "n = 1 FROM other", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"FROM\"", NULL,
		SET_HINT },
	{ "set returning", "victim", "n = 1 RETURNING 1", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"WHERE\"", NULL,
		SET_HINT },
	{ "set open", "victim", "n = (1", NULL, NULL, "42601",
		"set_clause: syntax error at or near \"WHERE\"", NULL,
		SET_HINT },
	{ "set close", "victim", "n = 1)", NULL, NULL, "42601",
		"set_clause: syntax error at or near \")\"", NULL, SET_HINT },
	{ "set string", "victim", "note = 'x", NULL, NULL, "42601",
		"set_clause: unterminated quoted string at or near"
		" \"'x\nWHERE false\"",
		NULL, SET_HINT },
	{ "set dollar", "victim", "note = $x$ x", NULL, NULL, "42601",
		"set_clause: unterminated dollar-quoted string at or near"
		" \"$x$ x\nWHERE false\"",
		NULL, SET_HINT },
	{ "set parameter", "victim", "n = $1", NULL, NULL, "42P02",
		"set_clause: there is no parameter $1", NULL, VALUE_HINT },
	{ "set aggregate", "victim", "n = count(*)", NULL, NULL, "42803",
		"set_clause: aggregate functions are not allowed in UPDATE",
		NULL, NULL },
	{ "set subrows", "victim", "n = generate_series(1, 2)", NULL, NULL,
		"0A000",
		"set_clause: set-returning functions are not allowed in UPDATE",
		NULL, NULL },
	{ "set missing column", "victim", "m = 1", NULL, NULL, "42703",
		"set_clause: column \"m\" of relation \"victim\" does not"
		" exist",
		NULL, NULL },
	{ "set type", "victim", "n = 'one'", NULL, NULL, "22P02",
		"set_clause: invalid input syntax for type integer: \"one\"",
		NULL, NULL },
	{ "set type2", "victim", "n = true", NULL, NULL, "42804",
		"set_clause: column \"n\" is of type integer but expression"
		" is of type boolean",
		NULL, "You will need to rewrite or cast the expression." },
	{ "set twice", "victim", "n = 1, n = 2", NULL, NULL, "42601",
		"set_clause: multiple assignments to same column \"n\"", NULL,
		SET_HINT },
	{ "set key", "victim", "id = id + 1000", NULL, NULL, "BF021",
		"set_clause assigns key column \"id\"", SET_KEY },
	{ "set key upper", "victim", "ID = 5", NULL, NULL, "BF021",
		"set_clause assigns key column \"id\"", SET_KEY },
	{ "set key quoted", "victim", "\"id\" = 5", NULL, NULL, "BF021",
		"set_clause assigns key column \"id\"", SET_KEY },
	{ "set key list", "victim", "(n, \"id\") = (1, 2)", NULL, NULL, "BF021",
		"set_clause assigns key column \"id\"", SET_KEY },
	{ "set key row", "victim", "(n, id) = ROW (1, 2)", NULL, NULL, "BF021",
		"set_clause assigns key column \"id\"", SET_KEY },
	{ "set key unicode", "victim", "U&\"\\0069d\" = 5", NULL, NULL, "0A000",
		"set_clause is of a form that cannot be checked", NULL,
		"Write: column = expression, …, without Unicode escapes in"
		" names." },
	{ "set key later", "victim", "n = length(')'), id = 5", NULL, NULL,
		"BF021", "set_clause assigns key column \"id\"", SET_KEY },
	{ "where syntax", "victim", "n = 1", "id = = 1", NULL, "42601",
		"where_clause: syntax error at or near \"=\"", NULL,
		WHERE_HINT },
	{ "where semicolon", "victim", "n = 1", "true; DELETE FROM other", NULL,
		"42601", "where_clause: syntax error at or near \";\"", NULL,
		WHERE_HINT },
	{ "where smuggled", "victim", "n = 1", "id=1) OR (id=2", NULL, "42601",
		"where_clause: syntax error at or near \")\"", NULL,
		WHERE_HINT },
	{ "where comment", "victim", "n = 1", "true /*", NULL, "42601",
		"where_clause: unterminated /* comment at or near \"/*\n)"
		" FROM ONLY public.victim\"",
		NULL, WHERE_HINT },
	{ "where close", "victim", "n = 1", "true)", NULL, "42601",
		"where_clause: syntax error at or near \")\"", NULL,
		WHERE_HINT },
	{ "where close comment", "victim", "n = 1", "true) --", NULL, "42601",
		"where_clause: syntax error at or near \")\"", NULL,
		WHERE_HINT },
	{ "where open", "victim", "n = 1", "(true", NULL, "42601",
		"where_clause: syntax error at or near \"FROM\"", NULL,
		WHERE_HINT },
	{ "where list", "victim", "n = 1", "true, true", NULL, "42804",
		"where_clause must be of type boolean", NULL,
		"Write a condition, such as $$ phone IS NULL $$." },
	{ "where bracket", "victim", "n = 1", "true] || ARRAY[true", NULL,
		"42601", "where_clause: syntax error at or near \"]\"", NULL,
		WHERE_HINT },
	{ "where order", "victim", "n = 1", "true ORDER BY id", NULL, "42601",
		"where_clause: syntax error at or near \"ORDER\"", NULL,
		WHERE_HINT },
	{ "where string", "victim", "n = 1", "note = 'x", NULL, "42601",
		"where_clause: unterminated quoted string at or near \"'x\n)"
		" FROM ONLY public.victim\"",
		NULL, WHERE_HINT },
	{ "where quoted name", "victim", "n = 1", "note = \"x", NULL, "42601",
		"where_clause: unterminated quoted identifier at or near"
		" \"\"x\n) FROM ONLY public.victim\"",
		NULL, WHERE_HINT },
	{ "where union", "victim", "n = 1", "true) UNION SELECT (true", NULL,
		"42601", "where_clause: syntax error at or near \")\"", NULL,
		WHERE_HINT },
	{ "where number", "victim", "n = 1", "n", NULL, "42804",
		"where_clause must be of type boolean", NULL,
		"Write a condition, such as $$ phone IS NULL $$." },
	{ "where text", "victim", "n = 1", "'true'::text", NULL, "42804",
		"where_clause must be of type boolean", NULL,
		"Write a condition, such as $$ phone IS NULL $$." },
	{ "where parameter", "victim", "n = 1", "n = $1", NULL, "42P02",
		"where_clause: there is no parameter $1", NULL, VALUE_HINT },
	{ "where aggregate", "victim", "n = 1", "count(*) > 0", NULL, "42803",
		"where_clause: aggregate functions are not allowed in WHERE", NULL, NULL },
	{ "where window", "victim", "n = 1", "row_number() OVER () > 0", NULL,
		"42P20", "where_clause: window functions are not allowed in WHERE", NULL,
		NULL },
	{ "where set", "victim", "n = 1", "generate_series(1, 2) > 0", NULL,
		"0A000", "where_clause: set-returning functions are not allowed in WHERE",
		NULL, NULL },
	{ "where missing column", "victim", "n = 1", "m = 1", NULL, "42703",
		"where_clause: column \"m\" does not exist", NULL, NULL },
	{ "where missing table", "victim", "n = 1", "elsewhere.n = 1", NULL,
		"42P01",
		"where_clause: missing FROM-clause entry for table"
		" \"elsewhere\"",
		NULL, NULL },
	{ "missing table", "nosuch", "n = 1", NULL, NULL, "42P01",
		"relation \"nosuch\" does not exist", NULL,
		"Create the table, then submit the job anew; its search_path"
		" is public, pg_temp." },
	{ "missing schema", "nosuch.t", "n = 1", NULL, NULL, "42P01",
		"relation \"nosuch.t\" does not exist", NULL,
		"Create the table, then submit the job anew; its search_path"
		" is public, pg_temp." },
	{ "no right", "not_mine", "n = 1", NULL, NULL, "42501",
		"permission denied for table not_mine", NULL,
		RIGHTS_HINT("public.not_mine") },
	{ "no update", "only_read", "n = 1", NULL, NULL, "42501",
		"permission denied for table only_read", NULL,
		RIGHTS_HINT("public.only_read") },
	{ "no select", "only_write", "n = 1", NULL, NULL, "42501",
		"permission denied for table only_write", NULL,
		RIGHTS_HINT("public.only_write") },
	{ "no right in clause", "victim",
		"n = (SELECT max(m.n) FROM not_mine m)", NULL, NULL, "42501",
		"permission denied for table not_mine", NULL,
		RIGHTS_HINT("public.victim") },
	{ "guarded", "guarded", "n = 1", NULL, NULL, "42501",
		"query would be affected by row-level security policy for table"
		" \"guarded\"",
		POLICIES },
	{ "no key", "no_key", "n = 1", NULL, NULL, "BF020",
		"table public.no_key has no usable key", NO_KEY },
	{ "nullable key", "nullable_key", "n = 1", NULL, NULL, "BF020",
		"table public.nullable_key has no usable key", NO_KEY },
	{ "partial key", "partial_key", "n = 1", NULL, NULL, "BF020",
		"table public.partial_key has no usable key", NO_KEY },
	{ "expression key", "expression_key", "n = 1", NULL, NULL, "BF020",
		"table public.expression_key has no usable key", NO_KEY },
	{ "deferred key", "deferred_key", "n = 1", NULL, NULL, "BF020",
		"table public.deferred_key has no usable key", NO_KEY },
	{ "plain index", "plain_index", "n = 1", NULL, NULL, "BF020",
		"table public.plain_index has no usable key", NO_KEY },
	{ "mixed key", "mixed_key", "n = 1", NULL, NULL, "BF020",
		"table public.mixed_key has no usable key", NO_KEY },
	{ "invalid key", "invalid_key", "n = 1", NULL, NULL, "BF020",
		"table public.invalid_key has no usable key", NO_KEY },
	{ "unvalidated key", "unvalidated_key", "n = 1", NULL, NULL, "BF020",
		"table public.unvalidated_key has no usable key", NO_KEY },
	{ "key columns none", "victim", "n = 1", NULL, "{note}", "BF020",
		"table public.victim has no usable key on columns {note}",
		NO_KEY },
	{ "key columns missing", "victim", "n = 1", NULL, "{nosuch}", "BF020",
		"table public.victim has no usable key on columns {nosuch}",
		NO_KEY },
	{ "key columns more", "victim", "n = 1", NULL, "{id,n}", "BF020",
		"table public.victim has no usable key on columns {id,n}",
		NO_KEY },
	{ "a view", "a_view", "n = 1", NULL, NULL, "42809",
		"public.a_view is not a table", "It is a view.",
		"Name the table behind it." },
	{ "a matview", "a_matview", "n = 1", NULL, NULL, "42809",
		"public.a_matview is not a table", "It is a materialized view.",
		"Name the table behind it." },
	{ "parted", "parted", "n = 1", NULL, NULL, "0A000",
		"public.parted is a partitioned table", NULL,
		"Submit a job for each of its partitions." },
	{ "parent", "parent", "n = 1", NULL, NULL, "0A000",
		"public.parent has inheritance children",
		"A key may stand in the parent and in a child, so one walk"
		" cannot serve both.",
		"Submit a job for each child; the parent's own rows need an"
		" UPDATE ONLY." },
	{ "a sequence", "a_sequence", "n = 1", NULL, NULL, "42809",
		"public.a_sequence is not a table", "It is a sequence.",
		"Name a table." },
	{ "victim pkey", "victim_pkey", "n = 1", NULL, NULL, "42809",
		"public.victim_pkey is not a table", "It is an index.",
		"Name the table that it belongs to." },
	{ "a type", "a_type", "n = 1", NULL, NULL, "42809",
		"public.a_type is not a table", "It is a composite type.",
		"Name a table." },
	{ "pg catalog.pg class", "pg_catalog.pg_class", "n = 1", NULL, NULL,
		"42809", "pg_catalog.pg_class is a system table", NULL,
		"Name a table of your own." },
	{ "backfill.jobs", "backfill.jobs", "n = 1", NULL, NULL, "42809",
		"backfill.jobs is a system table", NULL,
		"Name a table of your own." },
	{ "information schema.sql features", "information_schema.sql_features",
		"n = 1", NULL, NULL, "42809",
		"information_schema.sql_features is a system table", NULL,
		"Name a table of your own." },
};
/* clang-format on */

enum { BAD_JOBS = sizeof bad_jobs / sizeof bad_jobs[0] };

static const char TABLES_SQL[] =
	"CREATE TABLE victim (id bigint PRIMARY KEY, n integer NOT NULL"
	" DEFAULT 0, \"ID\" int, note text);"
	"INSERT INTO victim (id) SELECT generate_series(1, 50);"
	"CREATE TABLE other (id bigint PRIMARY KEY, n int);"
	"CREATE VIEW a_view AS SELECT * FROM victim;"
	"CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM victim;"
	"CREATE TABLE parted (id bigint PRIMARY KEY, n int)"
	" PARTITION BY RANGE (id);"
	"CREATE TABLE parent (id bigint PRIMARY KEY, n int);"
	"CREATE TABLE child () INHERITS (parent);"
	"CREATE SEQUENCE a_sequence;"
	"CREATE TYPE a_type AS (id int, n int);"
	"CREATE TABLE no_key (id bigint, n int);"
	"CREATE TABLE nullable_key (id bigint UNIQUE, n int);"
	"CREATE TABLE partial_key (id bigint NOT NULL, n int);"
	"CREATE UNIQUE INDEX ON partial_key (id) WHERE n = 1;"
	"CREATE TABLE expression_key (id bigint NOT NULL, n int);"
	"CREATE UNIQUE INDEX ON expression_key ((id + 1));"
	"CREATE TABLE deferred_key (id bigint NOT NULL UNIQUE DEFERRABLE,"
	" n int);"
	"CREATE TABLE plain_index (id bigint NOT NULL, n int);"
	"CREATE INDEX ON plain_index (id);"
	"CREATE INDEX ON plain_index USING hash (id);"
	"CREATE TABLE mixed_key (id bigint NOT NULL, b int NOT NULL, n int);"
	"CREATE UNIQUE INDEX ON mixed_key (id, b DESC);"
	"CREATE TABLE invalid_key (id bigint NOT NULL, n int);"
	"INSERT INTO invalid_key VALUES (1), (1);"
	"CREATE TABLE unvalidated_key (id bigint NOT NULL, n int);"
	"CREATE UNIQUE INDEX ON unvalidated_key (id)";

static const char FOREIGN_SQL[] =
	"CREATE TABLE not_mine (id bigint PRIMARY KEY, n int);"
	"CREATE TABLE only_read (id bigint PRIMARY KEY, n int);"
	"GRANT SELECT ON only_read TO app;"
	"CREATE TABLE only_write (id bigint PRIMARY KEY, n int);"
	"GRANT UPDATE ON only_write TO app;"
	"CREATE TABLE guarded (id bigint PRIMARY KEY, n int);"
	"GRANT ALL ON guarded TO app;"
	"ALTER TABLE guarded ENABLE ROW LEVEL SECURITY";

static const char FDW_SQL[] =
	"CREATE EXTENSION file_fdw;"
	"CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
	"CREATE FOREIGN TABLE foreign_table (id bigint, n int) SERVER files"
	" OPTIONS (filename '/dev/null');"
	"GRANT ALL ON foreign_table TO app";

static int start(void **state)
{
	(void)shop_start(state);
	sql_exec(shop.app, "%s", TABLES_SQL);
	sql_exec(shop.db, "%s", FOREIGN_SQL);
	/* Leaves an index behind that is not ready; one that is, and was not
	 * validated, takes a crash. */
	sql_fails(shop.app, NULL,
		"CREATE UNIQUE INDEX CONCURRENTLY ON invalid_key (id)");
	sql_exec(shop.db,
		"UPDATE pg_index SET indisvalid = false"
		" WHERE indrelid = 'unvalidated_key'::regclass");
	return 0;
}

static void submit(const struct bad_job *job)
{
	job_submit(job->name, job->target, 10, job->set_clause,
		job->where_clause, job->key_columns);
}

static void assert_failed(const struct bad_job *job)
{
	job_fails(
		job->name, job->sqlstate, job->message, job->detail, job->hint);
}

/* ---- refused before anything was touched */

static void test_bad_jobs_beside_a_good_one(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE good (id bigint PRIMARY KEY, n integer NOT NULL"
		" DEFAULT 0);"
		"INSERT INTO good SELECT generate_series(1, 500)");
	for (size_t i = 0; i < BAD_JOBS / 2; i++) {
		submit(&bad_jobs[i]);
	}
	/* In the midst of them, and half done while the rest fails. */
	gate_close(255);
	job_submit("good", "good", 10, "n = n + 1 + gate_pass(id)", NULL, NULL);
	for (size_t i = BAD_JOBS / 2; i < BAD_JOBS; i++) {
		submit(&bad_jobs[i]);
	}
	for (size_t i = 0; i < BAD_JOBS; i++) {
		assert_failed(&bad_jobs[i]);
	}
	gate_open();
	job_wait("good", "succeeded");
	assert_true(sql_true(shop.db,
		"SELECT bool_and(n = 1) AND count(*) = 500 FROM good"));
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', count(*), sum(n), sum(id),"
			" count(note) + count(\"ID\")) FROM victim"),
		"50 0 1275 0");
	assert_string_equal(
		job_events("where smuggled"), "submitted,started,failed");
	assert_int_equal(sql_int(shop.db,
				 "SELECT count(*) FROM backfill.ranges r"
				 " JOIN backfill.jobs j ON j.id = r.job_id"
				 " WHERE j.state = 'failed'"
				 " AND (r.batches > 0 OR r.owner IS NOT NULL)"),
		0);
}

static void test_foreign_table(void **state)
{
	static const struct bad_job job = { "foreign table", "foreign_table",
		"n = 1", NULL, NULL, "42809",
		"public.foreign_table is not a table", "It is a foreign table.",
		"Run the job where the table is." };

	(void)state;
	if (!sql_true(shop.db,
		    "SELECT EXISTS (SELECT FROM pg_available_extensions"
		    " WHERE name = 'file_fdw')")) {
		print_message("skip: the extension file_fdw is not"
			      " installed\n");
		skip();
	}
	sql_exec(shop.db, "%s", FDW_SQL);
	submit(&job);
	assert_failed(&job);
}

static void test_rules(void **state)
{
	static const struct bad_job job = { "rule", "ruled", "n = 1", NULL,
		NULL, "0A000", "table public.ruled has a rule \"r\" ON UPDATE",
		"A rule puts other statements in the place of a batch, which"
		" could not tell what became of its rows.",
		"Use a trigger instead, or disable the rule while the job runs"
		" (ALTER TABLE public.ruled DISABLE RULE r)." };

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE ruled (id bigint PRIMARY KEY, n int);"
		"CREATE RULE r AS ON UPDATE TO ruled DO INSTEAD NOTHING");
	submit(&job);
	assert_failed(&job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_jobs_beside_a_good_one),
		cmocka_unit_test(test_foreign_table),
		cmocka_unit_test(test_rules),
	};

	return cmocka_run_group_tests(tests, start, shop_stop);
}
