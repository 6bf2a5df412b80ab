-- The screens in one look: status() is what `backfillctl status --json` and
-- the daemon's /status.json print, job_status() the same of one job, metrics
-- what monitoring scrapes. They see what their caller may see.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE FUNCTION backfill.seconds(object jsonb, names text[])
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (object - names) || coalesce((
		SELECT jsonb_object_agg(n || '_seconds',
			round(extract(epoch FROM (object ->> n)::interval)::numeric, 3))
		FROM unnest(names) n), '{}')
$$;
COMMENT ON FUNCTION backfill.seconds(jsonb, text[]) IS
	'The object with these intervals as numbers of seconds: eta becomes eta_seconds.';

CREATE OR REPLACE FUNCTION backfill.job_json(p backfill.progress)
RETURNS jsonb LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT backfill.seconds(to_jsonb(p) - 'waited' || jsonb_build_object(
			'is_schema_kind', backfill.is_schema_kind(p.kind),
			'age', t.now_at - p.submitted_at,
			'waiting', t.now_at - p.since,
			'saved', t.now_at - p.saved_at,
			'retried', t.now_at - p.retried_at,
			'elapsed', coalesce(p.finished_at, t.now_at) - p.started_at,
			'ended', t.now_at - p.finished_at),
		ARRAY['eta', 'batch_time', 'batch_time_p50', 'batch_time_p95',
			'target_batch_time', 'pause', 'paced', 'work_time', 'held_time',
			'paused_time', 'age', 'waiting', 'saved', 'retried', 'elapsed',
			'ended'])
	FROM (SELECT clock_timestamp() AS now_at) t
$$;
COMMENT ON FUNCTION backfill.job_json(backfill.progress) IS
	'A row of backfill.progress as an object: intervals in seconds, and beside them age, waiting (since), saved, retried, elapsed and ended, in seconds until now.';

CREATE OR REPLACE FUNCTION backfill.job_events(job bigint, most integer)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- pg_monitor reads the views and no table.
	IF NOT has_table_privilege('backfill.events', 'SELECT') THEN
		RETURN '[]';
	END IF;
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('id', e.id,
			'at', e.at, 'actor', e.actor, 'job_id', e.job_id, 'job_name',
			(SELECT j.name FROM backfill.jobs j WHERE j.id = e.job_id),
			'event', e.event, 'detail', e.detail) ORDER BY e.id DESC), '[]')
		FROM (SELECT v.* FROM backfill.events v
			WHERE job IS NULL OR v.job_id = job
			ORDER BY v.id DESC LIMIT most) e);
END
$$;
COMMENT ON FUNCTION backfill.job_events(bigint, integer) IS
	'The last events of a job, or of all (NULL), the newest first; none for who may not read backfill.events.';

CREATE OR REPLACE FUNCTION backfill.status()
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET intervalstyle = 'postgres'
AS $$
DECLARE
	shown jsonb;
	counts jsonb;
BEGIN
	-- Read once; those that are not shown are left out at once.
	WITH p AS MATERIALIZED (SELECT v.* FROM backfill.progress v
		WHERE v.id = ANY (ARRAY(SELECT s.id FROM backfill.shown_jobs s)))
	SELECT jsonb_agg(backfill.job_json(p) ORDER BY p.finished_at DESC
			NULLS FIRST, p.id),
		jsonb_build_object(
			'running', count(*) FILTER (WHERE p.state = 'running'
				AND coalesce(p.waits_for, 'paced') = 'paced'),
			'held', count(*) FILTER (WHERE p.state = 'running'
				AND coalesce(p.waits_for, 'paced') <> 'paced'))
	INTO shown, counts FROM p;
	SELECT jsonb_object_agg(n.state, n.jobs) || counts
		|| jsonb_build_object('failed_24h', sum(n.recent_jobs)
				FILTER (WHERE n.state = 'failed'),
			'queued_oldest_seconds', round(extract(epoch
			FROM clock_timestamp() - min(n.oldest_submitted_at)
				FILTER (WHERE n.state = 'queued'))::numeric, 3))
	INTO counts FROM backfill.job_states n;

	RETURN jsonb_build_object(
		'database', current_database(), 'at', clock_timestamp(),
		'server_version', current_setting('server_version'),
		'counts', counts, 'jobs', coalesce(shown, '[]'),
		'open_jobs_left_out', greatest(0,
			(SELECT sum(n.jobs) FROM backfill.job_states n
				WHERE n.state IN ('queued', 'running', 'paused'))
			- (SELECT count(*) FROM backfill.shown_jobs s
				WHERE s.state IN ('queued', 'running', 'paused'))),
		'stop', (SELECT jsonb_build_object('by', s.stopped_by,
				'reason', s.reason, 'at', s.stopped_at)
			FROM backfill.stop s),
		'daemons', (SELECT coalesce(jsonb_agg(jsonb_build_object(
				'incarnation', d.incarnation, 'host', d.host, 'pid', d.pid,
				'version', d.version, 'started_at', d.started_at,
				'alive', d.stopped_at IS NULL
					AND d.lease_until > clock_timestamp(),
				'renewed_seconds_ago', round(extract(epoch FROM
					clock_timestamp() - (d.lease_until - d.lease))::numeric,
					3),
				'jobs', (SELECT count(*)
					FROM jsonb_array_elements(shown) j
					WHERE j ->> 'state' = 'running'
						AND j ->> 'daemon_host' = d.host
						AND (j ->> 'daemon_pid')::integer = d.pid))
				ORDER BY d.incarnation DESC), '[]')
			FROM backfill.daemons d
			WHERE d.lease_until > clock_timestamp() - '24h'::interval
				AND d.stopped_at IS NULL),
		'signals', (SELECT coalesce(jsonb_agg(backfill.seconds(to_jsonb(s),
				ARRAY['age']) ORDER BY s.daemon, s.signal, s.target), '[]')
			FROM backfill.signals s),
		'locks', (SELECT coalesce(jsonb_agg(backfill.seconds(to_jsonb(l),
				ARRAY['wait_time']) ORDER BY l.job_id), '[]')
			FROM backfill.locks l),
		'events', backfill.job_events(NULL, 50));
END
$$;
COMMENT ON FUNCTION backfill.status() IS
	'All that the status screen shows, as the caller may see it: counts, stop, daemons, jobs (open, or ended in the last 24 hours, at most 500), open_jobs_left_out, signals, locks, and the last 50 events. Times in UTC, durations in seconds.';

CREATE OR REPLACE FUNCTION backfill.job_status(job text)
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET intervalstyle = 'postgres'
AS $$
DECLARE
	p backfill.progress;
	settings text[];
	whole jsonb;
BEGIN
	-- A name has a letter. Either is a question to an index.
	IF job ~ '^[0-9]{1,18}$' THEN
		SELECT * INTO p FROM backfill.progress v WHERE v.id = job::bigint;
	ELSE
		SELECT * INTO p FROM backfill.progress v WHERE v.name = job;
	END IF;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF002',
			MESSAGE = format('job "%s" does not exist', job),
			DETAIL = 'Or its run_as is a role that you may not become.';
	END IF;
	IF NOT has_table_privilege('backfill.jobs', 'SELECT') THEN
		RETURN jsonb_build_object('job', backfill.job_json(p),
			'clauses', NULL, 'settings', NULL, 'waited_seconds', NULL,
			'holes', NULL, 'row_errors', NULL, 'ranges', NULL,
			'events', '[]'::jsonb);
	END IF;

	SELECT to_jsonb(j) INTO whole FROM backfill.jobs j WHERE j.id = p.id;
	SELECT array_agg(a.attname) INTO settings FROM pg_attribute a
	WHERE a.attrelid = 'backfill.jobs'::regclass AND a.attnum > 0
		AND NOT a.attisdropped AND has_column_privilege('backfill_submit',
			a.attrelid, a.attnum, 'UPDATE');
	RETURN jsonb_build_object(
		'job', backfill.job_json(p),
		'clauses', (whole - settings - '{report,waited,since}'::text[]) - (
			SELECT array_agg(k) FROM jsonb_object_keys(to_jsonb(p)) k),
		'settings', (SELECT jsonb_object_agg(n, whole -> n)
			FROM unnest(settings) n),
		'waited_seconds', (SELECT coalesce(jsonb_object_agg(w.key,
				round(w.value::text::numeric / 1000, 3)), '{}')
			FROM jsonb_each(p.waited) w),
		'ranges', (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.number)
			FROM backfill.ranges r WHERE r.job_id = p.id),
		'holes', (SELECT coalesce(jsonb_agg(to_jsonb(h)), '[]') FROM (
			SELECT k.is_window, k.lo, k.hi, k.found_at FROM backfill.holes k
			WHERE k.job_id = p.id ORDER BY k.number, k.id LIMIT 10) h),
		'row_errors', (SELECT coalesce(jsonb_agg(to_jsonb(e)), '[]') FROM (
			SELECT k.key, k.sqlstate, k.message, k.constraint_name,
				k.attempts, k.failed_at FROM backfill.row_errors k
			WHERE k.job_id = p.id AND k.resolved_at IS NULL
			ORDER BY k.number, k.id LIMIT 10) e),
		'events', backfill.job_events(p.id, 50));
END
$$;
COMMENT ON FUNCTION backfill.job_status(text) IS
	'All about the job of this name or id: the job as in status(), clauses, settings (NULL: the configuration''s), waited_seconds, ranges, the first 10 holes and row errors, the last 50 events; without the latter for who sees progress alone. Raises BF002.';

CREATE OR REPLACE VIEW backfill.metrics WITH (security_barrier) AS
WITH open AS MATERIALIZED (
	SELECT p.*, jsonb_build_object('job_id', p.id::text, 'name', p.name)
		AS labels
	FROM backfill.progress p WHERE p.finished_at IS NULL
		AND p.id = ANY (ARRAY(SELECT s.id FROM backfill.shown_jobs s)))
SELECT m.name, m.type, m.labels, m.value FROM (
	SELECT 'backfilld_jobs' AS name, 'gauge' AS type,
		jsonb_build_object('state', s.state) AS labels,
		s.jobs::double precision AS value
	FROM backfill.job_states s
	UNION ALL
	SELECT 'backfilld_queue_oldest_seconds', 'gauge', '{}', coalesce(
		extract(epoch FROM clock_timestamp() - s.oldest_submitted_at), 0)
	FROM backfill.job_states s WHERE s.state = 'queued'
	UNION ALL
	SELECT 'backfilld_stopped', 'gauge', '{}',
		(SELECT count(*) FROM backfill.stop)
	UNION ALL
	SELECT 'backfilld_job_rows_total', 'counter',
		o.labels || jsonb_build_object('outcome', x.outcome), x.value
	FROM open o, LATERAL (VALUES ('changed', o.rows_done),
		('passed', o.rows_read), ('failed', (
			SELECT count(*) FROM backfill.row_errors e
			WHERE e.job_id = o.id))) x(outcome, value)
	UNION ALL
	SELECT 'backfilld_job_batches_total', 'counter',
		o.labels || '{"outcome": "committed"}', o.batches FROM open o
	UNION ALL
	SELECT 'backfilld_job_retries_total', 'counter', o.labels, o.retries
	FROM open o
	UNION ALL
	SELECT 'backfilld_job_progress_ratio', 'gauge', o.labels,
		o.percent / 100 FROM open o
	UNION ALL
	SELECT 'backfilld_job_eta_seconds', 'gauge', o.labels,
		extract(epoch FROM o.eta) FROM open o
	UNION ALL
	-- A statement of a schema kind may take hours.
	SELECT 'backfilld_job_last_progress_timestamp_seconds', 'gauge',
		o.labels, extract(epoch FROM coalesce(o.saved_at, o.started_at))
	FROM open o
	WHERE o.started_at IS NOT NULL AND NOT backfill.is_schema_kind(o.kind)
	UNION ALL
	SELECT 'backfilld_job_throttled', 'gauge',
		o.labels || jsonb_build_object('reason', o.waits_for), 1 FROM open o
	WHERE o.waits_for IS NOT NULL
	UNION ALL
	-- A counter does not fall, and begins with 0. What goes to one of these
	-- two is known when it is over: a daemon that was away may come back.
	SELECT 'backfilld_job_throttled_seconds_total', 'counter',
		o.labels || jsonb_build_object('reason', t.key),
		t.value::text::double precision / 1000
	FROM open o JOIN backfill.jobs j ON j.id = o.id, LATERAL jsonb_each(
		o.waited || jsonb_build_object('daemon',
			coalesce(j.waited -> 'daemon', '0'),
			'stopped', coalesce(j.waited -> 'stopped', '0'))) t
	WHERE o.started_at IS NOT NULL
	UNION ALL
	SELECT 'backfilld_throttle_utilization_ratio', 'gauge',
		jsonb_build_object('signal', s.signal, 'target', s.target),
		CASE WHEN bool_and(s.value IS NOT NULL)
			THEN max(s.value / nullif(s.limit_value, 0)) END
	FROM backfill.signals s GROUP BY s.signal, s.target
	UNION ALL
	SELECT 'backfilld_replica_lag_seconds', 'gauge',
		jsonb_build_object('replica', s.target),
		CASE WHEN bool_and(s.value IS NOT NULL) THEN max(s.value) END
	FROM backfill.signals s WHERE s.signal = 'replication_lag'
	GROUP BY s.target
) m;
COMMENT ON VIEW backfill.metrics IS
	'What a monitoring system scrapes, as Prometheus names it: of open jobs only. The daemon''s /metrics has these, with the label database, and its own.';
COMMENT ON COLUMN backfill.metrics.name IS 'Name of the metric.';
COMMENT ON COLUMN backfill.metrics.type IS 'counter or gauge.';
COMMENT ON COLUMN backfill.metrics.labels IS 'Its labels, all texts.';
COMMENT ON COLUMN backfill.metrics.value IS
	'In the unit that the name ends with; NULL: unknown.';

GRANT SELECT ON backfill.metrics
	TO backfill_submit, backfill_daemon, pg_monitor;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.seconds(jsonb, text[]),
	backfill.job_json(backfill.progress),
	backfill.job_events(bigint, integer), backfill.status(),
	backfill.job_status(text)
	TO backfill_submit, backfill_daemon, pg_monitor;

-- The membership that the first script gave ends here.
RESET ROLE;
DO $$
BEGIN
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles
		WHERE rolname = current_user)
	THEN
		EXECUTE pg_catalog.format('REVOKE backfill_owner FROM %I',
			current_user);
	END IF;
END
$$;
