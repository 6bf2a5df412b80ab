-- What the control connection calls to find work.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.waits_for_window(run_window text,
	zone text)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	opens timestamptz;
BEGIN
	opens := backfill.window_opens(run_window, zone, clock_timestamp());
	IF opens IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN 'waits for its run_window '
		|| backfill.tell_window(run_window, zone, opens);
EXCEPTION WHEN invalid_parameter_value THEN
	-- A zone that the server knows no more must not end the look of all
	-- daemons at all jobs.
	RETURN format('waits for its run_window %s: %s', run_window, SQLERRM);
END
$$;
COMMENT ON FUNCTION backfill.waits_for_window(text, text) IS
	'That a job waits for its run_window, as its reason says it; NULL: the window is open.';

CREATE OR REPLACE FUNCTION backfill.is_orphan(job bigint, state text)
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN state = 'running' AND NOT EXISTS (SELECT FROM backfill.ranges r
		JOIN backfill.daemons d ON d.incarnation = r.owner
		WHERE r.job_id = job AND d.lease_until > clock_timestamp());
END
$$;
COMMENT ON FUNCTION backfill.is_orphan(bigint, text) IS
	'Whether a job is running under a daemon whose lease has ended.';

-- Thousands of jobs may be queued, by one login, and all daemons look at all
-- of them: what several share is found out once. The plan is kept, and may
-- have been made when the table was empty: hence the two settings, with which
-- it reads the open jobs by their index, and each dependency by its id, and
-- joins in no more than linear time.
CREATE OR REPLACE FUNCTION backfill.look_at_jobs()
RETURNS TABLE (job bigint, priority integer, told text, why text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	WITH open AS MATERIALIZED (
		SELECT q.id, q.priority, q.reason, q.state, q.hold, q.timezone,
			CASE WHEN q.run_after > clock_timestamp() THEN q.run_after
				END AS run_after,
			q.run_window, q.depends_on, q.target_oid
		FROM backfill.jobs q
		WHERE q.state IN ('queued', 'running')
			AND (q.state = 'queued' OR backfill.is_orphan(q.id, q.state))),
	windows AS MATERIALIZED (
		SELECT d.run_window, d.timezone,
			backfill.waits_for_window(d.run_window, d.timezone) AS why
		FROM (SELECT DISTINCT o.run_window, o.timezone FROM open o
			WHERE o.run_window IS NOT NULL AND o.run_after IS NULL
				AND NOT o.hold) d),
	-- A dry run changes nothing that could be relied on.
	needed AS MATERIALIZED (
		SELECT d.id, coalesce((
			SELECT CASE WHEN n.state <> 'succeeded'
				THEN format('waits: job %s (%s) is %s', n.id, n.name, n.state)
				WHEN n.dry_run
				THEN format('waits: job %s (%s) was a dry run', n.id, n.name)
				ELSE '' END
			FROM backfill.jobs n WHERE n.id = d.id),
			format('waits: job %s is gone', d.id)) AS why
		FROM (SELECT DISTINCT unnest(o.depends_on) AS id FROM open o) d),
	first_needed AS MATERIALIZED (
		SELECT u.id, min(u.other) AS other
		FROM (SELECT o.id, unnest(o.depends_on) AS other FROM open o) u
		JOIN needed n ON n.id = u.other
		WHERE n.why <> '' GROUP BY u.id),
	busy AS MATERIALIZED (
		SELECT r.target_oid, format('waits: job %s (%s) runs on the same'
			' table', r.id, r.name) AS why
		FROM backfill.jobs r
		WHERE r.state = 'running' AND r.target_oid IS NOT NULL)
	SELECT o.id, o.priority, o.reason, CASE
		WHEN o.state = 'running' THEN NULL
		WHEN o.hold THEN 'waits for approve(): it was submitted with hold'
		WHEN o.run_after IS NOT NULL
		THEN format('waits until %s (run_after)',
			backfill.format_at(o.run_after, o.timezone))
		ELSE coalesce(w.why, n.why, b.why) END
	FROM open o
	LEFT JOIN windows w ON w.run_window = o.run_window
		AND w.timezone = o.timezone
	LEFT JOIN first_needed f ON f.id = o.id
	LEFT JOIN needed n ON n.id = f.other
	LEFT JOIN busy b ON b.target_oid = o.target_oid;
END
$$;
COMMENT ON FUNCTION backfill.look_at_jobs() IS
	'The queued jobs, with the reason that each has and why it may not run yet, as its reason should say it (NULL: it may), and the running ones whose daemon''s lease has ended.';

CREATE OR REPLACE FUNCTION backfill.claim(me bigint,
	workers integer DEFAULT NULL)
RETURNS TABLE (job_id bigint, range integer, epoch bigint, run_as name,
	name text, taken_over boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
	j record;
	candidate bigint;
	candidates bigint[];
	waiting bigint[];
	reasons text[];
	has_waited boolean := false;
	busy bigint;
	new_epoch bigint;
BEGIN
	IF EXISTS (SELECT FROM backfill.stop)
		OR NOT EXISTS (SELECT FROM backfill.daemons d
			WHERE d.incarnation = me AND d.lease_until > clock_timestamp())
	THEN
		RETURN;
	END IF;

	-- Whose reason is told already is not written again.
	SELECT array_agg(w.job ORDER BY w.priority DESC, w.job)
			FILTER (WHERE w.why IS NULL),
		array_agg(w.job) FILTER (WHERE w.why IS DISTINCT FROM w.told
			AND w.why IS NOT NULL),
		array_agg(w.why) FILTER (WHERE w.why IS DISTINCT FROM w.told
			AND w.why IS NOT NULL)
	INTO candidates, waiting, reasons
	FROM backfill.look_at_jobs() w;

	-- Several daemons shall load the server no more than one: what runs is
	-- counted over all of them, by one claim at a time. Not by an advisory
	-- lock, which anybody may hold.
	IF candidates IS NOT NULL AND workers IS NOT NULL THEN
		LOCK TABLE backfill.budget IN SHARE UPDATE EXCLUSIVE MODE;
		SELECT count(*) INTO busy FROM backfill.jobs q
		WHERE q.state = 'running' AND NOT backfill.is_orphan(q.id, q.state);
		IF busy >= workers THEN
			waiting := waiting || candidates;
			reasons := reasons || array_fill(format('waits: %s jobs run'
				' already (workers: %s)', busy, workers),
				ARRAY[cardinality(candidates)]);
			candidates := NULL;
		END IF;
	END IF;

	-- A job that is running under a daemon whose lease has ended is taken
	-- whatever the hour: that ends what the old owner's backend may still be
	-- doing. What may not run is refused by begin_batch, and given back. So is
	-- a queued one whose window has ended since the look; its other reasons
	-- do not come back, but for a busy table, which the unique index knows.
	FOREACH candidate IN ARRAY coalesce(candidates, '{}') LOOP
		SELECT q.id, q.name, q.run_as, q.state AS old_state INTO j
		FROM backfill.jobs q
		WHERE q.id = candidate AND (q.state = 'queued'
			OR backfill.is_orphan(q.id, q.state))
		FOR NO KEY UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;

		-- What one job's login does must not hold up the jobs of others: a
		-- claim waits once, and then passes over whose range is locked.
		IF has_waited THEN
			PERFORM FROM backfill.ranges r WHERE r.job_id = j.id
			FOR NO KEY UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND AND EXISTS (
				SELECT FROM backfill.ranges r WHERE r.job_id = j.id);
		END IF;
		BEGIN
			-- Locked, it is looked at again: another daemon may have claimed
			-- it after the snapshot of the statement before, which does not
			-- see that one's range.
			UPDATE backfill.jobs u SET state = 'running', reason = NULL,
				started_at = coalesce(u.started_at, clock_timestamp())
			WHERE u.id = j.id AND (u.state = 'queued'
				OR backfill.is_orphan(u.id, u.state));
			CONTINUE WHEN NOT FOUND;
			-- These may wait. Behind them come the heartbeat, and the
			-- samples of the lag, which hold all jobs when they are late.
			-- Up to the transaction's end.
			PERFORM set_config('lock_timeout', '250ms', true);
			INSERT INTO backfill.ranges (job_id, number) VALUES (j.id, 1)
			ON CONFLICT DO NOTHING;
			new_epoch := backfill.take_range(me, j.id, 1);
			EXIT; -- with new_epoch
		EXCEPTION
			WHEN unique_violation THEN
				-- Another daemon began a job on the same table at the
				-- same moment: the next candidate. The next look tells
				-- the reason.
				NULL;
			WHEN lock_not_available THEN
				has_waited := true;
				UPDATE backfill.jobs q
				SET reason = 'waits: a transaction holds its checkpoint'
				WHERE q.id = j.id AND q.reason IS DISTINCT FROM
					'waits: a transaction holds its checkpoint';
		END;
	END LOOP;

	-- The others can be told at a later look, and so can a job that somebody
	-- has locked.
	WITH n AS MATERIALIZED (
		SELECT t.id, t.why FROM unnest(waiting, reasons) AS t(id, why)),
	w AS MATERIALIZED (
		SELECT q.id, n.why FROM n JOIN backfill.jobs q ON q.id = n.id
		WHERE q.state = 'queued' AND q.reason IS DISTINCT FROM n.why
		LIMIT 200 FOR NO KEY UPDATE OF q SKIP LOCKED)
	UPDATE backfill.jobs u SET reason = w.why
	FROM w WHERE u.id = w.id AND u.state = 'queued';
	IF new_epoch IS NULL THEN
		RETURN;
	END IF;

	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, j.id,
		CASE WHEN j.old_state = 'running' THEN 'taken_over'
			ELSE 'started' END,
		format('by daemon %s (%s, pid %s), epoch %s', me, d.host, d.pid,
			new_epoch)
	FROM backfill.daemons d WHERE d.incarnation = me;

	RETURN QUERY SELECT j.id, 1, new_epoch, j.run_as, j.name,
		j.old_state = 'running';
END
$$;
COMMENT ON FUNCTION backfill.claim(bigint, integer) IS
	'Claims the job of the highest priority, then lowest id, that may run or whose daemon''s lease has ended, for this incarnation; no row: none, or as many jobs as workers run already, under all daemons (NULL: no bound). A job whose old owner''s transaction does not end within 250 ms is passed over.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.waits_for_window(text, text),
	backfill.is_orphan(bigint, text), backfill.look_at_jobs(),
	backfill.claim(bigint, integer)
	TO backfill_daemon;

RESET ROLE;
