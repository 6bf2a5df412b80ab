-- What a job waits for, and for how long it has: the kind of a reason as one
-- stable word, and a clock per kind. What reasons say is for people and
-- changes with each number in it; monitoring counts these words.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.waits_for(state text, reason text)
RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE state WHEN 'paused' THEN 'paused' WHEN 'queued' THEN 'queue'
		WHEN 'running' THEN CASE
			WHEN reason IS NULL THEN NULL
			WHEN reason LIKE 'held: the daemon%' THEN 'lease'
			WHEN reason LIKE 'held: %' THEN 'lag'
			WHEN reason LIKE 'paced: %' THEN 'paced'
			WHEN reason LIKE 'waits for transactions that write %'
			THEN 'writers'
			WHEN reason LIKE 'held up by %' OR reason LIKE 'waits for a lock%'
				OR reason LIKE 'waits for % rows held by others%'
			THEN 'locks'
			WHEN reason LIKE '% -> cancelled, again %' THEN 'blocking'
			WHEN reason LIKE '% -> again in % ms' THEN 'retry'
			ELSE 'other' END
		END
$$;
COMMENT ON FUNCTION backfill.waits_for(text, text) IS
	'The kind of a job''s reason: queue, paused, lag, lease, paced, writers, locks, blocking, retry or other; NULL: it moves, or has ended.';

-- Rows of a table that many batches of others update, so nothing is written
-- that does not change. Time in the queue counts once it was started.
CREATE OR REPLACE FUNCTION backfill.jobs_waited()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	was text := backfill.waits_for(OLD.state, OLD.reason);
	now_at timestamptz := clock_timestamp();
BEGIN
	IF backfill.waits_for(NEW.state, NEW.reason) = 'retry'
		AND NEW.reason IS DISTINCT FROM OLD.reason
	THEN
		NEW.retries := OLD.retries + 1;
		NEW.retry_sqlstate := substring(NEW.reason FROM '^[0-9A-Z]{5}');
		NEW.retried_at := now_at;
	END IF;
	IF NEW.state = OLD.state
		AND was IS NOT DISTINCT FROM backfill.waits_for(NEW.state, NEW.reason)
	THEN
		RETURN NEW;
	END IF;
	IF was IS NOT NULL AND OLD.started_at IS NOT NULL THEN
		NEW.waited := OLD.waited || jsonb_build_object(was,
			coalesce((OLD.waited ->> was)::numeric, 0) + greatest(0,
				floor(1000 * extract(epoch FROM now_at - OLD.since))));
	END IF;
	NEW.since := now_at;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION backfill.jobs_waited() IS
	'Trigger: since when a job is in its state and waits for what it waits for, and how long it has waited for what.';

DROP TRIGGER IF EXISTS jobs_6_waited ON backfill.jobs;
CREATE TRIGGER jobs_6_waited BEFORE UPDATE OF state, reason ON backfill.jobs
	FOR EACH ROW EXECUTE FUNCTION backfill.jobs_waited();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.waits_for(text, text)
	TO backfill_submit, backfill_daemon, pg_monitor;

RESET ROLE;
