DROP FUNCTION IF EXISTS backfill.claim(bigint, integer);
DROP FUNCTION IF EXISTS backfill.look_at_jobs();
DROP FUNCTION IF EXISTS backfill.is_orphan(bigint, text);
DROP FUNCTION IF EXISTS backfill.waits_for_window(text, text);
