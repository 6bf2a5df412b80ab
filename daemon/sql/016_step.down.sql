DROP FUNCTION IF EXISTS backfill.make_step(text, text, text, text, oid[]);
DROP FUNCTION IF EXISTS backfill.table_tree(oid);
DROP FUNCTION IF EXISTS backfill.step_own_table(backfill.jobs);
DROP FUNCTION IF EXISTS backfill.step_table(backfill.jobs);
DROP TYPE IF EXISTS backfill.step;
