#!/usr/bin/env bash
# bench_update.sh: what a job costs beside the UPDATE that it replaces. On one
# throw-away server, each round changes a fresh copy of the same table four
# ways, in rotating order:
#	single	one UPDATE
#	loop	the batches that people write: 10000 rows FOR UPDATE SKIP LOCKED,
#		by id IN (…), COMMIT, again until there is none
#	ctid	the same by ctid, which is faster, and may leave out a row that
#		somebody else updates
#	job	a job of a daemon that was there, and idle, before
# Ratios are of speeds, taken within a round. Then: how soon a job is claimed,
# and what an idle daemon does.
#
# Environment: BENCH_ROWS (1000000), ROUNDS (5), IDLE_SECONDS (30)
. "$(dirname "$0")/lib.sh"

rows=${BENCH_ROWS:-1000000}
rounds=${ROUNDS:-5}
idle_seconds=${IDLE_SECONDS:-30}
ways=(single loop ctid job)

# ---- the three ways

# A table in the same state each time: packed, frozen, analyzed, in memory,
# with no dirty page.
make_table() {
	user=app sql -v rows="$rows" <<-'SQL'
		SET client_min_messages = warning;
		DROP TABLE IF EXISTS bench;
		CREATE TABLE bench AS SELECT n::bigint AS id, n % 1000 AS a,
			n % 7 AS b, NULL::integer AS c, md5(n::text) AS note
		FROM generate_series(1, :rows) n;
		ALTER TABLE bench ADD PRIMARY KEY (id);
		VACUUM (FREEZE, ANALYZE) bench;
	SQL
	sql -c CHECKPOINT
}

# Each prints its seconds, by the server's clock.
run_single() {
	user=app sql -At <<-'SQL'
		SELECT clock_timestamp() AS began \gset
		UPDATE bench SET c = a * 2 WHERE c IS NULL;
		SELECT extract(epoch FROM clock_timestamp() - :'began');
	SQL
}

# loop_while_found WHERE: batches that find their rows by it.
loop_while_found() {
	user=app sql -At <<-SQL
		SELECT clock_timestamp() AS began \gset
		DO \$\$
		BEGIN
			LOOP
				UPDATE bench SET c = a * 2 WHERE $1;
				EXIT WHEN NOT FOUND;
				COMMIT;
			END LOOP;
		END
		\$\$;
		SELECT extract(epoch FROM clock_timestamp() - :'began');
	SQL
}

run_loop() {
	loop_while_found 'id IN (SELECT id FROM bench WHERE c IS NULL
		LIMIT 10000 FOR UPDATE SKIP LOCKED)'
}

run_ctid() {
	loop_while_found 'ctid = ANY (ARRAY(SELECT ctid FROM bench
		WHERE c IS NULL LIMIT 10000 FOR UPDATE SKIP LOCKED))'
}

run_job() {
	local id watcher cpu

	cpu=$(daemon_cpu)
	watch_memory &
	watcher=$!
	id=$(user=app sql -At -c "INSERT INTO backfill.jobs
		(target, set_clause, where_clause)
		VALUES ('bench', 'c = a * 2', 'c IS NULL') RETURNING id")
	as_server "$dir/bin/backfillctl" -h "$sock" -U app -d shop wait "$id" \
		--timeout=10min >/dev/null
	kill "$watcher"
	wait "$watcher" || true
	awk -v a="$cpu" -v b="$(daemon_cpu)" \
		'BEGIN { print (b - a) / 1000 }' >>"$dir/cpu"
	value "SELECT batches FROM backfill.progress WHERE id = $id" \
		>>"$dir/batches"
	value "SELECT extract(epoch FROM j.finished_at - e.at)
		FROM backfill.jobs j JOIN backfill.events e ON e.job_id = j.id
		WHERE j.id = $id AND e.event = 'sweep'" >>"$dir/sweep"
	value "SELECT extract(epoch FROM finished_at - submitted_at)
		FROM backfill.progress WHERE id = $id"
}

watch_memory() {
	while :; do
		daemon_rss >>"$dir/rss"
		sleep 0.2
	done
}

# run_way NAME: seconds to $dir/NAME, bytes of WAL per row to $dir/NAME.wal.
run_way() {
	local lsn

	make_table
	lsn=$(value 'SELECT pg_current_wal_insert_lsn()')
	"run_$1" >>"$dir/$1"
	value "SELECT (pg_current_wal_insert_lsn() - '$lsn') / $rows" \
		>>"$dir/$1.wal"
	if [ "$(value 'SELECT count(*) FROM bench WHERE c = a * 2')" != \
		"$rows" ]; then
		echo "$1 did not change each row" >&2
		return 1
	fi
}

# ratio OTHER WAY: how fast WAY was beside OTHER, a line per round.
ratio() { paste "$dir/$1" "$dir/$2" | awk '{ print $1 / $2 }'; }

# ---- a daemon that has nothing to do

# Milliseconds from INSERT to claim, a line per job. Submission is timed
# before its commit, so it is a little less than told here.
time_claims() {
	local id

	user=app sql -c 'CREATE TABLE tiny (id int PRIMARY KEY, n int)'
	for _ in $(seq 20); do
		id=$(user=app sql -At -c "INSERT INTO backfill.jobs
			(target, set_clause) VALUES ('tiny', 'n = 1')
			RETURNING id")
		wait_until "SELECT finished_at IS NOT NULL
			FROM backfill.jobs WHERE id = $id" 60
		value "SELECT extract(epoch FROM started_at - submitted_at)
			* 1000 FROM backfill.jobs WHERE id = $id"
	done
}

wake_ups() {
	awk '/^voluntary_ctxt_switches:/ { n += $2 } END { print n }' \
		/proc/"$daemon"/task/*/status
}

# ---- the run

bench_open bench
start_primary 'shared_buffers = 512MB' 'max_wal_size = 8GB' \
	'checkpoint_timeout = 1h' 'autovacuum = off'
start_daemon
daemon_rss >"$dir/rss.start"

for ((round = 0; round < rounds; round++)); do
	for ((i = 0; i < ${#ways[@]}; i++)); do
		run_way "${ways[(round + i) % ${#ways[@]}]}"
	done
done
daemon_rss >"$dir/rss.end"

time_claims >"$dir/claims"
before=$(wake_ups)
sleep "$idle_seconds"
after=$(wake_ups)

echo "$rows rows, $rounds rounds; median [min..max]"
value "SELECT 'PostgreSQL ' || current_setting('server_version') || ': '
	|| string_agg(name || ' ' || current_setting(name), ', ' ORDER BY n)
	FROM unnest(ARRAY['fsync', 'synchronous_commit', 'full_page_writes',
	'wal_level', 'shared_buffers', 'autovacuum'])
	WITH ORDINALITY AS u(name, n)"
echo
printf '%-8s %-22s %-18s %-18s %-18s %s\n' way seconds 'speed / single' \
	'speed / loop' 'speed / ctid' 'WAL bytes/row'
for way in "${ways[@]}"; do
	printf '%-8s %-22s %-18s %-18s %-18s %s\n' "$way" \
		"$(spread %.2f <"$dir/$way")" \
		"$(ratio single "$way" | spread %.2f)" \
		"$(ratio loop "$way" | spread %.2f)" \
		"$(ratio ctid "$way" | spread %.2f)" \
		"$(median %.0f <"$dir/$way.wal")"
done
echo
printf '%-34s %s\n' \
	'batches of the job' "$(spread %.0f <"$dir/batches")" \
	'of it the closing sweep, seconds' "$(spread %.2f <"$dir/sweep")" \
	'daemon, CPU seconds per job' "$(spread %.2f <"$dir/cpu")" \
	'daemon, RssAnon kB start/peak/end' "$(cat "$dir/rss.start")/$(
		sort -n "$dir/rss" | tail -n 1)/$(cat "$dir/rss.end")" \
	'INSERT to claim, ms' "$(spread %.1f <"$dir/claims")" \
	'idle daemon, wake-ups per second' "$(awk -v n=$((after - before)) \
		-v s="$idle_seconds" 'BEGIN { printf "%.2f", n / s }')"
