/* test_preflight.c: what is looked at before a job's first batch: what hangs
 * on the table (rules, generated columns, foreign keys, triggers), the other
 * tables of a from_clause, the order of the key, and the plan of a batch.
 * Clauses of updates without others are in test_bad_jobs.c. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "shop.h"

/* SQL texts as they stand; NULL: none. */
struct job {
	const char *name, *kind, *target;
	const char *set_clause, *from_clause, *where_clause;
};

struct bad_job {
	struct job job;
	const char *sqlstate, *message, *detail, *hint;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *quote(const char *text)
{
	return text == NULL
		? "NULL"
		: sql_text(shop.db, "SELECT quote_literal($quoted$%s$quoted$)",
			  text);
}

static void submit(const struct job *job)
{
	sql_exec(shop.app,
		"INSERT INTO backfill.jobs (name, kind, target, set_clause,"
		" from_clause, where_clause, batch_rows, max_batch_rows)"
		" VALUES (%s, %s, %s, %s, %s, %s, 7, 7)",
		quote(job->name), quote(job->kind), quote(job->target),
		quote(job->set_clause), quote(job->from_clause),
		quote(job->where_clause));
}

static void all_fail(const struct bad_job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		submit(&jobs[i].job);
	}
	for (size_t i = 0; i < count; i++) {
		job_fails(jobs[i].job.name, jobs[i].sqlstate, jobs[i].message,
			jobs[i].detail, jobs[i].hint);
	}
}

static void assert_all(const char *query)
{
	if (!sql_true(shop.db, "%s", query)) {
		fail_msg("not true: %s", query);
	}
}

/* The event's detail. */
static void assert_findings(const char *name, const char *wanted)
{
	const char *found = sql_text(shop.db,
		"SELECT e.detail FROM backfill.events e"
		" JOIN backfill.jobs j ON j.id = e.job_id"
		" WHERE j.name = '%s' AND e.event = 'preflight'",
		name);

	if (strcmp(found, wanted) != 0) {
		fail_msg("job %s\nwanted: %s\nfound:  %s", name, wanted, found);
	}
}

/* ---- what hangs on the table */

static const char HANGING_SQL[] =
	"CREATE TABLE ruled (id bigint PRIMARY KEY, n int);"
	"CREATE RULE \"No delete\" AS ON DELETE TO ruled DO INSTEAD NOTHING;"
	"CREATE TABLE derived (a int, b int, k int GENERATED ALWAYS AS (a + 1)"
	" STORED PRIMARY KEY, n int);"
	"CREATE TABLE parent (id bigint PRIMARY KEY, a int, b int,"
	" UNIQUE (a, b));"
	"INSERT INTO parent SELECT g, g, g FROM generate_series(1, 30) g";

/* Each has a foreign key to a parent of its own. */
static const char CHILDREN_SQL[] =
	"CREATE TABLE p_cascade (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_cascade (id int, parent bigint CONSTRAINT \"my fk\""
	" REFERENCES p_cascade ON DELETE CASCADE);"
	"CREATE TABLE p_null (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_null (id int, parent bigint"
	" REFERENCES p_null ON DELETE SET NULL);"
	/* Neither an invalid index nor one of other columns first helps. */
	"CREATE INDEX ON c_null (id, parent);"
	"CREATE INDEX ON c_null (parent) WHERE id > 0;"
	"CREATE TABLE p_default (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_default (id int, parent bigint"
	" REFERENCES p_default ON DELETE SET DEFAULT);"
	"CREATE INDEX c_default_invalid ON c_default (parent);"
	"CREATE TABLE p_pair (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_pair (b int, \"A\" int,"
	" FOREIGN KEY (\"A\", b) REFERENCES p_pair (a, b) ON DELETE CASCADE);"
	"CREATE INDEX ON c_pair (b);"
	"CREATE TABLE p_nested (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_nested (id int PRIMARY KEY, parent bigint"
	" REFERENCES p_nested ON DELETE CASCADE);"
	"CREATE INDEX ON c_nested (parent);"
	"CREATE TABLE c_nested2 (id int, c int"
	" REFERENCES c_nested ON DELETE CASCADE);"
	"CREATE TABLE p_leaf (LIKE parent INCLUDING ALL);"
	"CREATE TABLE c_leaf (id int, parent bigint"
	" REFERENCES p_leaf ON DELETE CASCADE) PARTITION BY RANGE (id);"
	"CREATE TABLE c_leaf1 PARTITION OF c_leaf FOR VALUES FROM (0) TO (9);"
	"CREATE TABLE c_leaf2 PARTITION OF c_leaf FOR VALUES FROM (9) TO (99);"
	"CREATE INDEX ON c_leaf1 (parent)";

#define SET_KEY                                                                \
	"The job walks the table by this key: a row whose key changes would"   \
	" be met twice or not at all.",                                        \
		"Name the columns of another unique index in key_columns."
#define CASCADE(action, table)                                                 \
	"It is ON DELETE " action ": for each row that the job deletes the"    \
	" whole of " table " would be read."

static void test_what_hangs_on_the_table(void **state)
{
	static const struct bad_job jobs[] = {
		{ { "rule", "delete", "ruled", NULL, NULL, "true" }, "0A000",
			"table public.ruled has a rule \"No delete\" ON DELETE",
			"A rule puts other statements in the place of a batch,"
			" which could not tell what became of its rows.",
			"Use a trigger instead, or disable the rule while the"
			" job runs (ALTER TABLE public.ruled DISABLE RULE"
			" \"No delete\")." },
		{ { "derived", "update", "derived", "n = 1, a = 2", NULL,
			  NULL },
			"BF021",
			"set_clause assigns column \"a\", from which key column"
			" \"k\" is generated",
			SET_KEY },
		{ { "cascade", "delete", "p_cascade", NULL, NULL, "true" },
			"BF030",
			"foreign key \"my fk\" of table public.c_cascade has no"
			" index on (parent)",
			CASCADE("CASCADE", "public.c_cascade"),
			"CREATE INDEX CONCURRENTLY ON public.c_cascade"
			" (parent);" },
		{ { "null", "delete", "p_null", NULL, NULL, "true" }, "BF030",
			"foreign key c_null_parent_fkey of table public.c_null"
			" has no index on (parent)",
			CASCADE("SET NULL", "public.c_null"),
			"CREATE INDEX CONCURRENTLY ON public.c_null"
			" (parent);" },
		{ { "default", "delete", "p_default", NULL, NULL, "true" },
			"BF030",
			"foreign key c_default_parent_fkey of table"
			" public.c_default has no index on (parent)",
			CASCADE("SET DEFAULT", "public.c_default"),
			"CREATE INDEX CONCURRENTLY ON public.c_default"
			" (parent);" },
		{ { "pair", "delete", "p_pair", NULL, NULL, "true" }, "BF030",
			"foreign key \"c_pair_A_b_fkey\" of table public.c_pair"
			" has no index on (\"A\", b)",
			CASCADE("CASCADE", "public.c_pair"),
			"CREATE INDEX CONCURRENTLY ON public.c_pair (\"A\","
			" b);" },
		{ { "nested", "delete", "p_nested", NULL, NULL, "true" },
			"BF030",
			"foreign key c_nested2_c_fkey of table public.c_nested2"
			" has no index on (c)",
			CASCADE("CASCADE", "public.c_nested2"),
			"CREATE INDEX CONCURRENTLY ON public.c_nested2 (c);" },
		{ { "leaf", "delete", "p_leaf", NULL, NULL, "true" }, "BF030",
			"foreign key c_leaf_parent_fkey of table public.c_leaf2"
			" has no index on (parent)",
			CASCADE("CASCADE", "public.c_leaf2"),
			"CREATE INDEX CONCURRENTLY ON public.c_leaf2"
			" (parent);" },
		{ { "no update", "delete", "only_delete", NULL, NULL, "true" },
			"42501", "permission denied for table only_delete",
			NULL,
			"The job runs as its run_as, which needs SELECT, DELETE"
			" and, to lock rows, UPDATE on public.only_delete and"
			" the rights that its clauses use." },
	};
	static const char *const parents[] = { "p_cascade", "p_null", "p_pair",
		"p_nested", "p_leaf" };

	(void)state;
	sql_exec(shop.app, "%s", HANGING_SQL);
	sql_exec(shop.app, "%s", CHILDREN_SQL);
	sql_exec(shop.db,
		"UPDATE pg_index SET indisvalid = false"
		" WHERE indexrelid = 'c_default_invalid'::regclass;"
		"CREATE TABLE only_delete (id bigint PRIMARY KEY);"
		"GRANT SELECT, DELETE ON only_delete TO app");
	all_fail(jobs, COUNT(jobs));
	/* The same tables, where it does no harm. */
	sql_exec(shop.app,
		"CREATE INDEX ON c_cascade (parent) WHERE parent IS NOT NULL;"
		"CREATE INDEX ON c_null USING hash (parent);"
		"CREATE INDEX ON c_pair (b, \"A\", (b + 1));"
		"CREATE INDEX ON c_nested2 (c); CREATE INDEX ON c_leaf "
		"(parent);"
		"INSERT INTO p_cascade TABLE parent;"
		"INSERT INTO c_cascade SELECT id, id FROM parent;"
		"INSERT INTO p_null TABLE parent;"
		"INSERT INTO c_null SELECT id, id FROM parent;"
		"INSERT INTO p_pair TABLE parent;"
		"INSERT INTO c_pair SELECT id, id FROM parent;"
		"INSERT INTO p_nested TABLE parent;"
		"INSERT INTO c_nested SELECT id, id FROM parent;"
		"INSERT INTO c_nested2 SELECT id, id FROM parent;"
		"INSERT INTO p_leaf TABLE parent;"
		"INSERT INTO c_leaf SELECT id, id FROM parent;"
		"INSERT INTO ruled SELECT generate_series(1, 30);"
		"INSERT INTO derived (a) SELECT generate_series(1, 30)");
	for (size_t i = 0; i < COUNT(parents); i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "again %s", parents[i]);
		submit(&(struct job){
			name, "delete", parents[i], NULL, NULL, "id > 10" });
		job_wait(name, "succeeded");
	}
	submit(&(struct job){
		"ruled", "update", "ruled", "n = 1", NULL, "n IS NULL" });
	submit(&(struct job){
		"derived b", "update", "derived", "b = 1", NULL, "b IS NULL" });
	job_wait("ruled", "succeeded");
	job_wait("derived b", "succeeded");
	assert_all("SELECT array_agg(c.n) = '{10,10,10,10,10,10,30}' FROM ("
		   "SELECT count(*) n FROM c_cascade UNION ALL"
		   " SELECT count(parent) FROM c_null UNION ALL"
		   " SELECT count(*) FROM c_pair UNION ALL"
		   " SELECT count(*) FROM c_nested2 UNION ALL"
		   " SELECT count(*) FROM c_leaf UNION ALL"
		   " SELECT count(*) FROM p_leaf UNION ALL"
		   " SELECT sum(n) FROM ruled) c");
}

/* The generated column is the one that others refer to. */
static void test_generated_unique_column(void **state)
{
	PGconn *other = cluster_connect(shop.cluster, "shop", "app");

	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE codes (id bigint PRIMARY KEY, a int, code int"
		" GENERATED ALWAYS AS (a * 10) STORED UNIQUE);"
		"INSERT INTO codes SELECT g, g FROM generate_series(1, 30) g;"
		"CREATE TABLE uses (code int REFERENCES codes (code))");
	sql_exec(other, "BEGIN; INSERT INTO uses VALUES (200)");
	submit(&(struct job){
		"codes", "update", "codes", "a = a + 100", NULL, NULL });
	/* The row is passed over, not waited for. */
	sql_wait(shop.db, SHOP_WAIT_SECONDS,
		"SELECT rows_done = 29 AND holes = 1"
		" FROM backfill.progress WHERE name = 'codes'");
	sql_exec(other, "ROLLBACK");
	PQfinish(other);
	job_wait("codes", "succeeded");
	assert_all("SELECT bool_and(a = id + 100) FROM codes");
	assert_findings("codes",
		"public.codes is walked by its key (id), index codes_pkey\n"
		"public.codes was never analyzed: the planner does not know how"
		" many rows it has; ANALYZE public.codes\n"
		"foreign key uses_code_fkey of public.uses refers to what the"
		" job changes: ON UPDATE NO ACTION\n"
		"foreign key uses_code_fkey of public.uses has no index on"
		" (code): the whole table is read for each row; CREATE INDEX"
		" CONCURRENTLY ON public.uses (code) before\n"
		"no HOT updates: SET changes what these indexes hold:"
		" codes_code_key\n"
		"SET names a column of a unique index: foreign key checks of"
		" others wait for the batch that has their row");
}

static void test_findings(void **state)
{
	(void)state;
	sql_exec(shop.app,
		"CREATE TABLE owner (id int PRIMARY KEY);"
		"INSERT INTO owner VALUES (1);"
		"CREATE TABLE tree (id int, \"Part\" text COLLATE \"C\","
		" n int DEFAULT 0, m int, note text, owner int REFERENCES"
		" owner, up int, up_part text COLLATE \"C\","
		" PRIMARY KEY (id, \"Part\"),"
		" FOREIGN KEY (up, up_part) REFERENCES tree);"
		"INSERT INTO tree SELECT g, 'x', 0, g, 'N', 1,"
		" nullif(g - 1, 0), CASE WHEN g > 1 THEN 'x' END"
		" FROM generate_series(1, 30) g;"
		"CREATE INDEX tree_note ON tree (lower(note)) WHERE m > 0;"
		"CREATE INDEX tree_other ON tree (up);"
		"CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql"
		" AS $$ BEGIN RETURN coalesce(new, old); END $$;"
		"CREATE TRIGGER b BEFORE UPDATE ON tree FOR EACH ROW EXECUTE"
		" FUNCTION nothing();"
		"CREATE TRIGGER a AFTER UPDATE OF m ON tree FOR EACH STATEMENT"
		" EXECUTE FUNCTION nothing();"
		"CREATE TRIGGER c AFTER UPDATE OF n ON tree FOR EACH ROW"
		" EXECUTE FUNCTION nothing();"
		"CREATE TRIGGER d BEFORE DELETE ON tree FOR EACH ROW EXECUTE"
		" FUNCTION nothing();"
		"CREATE TRIGGER e BEFORE UPDATE ON tree FOR EACH ROW EXECUTE"
		" FUNCTION nothing();"
		"ALTER TABLE tree DISABLE TRIGGER e;"
		"ANALYZE tree, owner");
	submit(&(struct job){ "tree note", "update", "tree",
		"m = m + 1, note = 'n'", NULL, "note = 'N'" });
	job_wait("tree note", "succeeded");
	assert_findings("tree note",
		"public.tree is walked by its key (id, \"Part\"), index"
		" tree_pkey\n"
		"trigger a fires after each statement: public.nothing()\n"
		"trigger b fires before each row: public.nothing()\n"
		"no HOT updates: SET changes what these indexes hold:"
		" tree_note");
	sql_exec(shop.app, "DROP TRIGGER b ON tree");
	submit(&(struct job){
		"tree n", "update", "tree", "n = 1, owner = 1", NULL, NULL });
	job_wait("tree n", "succeeded");
	assert_findings("tree n",
		"public.tree is walked by its key (id, \"Part\"), index"
		" tree_pkey\n"
		"trigger c fires after each row: public.nothing()\n"
		"foreign key tree_owner_fkey is checked for each changed row,"
		" in public.owner\n"
		"HOT updates are possible, but fillfactor is 100: free space is"
		" found on other pages only; ALTER TABLE public.tree SET"
		" (fillfactor = 90) counts for pages written from then on");
	sql_exec(shop.app, "ALTER TABLE tree SET (fillfactor = 50)");
	submit(&(struct job){
		"tree delete", "delete", "tree", NULL, NULL, "id = 30" });
	job_wait("tree delete", "succeeded");
	assert_findings("tree delete",
		"public.tree is walked by its key (id, \"Part\"), index"
		" tree_pkey\n"
		"trigger d fires before each row: public.nothing()\n"
		"foreign key tree_up_up_part_fkey of public.tree refers to what"
		" the job deletes: ON DELETE NO ACTION\n"
		"foreign key tree_up_up_part_fkey of public.tree has no index"
		" on (up, up_part): the whole table is read for each row;"
		" CREATE INDEX CONCURRENTLY ON public.tree (up, up_part)"
		" before\n"
		"foreign key tree_up_up_part_fkey refers to the table itself: a"
		" row cannot be deleted before those that refer to it");
	submit(&(struct job){
		"tree n again", "update", "tree", "n = 2", NULL, NULL });
	job_wait("tree n again", "succeeded");
	assert_findings("tree n again",
		"public.tree is walked by its key (id, \"Part\"), index"
		" tree_pkey\n"
		"trigger c fires after each row: public.nothing()");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_hangs_on_the_table),
		cmocka_unit_test(test_generated_unique_column),
		cmocka_unit_test(test_findings),
	};

	return cmocka_run_group_tests(tests, shop_start, shop_stop);
}
