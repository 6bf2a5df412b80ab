#!/usr/bin/env bash
# The bench itself, as `make bench` runs it, with few rows: it tells every
# line, its numbers are numbers, and nothing of it stays. Not how fast.
. "$(dirname "$0")/../lib/shell.sh"

# is_spread TEXT: "median [min..max]", in this order.
is_spread() {
	awk -v s="$1" 'BEGIN {
		if (s !~ /^[0-9.]+ \[[0-9]+(\.[0-9]+)?\.\.[0-9]+(\.[0-9]+)?\]$/)
			exit 1
		split(s, part, / \[|\.\.|\]/)
		exit !(part[2] <= part[1] + 0 && part[1] <= part[3] + 0)
	}' || fail "not a median with its spread: $1"
}

# row LABEL: what stands after it.
row() {
	grep -q "^$1  *" "$scratch/bench.out" || fail "no line: $1"
	sed -n "s|^$1  *||p" "$scratch/bench.out" | head -n 1
}

bench_tells_its_numbers() {
	local way line cells

	export TMPDIR=$scratch BENCH_ROWS=30000 ROUNDS=2 IDLE_SECONDS=1
	chmod 755 "$scratch"
	tests/bench/bench_update.sh >"$scratch/bench.out" || {
		cat "$scratch/bench.out"
		fail "the bench failed"
	}
	cat "$scratch/bench.out"
	[ "$(head -n 1 "$scratch/bench.out")" = \
		'30000 rows, 2 rounds; median [min..max]' ]
	grep -q '^PostgreSQL .*: fsync on, synchronous_commit on,' \
		"$scratch/bench.out"

	for way in single loop ctid job; do
		line=$(row "$way")
		mapfile -t cells < <(sed 's/   */\n/g; s/\] /]\n/g' <<<"$line" |
			sed 's/^ *//; /^$/d')
		[ "${#cells[@]}" -eq 5 ] || fail "not 5 cells: $line"
		for cell in "${cells[@]:0:4}"; do
			is_spread "$cell"
		done
		[ "${cells[4]}" -gt 100 ]
	done
	[[ "$(row single)" == *'1.00 [1.00..1.00]'* ]]

	is_spread "$(row 'batches of the job')"
	is_spread "$(row 'of it the closing sweep, seconds')"
	is_spread "$(row 'daemon, CPU seconds per job')"
	is_spread "$(row 'INSERT to claim, ms')"
	[[ "$(row 'daemon, RssAnon kB start/peak/end')" =~ \
		^[1-9][0-9]*/[1-9][0-9]*/[1-9][0-9]*$ ]]
	[[ "$(row 'idle daemon, wake-ups per second')" =~ ^[0-9]+\.[0-9]+$ ]]
	[ -z "$(ls -d "$scratch"/backfilld-bench.* 2>/dev/null)" ] ||
		fail "the bench left its directory"
}

# A way that left a row out has no speed.
bench_notices_a_row_left_out() {
	export TMPDIR=$scratch BENCH_ROWS=1000 ROUNDS=1 IDLE_SECONDS=1
	chmod 755 "$scratch"
	mkdir "$scratch/broken"
	cp tests/bench/lib.sh "$scratch/broken"
	sed 's/UPDATE bench SET c = a \* 2 WHERE c IS NULL;/& \
		UPDATE bench SET c = NULL WHERE id = 7;/' \
		tests/bench/bench_update.sh >"$scratch/broken/bench_update.sh"
	chmod +x "$scratch/broken/bench_update.sh"
	! "$scratch/broken/bench_update.sh" >"$scratch/broken.out" 2>&1 ||
		fail "a row that was left out was not noticed"
	grep -q '^single did not change each row$' "$scratch/broken.out"
	[ -z "$(ls -d "$scratch"/backfilld-bench.* 2>/dev/null)" ] ||
		fail "the failed bench left its directory"
}

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
export BACKFILL_BUILD_DIR
run_test bench_tells_its_numbers
run_test bench_notices_a_row_left_out
finish_tests
