-- What people look at. psql alone is a full client: backfillctl shows these
-- columns and nothing else. Views run as their owner, so each says itself
-- whose jobs the reader may see.

SET LOCAL ROLE backfill_owner;

CREATE OR REPLACE VIEW backfill.progress WITH (security_barrier) AS
SELECT j.id, j.name, j.kind, j.target,
	CASE WHEN s.only_row AND j.state IN ('queued', 'running')
		THEN 'all work is stopped by ' || s.stopped_by
			|| coalesce(': ' || s.reason, '')
		WHEN j.state = 'running' AND d.lease_until < clock_timestamp()
		THEN format('its daemon (%s, pid %s) was last heard of %s s ago:'
			' waits for a daemon to take over', d.host, d.pid,
			floor(extract(epoch FROM clock_timestamp()
				- d.lease_until + d.lease)))
		ELSE j.reason END AS reason,
	j.state,
	coalesce(r.rows_done, 0)::bigint AS rows_done,
	coalesce(r.rows_read, 0)::bigint AS rows_read,
	r.rows_total_estimate::bigint AS rows_total_estimate,
	CASE WHEN r.unfinished = 0 THEN 100.0
		-- An index build tells what it does: PostgreSQL docs, 28.4.4
		-- "CREATE INDEX Progress Reporting".
		WHEN i.blocks_total > 0
		THEN least(99.9, 100.0 * i.blocks_done / i.blocks_total)
		WHEN i.tuples_total > 0
		THEN least(99.9, 100.0 * i.tuples_done / i.tuples_total)
		-- Within bounds whatever a job's own login wrote: one row must not
		-- make the view an error for whoever watches all jobs.
		WHEN r.rows_total_estimate > 0 THEN greatest(0.0, least(99.9,
			100.0 * r.rows_read / r.rows_total_estimate))
		END::numeric(4,1) AS percent,
	CASE WHEN j.state = 'running' AND NOT coalesce(s.only_row, false)
		THEN r.rows_per_second END AS rows_per_second,
	-- How many rows match, a sweep does not know beforehand. By the steadier
	-- of the two rates, which a hold leaves as it was.
	CASE WHEN j.state = 'running' AND NOT coalesce(s.only_row, false)
		AND r.rows_per_second_5min > 0 AND r.pass = 0
		THEN make_interval(secs => round(least(1e9, greatest(0,
			r.rows_total_estimate - r.rows_read)
			/ greatest(0.001, r.rows_per_second_5min)))) END AS eta,
	coalesce(h.holes, 0) AS holes,
	coalesce(r.rows_still_matching, 0)::bigint AS rows_still_matching,
	coalesce(r.batches, 0)::bigint AS batches,
	r.batch_rows,
	-- Of whatever length: screens show those of many jobs.
	left(array_to_string(r.cursor, ', '), 1000) AS key,
	left(array_to_string(r.hi, ', '), 1000) AS last_key,
	r.checkpoint_at AS saved_at,
	j.run_as, j.submitted_by, j.submitted_at, j.started_at, j.finished_at,
	d.host AS daemon_host, d.pid AS daemon_pid, r.runner_pid,
	j.error_sqlstate, j.error_message, j.error_detail, j.error_hint,
	coalesce(r.pass, 0) AS pass,
	coalesce(r.late_rows, 0)::bigint AS late_rows,
	e.row_errors, j.priority, j.hold, j.depends_on, j.run_after,
	j.run_window, j.dry_run,
	make_interval(secs => r.batch_ms / 1000.0) AS batch_time,
	CASE WHEN j.state = 'running'
		THEN make_interval(secs => r.pause_ms / 1000.0) END AS pause,
	make_interval(secs => coalesce(r.paced_ms, 0) / 1000.0) AS paced,
	j.object_name, j.plan, r.step, i.phase,
	t.waits_for, t.since,
	CASE WHEN j.state = 'running' AND NOT coalesce(s.only_row, false)
		THEN r.rows_per_second_5min END AS rows_per_second_5min,
	make_interval(secs => (SELECT percentile_cont(0.5)
		WITHIN GROUP (ORDER BY b) FROM unnest(r.recent_batch_ms) b) / 1000)
		AS batch_time_p50,
	make_interval(secs => (SELECT percentile_cont(0.95)
		WITHIN GROUP (ORDER BY b) FROM unnest(r.recent_batch_ms) b) / 1000)
		AS batch_time_p95,
	j.target_batch_time,
	make_interval(secs => CASE WHEN t.elapsed IS NOT NULL
		THEN greatest(0, t.elapsed - t.paused - t.waited)
		END::double precision) AS work_time,
	make_interval(secs => CASE WHEN t.elapsed IS NOT NULL THEN t.waited
		END::double precision) AS held_time,
	make_interval(secs => CASE WHEN t.elapsed IS NOT NULL THEN t.paused
		END::double precision) AS paused_time,
	j.retries, j.retry_sqlstate, j.retried_at,
	c.waited
FROM backfill.jobs j
LEFT JOIN LATERAL (
	-- One range per job as yet; the counters are sums already.
	SELECT sum(n.rows_done) AS rows_done, sum(n.rows_read) AS rows_read,
		sum(n.rows_total_estimate) AS rows_total_estimate,
		count(*) FILTER (WHERE n.finished_at IS NULL) AS unfinished,
		sum(n.rows_per_second) FILTER (WHERE n.finished_at IS NULL)
			AS rows_per_second,
		sum(n.rows_still_matching) AS rows_still_matching,
		sum(n.batches) AS batches, max(n.batch_rows) AS batch_rows,
		max(CASE WHEN n.pass > 0 THEN n.sweep_cursor ELSE n.cursor END)
			FILTER (WHERE n.number = 1) AS cursor,
		max(n.hi) FILTER (WHERE n.number = 1) AS hi,
		max(n.checkpoint_at) AS checkpoint_at,
		max(n.pass) AS pass, sum(n.late_rows) AS late_rows,
		max(n.owner) AS owner, max(n.runner_pid) AS runner_pid,
		max(n.batch_ms) AS batch_ms, max(n.pause_ms) AS pause_ms,
		sum(n.paced_ms) AS paced_ms, max(n.step) AS step,
		max(n.recent_batch_ms) FILTER (WHERE n.number = 1)
			AS recent_batch_ms,
		sum(n.rows_per_second_5min) FILTER (WHERE n.finished_at IS NULL)
			AS rows_per_second_5min
	FROM backfill.ranges n WHERE n.job_id = j.id HAVING count(*) > 0
) r ON true
LEFT JOIN LATERAL (
	SELECT count(*) AS holes FROM backfill.holes n WHERE n.job_id = j.id
) h ON true
LEFT JOIN LATERAL (
	SELECT count(*) AS row_errors FROM backfill.row_errors n
	WHERE n.job_id = j.id AND n.resolved_at IS NULL
) e ON true
LEFT JOIN backfill.daemons d ON d.incarnation = r.owner
LEFT JOIN backfill.stop s ON true
LEFT JOIN pg_stat_progress_create_index i ON i.pid = r.runner_pid
	AND i.datname = current_database() AND j.state = 'running'
CROSS JOIN LATERAL (
	-- Of an open job: since when its daemon is gone, and all is stopped.
	SELECT CASE WHEN j.state = 'running'
			AND d.lease_until < clock_timestamp()
			THEN d.lease_until END AS gone_at,
		CASE WHEN j.state IN ('queued', 'running') THEN s.stopped_at END
			AS stopped_at,
		backfill.waits_for(j.state, j.reason) AS own
) o
CROSS JOIN LATERAL (
	-- What is in no clock yet; ended, it waits for nothing any more.
	SELECT CASE WHEN j.finished_at IS NULL AND j.started_at IS NOT NULL
		THEN backfill.clocks(j.waited, o.own, greatest(j.since, j.started_at),
			o.gone_at, o.stopped_at, clock_timestamp())
		ELSE j.waited END AS waited
) c
CROSS JOIN LATERAL (
	SELECT CASE WHEN o.stopped_at IS NOT NULL THEN 'stopped'
			WHEN o.gone_at IS NOT NULL THEN 'daemon' ELSE o.own END
			AS waits_for,
		greatest(j.since, coalesce(o.stopped_at, o.gone_at)) AS since,
		CASE WHEN j.started_at IS NOT NULL THEN greatest(0, extract(epoch
			FROM coalesce(j.finished_at, clock_timestamp())
			- j.started_at)) END AS elapsed,
		coalesce((SELECT sum(e.value::text::numeric)
			FROM jsonb_each(c.waited) e WHERE e.key <> 'paused'), 0)
			/ 1000.0 AS waited,
		coalesce((c.waited ->> 'paused')::numeric, 0) / 1000.0 AS paused
) t
WHERE backfill.may_see(j.run_as)
ORDER BY j.id;

COMMENT ON VIEW backfill.progress IS
	'A row per job: state, reason, rows, rate and time left. Readable by pg_monitor and by who may steer the job.';
COMMENT ON COLUMN backfill.progress.id IS 'The job''s id.';
COMMENT ON COLUMN backfill.progress.name IS 'The job''s name.';
COMMENT ON COLUMN backfill.progress.kind IS 'What is done.';
COMMENT ON COLUMN backfill.progress.target IS 'The table.';
COMMENT ON COLUMN backfill.progress.state IS
	'queued, running, paused, succeeded, failed or cancelled.';
COMMENT ON COLUMN backfill.progress.reason IS
	'Why it is in that state or is not moving; NULL: it moves.';
COMMENT ON COLUMN backfill.progress.rows_done IS 'Rows changed.';
COMMENT ON COLUMN backfill.progress.rows_read IS 'Keys passed.';
COMMENT ON COLUMN backfill.progress.rows_total_estimate IS
	'Keys to pass, as the planner estimated when the job began; NULL: unknown.';
COMMENT ON COLUMN backfill.progress.percent IS
	'Keys passed of those estimated, or of an index build the part of its phase that is done; 100 only when nothing is left; NULL: unknown.';
COMMENT ON COLUMN backfill.progress.rows_per_second IS
	'Keys passed per second of late (about 30 s); NULL: not running.';
COMMENT ON COLUMN backfill.progress.eta IS
	'Time left at the rate of the last 5 minutes, also while it is held; NULL: unknown.';
COMMENT ON COLUMN backfill.progress.holes IS
	'Keys or windows passed over because others held them, to be worked off.';
COMMENT ON COLUMN backfill.progress.rows_still_matching IS
	'Changed rows that matched where_clause after the change.';
COMMENT ON COLUMN backfill.progress.batches IS 'Batches committed.';
COMMENT ON COLUMN backfill.progress.batch_rows IS
	'Rows that the last batch was to read.';
COMMENT ON COLUMN backfill.progress.key IS
	'The key reached: a daemon that dies now resumes here.';
COMMENT ON COLUMN backfill.progress.last_key IS 'The key at which the job ends.';
COMMENT ON COLUMN backfill.progress.saved_at IS
	'When the last batch committed.';
COMMENT ON COLUMN backfill.progress.run_as IS 'Whose rights the job has.';
COMMENT ON COLUMN backfill.progress.submitted_by IS 'Who inserted it.';
COMMENT ON COLUMN backfill.progress.submitted_at IS 'When.';
COMMENT ON COLUMN backfill.progress.started_at IS
	'When a daemon first claimed it.';
COMMENT ON COLUMN backfill.progress.finished_at IS 'When it ended.';
COMMENT ON COLUMN backfill.progress.daemon_host IS
	'Host of the daemon that has it.';
COMMENT ON COLUMN backfill.progress.daemon_pid IS
	'Process id of that daemon.';
COMMENT ON COLUMN backfill.progress.runner_pid IS
	'Backend that runs its batches (pg_stat_activity.pid).';
COMMENT ON COLUMN backfill.progress.error_sqlstate IS 'The failure''s SQLSTATE.';
COMMENT ON COLUMN backfill.progress.error_message IS 'The failure''s message.';
COMMENT ON COLUMN backfill.progress.error_detail IS 'The failure''s detail.';
COMMENT ON COLUMN backfill.progress.error_hint IS 'What may help.';
COMMENT ON COLUMN backfill.progress.pass IS
	'0: the walk; 1 to 3: a closing sweep for rows written meanwhile.';
COMMENT ON COLUMN backfill.progress.late_rows IS
	'Rows changed by the closing sweeps.';
COMMENT ON COLUMN backfill.progress.row_errors IS
	'Rows that could not be changed and are not mended: see backfill.row_errors.';
COMMENT ON COLUMN backfill.progress.priority IS 'Higher is claimed first.';
COMMENT ON COLUMN backfill.progress.hold IS
	'Whether it waits for backfill.approve().';
COMMENT ON COLUMN backfill.progress.depends_on IS
	'Jobs that must have succeeded before.';
COMMENT ON COLUMN backfill.progress.run_after IS 'It does not run before.';
COMMENT ON COLUMN backfill.progress.run_window IS
	'The daily hours in which it may run.';
COMMENT ON COLUMN backfill.progress.dry_run IS
	'Whether nothing is to be changed: see backfill.jobs.report.';

COMMENT ON COLUMN backfill.progress.batch_time IS
	'How long the last batch took; NULL: none yet.';
COMMENT ON COLUMN backfill.progress.pause IS
	'Time between the last two batches; NULL: not running.';
COMMENT ON COLUMN backfill.progress.paced IS
	'Time between batches in all, while a daemon had the job: paced, held, or waiting for others.';

COMMENT ON COLUMN backfill.progress.object_name IS
	'Of the schema kinds: the column, constraint or index.';
COMMENT ON COLUMN backfill.progress.plan IS
	'The plan of which it is a step; NULL: none.';
COMMENT ON COLUMN backfill.progress.step IS
	'Of the schema kinds: the statement that is run, or was run last.';
COMMENT ON COLUMN backfill.progress.phase IS
	'What an index build does just now, as in pg_stat_progress_create_index, which the reader must be allowed to see; percent is of this phase. NULL: none is under way.';

COMMENT ON COLUMN backfill.progress.waits_for IS
	'What kind of thing it waits for: queue, paused, stopped (all work is), daemon (its own is gone), lag, lease, paced, writers, locks, blocking, retry, other; NULL: it moves, or has ended. reason has it in words.';
COMMENT ON COLUMN backfill.progress.since IS
	'Since when it is in this state and waits for that.';
COMMENT ON COLUMN backfill.progress.rows_per_second_5min IS
	'As rows_per_second, over about 5 minutes.';
COMMENT ON COLUMN backfill.progress.batch_time_p50 IS
	'Median of the last batches, at most 32; NULL: none yet.';
COMMENT ON COLUMN backfill.progress.batch_time_p95 IS
	'So long took all but one in twenty of them.';
COMMENT ON COLUMN backfill.progress.target_batch_time IS
	'What the job itself says of how long a batch should take; NULL: the configuration says it.';
COMMENT ON COLUMN backfill.progress.work_time IS
	'Of the time since it was started: not waiting. With held_time and paused_time this is all of it.';
COMMENT ON COLUMN backfill.progress.held_time IS
	'Of the time since it was started: waiting, for whatever reason (waited has each).';
COMMENT ON COLUMN backfill.progress.paused_time IS
	'Of the time since it was started: paused by a person, or by pause_after_rows.';
COMMENT ON COLUMN backfill.progress.retries IS
	'How often something was tried again after an error.';
COMMENT ON COLUMN backfill.progress.retry_sqlstate IS
	'The SQLSTATE of the last of them; NULL: none, or it had none.';
COMMENT ON COLUMN backfill.progress.retried_at IS 'When that was.';
COMMENT ON COLUMN backfill.progress.waited IS
	'For how long it has waited for what since it was started, until now, in milliseconds by the words of waits_for, and failed: until it was tried again.';

-- Thousands of jobs that ended may be kept: the right is asked once per role.
CREATE OR REPLACE VIEW backfill.job_states WITH (security_barrier) AS
WITH counted AS MATERIALIZED (SELECT j.state, j.run_as, count(*) AS jobs,
		min(j.submitted_at) AS oldest,
		count(*) FILTER (WHERE j.finished_at > now() - '24h'::interval)
			AS recent
	FROM backfill.jobs j GROUP BY j.state, j.run_as)
SELECT s.state, coalesce(sum(c.jobs), 0)::bigint AS jobs,
	min(c.oldest) AS oldest_submitted_at,
	coalesce(sum(c.recent), 0)::bigint AS recent_jobs
FROM unnest('{queued,running,paused,succeeded,failed,cancelled}'::text[])
	s(state)
LEFT JOIN counted c ON c.state = s.state AND backfill.may_see(c.run_as)
GROUP BY s.state;

COMMENT ON VIEW backfill.job_states IS
	'How many jobs are in each state. Readable by pg_monitor and by who may steer the jobs.';
COMMENT ON COLUMN backfill.job_states.state IS 'The state.';
COMMENT ON COLUMN backfill.job_states.jobs IS 'Jobs in it; 0: none.';
COMMENT ON COLUMN backfill.job_states.oldest_submitted_at IS
	'When the oldest of them was submitted; NULL: none.';
COMMENT ON COLUMN backfill.job_states.recent_jobs IS
	'How many of them ended in the last 24 hours.';

-- Anybody who may submit may queue thousands of jobs: the screens show those
-- of which people want to know first.
CREATE OR REPLACE VIEW backfill.shown_jobs WITH (security_barrier) AS
SELECT j.id, j.state FROM backfill.jobs j
WHERE (j.finished_at IS NULL OR j.finished_at > now() - '24h'::interval)
	AND backfill.may_see(j.run_as)
ORDER BY CASE j.state WHEN 'running' THEN 1 WHEN 'paused' THEN 2
	WHEN 'failed' THEN 3 WHEN 'queued' THEN 4 ELSE 5 END,
	j.priority DESC, j.id
LIMIT 500;

COMMENT ON VIEW backfill.shown_jobs IS
	'The jobs that screens tell of: of those that are open, or ended in the last 24 hours, at most 500; running ones first, then paused, failed, queued and others.';
COMMENT ON COLUMN backfill.shown_jobs.id IS 'The job''s id.';
COMMENT ON COLUMN backfill.shown_jobs.state IS 'Its state.';

-- What a daemon has not measured for a minute, it does not look at.
CREATE OR REPLACE VIEW backfill.signals WITH (security_barrier) AS
SELECT s.incarnation AS daemon, d.host AS daemon_host, s.signal, s.target,
	s.value, s.limit_value, s.resume_value,
	clock_timestamp() - s.at AS age, s.holding, s.detail
FROM backfill.samples s JOIN backfill.daemons d USING (incarnation)
WHERE d.lease_until > clock_timestamp()
	AND s.at > clock_timestamp() - '1min'::interval
ORDER BY s.incarnation, s.signal, s.target;

COMMENT ON VIEW backfill.signals IS
	'What the pacer of each daemon sees while jobs run: a row per signal.';
COMMENT ON COLUMN backfill.signals.daemon IS
	'The daemon (backfill.daemons.incarnation).';
COMMENT ON COLUMN backfill.signals.daemon_host IS 'Its host.';
COMMENT ON COLUMN backfill.signals.signal IS
	'replication_lag: how far the replay of a standby is behind, in seconds.';
COMMENT ON COLUMN backfill.signals.target IS
	'The standby, as the configuration calls it.';
COMMENT ON COLUMN backfill.signals.value IS
	'What was measured, in seconds; NULL: unknown.';
COMMENT ON COLUMN backfill.signals.limit_value IS
	'No batch begins while the value is above it, or unknown.';
COMMENT ON COLUMN backfill.signals.resume_value IS
	'Once held, no batch begins before the value is below it.';
COMMENT ON COLUMN backfill.signals.age IS 'Time since it was measured.';
COMMENT ON COLUMN backfill.signals.holding IS
	'Whether it holds batches back.';
COMMENT ON COLUMN backfill.signals.detail IS
	'State and bytes, or why it is unknown.';

-- Built on what everybody may see of others, since it runs as its owner. A
-- runner whose daemon died keeps its pid in ranges until it is taken over: by
-- its login it is told from whoever has that pid by then. Who waits for a row
-- waits for a transaction, and holds the lock of the tuple meanwhile, which
-- tells the table.
CREATE OR REPLACE VIEW backfill.locks WITH (security_barrier) AS
WITH held AS MATERIALIZED (SELECT * FROM pg_locks),
pairs AS MATERIALIZED (
	SELECT DISTINCT l.pid AS waiting, b.pid AS blocking, l.locktype, l.mode,
		(to_jsonb(l)->>'waitstart')::timestamptz AS since,
		coalesce(l.relation, (SELECT min(t.relation) FROM held t
			WHERE t.pid = l.pid AND t.locktype = 'tuple' AND t.granted))
			AS relation
	FROM held l, LATERAL unnest(pg_blocking_pids(l.pid)) AS b(pid)
	WHERE NOT l.granted)
SELECT j.id AS job_id, j.name AS job_name,
	CASE WHEN r.runner_pid = p.waiting THEN 'waits' ELSE 'blocks' END
		AS direction,
	p.waiting AS waiting_pid, w.usename AS waiting_user,
	w.application_name AS waiting_application,
	p.blocking AS blocking_pid, b.usename AS blocking_user,
	b.application_name AS blocking_application, p.locktype, p.mode,
	(SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = p.relation) AS relation,
	greatest('0'::interval, clock_timestamp() - p.since) AS wait_time
FROM backfill.jobs j
JOIN backfill.ranges r ON r.job_id = j.id
JOIN pg_stat_activity a ON a.pid = r.runner_pid AND a.usename = j.run_as
	AND a.datname = current_database()
JOIN pairs p ON r.runner_pid IN (p.waiting, p.blocking)
LEFT JOIN pg_stat_activity w ON w.pid = p.waiting
LEFT JOIN pg_stat_activity b ON b.pid = p.blocking
WHERE backfill.may_see(j.run_as)
ORDER BY j.id, wait_time DESC NULLS LAST, p.waiting, p.blocking;

COMMENT ON VIEW backfill.locks IS
	'Who waits for whom where a job''s batch is one of the two: a row per lock and blocker. Readable by pg_monitor and by who may steer the job.';
COMMENT ON COLUMN backfill.locks.job_id IS 'The job''s id.';
COMMENT ON COLUMN backfill.locks.job_name IS 'The job''s name.';
COMMENT ON COLUMN backfill.locks.direction IS
	'What the job does: waits or blocks.';
COMMENT ON COLUMN backfill.locks.waiting_pid IS
	'Backend that waits (pg_stat_activity.pid).';
COMMENT ON COLUMN backfill.locks.waiting_user IS 'Its role.';
COMMENT ON COLUMN backfill.locks.waiting_application IS
	'Its application_name.';
COMMENT ON COLUMN backfill.locks.blocking_pid IS
	'Backend that has the lock or comes before it; 0: a prepared transaction.';
COMMENT ON COLUMN backfill.locks.blocking_user IS 'Its role.';
COMMENT ON COLUMN backfill.locks.blocking_application IS
	'Its application_name.';
COMMENT ON COLUMN backfill.locks.locktype IS
	'What is waited for, as in pg_locks; of a row: transactionid or tuple.';
COMMENT ON COLUMN backfill.locks.mode IS 'The mode that is asked for.';
COMMENT ON COLUMN backfill.locks.relation IS
	'The table, or that of the row; NULL: unknown.';
COMMENT ON COLUMN backfill.locks.wait_time IS
	'For how long; NULL: unknown, as before PostgreSQL 14.';

GRANT SELECT ON backfill.progress, backfill.job_states, backfill.shown_jobs,
	backfill.signals, backfill.locks
	TO backfill_submit, backfill_daemon, pg_monitor;

RESET ROLE;
