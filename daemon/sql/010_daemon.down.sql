DROP FUNCTION IF EXISTS backfill.prune(bigint, interval);
DROP FUNCTION IF EXISTS backfill.needed_jobs();
DROP FUNCTION IF EXISTS backfill.retake_range(bigint, bigint, integer,
	bigint);
DROP FUNCTION IF EXISTS backfill.take_range(bigint, bigint, integer);
DROP FUNCTION IF EXISTS backfill.unregister(bigint);
DROP FUNCTION IF EXISTS backfill.come_back(bigint, text, integer);
DROP FUNCTION IF EXISTS backfill.renew(bigint);
DROP FUNCTION IF EXISTS backfill.register(text, integer, text, interval);
