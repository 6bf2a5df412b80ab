DROP FUNCTION IF EXISTS backfill.finish_range(bigint, integer, bigint,
	bigint);
DROP FUNCTION IF EXISTS backfill.close_hole(bigint, integer, bigint, bigint,
	bigint, bigint, bigint, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.list_holes(bigint, integer, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.skip_window(bigint, integer, bigint, bigint,
	text[], bigint);
DROP FUNCTION IF EXISTS backfill.checkpoint(bigint, integer, bigint, bigint,
	text[], bigint, integer, bigint, bigint, bigint, bigint, text[], bigint);
DROP FUNCTION IF EXISTS backfill.check_counts(bigint, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.begin_batch(bigint, integer, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.begin_job(bigint, integer, bigint, oid, oid,
	text[], bigint);
DROP FUNCTION IF EXISTS backfill.attach(bigint, integer, bigint,
	timestamptz);
DROP FUNCTION IF EXISTS backfill.lock_range(bigint, integer, bigint);
