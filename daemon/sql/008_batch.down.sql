DROP FUNCTION IF EXISTS backfill.checkpoint(bigint, integer, bigint, bigint,
	text[], bigint, integer, bigint, bigint, bigint, bigint, text[], bigint,
	bigint, integer);
DROP FUNCTION IF EXISTS backfill.rate(double precision, bigint, timestamptz,
	timestamptz, timestamptz, double precision);
DROP FUNCTION IF EXISTS backfill.shrink_hole(bigint, integer, bigint, text[]);
DROP FUNCTION IF EXISTS backfill.check_archived(bigint, integer, bigint,
	bigint, integer);
DROP FUNCTION IF EXISTS backfill.check_not_negative(bigint, bigint[]);
DROP FUNCTION IF EXISTS backfill.check_counts(bigint, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.begin_batch(bigint, integer, bigint, bigint,
	boolean, boolean);
DROP FUNCTION IF EXISTS backfill.cap_statement();
DROP FUNCTION IF EXISTS backfill.begin_work(bigint, integer, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.apply_settings(bigint);
DROP FUNCTION IF EXISTS backfill.check_archive(bigint, integer);
DROP FUNCTION IF EXISTS backfill.check_may_run(bigint);
