# lib.sh: sourced by the benches. One throw-away directory, $dir, with servers
# that are reached through sockets in $sock, and daemons, $daemon the latest.
# Whatever way the bench ends, nothing of it stays; KEEP=1 keeps the directory
# of one that failed.
# shellcheck shell=bash
set -eu

: "${BACKFILL_BUILD_DIR:?run \`make bench\`}"
bindir=${PG_BINDIR:-$(pg_config --bindir)}
dir=
sock=
daemon=
daemons=()
servers=()

# PostgreSQL refuses to run as root: then everything is user postgres's. The
# programs are copied, since that user may not be able to reach the checkout.
as=()
if [ "$(id -u)" -eq 0 ]; then
	as=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
as_server() { "${as[@]}" "$@"; }

# ---- the directory

# bench_open NAME: make the directory and see to its end.
bench_open() {
	dir=$(mktemp -d "${TMPDIR:-/tmp}/backfilld-$1.XXXXXX")
	sock=$dir/s
	trap bench_close EXIT
	trap 'exit 130' INT TERM
	mkdir "$dir/bin" "$sock"
	cp "$BACKFILL_BUILD_DIR"/backfilld "$BACKFILL_BUILD_DIR"/backfillctl \
		"$dir/bin"
	[ ${#as[@]} -eq 0 ] || chown -R postgres "$dir"
	cd "$dir"
}

# shellcheck disable=SC2317 # called by the trap
bench_close() {
	local status=$? name pid

	trap - EXIT
	for pid in "${daemons[@]}"; do
		kill -9 "$pid" 2>/dev/null || true
	done
	for name in "${servers[@]}"; do
		stop_server "$name" immediate || true
	done
	if [ $status -ne 0 ]; then
		echo "the bench failed; the logs:" >&2
		tail -n 20 "$dir"/*.log >&2 || true
	fi
	[ $status -ne 0 ] && [ -n "${KEEP:-}" ] || rm -rf "$dir"
	exit $status
}

# ---- servers: the first one has port 5432, the next one 5433, and so on

port_of() { cat "$dir/$1.port"; }

# sql_at SERVER [PSQL OPTION]...: database shop, as $user or superuser
# postgres.
sql_at() {
	local server=$1
	shift
	as_server psql -X -q -v ON_ERROR_STOP=1 -h "$sock" \
		-p "$(port_of "$server")" -U "${user:-postgres}" -d shop "$@"
}

# sql [PSQL OPTION]...: on the primary. value SQL: its one value.
sql() { sql_at primary "$@"; }
value() { sql -At -c "$1"; }

# start_server NAME: again, after stop_server; waits until it takes queries.
start_server() {
	as_server "$bindir/pg_ctl" -D "$dir/$1" -l "$dir/$1.log" -w start \
		>/dev/null
}

# stop_server NAME [fast|immediate]
stop_server() {
	as_server "$bindir/pg_ctl" -D "$dir/$1" -m "${2:-fast}" -w stop \
		>/dev/null 2>&1
}

# server_pid NAME: the postmaster's.
server_pid() { head -n 1 "$dir/$1/postmaster.pid"; }

# configure NAME [SETTING]...: lines of postgresql.conf; the last one wins.
configure() {
	local name=$1
	shift
	echo $((5432 + ${#servers[@]})) >"$dir/$name.port"
	servers+=("$name")
	{
		echo "port = $(port_of "$name")"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >>"$dir/$name/postgresql.conf"
}

# start_primary [SETTING]...: a primary, called "primary", with database shop,
# the schema backfill, the control login backfilld and the login app, which
# may submit jobs and make tables.
start_primary() {
	as_server "$bindir/initdb" -D "$dir/primary" -U postgres -A trust \
		-E UTF8 --locale=C >/dev/null
	configure primary "listen_addresses = ''" \
		"unix_socket_directories = '$sock'" "$@"
	start_server primary
	as_server psql -X -q -h "$sock" -U postgres -d postgres \
		-c 'CREATE DATABASE shop'
	as_server "$dir/bin/backfillctl" -h "$sock" -U postgres -d shop \
		install >/dev/null
	sql <<-'SQL'
		CREATE ROLE backfilld LOGIN;
		GRANT backfill_daemon, pg_monitor, pg_signal_backend
			TO backfilld;
		CREATE ROLE app LOGIN;
		GRANT backfill_submit TO app;
		GRANT CREATE ON SCHEMA public TO app;
	SQL
}

# start_standby NAME [SETTING]...: a streaming standby of the primary. NAME is
# its application_name and its slot.
start_standby() {
	local name=$1
	shift
	as_server "$bindir/pg_basebackup" -D "$dir/$name" -R -C -S "$name" \
		-X stream -c fast -d "host=$sock port=$(port_of primary)
			user=postgres application_name=$name"
	configure "$name" "$@"
	start_server "$name"
	wait_until "SELECT state = 'streaming' FROM pg_stat_replication
		WHERE application_name = '$name'" 60
}

# wait_until SQL SECONDS: until the primary says "t"; fails when it does not.
# A server's sleep: no client starts more often than it need be.
wait_until() {
	local deadline=$((SECONDS + $2))

	until [ "$(value "$1")" = t ]; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "not so after $2 s: $1" >&2
			return 1
		fi
		value 'SELECT pg_sleep(0.05)' >/dev/null
	done
}

# ---- the daemon

# start_daemon [YAML LINE]...: one that serves the database shop; waits until
# it has registered itself and sets $daemon to its pid. The lines are added to
# its configuration: first those that belong to the database, with four
# spaces before them. Without any, no standby is expected.
start_daemon() {
	local config=$dir/backfilld.yaml

	{
		echo 'databases:'
		echo '  - name: shop'
		echo "    dsn: \"host=$sock dbname=shop user=backfilld\""
		[ $# -gt 0 ] || set -- '    expected_standbys: []'
		printf '%s\n' "$@"
	} >"$config"
	exec_daemon "$config" 2>>"$dir/daemon.log" &
	daemon=$!
	daemons+=("$daemon")
	wait_until "SELECT EXISTS (SELECT FROM backfill.daemons
		WHERE pid = $daemon AND lease_until > clock_timestamp())" 30
}

# In the process of the shell that starts it: the pid must be the daemon's.
exec_daemon() { exec "${as[@]}" "$dir/bin/backfilld" -c "$1"; }

# stop_daemon [PID]: in good order; $daemon by default.
stop_daemon() {
	local pid=${1:-$daemon} other rest=()

	kill -TERM "$pid"
	wait "$pid"
	for other in "${daemons[@]}"; do
		[ "$other" = "$pid" ] || rest+=("$other")
	done
	daemons=("${rest[@]}")
}

# Of $daemon: memory that is its own, in kB, and processor time, in ms.
daemon_rss() { awk '/^RssAnon:/ { print $2 }' "/proc/$daemon/status"; }
daemon_cpu() {
	awk -v hz="$(getconf CLK_TCK)" \
		'{ print ($14 + $15) * 1000 / hz }' "/proc/$daemon/stat"
}

# ---- numbers

# median [FORMAT]: of the numbers on standard input, one a line.
median() {
	sort -g | awk -v format="${1:-%s}" '
		{ x[NR] = $1 }
		END {
			if (NR == 0) exit 1
			m = int((NR + 1) / 2)
			printf format "\n", (x[m] + x[NR + 1 - m]) / 2
		}'
}

# spread [FORMAT]: "median [min..max]" of the same.
spread() {
	sort -g | awk -v format="${1:-%s}" '
		{ x[NR] = $1 }
		END {
			if (NR == 0) exit 1
			m = int((NR + 1) / 2)
			printf format " [" format ".." format "]\n",
				(x[m] + x[NR + 1 - m]) / 2, x[1], x[NR]
		}'
}
