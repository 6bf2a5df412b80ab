#!/usr/bin/env bash
# bench_lag.sh: what a large change does to a slow standby. A primary and a
# standby whose replay stands still for 480 ms of each half second, so that it
# can replay much less than the primary can write. Each round changes a fresh
# table three ways, in rotating order:
#	loop	the batches that people write: LIMIT 10000 FOR UPDATE SKIP
#		LOCKED, COMMIT, again, by key and without a pause
#	job	a job of a daemon with max_replication_lag 2s
#	two	two jobs of half as many rows, and two such daemons
# The lag is taken every 100 ms by a watcher of the bench's own: the age, on
# the standby, of a row that the primary writes every 100 ms. It counts from
# the first row until the standby has all of the change. The lag of the first
# round is drawn to build/bench-lag.svg, or to the file of BENCH_SVG.
#
# Environment: BENCH_ROWS (400000), ROUNDS (3)
here=$(cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/lib.sh"

rows=${BENCH_ROWS:-400000}
rounds=${ROUNDS:-3}
svg=${BENCH_SVG:-$(cd "$BACKFILL_BUILD_DIR/.." && pwd)/bench-lag.svg}
limit=2
ways=(loop job two)

# ---- the standby and its watcher

# What runs until the bench ends is ended with the daemons.
in_background() {
	"$@" &
	daemons+=("$!")
}

# In the process of the shell that starts it, as exec_daemon.
exec_psql() {
	exec "${as[@]}" psql -X -q -At -h "$sock" -p "$(port_of "$1")" \
		-U postgres -d shop
}

beat() {
	exec_psql primary <<-'SQL'
		DO $$ BEGIN LOOP
			UPDATE beat SET at = clock_timestamp();
			COMMIT;
			PERFORM pg_sleep(0.1);
		END LOOP; END $$;
	SQL
}

# Lines of the time and the lag, in seconds.
watch_beat() {
	exec_psql standby1 <<-'SQL'
		\pset fieldsep ' '
		SELECT extract(epoch FROM clock_timestamp()),
			extract(epoch FROM clock_timestamp() - at)
		FROM beat \watch 0.1
	SQL
}

stand_still() {
	while :; do
		kill -STOP "$1"
		sleep 0.48
		kill -CONT "$1"
		sleep 0.02
	done
}

slow_down() {
	replay=$(sql_at standby1 -At -c "SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'startup'")
	stand_still "$replay" &
	slower=$!
	daemons+=("$slower")
}

speed_up() {
	kill "$slower"
	wait "$slower" 2>/dev/null || true
	kill -CONT "$replay"
}

# Until the standby has replayed all that is written by now.
wait_replayed() {
	wait_until "SELECT replay_lsn >= '$(value \
		'SELECT pg_current_wal_flush_lsn()')'
		FROM pg_stat_replication" 300
}

# ---- the ways

# Packed, frozen, analyzed, in memory, with no dirty page. $1 to $2 are ids.
make_table() {
	user=app sql -v table="$1" -v first="$2" -v last="$3" <<-'SQL'
		SET client_min_messages = warning;
		DROP TABLE IF EXISTS :table;
		CREATE TABLE :table AS SELECT n::bigint AS id, n % 1000 AS a,
			NULL::integer AS c, md5(n::text) AS note
		FROM generate_series(:first, :last) n;
		ALTER TABLE :table ADD PRIMARY KEY (id);
		VACUUM (FREEZE, ANALYZE) :table;
	SQL
}

make_tables() {
	if [ "$1" = two ]; then
		make_table bench 1 $((rows / 2))
		make_table bench_b $((rows / 2 + 1)) "$rows"
	else
		make_table bench 1 "$rows"
		user=app sql -c 'DROP TABLE IF EXISTS bench_b' 2>/dev/null
	fi
	sql -c CHECKPOINT
	wait_replayed
}

run_loop() {
	user=app sql <<-'SQL'
		DO $$
		DECLARE
			last bigint := 0;
		BEGIN
			LOOP
				WITH c AS MATERIALIZED (
					SELECT id FROM bench
					WHERE id > last AND c IS NULL
					ORDER BY id LIMIT 10000
					FOR UPDATE SKIP LOCKED),
				u AS (UPDATE bench SET c = a * 2 FROM c
					WHERE bench.id = c.id
					RETURNING bench.id)
				SELECT max(id) INTO last FROM u;
				EXIT WHEN last IS NULL;
				COMMIT;
			END LOOP;
		END
		$$;
	SQL
}

submit() {
	user=app sql -c "INSERT INTO backfill.jobs
		(target, set_clause, where_clause)
		SELECT t, 'c = a * 2', 'c IS NULL'
		FROM unnest('{$1}'::text[]) AS u(t)"
	wait_until "SELECT bool_and(finished_at IS NOT NULL)
		FROM backfill.jobs" 300
}

run_job() { submit bench; }

# As a rule each of the two has one: they are told of both at the same time.
run_two() {
	submit bench,bench_b
	value "SELECT count(DISTINCT split_part(detail, ' ', 3))
		FROM backfill.events WHERE event = 'started' AND job_id > (
			SELECT max(id) - 2 FROM backfill.jobs)" >>"$dir/owners"
}

assert_changed() {
	local tables=bench changed

	[ "$1" != two ] || tables='(TABLE bench UNION ALL TABLE bench_b)'
	changed=$(value "SELECT count(*) FROM $tables t WHERE c = a * 2")
	if [ "$changed" != "$rows" ]; then
		echo "$1 changed $changed rows of $rows" >&2
		return 1
	fi
}

start_daemons() {
	local count=0 i

	case $1 in job) count=1 ;; two) count=2 ;; esac
	for ((i = 0; i < count; i++)); do
		start_daemon '    expected_standbys: [standby1]' \
			"pace: {max_replication_lag: ${limit}s}"
		started+=("$daemon")
	done
}

now() { value 'SELECT extract(epoch FROM clock_timestamp())'; }

# run_way NAME ROUND: a line of numbers to $dir/NAME.runs, the lag to
# $dir/NAME.ROUND: lines of seconds since the beginning, and lag, to the first
# sample that has seen the end.
run_way() {
	local began ended all lsn written started=() pid

	make_tables "$1"
	start_daemons "$1"
	slow_down
	lsn=$(value 'SELECT pg_current_wal_insert_lsn()')
	began=$(now)
	"run_$1"
	ended=$(now)
	written=$(value "SELECT pg_current_wal_insert_lsn() - '$lsn'")
	wait_replayed
	all=$(now)
	speed_up
	assert_changed "$1"
	for pid in "${started[@]}"; do
		stop_daemon "$pid"
	done
	awk -v began="$began" -v all="$all" '
		NF == 2 && $1 >= began && $1 <= all + 0.2 {
			print $1 - began, $2
		}' "$dir/lag" >"$dir/$1.$2"
	awk '{ print $2 }' "$dir/$1.$2" | sort -g | awk -v rows="$rows" \
		-v took="$(awk "BEGIN { print $ended - $began }")" \
		-v all="$(awk "BEGIN { print $all - $began }")" \
		-v written="$written" '
		{ lag[NR] = $1 }
		END {
			print rows / took, written / took / 1e6, all,
				lag[int((NR + 1) / 2)],
				lag[int(NR * 0.99 + 0.999)], lag[NR]
		}' >>"$dir/$1.runs"
}

# ---- the run

bench_open bench-lag
start_primary 'shared_buffers = 256MB' 'max_wal_size = 8GB' \
	'checkpoint_timeout = 1h' 'autovacuum = off'
start_standby standby1 'shared_buffers = 128MB'
sql -c 'CREATE TABLE beat AS SELECT clock_timestamp() AS at'
in_background beat
wait_replayed
in_background watch_beat >"$dir/lag"

for ((round = 1; round <= rounds; round++)); do
	for ((i = 0; i < ${#ways[@]}; i++)); do
		run_way "${ways[(round - 1 + i) % ${#ways[@]}]}" "$round"
	done
done

column() { awk -v n="$2" '{ print $n }' "$dir/$1.runs" | spread "$3"; }

# ratio WAY OTHER COLUMN: within a round.
ratio() {
	paste "$dir/$1.runs" "$dir/$2.runs" |
		awk -v n="$3" '{ print $n / $(n + 6) }' | spread %.2f
}

echo "$rows rows, $rounds rounds, max_replication_lag $limit s;" \
	'median [min..max]'
echo
printf '%-5s %-24s %-18s %-18s %-18s %-18s %s\n' way rows/s 'WAL MB/s' \
	'lag p50, s' 'lag p99, s' 'lag max, s' 'standby has all, s'
for way in "${ways[@]}"; do
	printf '%-5s %-24s %-18s %-18s %-18s %-18s %s\n' "$way" \
		"$(column "$way" 1 %.0f)" "$(column "$way" 2 %.1f)" \
		"$(column "$way" 4 %.1f)" "$(column "$way" 5 %.1f)" \
		"$(column "$way" 6 %.1f)" "$(column "$way" 3 %.1f)"
done
echo
printf '%-34s %s\n' \
	'rows/s, job / loop' "$(ratio job loop 1)" \
	'lag p99, loop / job' "$(ratio loop job 5)" \
	'standby has all, job / loop' "$(ratio job loop 3)" \
	'WAL per second, two / job' "$(ratio two job 2)" \
	'lag p99, two / job' "$(ratio two job 5)" \
	'daemons that had a job, of two' "$(spread %.0f <"$dir/owners")"

awk -v limit="$limit" -f "$here/lag_svg.awk" "$dir/loop.1" "$dir/job.1" \
	>"$svg"
echo
echo "drawn: $svg"
