-- What the control connection calls about the backends of others: it is a
-- member of pg_monitor, which sees them, and of pg_signal_backend.

SET LOCAL ROLE backfill_owner;

-- backend_start guards against a pid that is another backend's by now.
CREATE OR REPLACE FUNCTION backfill.cancel_runner(me bigint, job bigint,
	with_epoch bigint)
RETURNS boolean LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(bool_or(pg_cancel_backend(a.pid)), false)
	FROM backfill.ranges r JOIN pg_stat_activity a
		ON a.pid = r.runner_pid AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
		AND a.state = 'active'
$$;
COMMENT ON FUNCTION backfill.cancel_runner(bigint, bigint, bigint) IS
	'Cancels the statement that the job''s runner is executing; false: none.';

CREATE OR REPLACE FUNCTION backfill.awaits_client(me bigint, job bigint,
	with_epoch bigint)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(bool_and(a.pid IS NULL OR a.wait_event = 'ClientRead'),
		false)
	FROM backfill.ranges r LEFT JOIN pg_stat_activity a
		ON a.pid = r.runner_pid AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
		AND r.runner_pid IS NOT NULL
$$;
COMMENT ON FUNCTION backfill.awaits_client(bigint, bigint, bigint) IS
	'Whether the backend of the job''s runner waits for the next message, or is gone: to a request that was sent it will not answer any more.';

CREATE OR REPLACE FUNCTION backfill.tell_backend(backend integer)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('pid %s (%s%s%s, transaction open for %s s)', backend,
		coalesce(a.usename, 'unknown role'),
		coalesce(', ' || nullif(a.application_name, ''), ''),
		coalesce(', ' || a.state, ''),
		coalesce(floor(extract(epoch FROM clock_timestamp()
			- a.xact_start))::text, '?'))
	FROM (SELECT) AS always
	LEFT JOIN pg_stat_activity a ON a.pid = backend
$$;
COMMENT ON FUNCTION backfill.tell_backend(integer) IS
	'A backend with role, program, state and age of its transaction, for a reason.';

CREATE OR REPLACE FUNCTION backfill.blockers(me bigint, job bigint,
	with_epoch bigint)
RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT string_agg(CASE WHEN b.pid = 0 THEN
			'a prepared transaction' || coalesce((
				SELECT format(' (%s)', string_agg(p.gid, ', '))
				FROM pg_prepared_xacts p
				WHERE p.database = current_database()), '')
		ELSE backfill.tell_backend(b.pid) END, '; ')
	FROM backfill.ranges r,
		LATERAL unnest(pg_blocking_pids(r.runner_pid)) AS b(pid)
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
$$;
COMMENT ON FUNCTION backfill.blockers(bigint, bigint, bigint) IS
	'Who makes the job''s runner wait for a lock, with role, state and age of the transaction; NULL: nobody.';

CREATE OR REPLACE FUNCTION backfill.waits_for_table(me bigint, job bigint,
	with_epoch bigint)
RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM backfill.ranges r
		JOIN pg_locks l ON l.pid = r.runner_pid
		WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
			AND NOT l.granted AND l.locktype = 'relation')
$$;
COMMENT ON FUNCTION backfill.waits_for_table(bigint, bigint, bigint) IS
	'Whether the job''s runner waits for the lock of a whole table, which no row of its batch can be blamed for.';

-- Of our own sessions, a runner is known by its range, a control login by
-- its role: of a superuser, which cannot be one, membership says nothing.
-- Before PostgreSQL 14 a lock does not tell since when it is waited for: its
-- statement cannot have waited for longer than it runs.
CREATE OR REPLACE FUNCTION backfill.blocked_by(me bigint, job bigint,
	with_epoch bigint)
RETURNS TABLE (waiting text, waited_ms bigint) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('pid %s (%s%s)', w.pid, coalesce(w.usename, 'unknown role'),
		coalesce(', ' || nullif(w.application_name, ''), '')), w.ms
	FROM (SELECT a.pid, a.usename, a.application_name,
			greatest(0, coalesce(1000 * extract(epoch FROM
				clock_timestamp() - CASE WHEN to_jsonb(l) ? 'waitstart'
				THEN (to_jsonb(l)->>'waitstart')::timestamptz
				ELSE a.query_start END), 0))::bigint AS ms
		FROM backfill.ranges r
		JOIN pg_locks l ON NOT l.granted
			AND r.runner_pid = ANY (pg_blocking_pids(l.pid))
		JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch
			AND a.backend_type = 'client backend'
			AND NOT EXISTS (SELECT FROM backfill.ranges o
				WHERE o.runner_pid = a.pid
					AND o.runner_backend_start = a.backend_start)
			AND NOT EXISTS (SELECT FROM pg_roles u
				WHERE u.oid = a.usesysid AND NOT u.rolsuper
					AND pg_has_role(u.oid, 'backfill_daemon', 'MEMBER'))
		) AS w
	ORDER BY w.ms DESC, w.pid LIMIT 1
$$;
COMMENT ON FUNCTION backfill.blocked_by(bigint, bigint, bigint) IS
	'Which application has waited longest for a lock that the job''s runner holds, with role and program, and for how many milliseconds; no row: none waits.';

-- What it was asked for may be over: it is looked at once more, so that it is
-- not the next batch that is cancelled. What is committed and only waits for
-- a standby cannot be taken back. Of the events one an hour is enough.
CREATE OR REPLACE FUNCTION backfill.unblock(me bigint, job bigint,
	with_epoch bigint, longest_ms bigint)
RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
	w record;
BEGIN
	SELECT b.waiting, b.waited_ms INTO w
	FROM backfill.blocked_by(me, job, with_epoch) b
	WHERE b.waited_ms >= longest_ms;
	IF NOT FOUND OR EXISTS (SELECT FROM backfill.ranges r
		JOIN pg_stat_activity a ON a.pid = r.runner_pid
		WHERE r.job_id = job AND r.owner = me AND a.wait_event = 'SyncRep')
		OR NOT backfill.cancel_runner(me, job, with_epoch)
	THEN
		RETURN false;
	END IF;
	INSERT INTO backfill.events (actor, job_id, event, detail)
	SELECT session_user, job, 'batch_cancelled', format('%s had waited %s ms'
		' for the batch (max_blocking_time %s ms)', w.waiting, w.waited_ms,
		longest_ms)
	WHERE NOT EXISTS (SELECT FROM backfill.events e
		WHERE e.job_id = job AND e.event = 'batch_cancelled'
			AND e.at > clock_timestamp() - '1 hour'::interval);
	RETURN true;
END
$$;
COMMENT ON FUNCTION backfill.unblock(bigint, bigint, bigint, bigint) IS
	'Cancels the statement of the job''s runner if an application has waited for it that long; false: none has any more, or it is committed.';

-- A transaction is known by its virtual id and by its transaction ids: when
-- it is prepared it keeps both and loses its pid; when the server restarts,
-- its virtual id becomes -1/xid. One that was prepared across a restart
-- counts even if it is not known: it may have got its transaction id after
-- the last look, and there is no harm in waiting for one more.
--
-- pg_partition_ancestors() leaves out a parent from which the table is being
-- detached concurrently, though writers through it may still be at work: its
-- row in pg_inherits stays until they have ended.
CREATE OR REPLACE FUNCTION backfill.writers(target oid, known text[],
	without integer)
RETURNS TABLE (backend integer, tokens text[])
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE tables AS (SELECT target AS id
		UNION SELECT i.inhparent FROM tables t
		JOIN pg_inherits i ON i.inhrelid = t.id
		JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'p'),
	held AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted),
	holders AS MATERIALIZED (SELECT DISTINCT h.pid, h.virtualtransaction
		FROM held h
		WHERE h.locktype = 'relation'
			AND h.relation IN (SELECT t.id FROM tables t)
			AND h.database = (SELECT d.oid FROM pg_database d
				WHERE d.datname = current_database())
			AND h.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock',
				'ExclusiveLock', 'AccessExclusiveLock')
			AND (h.pid IS NULL OR h.pid IS DISTINCT FROM without)),
	tokened AS (SELECT o.pid, o.virtualtransaction || ARRAY(
			SELECT 'xid:' || h.transactionid FROM held h
			WHERE h.locktype = 'transactionid'
				AND h.virtualtransaction = o.virtualtransaction
			ORDER BY 1) AS names
		FROM holders o)
	SELECT t.pid, t.names FROM tokened t
	WHERE known IS NULL OR t.names && known OR t.names[1] LIKE '-1/%'
$$;
COMMENT ON FUNCTION backfill.writers(oid, text[], integer) IS
	'Transactions that may write to the table, with their tokens; of those known if any are. backend is NULL of a prepared one.';

CREATE OR REPLACE FUNCTION backfill.tell_writer(backend integer,
	tokens text[])
RETURNS text LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN backend IS NOT NULL
		THEN backfill.tell_backend(backend)
		ELSE coalesce((SELECT format('prepared transaction "%s" (%s,'
				' prepared %s s ago)', p.gid, p.owner,
				floor(extract(epoch FROM clock_timestamp() - p.prepared)))
			FROM pg_prepared_xacts p
			WHERE p.database = current_database()
				AND 'xid:' || p.transaction = ANY (tokens)),
			'a prepared transaction') END
$$;
COMMENT ON FUNCTION backfill.tell_writer(integer, text[]) IS
	'One of backfill.writers, for a reason.';

CREATE OR REPLACE FUNCTION backfill.barrier(me bigint, job bigint,
	with_epoch bigint, target_oid oid, known text[])
RETURNS TABLE (tokens text[], waits_for text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	runner integer;
BEGIN
	-- Its pid alone may be a writer's by now.
	SELECT a.pid INTO runner FROM backfill.ranges r
	LEFT JOIN pg_stat_activity a ON a.pid = r.runner_pid
		AND a.backend_start = r.runner_backend_start
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('job %s has another owner', job);
	END IF;
	PERFORM backfill.check_may_run(job);

	-- The few that have waited longest are told; all are waited for.
	RETURN QUERY
	WITH w AS MATERIALIZED (
		SELECT s.backend, s.tokens AS names, row_number() OVER (
			ORDER BY s.backend IS NOT NULL, a.xact_start, s.backend) AS at
		FROM backfill.writers(target_oid, known, runner) s
		LEFT JOIN pg_stat_activity a ON a.pid = s.backend)
	SELECT ARRAY(SELECT DISTINCT n FROM w, unnest(w.names) AS n ORDER BY n),
		(SELECT string_agg(backfill.tell_writer(w.backend, w.names), '; '
			ORDER BY w.at) FROM w WHERE w.at <= 5)
		|| (SELECT CASE WHEN count(*) > 5
			THEN format('; and %s more', count(*) - 5) ELSE '' END FROM w);
END
$$;
COMMENT ON FUNCTION backfill.barrier(bigint, bigint, bigint, oid, text[]) IS
	'Who may still write rows that the next snapshot does not see: all that hold a write lock on the table or a partition ancestor, or those of known that still do. One row: their tokens, to be passed as known, and their names; {} and NULL: none. Raises BF010, BF011.';

-- PostgreSQL docs, 13.3.1, "Conflicting Lock Modes".
CREATE OR REPLACE FUNCTION backfill.locks_conflict(one text, other text)
RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE one
		WHEN 'AccessShareLock' THEN other = 'AccessExclusiveLock'
		WHEN 'RowShareLock' THEN other IN ('ExclusiveLock',
			'AccessExclusiveLock')
		WHEN 'RowExclusiveLock' THEN other IN ('ShareLock',
			'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		WHEN 'ShareUpdateExclusiveLock' THEN other NOT IN ('AccessShareLock',
			'RowShareLock', 'RowExclusiveLock')
		WHEN 'ShareLock' THEN other NOT IN ('AccessShareLock',
			'RowShareLock', 'ShareLock')
		WHEN 'ShareRowExclusiveLock' THEN other NOT IN ('AccessShareLock',
			'RowShareLock')
		WHEN 'ExclusiveLock' THEN other <> 'AccessShareLock'
		ELSE true END
$$;
COMMENT ON FUNCTION backfill.locks_conflict(text, text) IS
	'Whether a lock of this mode on a table waits for one of that mode.';

CREATE OR REPLACE FUNCTION backfill.lock_holders(me bigint, job bigint,
	with_epoch bigint, tables oid[], wanted text, older_ms bigint)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	runner integer;
	patience interval := make_interval(secs => older_ms / 1000.0);
	deadlock_timeout interval := current_setting('deadlock_timeout');
	yields boolean;
	told text;
BEGIN
	SELECT r.runner_pid, coalesce(j.lock_timeout, patience)
	INTO runner, patience
	FROM backfill.ranges r JOIN backfill.jobs j ON j.id = r.job_id
	WHERE r.job_id = job AND r.owner = me AND r.epoch = with_epoch;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'BF010',
			MESSAGE = format('job %s has another owner', job);
	END IF;
	-- An autovacuum yields to who has waited for deadlock_timeout, unless it
	-- is to prevent wraparound: PostgreSQL docs, 25.1.6. Behind the waiters of
	-- the weaker lock no reader or writer waits.
	yields := wanted = 'ShareUpdateExclusiveLock'
		OR patience > deadlock_timeout;
	SELECT string_agg(h.told, '; ' ORDER BY h.at)
		|| CASE WHEN max(h.of) > 5 THEN format('; and %s more', max(h.of) - 5)
			ELSE '' END
	INTO told
	FROM (SELECT format('%s holds %s on %s',
			backfill.tell_writer(l.pid, ARRAY(SELECT 'xid:' || x.transactionid
				FROM pg_locks x WHERE x.locktype = 'transactionid'
				AND x.virtualtransaction = l.virtualtransaction)),
			l.mode, l.relation::regclass) AS told,
			count(*) OVER () AS of,
			row_number() OVER (ORDER BY a.xact_start NULLS FIRST, l.pid)
				AS at
		FROM (SELECT DISTINCT ON (k.pid, k.virtualtransaction, k.relation) k.*
			FROM pg_locks k
			WHERE k.granted AND k.locktype = 'relation'
				AND k.relation = ANY (tables)
				AND k.database = (SELECT d.oid FROM pg_database d
					WHERE d.datname = current_database())
				AND k.pid IS DISTINCT FROM runner
				AND backfill.locks_conflict(wanted, k.mode)) l
		LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		-- Of a session lock, no transaction tells the age.
		WHERE (a.xact_start IS NULL
				OR a.xact_start < clock_timestamp() - patience)
			AND NOT (yields AND coalesce(a.backend_type
				= 'autovacuum worker', false)
				AND a.query NOT LIKE '%(to prevent wraparound)')) h
	WHERE h.at <= 5;
	RETURN told;
END
$$;
COMMENT ON FUNCTION backfill.lock_holders(bigint, bigint, bigint, oid[], text,
	bigint) IS
	'Who has held a lock on these tables for longer, or than the job''s own lock_timeout, for which the runner would wait, and applications behind it; not an autovacuum that yields to it: with role, state and age of the transaction. NULL: nobody. Raises BF010.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	backfill.cancel_runner(bigint, bigint, bigint),
	backfill.awaits_client(bigint, bigint, bigint),
	backfill.tell_backend(integer),
	backfill.blockers(bigint, bigint, bigint),
	backfill.waits_for_table(bigint, bigint, bigint),
	backfill.blocked_by(bigint, bigint, bigint),
	backfill.unblock(bigint, bigint, bigint, bigint),
	backfill.writers(oid, text[], integer),
	backfill.tell_writer(integer, text[]),
	backfill.barrier(bigint, bigint, bigint, oid, text[]),
	backfill.locks_conflict(text, text),
	backfill.lock_holders(bigint, bigint, bigint, oid[], text, bigint)
	TO backfill_daemon;

RESET ROLE;
