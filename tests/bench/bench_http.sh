#!/usr/bin/env bash
# bench_http.sh: what HTTP costs the daemon. Three daemons one after the
# other, again and again: without HTTP; with it and nobody who asks; with it
# and a scrape of /metrics and /status.json each second. Memory of its own and
# processor time of each, and their ratios to the first.
#
#   SECONDS_EACH  of a run, default 15
#   RUNS          of each, default 5
#   PORT          default 17432
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

runs=${RUNS:-5}
seconds_each=${SECONDS_EACH:-15}
port=${PORT:-17432}

# ask PATH: with what bash has.
ask() {
	exec 3<>"/dev/tcp/127.0.0.1/$port"
	printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$1" >&3
	grep -q '^HTTP/1.1 200' <&3
	exec 3<&-
}

# measure off|quiet|asked: a line "kB ms" into $dir/KIND.
measure() {
	local kind=$1 listen=off second

	[ "$kind" = off ] || listen=127.0.0.1:$port
	start_daemon '    expected_standbys: []' "http: {listen: \"$listen\"}"
	for ((second = 0; second < seconds_each; second++)); do
		if [ "$kind" = asked ]; then
			ask /metrics
			ask /status.json
		fi
		value 'SELECT pg_sleep(1)' >/dev/null
	done
	echo "$(daemon_rss) $(daemon_cpu)" >>"$dir/$kind"
	stop_daemon
}

column() { cut -d ' ' -f "$2" "$dir/$1"; }

report() {
	local kind base_kb base_ms

	base_kb=$(column off 1 | median)
	base_ms=$(column off 2 | median)
	printf '%-6s %-24s %-24s %s\n' '' 'memory, kB' 'CPU, ms' \
		'ratios of the medians'
	for kind in off quiet asked; do
		printf '%-6s %-24s %-24s %s %s\n' "$kind" \
			"$(column "$kind" 1 | spread)" \
			"$(column "$kind" 2 | spread)" \
			"$(awk -v a="$(column "$kind" 1 | median)" \
				-v b="$base_kb" 'BEGIN { printf "%.2f", a / b }')" \
			"$(awk -v a="$(column "$kind" 2 | median)" \
				-v b="$base_ms" 'BEGIN {
					if (b > 0) printf "%.2f", a / b
					else print "-" }')"
	done
}

bench_open http
start_primary 'fsync = off'
for ((run = 0; run < runs; run++)); do
	measure off
	measure quiet
	measure asked
done
echo "the daemon over $seconds_each s, $runs runs each, median [min..max]"
report
