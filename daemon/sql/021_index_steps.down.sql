DROP FUNCTION IF EXISTS backfill.step_reindex(backfill.jobs, jsonb, boolean);
DROP FUNCTION IF EXISTS backfill.reindex_leftover(oid, text, oid);
DROP FUNCTION IF EXISTS backfill.step_drop_index(backfill.jobs, jsonb, boolean);
DROP FUNCTION IF EXISTS backfill.index_check_drop(oid);
DROP FUNCTION IF EXISTS backfill.step_create_index(backfill.jobs, jsonb, boolean);
DROP FUNCTION IF EXISTS backfill.index_tree_step(backfill.jobs, jsonb, boolean, oid, text, boolean, text);
DROP FUNCTION IF EXISTS backfill.index_tree_leave(backfill.jobs, jsonb, oid, text, boolean);
