DROP FUNCTION IF EXISTS backfill.lock_holders(bigint, bigint, bigint, oid[],
	text, bigint);
DROP FUNCTION IF EXISTS backfill.locks_conflict(text, text);
DROP FUNCTION IF EXISTS backfill.barrier(bigint, bigint, bigint, oid, text[]);
DROP FUNCTION IF EXISTS backfill.tell_writer(integer, text[]);
DROP FUNCTION IF EXISTS backfill.writers(oid, text[], integer);
DROP FUNCTION IF EXISTS backfill.unblock(bigint, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.blocked_by(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.waits_for_table(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.blockers(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.tell_backend(integer);
DROP FUNCTION IF EXISTS backfill.awaits_client(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.cancel_runner(bigint, bigint, bigint);
