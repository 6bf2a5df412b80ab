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

CREATE OR REPLACE FUNCTION backfill.add_waited(waited jsonb, word text,
	since timestamptz, until timestamptz)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN word IS NULL OR since >= until THEN waited
		ELSE waited || jsonb_build_object(word,
			coalesce((waited ->> word)::numeric, 0)
			+ floor(1000 * extract(epoch FROM until - since))) END
$$;
COMMENT ON FUNCTION backfill.add_waited(jsonb, text, timestamptz, timestamptz)
	IS 'The clocks of a job (backfill.jobs.waited), the one of this word set forward by the time between; NULL, or an end before the beginning: none.';

-- A job waits for itself until its daemon is gone, for a daemon until all is
-- stopped, and then for the end of that.
CREATE OR REPLACE FUNCTION backfill.clocks(waited jsonb, word text,
	since timestamptz, gone_at timestamptz, stopped_at timestamptz,
	until timestamptz)
RETURNS jsonb LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT backfill.add_waited(backfill.add_waited(backfill.add_waited(
			waited, word, since, least(gone_at, stopped_at, until)),
		CASE WHEN gone_at IS NOT NULL THEN 'daemon' END,
		greatest(since, gone_at), least(stopped_at, until)),
		CASE WHEN stopped_at IS NOT NULL THEN 'stopped' END,
		greatest(since, stopped_at), until)
$$;
COMMENT ON FUNCTION backfill.clocks(jsonb, text, timestamptz, timestamptz,
	timestamptz, timestamptz) IS
	'The clocks of a job that has waited for this word since then, whose daemon is gone since gone_at, and all is stopped since stopped_at, NULL: is not.';

CREATE OR REPLACE FUNCTION backfill.gone_at(job bigint)
RETURNS timestamptz LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT min(d.lease_until)
	FROM backfill.ranges r JOIN backfill.daemons d ON d.incarnation = r.owner
	WHERE r.job_id = job AND d.lease_until < clock_timestamp()
$$;
COMMENT ON FUNCTION backfill.gone_at(bigint) IS
	'When the lease of the job''s daemon ended; NULL: it has not, or it has none.';

-- Rows of a table that many batches of others update, so nothing is written
-- that does not change. Time in the queue counts once it was started.
CREATE OR REPLACE FUNCTION backfill.jobs_waited()
RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	was text := CASE OLD.state WHEN 'failed' THEN 'failed'
		ELSE backfill.waits_for(OLD.state, OLD.reason) END;
	now_at timestamptz := clock_timestamp();
	gone_at timestamptz;
	stopped_at timestamptz;
BEGIN
	IF backfill.waits_for(NEW.state, NEW.reason) = 'retry'
		AND NEW.reason IS DISTINCT FROM OLD.reason
	THEN
		NEW.retries := OLD.retries + 1;
		NEW.retry_sqlstate := substring(NEW.reason FROM '^[0-9A-Z]{5}');
		NEW.retried_at := now_at;
	END IF;
	IF OLD.state = 'running' THEN
		gone_at := backfill.gone_at(OLD.id);
	END IF;
	IF NEW.state = OLD.state AND gone_at IS NULL
		AND was IS NOT DISTINCT FROM backfill.waits_for(NEW.state, NEW.reason)
	THEN
		RETURN NEW;
	END IF;
	IF OLD.started_at IS NOT NULL THEN
		IF OLD.state IN ('queued', 'running') THEN
			SELECT s.stopped_at INTO stopped_at FROM backfill.stop s;
		END IF;
		NEW.waited := backfill.clocks(OLD.waited, was, OLD.since, gone_at,
			stopped_at, now_at);
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

-- What is locked just now keeps its own clock: nobody waits here.
CREATE OR REPLACE FUNCTION backfill.end_stop()
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH ended AS (DELETE FROM backfill.stop RETURNING stopped_at),
	w AS MATERIALIZED (
		SELECT j.id, clock_timestamp() AS now_at FROM backfill.jobs j
		WHERE j.state IN ('queued', 'running') AND j.started_at IS NOT NULL
			AND EXISTS (SELECT FROM ended)
		FOR NO KEY UPDATE SKIP LOCKED)
	UPDATE backfill.jobs j SET since = w.now_at,
		waited = backfill.clocks(j.waited,
			backfill.waits_for(j.state, j.reason), j.since,
			CASE j.state WHEN 'running' THEN backfill.gone_at(j.id) END,
			(SELECT e.stopped_at FROM ended e), w.now_at)
	FROM w WHERE j.id = w.id
$$;
COMMENT ON FUNCTION backfill.end_stop() IS
	'What start_all() does: the jobs that were started count the time since stop_all() as such.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.waits_for(text, text),
	backfill.add_waited(jsonb, text, timestamptz, timestamptz),
	backfill.clocks(jsonb, text, timestamptz, timestamptz, timestamptz,
		timestamptz)
	TO backfill_submit, backfill_daemon, pg_monitor;
GRANT EXECUTE ON FUNCTION backfill.gone_at(bigint) TO backfill_daemon;

RESET ROLE;
