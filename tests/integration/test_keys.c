/* test_keys.c: jobs over keys of every shape. Each table is walked five rows
 * at a time; each row must have been met once, in as many batches as its
 * number needs, by scans that the key's index bounds. Then two of three rows
 * are deleted, and those and no others must be gone. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

enum { BATCH = 5, READS_PER_ROW = 8 };

struct shape {
	const char *name;    /* the table's is k_ and this */
	const char *columns; /* n comes after them */
	const char *rows;    /* a query or VALUES that gives them */
	const char *more;    /* DDL after that; may be NULL */
};

/* What quoting, and the text form of arrays, could stumble over. */
#define ODD_TEXTS                                                                \
	"VALUES (''), (' '), (''''), (''''''), ('\"'), ('\\'), ('\\\\'), "       \
	"('\\n'), (E'\\n'), (E'\\t'), (E'\\r\\n'), ('{'), ('}'), ('{}'), "       \
	"('{a,b}'), (','), ('NULL'), ('null'), ('%s'), ('%'), ('$1'), "          \
	"('$$'), ('--'), ('/*'), (';'), ('a''b'), ('E''x'''), ('a'), ('A'), "    \
	"('b'), ('B'), ('ä'), ('Ä'), ('z'), ('ß'), ('ss'), ('é'), "          \
	"(U&'e\\0301'), ('日本'), ('🐘'), ('10'), ('9'), ('a b'), ('a-b'), " \
	"('ab'), (repeat('x', 300)), ('__backfill_k1')"

#define HUNDRED(select) "SELECT " select " FROM generate_series(1, 100) g"

/* clang-format off */
static const struct shape shapes[] = {
	/* numbers */
	{ "int", "k int PRIMARY KEY", HUNDRED("g * 3 - 150"), NULL },
	{ "smallint", "k smallint PRIMARY KEY",
		"VALUES (-32768), (-1), (0), (1), (32767), (7), (8)", NULL },
	{ "bigint", "k bigint PRIMARY KEY",
		"SELECT g::bigint * 1000000007 FROM generate_series(-60, 60) g"
		" UNION VALUES (-9223372036854775808), (9223372036854775807),"
		" (9223372036854775806), (2147483648), (-2147483649)", NULL },
	{ "numeric", "k numeric PRIMARY KEY",
		"SELECT g / 7.0 FROM generate_series(-40, 40) g"
		" UNION SELECT v::numeric FROM unnest(ARRAY['NaN', 'Infinity',"
		" '-Infinity', '1e40', '-1e-40', '123456789012345678901.5'])"
		" v", NULL },
	{ "numeric_scale", "k numeric(10,2) PRIMARY KEY",
		HUNDRED("g * 1.25"), NULL },
	{ "real", "k real PRIMARY KEY",
		HUNDRED("(g / 3.0)::real"), NULL },
	{ "float8", "k float8 PRIMARY KEY",
		"SELECT (g / 7.0)::float8 FROM generate_series(1, 80) g"
		" UNION SELECT v::float8 FROM unnest(ARRAY['NaN', 'Infinity',"
		" '-Infinity', '-0', '5e-324', '-1.7976931348623157e308',"
		" '0.1', '1e-300']) v", NULL },
	{ "money", "k money PRIMARY KEY",
		HUNDRED("(g * 12345.67 - 500000)::money"), NULL },
	/* times */
	{ "timestamptz", "k timestamptz PRIMARY KEY",
		"SELECT '2024-03-31 00:30+01'::timestamptz + g * interval"
		" '13 minutes 0.000001 s' FROM generate_series(1, 60) g"
		" UNION SELECT v::timestamptz FROM unnest(ARRAY['infinity',"
		" '-infinity', '0044-03-15 12:00:00+00 BC',"
		" '1850-01-01 00:00:00+00']) v", NULL },
	{ "timestamp", "k timestamp PRIMARY KEY",
		"SELECT '2024-02-03'::timestamp + g * interval '1 day 1 us'"
		" FROM generate_series(1, 60) g"
		" UNION VALUES ('infinity'::timestamp), ('-infinity')", NULL },
	{ "date", "k date PRIMARY KEY",
		"SELECT '2024-02-03'::date + g FROM generate_series(1, 60) g"
		" UNION SELECT v::date FROM unnest(ARRAY['infinity',"
		" '-infinity', '0044-03-15 BC', '5874897-12-31']) v", NULL },
	{ "time_zone", "k timetz PRIMARY KEY",
		HUNDRED("('00:00:00+0' || g % 10)::timetz"
		" + g * interval '7 minutes'"), NULL },
	{ "interval", "k interval PRIMARY KEY",
		HUNDRED("(g - 50) * interval '1 mon -3 days 04:05:06.7'"),
		NULL },
	/* texts */
	{ "text", "k text PRIMARY KEY", ODD_TEXTS, NULL },
	{ "text_c", "k text COLLATE \"C\" PRIMARY KEY", ODD_TEXTS, NULL },
	{ "text_libc", "k text COLLATE \"C.utf8\" PRIMARY KEY", ODD_TEXTS,
		NULL },
	/* In an index of another collation than the column's. */
	{ "text_pattern", "k text NOT NULL", ODD_TEXTS,
		"CREATE UNIQUE INDEX ON k_text_pattern"
		" (k text_pattern_ops)" },
	{ "text_other", "k text NOT NULL", ODD_TEXTS,
		"CREATE UNIQUE INDEX ON k_text_other (k COLLATE \"C.utf8\")" },
	{ "varchar", "k varchar(320) PRIMARY KEY", ODD_TEXTS, NULL },
	{ "char_n", "k char(6) PRIMARY KEY",
		"SELECT CASE WHEN g % 2 = 0 THEN g::text ELSE g || '  ' END"
		" FROM generate_series(1, 60) g UNION VALUES (''), ('a''b'),"
		" ('\\'), ('a b')", NULL },
	{ "char_1", "k \"char\" PRIMARY KEY",
		"SELECT chr(g)::\"char\" FROM generate_series(32, 126) g",
		NULL },
	{ "name", "k name PRIMARY KEY", HUNDRED("'N\"' || g"), NULL },
	/* other scalars */
	{ "uuid", "k uuid PRIMARY KEY", HUNDRED("md5(g::text)::uuid"), NULL },
	{ "bytea", "k bytea PRIMARY KEY",
		HUNDRED("decode(md5(g::text), 'hex')") " UNION VALUES"
		" (''::bytea), ('\\x00'), ('\\x0000'), ('\\x5c'), ('\\x27')",
		NULL },
	{ "bool", "k bool PRIMARY KEY", "VALUES (true), (false)", NULL },
	{ "inet", "k inet PRIMARY KEY",
		HUNDRED("('10.0.' || g || '.1/' || 16 + g % 17)::inet"), NULL },
	{ "bits", "k bit(8) PRIMARY KEY", HUNDRED("g::bit(8)"), NULL },
	{ "varbit", "k varbit PRIMARY KEY",
		HUNDRED("substring(g::bit(8), 1 + g % 3)") " ON CONFLICT"
		" DO NOTHING", NULL },
	{ "pg_lsn", "k pg_lsn PRIMARY KEY",
		HUNDRED("'0/0'::pg_lsn + g::numeric ^ 9"), NULL },
	{ "jsonb", "k jsonb PRIMARY KEY",
		HUNDRED("jsonb_build_object('a''\"', g, 'b', ARRAY[g])"),
		NULL },
	/* types that have types */
	{ "enum", "k mood PRIMARY KEY",
		"SELECT unnest(enum_range(NULL::mood))", NULL },
	{ "domain_int", "k even PRIMARY KEY", HUNDRED("g * 2"), NULL },
	{ "domain_text", "k word PRIMARY KEY",
		"SELECT * FROM (" ODD_TEXTS ") v (t) WHERE t <> ''", NULL },
	{ "domain_enum", "k fine_mood PRIMARY KEY",
		"SELECT unnest(enum_range('fine'::mood, NULL))", NULL },
	{ "range", "k int4range PRIMARY KEY",
		HUNDRED("CASE WHEN g = 1 THEN 'empty' WHEN g = 2 THEN '(,)'"
		" ELSE int4range(g, g + g % 5 + 1) END::int4range"), NULL },
	{ "array", "k int[] PRIMARY KEY",
		HUNDRED("ARRAY[g % 10, NULL, g]") " UNION VALUES"
		" ('{}'::int[]), ('[0:1]={1,2}')", NULL },
	{ "texts", "k text[] PRIMARY KEY",
		"SELECT ARRAY[t, 'x'] FROM (" ODD_TEXTS ") v (t)", NULL },
	{ "composite", "k pair PRIMARY KEY",
		HUNDRED("ROW(g % 7, 'a,\"(\\' || g)::pair"), NULL },
	/* several columns */
	{ "two", "a int, b text, PRIMARY KEY (a, b)",
		"SELECT g / 10, 'b''' || g FROM generate_series(1, 100) g",
		NULL },
	{ "three", "a uuid, b timestamptz, c numeric, PRIMARY KEY (a, b, c)",
		"SELECT md5((g / 30)::text)::uuid, '2024-01-01'::timestamptz"
		" + g / 4 * interval '1 day', g FROM generate_series(1, 100) g",
		NULL },
	{ "bools", "a bool, b bool, c int, PRIMARY KEY (a, b, c)",
		"SELECT g % 2 = 0, g % 3 = 0, g FROM generate_series(1, 100) g",
		NULL },
	{ "swapped", "a int, b int, PRIMARY KEY (b, a)",
		"SELECT g % 10, g / 10 FROM generate_series(1, 100) g", NULL },
	/* Two operators of different names: no row comparison. */
	{ "mixed_text", "a text NOT NULL, b text NOT NULL, c text NOT NULL",
		"SELECT 'a' || g / 4, 'b' || g % 4 / 2, 'c' || g % 2"
		" FROM generate_series(1, 100) g",
		"CREATE UNIQUE INDEX ON k_mixed_text (a text_pattern_ops, b,"
		" c text_pattern_ops)" },
	/* indexes */
	{ "descending", "k int NOT NULL", HUNDRED("g"),
		"CREATE UNIQUE INDEX ON k_descending (k DESC)" },
	{ "two_descending", "a int NOT NULL, b text NOT NULL",
		"SELECT g / 10, 'b' || g FROM generate_series(1, 100) g",
		"CREATE UNIQUE INDEX ON k_two_descending (a DESC, b DESC)" },
	{ "nulls_first", "k int NOT NULL", HUNDRED("g"),
		"CREATE UNIQUE INDEX ON k_nulls_first (k NULLS FIRST)" },
	{ "nulls_last", "a int NOT NULL, b int NOT NULL",
		"SELECT g / 10, g FROM generate_series(1, 100) g",
		"CREATE UNIQUE INDEX ON k_nulls_last (a DESC NULLS LAST,"
		" b DESC NULLS LAST)" },
	{ "including", "k int NOT NULL, extra text", HUNDRED("g, 'x' || g"),
		"CREATE UNIQUE INDEX ON k_including (k) INCLUDE (extra)" },
	{ "unique", "k int NOT NULL UNIQUE, extra int UNIQUE",
		HUNDRED("g, NULLIF(g, 5)"), NULL },
};
/* clang-format on */

static const char TYPES_SQL[] =
	"CREATE TYPE mood AS ENUM ('zzz', 'sad', 'it''s', 'fine', 'a\"b',"
	" 'happy', 'A');"
	"CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);"
	"CREATE DOMAIN word AS text CHECK (VALUE <> '');"
	"CREATE DOMAIN fine_mood AS mood CHECK (VALUE >= 'fine');"
	"CREATE TYPE pair AS (a int, b text);";

/* Small tables would be read whole, whatever the condition, and joined by
 * single look-ups; by a merge a scan without bounds is a long one. */
static int start(void **state)
{
	(void)shop_start_patient(state);
	sql_exec(shop.db,
		"ALTER ROLE app SET enable_seqscan = off;"
		"ALTER ROLE app SET enable_bitmapscan = off;"
		"ALTER ROLE app SET enable_nestloop = off;"
		"ALTER ROLE app SET enable_hashjoin = off");
	sql_exec(shop.app, "%s", TYPES_SQL);
	return 0;
}

/* ---- what each table goes through */

static void make_table(const struct shape *shape)
{
	sql_exec(shop.app,
		"CREATE TABLE k_%s (%s, n integer NOT NULL DEFAULT 0);"
		"INSERT INTO k_%s %s;"
		"%s",
		shape->name, shape->columns, shape->name, shape->rows,
		shape->more != NULL ? shape->more : "");
}

/* Entries of the key's index that the runner's session read. Its statistics
 * are written before pg_stat_activity loses it. */
static int64_t index_reads(const char *name)
{
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity"
		" WHERE application_name = 'backfilld %lld/1')",
		(long long)job_id(name));
	return sql_int(shop.db,
		"SELECT s.idx_tup_read FROM pg_stat_all_indexes s"
		" JOIN backfill.ranges r ON r.key_index_oid = s.indexrelid"
		" WHERE r.job_id = %lld",
		(long long)job_id(name));
}

static void assert_walked(const char *name, const char *table)
{
	int64_t rows, reads;

	job_wait(name, "succeeded");
	reads = index_reads(name);
	rows = sql_int(shop.db, "SELECT count(*) FROM %s", table);
	if (!sql_true(shop.db, "SELECT bool_and(n = 1) FROM %s", table)) {
		fail_msg("%s: not every row was changed once", name);
	}
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_read, rows_done, batches)"
			" FROM backfill.progress WHERE name = '%s'",
			name),
		sql_text(shop.db, "SELECT concat_ws(' ', %d, %d, %d)",
			(int)rows, (int)rows, (int)(rows + BATCH - 1) / BATCH));
	if (reads < rows || reads > READS_PER_ROW * rows + BATCH) {
		fail_msg("%s: %lld index entries read for %lld rows", name,
			(long long)reads, (long long)rows);
	}
}

/* The rows that shall stay are marked by their place, which no key has a say
 * in, and known again by all that they hold. */
static void delete_from(const char *name, const char *table)
{
	static const char checksum[] =
		"SELECT concat_ws(' ', count(*), md5(string_agg(t::text, '|'"
		" ORDER BY t::text COLLATE \"C\"))) FROM %s t WHERE n = 2";
	char kept[128];
	char delete_name[80];

	sql_exec(shop.app,
		"UPDATE %s SET n = 2 WHERE ctid IN (SELECT ctid FROM (SELECT"
		" ctid, row_number() OVER (ORDER BY ctid) FROM %s) r"
		" WHERE row_number %% 3 = 0)",
		table, table);
	(void)snprintf(
		kept, sizeof kept, "%s", sql_text(shop.db, checksum, table));
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, where_clause,"
		" batch_rows, max_batch_rows)"
		" VALUES ('delete %s', 'delete', $t$%s$t$, 'n = 1', %d, %d)",
		name, table, BATCH, BATCH);
	(void)snprintf(delete_name, sizeof delete_name, "delete %s", name);
	job_wait(delete_name, "succeeded");
	assert_string_equal(sql_text(shop.db, checksum, table), kept);
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM %s WHERE n <> 2", table),
		0);
	assert_string_equal(
		sql_text(shop.db,
			"SELECT concat_ws(' ', rows_done + %lld = rows_read,"
			" late_rows) FROM backfill.progress WHERE name = '%s'",
			(long long)sql_int(
				shop.db, "SELECT count(*) FROM %s", table),
			delete_name),
		"t 0");
}

static void walk(const struct shape *shape)
{
	char table[64];

	(void)snprintf(table, sizeof table, "k_%s", shape->name);
	make_table(shape);
	job_submit(shape->name, table, BATCH, "n = n + 1", NULL, NULL);
	assert_walked(shape->name, table);
	delete_from(shape->name, table);
}

static void test_shape(void **state)
{
	walk(*state);
}

/* ---- keys of things that a server may lack */

static void test_icu_collations(void **state)
{
	static const struct shape icu = { "text_icu",
		"k text COLLATE \"de-x-icu\" PRIMARY KEY", ODD_TEXTS, NULL };
	static const struct shape caseless = { "text_caseless",
		"k text COLLATE caseless PRIMARY KEY",
		ODD_TEXTS " ON CONFLICT DO NOTHING", NULL };
	static const struct shape other = { "text_less",
		"k text COLLATE caseless NOT NULL", ODD_TEXTS,
		"CREATE UNIQUE INDEX ON k_text_less (k COLLATE \"C\")" };

	(void)state;
	if (!sql_true(shop.db,
		    "SELECT EXISTS (SELECT FROM pg_collation"
		    " WHERE collname = 'de-x-icu')")) {
		print_message("skip: the server has no ICU collations\n");
		skip();
	}
	sql_exec(shop.app,
		"CREATE COLLATION caseless (provider = icu,"
		" locale = 'und-u-ks-level2', deterministic = false)");
	walk(&icu);
	walk(&caseless);
	walk(&other);
}

static void test_citext(void **state)
{
	static const struct shape one = { "citext", "k citext PRIMARY KEY",
		ODD_TEXTS " ON CONFLICT DO NOTHING", NULL };
	static const struct shape two = { "two_citext",
		"a int, b citext, PRIMARY KEY (a, b)",
		"SELECT g / 3, 'B' || g FROM generate_series(1, 100) g", NULL };
	static const struct shape three = { "three_citext",
		"a citext, b int, c citext, PRIMARY KEY (a, b, c)",
		"SELECT 'a' || g / 4, g % 4 / 2, 'C' || g % 2"
		" FROM generate_series(1, 100) g",
		NULL };

	(void)state;
	if (!sql_true(shop.db,
		    "SELECT EXISTS (SELECT FROM pg_available_extensions"
		    " WHERE name = 'citext')")) {
		print_message("skip: the extension citext is not installed\n");
		skip();
	}
	/* In a schema that is not in the job's search_path. */
	sql_exec(shop.db,
		"CREATE SCHEMA extensions AUTHORIZATION app;"
		"CREATE EXTENSION citext SCHEMA extensions");
	sql_exec(shop.app, "SET search_path = public, extensions");
	walk(&one);
	walk(&two);
	walk(&three);
	sql_exec(shop.app, "SET search_path = public");
	sql_exec(shop.app,
		"TRUNCATE k_two_citext;"
		"INSERT INTO k_two_citext %s",
		two.rows);
	sql_exec(shop.db, "SELECT pg_stat_reset()");
	job_submit("citext elsewhere", "k_two_citext", BATCH, "n = n + 1", NULL,
		NULL);
	assert_walked("citext elsewhere", "k_two_citext");
}

/* ---- names, and which key */

static void test_quoted_names(void **state)
{
	static const char table[] =
		"\"Odd \"\"Schema\"\"\".\"Order's; -- \\ Täble\"";

	(void)state;
	sql_exec(shop.db,
		"CREATE SCHEMA \"Odd \"\"Schema\"\"\" AUTHORIZATION app");
	sql_exec(shop.app,
		"CREATE TABLE %s (\"Kéy \"\"1\"\"\" int, \"select\" text,"
		" n integer NOT NULL DEFAULT 0,"
		" PRIMARY KEY (\"Kéy \"\"1\"\"\", \"select\"));"
		"INSERT INTO %s SELECT g / 9, 'x' || g"
		" FROM generate_series(1, 60) g",
		table, table);
	job_submit("odd names", table, BATCH,
		"n = \"Order's; -- \\ Täble\".n + 1",
		"\"Order's; -- \\ Täble\".\"Kéy \"\"1\"\"\" >= 0", NULL);
	assert_walked("odd names", table);
	delete_from("odd names", table);
}

static void test_key_columns_choose_the_index(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE chosen (id int PRIMARY KEY, a int NOT NULL,"
		" \"B,b\" text NOT NULL, n integer NOT NULL DEFAULT 0,"
		" CONSTRAINT chosen_key UNIQUE (a, \"B,b\"));"
		"INSERT INTO chosen SELECT g, -g, 'b' || g"
		" FROM generate_series(1, 60) g;"
		"INSERT INTO backfill.jobs (name, target, set_clause,"
		" key_columns, batch_rows, max_batch_rows)"
		" VALUES ('chosen', 'chosen', 'id = id + 1000, n = n + 1',"
		" '{a,\"B,b\"}', %d, %d)",
		BATCH, BATCH);
	assert_walked("chosen", "chosen");
	assert_string_equal(sql_text(shop.db,
				    "SELECT concat_ws('|', key_index_oid"
				    "::regclass, cursor, hi)"
				    " FROM backfill.ranges WHERE job_id = %lld",
				    (long long)job_id("chosen")),
		"chosen_key|{-1,b1}|{-1,b1}");
	assert_int_equal(
		sql_int(shop.db, "SELECT count(*) FROM chosen WHERE id > 1000"),
		60);
}

/* A class whose "less" is the default class's "greater": ORDER BY cannot
 * name its order, and the planner mistakes row comparisons of the type. */
static void test_operator_class_of_the_users_own(void **state)
{
	static const struct shape two = { "two_ambiguous",
		"a int, b int, PRIMARY KEY (b, a)",
		"SELECT g % 3, g / 3 FROM generate_series(1, 100) g", NULL };

	(void)state;
	sql_exec(shop.db,
		"CREATE FUNCTION reversed_cmp(int, int) RETURNS int"
		" LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp($2, $1)';"
		"CREATE OPERATOR CLASS reversed_ops FOR TYPE int USING btree"
		" AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =,"
		" OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1"
		" reversed_cmp(int, int)");
	walk(&two);

	sql_exec(shop.app,
		"CREATE TABLE reversed (k int NOT NULL, n int);"
		"CREATE UNIQUE INDEX ON reversed (k reversed_ops)");
	job_submit("reversed", "reversed", BATCH, "n = 1", NULL, NULL);
	job_fails("reversed", "BF020",
		"table public.reversed has no usable key",
		"A key is a unique btree index that is valid, immediate,"
		" neither partial nor on expressions, of columns that are NOT"
		" NULL and all ascending or all descending.",
		"Add a primary key, or a unique index on NOT NULL columns"
		" (CREATE UNIQUE INDEX CONCURRENTLY).");
}

int main(void)
{
	enum { SHAPES = sizeof shapes / sizeof shapes[0] };
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(test_icu_collations),
		cmocka_unit_test(test_citext),
		cmocka_unit_test(test_quoted_names),
		cmocka_unit_test(test_key_columns_choose_the_index),
		cmocka_unit_test(test_operator_class_of_the_users_own),
	};
	struct CMUnitTest tests[SHAPES + sizeof others / sizeof others[0]];

	for (size_t i = 0; i < SHAPES; i++) {
		tests[i] = (struct CMUnitTest){ .name = shapes[i].name,
			.test_func = test_shape,
			.initial_state = (void *)&shapes[i] };
	}
	memcpy(&tests[SHAPES], others, sizeof others);
	return cmocka_run_group_tests(tests, start, shop_stop);
}
