DROP FUNCTION IF EXISTS backfill.fail_job(bigint, bigint, bigint, text, text,
	text, text);
DROP FUNCTION IF EXISTS backfill.finish_job(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.release(bigint, bigint, bigint, text);
DROP FUNCTION IF EXISTS backfill.set_reason(bigint, bigint, bigint, text);
DROP FUNCTION IF EXISTS backfill.lock_job(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.my_work(bigint);
DROP FUNCTION IF EXISTS backfill.why_not(bigint);
