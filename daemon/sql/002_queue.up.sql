-- The tables. Lock order everywhere: jobs, then ranges. A batch writes its
-- range, holes, row errors and events, and nothing else: a person's open
-- UPDATE of backfill.jobs must never make a batch wait with row locks held.

SET LOCAL ROLE backfill_owner;

CREATE TABLE IF NOT EXISTS backfill.jobs (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL,
	kind text NOT NULL DEFAULT 'update',
	target text NOT NULL,
	set_clause text,
	from_clause text,
	where_clause text,
	key_columns text[],
	archive_table text,
	object_name text,
	definition text,
	run_as name NOT NULL,

	plan text,
	undo text,
	undoes bigint,
	depends_on bigint[],
	hold boolean NOT NULL DEFAULT false,
	run_after timestamptz,
	run_window text,
	priority integer NOT NULL DEFAULT 0,

	batch_rows integer,
	max_batch_rows integer,
	target_batch_time interval,
	lock_timeout interval,
	statement_timeout interval,
	synchronous_commit text,
	pause_after_rows bigint,
	max_rows_per_second bigint,
	max_replication_lag interval,
	on_row_error text NOT NULL DEFAULT 'stop',
	max_row_errors integer NOT NULL DEFAULT 100,
	on_residue text NOT NULL DEFAULT 'report',
	dry_run boolean NOT NULL DEFAULT false,

	search_path text NOT NULL,
	timezone text NOT NULL,
	datestyle text NOT NULL,

	state text NOT NULL DEFAULT 'queued' CONSTRAINT jobs_state_check
		CHECK (state IN ('queued', 'running', 'paused', 'succeeded',
			'failed', 'cancelled')),
	reason text,
	error_sqlstate text,
	error_message text,
	error_detail text,
	error_hint text,

	submitted_by name NOT NULL,
	submitted_at timestamptz NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	target_oid oid,
	report jsonb,
	since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	waited jsonb NOT NULL DEFAULT '{}',
	retries bigint NOT NULL DEFAULT 0,
	retry_sqlstate text,
	retried_at timestamptz,

	CONSTRAINT jobs_name_key UNIQUE (name)
) WITH (fillfactor = 80);

-- One job per table, of whatever kind: two builds of indexes of one table
-- would be each other's deadlock.
CREATE UNIQUE INDEX IF NOT EXISTS jobs_running_target_key
	ON backfill.jobs (target_oid) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS jobs_open_idx
	ON backfill.jobs (id) WHERE state IN ('queued', 'running', 'paused');
CREATE INDEX IF NOT EXISTS jobs_finished_idx
	ON backfill.jobs (finished_at)
	WHERE state IN ('succeeded', 'failed', 'cancelled');

COMMENT ON TABLE backfill.jobs IS
	'The queue: insert a row, and a daemon changes the table in small batches.';
COMMENT ON COLUMN backfill.jobs.id IS 'Number of the job, by the system.';
COMMENT ON COLUMN backfill.jobs.name IS
	'Unique; default made from kind, target and id. Submitting twice is ON CONFLICT (name) DO NOTHING.';
COMMENT ON COLUMN backfill.jobs.kind IS
	'What is done: update, delete; add_column, drop_column, add_check, add_foreign_key, validate_constraint, set_not_null, create_index, drop_index, reindex, ddl.';
COMMENT ON COLUMN backfill.jobs.target IS
	'Table; resolved to schema.table under the submitter''s search_path when it exists.';
COMMENT ON COLUMN backfill.jobs.set_clause IS
	'What follows SET in UPDATE target SET …; must not assign a key column. Runs in each batch as run_as. A delete has none.';
COMMENT ON COLUMN backfill.jobs.from_clause IS
	'What follows FROM in UPDATE target SET … FROM … WHERE …, or USING in a DELETE; NULL: none.';
COMMENT ON COLUMN backfill.jobs.where_clause IS
	'Which rows: one boolean expression; NULL: all, which a delete must say as true. The target is known in it by its bare table name.';
COMMENT ON COLUMN backfill.jobs.key_columns IS
	'Columns of the unique btree index that is walked; NULL: the primary key, else a unique, not null, immediate, valid, non-partial one.';
COMMENT ON COLUMN backfill.jobs.archive_table IS
	'For kind delete: the rows go into this table in the transaction that deletes them; it has the target''s columns by name. NULL: they are gone.';
COMMENT ON COLUMN backfill.jobs.object_name IS
	'For the schema kinds: the column, constraint or index that is made, changed or dropped.';
COMMENT ON COLUMN backfill.jobs.definition IS
	'For the schema kinds: of add_column what follows the name; of add_check CHECK (…); of add_foreign_key FOREIGN KEY (…) REFERENCES …; of create_index [UNIQUE] [USING method] (…) and what may follow; of set_not_null the CHECK to drop afterwards; of ddl statements, which commit together.';
COMMENT ON COLUMN backfill.jobs.plan IS
	'Name of the plan that the job is a step of: the prefix of its recipe. NULL: none.';
COMMENT ON COLUMN backfill.jobs.undo IS
	'What plan_down() needs to take the step back: of ddl the statements, of drop_column and drop_index the definition.';
COMMENT ON COLUMN backfill.jobs.undoes IS
	'Id of the job that this one takes back: it does nothing when that one changed nothing. NULL: none.';
COMMENT ON COLUMN backfill.jobs.run_as IS
	'Login whose rights the job has; default current_user. Never a superuser; a role that the submitter may become, and a member of backfill_submit.';
COMMENT ON COLUMN backfill.jobs.depends_on IS
	'Ids of jobs, at most 100, that must have succeeded before this one runs.';
COMMENT ON COLUMN backfill.jobs.hold IS
	'Whether it waits for backfill.approve().';
COMMENT ON COLUMN backfill.jobs.run_after IS
	'It does not run before; NULL: at once.';
COMMENT ON COLUMN backfill.jobs.run_window IS
	'Daily, by the wall clock, such as 22:00-06:00 or 22:00-06:00 Europe/Berlin; without a zone in that of column timezone. May be changed while the job runs. NULL: at any hour.';
COMMENT ON COLUMN backfill.jobs.priority IS
	'Higher is claimed first, then the lower id. May be changed while the job waits. NULL: 0.';
COMMENT ON COLUMN backfill.jobs.batch_rows IS
	'First number of rows read per batch, 1 to 1000000; equal to max_batch_rows it fixes the size. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.max_batch_rows IS
	'Largest number of rows read per batch, 1 to 1000000. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.target_batch_time IS
	'Time that a batch should take, 10ms to 1min; its size follows. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.lock_timeout IS
	'Longest wait for one lock, 10ms to 10s; keep it below deadlock_timeout. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.statement_timeout IS
	'Longest time for one statement, 100ms to 1h: the longest that an application waits for a batch. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.synchronous_commit IS
	'off, local, remote_write, on or remote_apply, for the batches. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.pause_after_rows IS
	'The canary: the job pauses itself when it has changed so many rows; look, then resume. May be changed while the job runs. NULL: none.';
COMMENT ON COLUMN backfill.jobs.max_rows_per_second IS
	'Most rows changed per second, 1 to 1000000000. May be changed while the job runs. NULL: no bound.';
COMMENT ON COLUMN backfill.jobs.max_replication_lag IS
	'No batch begins while a standby is further behind than this, 100ms to 1h. May be changed while the job runs. NULL: the configuration''s.';
COMMENT ON COLUMN backfill.jobs.on_row_error IS
	'What a row that cannot be changed does: stop, or record: it is kept in backfill.row_errors and the job goes on, to end failed. NULL: stop.';
COMMENT ON COLUMN backfill.jobs.max_row_errors IS
	'How many rows may be recorded, 0 to 1000000, before the job fails. NULL: 100.';
COMMENT ON COLUMN backfill.jobs.on_residue IS
	'What rows do that the last closing sweep still found: report (an event) or fail. NULL: report.';
COMMENT ON COLUMN backfill.jobs.dry_run IS
	'Whether only a report is made, on a copy of the first rows: the table is not touched. NULL: false.';
COMMENT ON COLUMN backfill.jobs.search_path IS
	'The submitter''s at INSERT, pg_temp last: names in the clauses mean what they meant to the submitter.';
COMMENT ON COLUMN backfill.jobs.timezone IS 'The submitter''s TimeZone.';
COMMENT ON COLUMN backfill.jobs.datestyle IS
	'The submitter''s DateStyle, of which the order of day and month counts.';
COMMENT ON COLUMN backfill.jobs.state IS
	'queued, running, paused, succeeded, failed or cancelled. Written by the daemon and the functions only.';
COMMENT ON COLUMN backfill.jobs.reason IS
	'Why it is in that state or is not moving, with value and limit.';
COMMENT ON COLUMN backfill.jobs.error_sqlstate IS
	'The failure''s SQLSTATE; class BF is our own.';
COMMENT ON COLUMN backfill.jobs.error_message IS 'The failure''s message.';
COMMENT ON COLUMN backfill.jobs.error_detail IS 'The failure''s detail.';
COMMENT ON COLUMN backfill.jobs.error_hint IS 'What may help.';
COMMENT ON COLUMN backfill.jobs.submitted_by IS
	'The login that inserted the job (session_user).';
COMMENT ON COLUMN backfill.jobs.submitted_at IS 'When it was inserted.';
COMMENT ON COLUMN backfill.jobs.started_at IS
	'When a daemon first claimed it.';
COMMENT ON COLUMN backfill.jobs.finished_at IS
	'When it succeeded, failed or was cancelled.';
COMMENT ON COLUMN backfill.jobs.target_oid IS
	'OID of the target; fixed when the job begins: a table that takes its name later is not touched.';
COMMENT ON COLUMN backfill.jobs.report IS
	'What a dry run found: plan, a sample of rows before and after, a forecast of rows, WAL and time.';
COMMENT ON COLUMN backfill.jobs.since IS
	'Since when it is in its state, and waits for what it waits for.';
COMMENT ON COLUMN backfill.jobs.waited IS
	'For how long it has waited for what since it was started, in milliseconds: the words of backfill.waits_for(); stopped; daemon: its own was gone; failed: until it was tried again. What it waits for now is not in it yet.';
COMMENT ON COLUMN backfill.jobs.retries IS
	'How often something was tried again after an error.';
COMMENT ON COLUMN backfill.jobs.retry_sqlstate IS
	'The SQLSTATE of the last of them; NULL: none, or it had none.';
COMMENT ON COLUMN backfill.jobs.retried_at IS 'When that was.';

CREATE TABLE IF NOT EXISTS backfill.ranges (
	job_id bigint NOT NULL
		REFERENCES backfill.jobs (id) ON DELETE CASCADE,
	number integer NOT NULL,
	lo text[],
	hi text[],
	cursor text[],
	epoch bigint NOT NULL DEFAULT 0,
	seq bigint NOT NULL DEFAULT 0,
	owner bigint,
	runner_pid integer,
	runner_backend_start timestamptz,
	target_oid oid,
	key_index_oid oid,
	archive_oid oid,
	rows_total_estimate bigint,
	rows_read bigint NOT NULL DEFAULT 0,
	rows_done bigint NOT NULL DEFAULT 0,
	rows_still_matching bigint NOT NULL DEFAULT 0,
	batches bigint NOT NULL DEFAULT 0,
	rows_per_second double precision,
	rows_per_second_5min double precision,
	batch_rows integer,
	begun_at timestamptz,
	checkpoint_at timestamptz,
	finished_at timestamptz,
	pass integer NOT NULL DEFAULT 0,
	sweep_cursor text[],
	pass_rows bigint NOT NULL DEFAULT 0,
	late_rows bigint NOT NULL DEFAULT 0,
	residue bigint NOT NULL DEFAULT 0,
	key_signature text,
	moves_by text,
	attached_at timestamptz,
	batch_ms bigint,
	recent_batch_ms integer[],
	pause_ms bigint,
	paced_ms bigint NOT NULL DEFAULT 0,
	step text,
	notes jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (job_id, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 200);

COMMENT ON TABLE backfill.ranges IS
	'A stretch of a job''s key space with its checkpoint: the fence that each batch locks.';
COMMENT ON COLUMN backfill.ranges.job_id IS 'The job.';
COMMENT ON COLUMN backfill.ranges.number IS 'Number within the job, from 1.';
COMMENT ON COLUMN backfill.ranges.lo IS
	'Keys above this one belong to the range, a text per key column; NULL: from the first key.';
COMMENT ON COLUMN backfill.ranges.hi IS
	'Last key of the range, read when the job began; NULL: not begun, or the table was empty.';
COMMENT ON COLUMN backfill.ranges.cursor IS
	'Every key up to this one was processed or is in backfill.holes; NULL: nothing yet.';
COMMENT ON COLUMN backfill.ranges.epoch IS
	'Raised with each new owner: a batch of an older epoch cannot commit.';
COMMENT ON COLUMN backfill.ranges.seq IS
	'Raised by each checkpoint: a batch cannot be committed twice.';
COMMENT ON COLUMN backfill.ranges.owner IS
	'Incarnation of the daemon that owns it (backfill.daemons); NULL: nobody.';
COMMENT ON COLUMN backfill.ranges.runner_pid IS
	'Backend that runs the batches, while attached.';
COMMENT ON COLUMN backfill.ranges.runner_backend_start IS
	'Its start: a pid alone may be another backend''s by now.';
COMMENT ON COLUMN backfill.ranges.target_oid IS
	'OID of the table when the range began.';
COMMENT ON COLUMN backfill.ranges.key_index_oid IS
	'OID of the key''s index when the range began.';
COMMENT ON COLUMN backfill.ranges.archive_oid IS
	'OID of the archive table when the range began; NULL: it has none.';
COMMENT ON COLUMN backfill.ranges.rows_total_estimate IS
	'The planner''s estimate of rows in the range when it began.';
COMMENT ON COLUMN backfill.ranges.rows_read IS 'Keys passed by the cursor.';
COMMENT ON COLUMN backfill.ranges.rows_done IS
	'Rows changed, committed together with them.';
COMMENT ON COLUMN backfill.ranges.rows_still_matching IS
	'Changed rows that matched where_clause after the change: 0 in a self-excluding job.';
COMMENT ON COLUMN backfill.ranges.batches IS 'Committed batches.';
COMMENT ON COLUMN backfill.ranges.rows_per_second IS
	'Keys passed per second, exponentially weighted over about 30 seconds.';
COMMENT ON COLUMN backfill.ranges.rows_per_second_5min IS
	'The same over about 5 minutes, or since the range began.';
COMMENT ON COLUMN backfill.ranges.batch_rows IS
	'Rows that the last batch was to read: a resumed job goes on with this size.';
COMMENT ON COLUMN backfill.ranges.begun_at IS
	'When the bound was read; NULL: not yet.';
COMMENT ON COLUMN backfill.ranges.checkpoint_at IS
	'When the last batch committed its checkpoint.';
COMMENT ON COLUMN backfill.ranges.finished_at IS
	'When nothing was left to do up to the bound.';
COMMENT ON COLUMN backfill.ranges.pass IS
	'0: the walk; 1 to 3: a closing sweep, which looks once more for rows that match.';
COMMENT ON COLUMN backfill.ranges.sweep_cursor IS
	'As cursor, of the closing sweep under way.';
COMMENT ON COLUMN backfill.ranges.pass_rows IS
	'Rows changed in this sweep.';
COMMENT ON COLUMN backfill.ranges.late_rows IS
	'Rows changed by all sweeps: they were written while the job ran.';
COMMENT ON COLUMN backfill.ranges.residue IS
	'Rows that the third sweep, the last, still found and changed.';
COMMENT ON COLUMN backfill.ranges.key_signature IS
	'What made the key''s order when the range began: types, operators, collations.';
COMMENT ON COLUMN backfill.ranges.moves_by IS
	'Why an update has no closing sweep: a clause calls what makes rows match again by itself, such as now(); NULL: none does.';

COMMENT ON COLUMN backfill.ranges.attached_at IS
	'When its runner connected.';
COMMENT ON COLUMN backfill.ranges.batch_ms IS
	'How long the last batch took, in milliseconds.';
COMMENT ON COLUMN backfill.ranges.recent_batch_ms IS
	'How long the last batches took, at most 32, the newest last, in milliseconds.';
COMMENT ON COLUMN backfill.ranges.pause_ms IS
	'Time between the last two batches, in milliseconds.';
COMMENT ON COLUMN backfill.ranges.paced_ms IS
	'Time between batches in all, in milliseconds, while a runner was connected: paced, held, or waiting for others.';
COMMENT ON COLUMN backfill.ranges.step IS
	'Of the schema kinds: the statement that is run, or was run last.';
COMMENT ON COLUMN backfill.ranges.notes IS
	'Of the schema kinds, what a resumed job must know: changed, whether anything was done; attempts; looked, whether no row was in the way.';

-- No foreign key to jobs: its check would lock the jobs row in the batch.
CREATE TABLE IF NOT EXISTS backfill.holes (
	job_id bigint NOT NULL,
	number integer NOT NULL,
	id bigint GENERATED ALWAYS AS IDENTITY,
	is_window boolean NOT NULL DEFAULT false,
	lo text[],
	hi text[] NOT NULL,
	found_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (job_id, number, id)
);
COMMENT ON TABLE backfill.holes IS
	'Keys that the cursor passed while another transaction held the row; each is worked off after the range, none is forgotten.';
COMMENT ON COLUMN backfill.holes.job_id IS 'The job.';
COMMENT ON COLUMN backfill.holes.number IS 'The range.';
COMMENT ON COLUMN backfill.holes.id IS 'Number of the hole; they are worked off in this order, which is the key''s.';
COMMENT ON COLUMN backfill.holes.is_window IS
	'Whether the hole is a whole window (lo, hi], untouched as yet: others held more than 100 of its rows, or kept it waiting.';
COMMENT ON COLUMN backfill.holes.lo IS
	'Lower end of a window, excluded; NULL: from the first key, or not a window.';
COMMENT ON COLUMN backfill.holes.hi IS 'The key, or the upper end of a window.';
COMMENT ON COLUMN backfill.holes.found_at IS 'When the cursor passed it.';

-- No foreign key, as holes. A key may be too long for an index, and a retry
-- asks for each of many: hence the hash.
CREATE TABLE IF NOT EXISTS backfill.row_errors (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job_id bigint NOT NULL,
	number integer NOT NULL,
	key text[] NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL,
	constraint_name text,
	failed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	attempts integer NOT NULL DEFAULT 1,
	resolved_at timestamptz
);
CREATE INDEX IF NOT EXISTS row_errors_key_idx ON backfill.row_errors
	(job_id, number, pg_catalog.hash_array(key));
COMMENT ON TABLE backfill.row_errors IS
	'Rows that could not be changed, of jobs with on_row_error = record; backfill.retry() works them off.';
COMMENT ON COLUMN backfill.row_errors.id IS 'Number, by the system.';
COMMENT ON COLUMN backfill.row_errors.job_id IS 'The job.';
COMMENT ON COLUMN backfill.row_errors.number IS 'The range.';
COMMENT ON COLUMN backfill.row_errors.key IS
	'The row''s key, a text per key column.';
COMMENT ON COLUMN backfill.row_errors.sqlstate IS 'The error''s SQLSTATE.';
COMMENT ON COLUMN backfill.row_errors.message IS
	'Its message, cut to 1000 characters.';
COMMENT ON COLUMN backfill.row_errors.constraint_name IS
	'The constraint that the row violates, if it is one.';
COMMENT ON COLUMN backfill.row_errors.failed_at IS 'When it last failed.';
COMMENT ON COLUMN backfill.row_errors.attempts IS 'How often it failed.';
COMMENT ON COLUMN backfill.row_errors.resolved_at IS
	'When the row was changed after all, or needed it no more; NULL: not mended.';

CREATE TABLE IF NOT EXISTS backfill.events (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	actor name NOT NULL,
	job_id bigint,
	event text NOT NULL,
	detail text
);
CREATE INDEX IF NOT EXISTS events_job_id_idx ON backfill.events (job_id, id);
COMMENT ON TABLE backfill.events IS
	'Who did what and when; append-only. A control request is an event that acts (see backfill.pause).';
COMMENT ON COLUMN backfill.events.id IS 'Number, by the system.';
COMMENT ON COLUMN backfill.events.at IS 'When.';
COMMENT ON COLUMN backfill.events.actor IS
	'The role that did it; of control requests the current_user, not forgeable.';
COMMENT ON COLUMN backfill.events.job_id IS 'The job; NULL: all.';
COMMENT ON COLUMN backfill.events.event IS
	'Of the system: submitted, depends, started, taken_over, preflight, begun, window_hole, batch_cancelled, sweep, late_rows, not_self_excluding, not_swept, paused, released, succeeded, failed. Requests: pause, resume, cancel, retry, approve, take_back, stop_all, start_all.';
COMMENT ON COLUMN backfill.events.detail IS 'More, in words.';

CREATE TABLE IF NOT EXISTS backfill.daemons (
	incarnation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	host text NOT NULL,
	pid integer NOT NULL,
	version text NOT NULL,
	started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	lease interval NOT NULL,
	lease_until timestamptz NOT NULL,
	stopped_at timestamptz,
	jobs integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE backfill.daemons IS
	'Daemons that serve this database, with the heartbeat of each.';
COMMENT ON COLUMN backfill.daemons.incarnation IS
	'Number of one life of one daemon.';
COMMENT ON COLUMN backfill.daemons.host IS 'Host name.';
COMMENT ON COLUMN backfill.daemons.pid IS 'Process id on that host.';
COMMENT ON COLUMN backfill.daemons.version IS 'Version of the program.';
COMMENT ON COLUMN backfill.daemons.started_at IS 'When it registered.';
COMMENT ON COLUMN backfill.daemons.lease IS
	'How long a heartbeat counts, 1s to 10min.';
COMMENT ON COLUMN backfill.daemons.lease_until IS
	'By the server''s clock; after this another daemon may take its work.';
COMMENT ON COLUMN backfill.daemons.stopped_at IS
	'When it ended in good order; NULL: it runs, or it died.';

COMMENT ON COLUMN backfill.daemons.jobs IS
	'Jobs among which it divides its part of backfill.budget.';

-- Written twice a second while jobs run: the write is also the heartbeat by
-- which a standby that receives nothing is found out.
CREATE TABLE IF NOT EXISTS backfill.budget (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	wal_rate double precision,
	version bigint NOT NULL DEFAULT 0,
	set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	wal_spent bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 200);
INSERT INTO backfill.budget DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE backfill.budget IS
	'What the standbys allow, shared by all daemons of the database.';
COMMENT ON COLUMN backfill.budget.only_row IS 'Always true: one row.';
COMMENT ON COLUMN backfill.budget.wal_rate IS
	'WAL that batches may write, in bytes per second; NULL: not set yet.';
COMMENT ON COLUMN backfill.budget.version IS
	'Raised with each change of the rate: who saw an older one does not change it.';
COMMENT ON COLUMN backfill.budget.set_at IS 'When the rate was last changed.';
COMMENT ON COLUMN backfill.budget.wal_spent IS
	'WAL that batches have written, in bytes, since the schema was installed.';

CREATE TABLE IF NOT EXISTS backfill.samples (
	incarnation bigint NOT NULL,
	signal text NOT NULL,
	target text NOT NULL,
	value double precision,
	limit_value double precision,
	resume_value double precision,
	holding boolean NOT NULL,
	detail text,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (incarnation, signal, target)
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 200);
COMMENT ON TABLE backfill.samples IS
	'What backfill.signals shows, a row per signal of each daemon.';
COMMENT ON COLUMN backfill.samples.incarnation IS
	'The daemon (backfill.daemons).';
COMMENT ON COLUMN backfill.samples.signal IS 'What is measured.';
COMMENT ON COLUMN backfill.samples.target IS 'Of whom.';
COMMENT ON COLUMN backfill.samples.value IS 'NULL: unknown.';
COMMENT ON COLUMN backfill.samples.limit_value IS
	'No batch begins while the value is above it.';
COMMENT ON COLUMN backfill.samples.resume_value IS
	'Once held, no batch begins before the value is below it.';
COMMENT ON COLUMN backfill.samples.holding IS
	'Whether it holds batches back.';
COMMENT ON COLUMN backfill.samples.detail IS 'More, in words.';
COMMENT ON COLUMN backfill.samples.at IS 'When it was measured.';

CREATE TABLE IF NOT EXISTS backfill.stop (
	only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	stopped_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	stopped_by name NOT NULL,
	reason text
);
COMMENT ON TABLE backfill.stop IS
	'Holds a row from stop_all() to start_all(): no batch begins meanwhile.';
COMMENT ON COLUMN backfill.stop.only_row IS 'Always true: at most one row.';
COMMENT ON COLUMN backfill.stop.stopped_at IS 'Since when.';
COMMENT ON COLUMN backfill.stop.stopped_by IS 'By whom.';
COMMENT ON COLUMN backfill.stop.reason IS 'Why.';

RESET ROLE;
