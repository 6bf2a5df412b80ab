-- What the pacer asks on the control connection, with its rights: a member
-- of pg_monitor sees all of pg_stat_replication. To others the columns are
-- NULL, which is unknown, and never 0.

SET LOCAL ROLE backfill_owner;

-- A standby may be connected twice for a moment, or two may bear one name:
-- the worst of them counts. pg_basebackup streams too, and is no standby.
CREATE OR REPLACE FUNCTION backfill.standbys(names text[])
RETURNS TABLE (name text, connections bigint, state text,
	replay_lsn pg_lsn, replay_lag_ms bigint, connected_ms bigint,
	replied_at_us bigint, kept_bytes bigint)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT n.name, count(s.pid), CASE
			WHEN count(s.pid) > count(s.state) THEN NULL
			ELSE coalesce(min(s.state) FILTER (WHERE s.state <> 'streaming'),
				min(s.state)) END,
		CASE WHEN count(s.pid) = count(s.replay_lsn)
			THEN min(s.replay_lsn) END,
		ceil(1000 * extract(epoch FROM max(s.replay_lag)))::bigint,
		floor(1000 * extract(epoch FROM clock_timestamp()
			- max(s.backend_start)))::bigint,
		(1000000 * extract(epoch FROM min(s.reply_time)))::bigint,
		(SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), k.restart_lsn))
			FROM pg_replication_slots k
			WHERE k.slot_name = n.name AND NOT k.active)::bigint
	FROM unnest(names) WITH ORDINALITY AS n(name, at)
	LEFT JOIN (pg_stat_replication s
		LEFT JOIN pg_replication_slots t ON t.active_pid = s.pid)
		ON (s.application_name = n.name OR t.slot_name = n.name)
			AND s.state IS DISTINCT FROM 'backup'
	GROUP BY n.at, n.name ORDER BY n.at
$$;
COMMENT ON FUNCTION backfill.standbys(text[]) IS
	'What the server tells of these standbys, known by application_name or slot, in their order. replay_lsn: of the slowest, NULL when one tells none. kept_bytes: by the slot while it is not in use.';

-- One write per sample, also while everything is held: the WAL that it makes
-- is what a frozen standby falls behind by.
CREATE OR REPLACE FUNCTION backfill.share(me bigint, my_jobs integer,
	spent bigint, new_rate double precision, of_version bigint)
RETURNS TABLE (wal_rate double precision, version bigint, for_ms bigint,
	wal_spent bigint, all_jobs bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
#variable_conflict use_column
DECLARE
	old backfill.budget;
BEGIN
	UPDATE backfill.daemons d SET jobs = my_jobs
	WHERE d.incarnation = me AND d.jobs <> my_jobs;
	SELECT * INTO STRICT old FROM backfill.budget FOR NO KEY UPDATE;
	-- Whose sample was taken of an older rate does not change this one. Who
	-- leaves the rate as it is does not keep the others from changing it:
	-- of two that ask in turn, it would always be the same one.
	UPDATE backfill.budget b SET wal_spent = b.wal_spent + spent,
		wal_rate = CASE WHEN b.version = of_version THEN new_rate
			ELSE b.wal_rate END,
		version = b.version + (b.version = of_version
			AND b.wal_rate IS DISTINCT FROM new_rate)::integer,
		set_at = CASE WHEN b.version = of_version THEN clock_timestamp()
			ELSE b.set_at END;
	RETURN QUERY SELECT b.wal_rate, b.version,
		ceil(1000 * extract(epoch FROM clock_timestamp() - old.set_at))
			::bigint,
		b.wal_spent, greatest(my_jobs, (SELECT sum(d.jobs)
			FROM backfill.daemons d
			WHERE d.lease_until > clock_timestamp()))
	FROM backfill.budget b;
END
$$;
COMMENT ON FUNCTION backfill.share(bigint, integer, bigint, double precision,
	bigint) IS
	'Adds the bytes of WAL that the daemon''s batches have written since it last said so, sets the rate unless it was changed since that version (NULL: only asks), and returns the rate, its version, the milliseconds since the change before this one, the bytes written by all, and the jobs that share the rate. Raises 55P03.';

CREATE OR REPLACE FUNCTION backfill.tell_samples(me bigint, signal text,
	targets text[], vals double precision[], limit_value double precision,
	holding boolean[], details text[])
RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO backfill.samples AS s (incarnation, signal, target, value,
		limit_value, resume_value, holding, detail, at)
	SELECT me, signal, u.target, u.value, limit_value, limit_value / 2,
		u.holding, u.detail, clock_timestamp()
	FROM unnest(targets, vals, holding, details)
		AS u(target, value, holding, detail)
	ON CONFLICT ON CONSTRAINT samples_pkey DO UPDATE SET
		value = EXCLUDED.value, limit_value = EXCLUDED.limit_value,
		resume_value = EXCLUDED.resume_value, holding = EXCLUDED.holding,
		detail = EXCLUDED.detail, at = EXCLUDED.at
$$;
COMMENT ON FUNCTION backfill.tell_samples(bigint, text, text[],
	double precision[], double precision, boolean[], text[]) IS
	'Keeps what a daemon has measured, for backfill.signals.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.standbys(text[]),
	backfill.share(bigint, integer, bigint, double precision, bigint),
	backfill.tell_samples(bigint, text, text[], double precision[],
		double precision, boolean[], text[])
	TO backfill_daemon;

RESET ROLE;
