#!/usr/bin/env bash
# The bench of HTTP itself, with short runs: it tells its three lines, and
# nothing of it stays. Not how much.
. "$(dirname "$0")/../lib/shell.sh"

free_port() {
	local port

	for port in $(seq 21000 21200); do
		if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
}

bench_tells_its_numbers() {
	local kind

	BACKFILL_BUILD_DIR=${BACKFILL_BUILD_DIR:-$PWD/build/release}
	export BACKFILL_BUILD_DIR TMPDIR=$scratch RUNS=1 SECONDS_EACH=2
	chmod 755 "$scratch"
	PORT=$(free_port) tests/bench/bench_http.sh >"$scratch/bench.out" ||
		fail "the bench failed"
	for kind in off quiet asked; do
		grep -qE "^$kind +[0-9]+ \[[0-9]+\.\.[0-9]+\] +[0-9]+ .* [0-9.]+ ([0-9.]+|-)$" \
			"$scratch/bench.out" || fail "$(cat "$scratch/bench.out")"
	done
	[ -z "$(find "$scratch" -maxdepth 1 -name 'backfilld-http.*')" ]
}

run_test bench_tells_its_numbers
finish_tests
