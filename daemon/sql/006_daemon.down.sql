DROP FUNCTION IF EXISTS backfill.blockers(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.cancel_runner(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.fail_job(bigint, bigint, bigint, text, text,
	text, text);
DROP FUNCTION IF EXISTS backfill.finish_job(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.release(bigint, bigint, bigint, text);
DROP FUNCTION IF EXISTS backfill.set_reason(bigint, bigint, bigint, text);
DROP FUNCTION IF EXISTS backfill.lock_job(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.my_work(bigint);
DROP FUNCTION IF EXISTS backfill.claim(bigint);
DROP FUNCTION IF EXISTS backfill.retake_range(bigint, bigint, integer,
	bigint);
DROP FUNCTION IF EXISTS backfill.take_range(bigint, bigint, integer);
DROP FUNCTION IF EXISTS backfill.unregister(bigint);
DROP FUNCTION IF EXISTS backfill.renew(bigint);
DROP FUNCTION IF EXISTS backfill.register(text, integer, text, interval);
