#!/usr/bin/env bash
# That the bench of lag runs, with few rows: each way changes each row, has
# its line, and the picture has both curves. What the numbers are is not
# asserted.
. "$(dirname "$0")/../lib/shell.sh"

bench_lag_prints_and_draws() {
	local way

	export TMPDIR=$scratch BENCH_ROWS=3000 ROUNDS=1
	export BENCH_SVG=$scratch/lag.svg
	chmod 755 "$scratch"
	tests/bench/bench_lag.sh >"$scratch/bench.out" || {
		cat "$scratch/bench.out"
		fail "the bench failed"
	}
	cat "$scratch/bench.out"
	grep -qx '3000 rows, 1 rounds, max_replication_lag 2 s; median \[.*\]' \
		"$scratch/bench.out"
	for way in loop job two; do
		grep -qE "^$way( +[0-9.]+ \[[0-9.]+\.\.[0-9.]+\]){6}\$" \
			"$scratch/bench.out" || fail "no line of $way"
	done
	grep -qE '^lag p99, loop / job +[0-9.]+ \[' "$scratch/bench.out"
	grep -qE '^WAL per second, two / job +[0-9.]+ \[' "$scratch/bench.out"
	[ "$(grep -c '^<polyline .* [0-9.]*,[0-9.]*"/>$' "$BENCH_SVG")" = 2 ]
	grep -q '>max_replication_lag 2 s</text>' "$BENCH_SVG"
	[ "$(tail -n 1 "$BENCH_SVG")" = '</svg>' ]
	[ -z "$(ls -d "$scratch"/backfilld-bench-lag.* 2>/dev/null)" ] ||
		fail "the bench left its directory"
}

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
export BACKFILL_BUILD_DIR
run_test bench_lag_prints_and_draws
finish_tests
