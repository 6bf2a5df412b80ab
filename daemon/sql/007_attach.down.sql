DROP FUNCTION IF EXISTS backfill.store_report(bigint, integer, bigint, jsonb);
DROP FUNCTION IF EXISTS backfill.adopt_key(bigint, integer, bigint, oid, oid);
DROP FUNCTION IF EXISTS backfill.begin_job(bigint, integer, bigint, oid, oid,
	text[], bigint, text, text, text, text, oid, text);
DROP FUNCTION IF EXISTS backfill.take_table(bigint, oid);
DROP FUNCTION IF EXISTS backfill.attach(bigint, integer, bigint,
	timestamptz);
DROP FUNCTION IF EXISTS backfill.own_range(bigint, integer, bigint);
DROP FUNCTION IF EXISTS backfill.lock_range(bigint, integer, bigint);
