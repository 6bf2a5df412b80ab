# pair.sh: sourced after shell.sh by shell tests that need real servers: a
# primary with a streaming standby, the schema, logins and a daemon, all in
# $pair, talking through sockets there. Nothing of it stays.
# shellcheck shell=bash

: "${BACKFILL_BUILD_DIR:=$PWD/build/release}"
bindir=${PG_BINDIR:-$(pg_config --bindir)}
pair=${scratch:?}/p

# PostgreSQL refuses to run as root. As root everything here is user
# postgres's, from copies of the programs: that user may not be able to reach
# the checkout.
as=()
if [ "$(id -u)" -eq 0 ]; then
	as=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi

run() { "${as[@]}" "$@"; }
sql() { run psql -X -q -At -v ON_ERROR_STOP=1 -h "$pair/s" \
	-U "${user:-postgres}" -d shop "$@"; }
on_standby() { run psql -X -q -At -h "$pair/r" -U postgres -d shop "$@"; }
ctl() { run "$pair/bin/backfillctl" -h "$pair/s" -U "${user:-app}" -d shop \
	"$@"; }

# wait_for SECONDS COMMAND...: until it succeeds; fails the test at the
# deadline.
wait_for() {
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			"$@" || true
			fail "this did not come about: $*"
		fi
		sleep 0.1
	done
}

# wait_sql SECONDS CONDITION
wait_sql() { wait_for "$1" sql_is_true "$2"; }
sql_is_true() { [ "$(sql -c "SELECT $1")" = t ]; }

start_server() {
	run "$bindir/pg_ctl" -D "$pair/$1" -l "$pair/$1.log" -w start \
		>/dev/null
}

stop_server() {
	run "$bindir/pg_ctl" -D "$pair/$1" -m "${2:-fast}" -w stop >/dev/null
}

# Its pid is in a file, since each test is a subshell. exec: it must be the
# daemon's own.
start_daemon() {
	(exec "${as[@]}" "$pair/bin/backfilld" -c "$pair/backfilld.yaml" \
		>>"$pair/daemon.log" 2>&1) &
	echo $! >"$scratch/daemon.pid"
}

kill_daemon() { kill -KILL "$(cat "$scratch/daemon.pid")"; }

# start_pair: the servers and the schema; the daemon's file is written with
# the sections of $1.
start_pair() {
	mkdir -p "$pair/bin" "$pair/s" "$pair/r"
	cp "$BACKFILL_BUILD_DIR/backfilld" "$BACKFILL_BUILD_DIR/backfillctl" \
		"$pair/bin"
	sed 's/^\t*//' >"$pair/backfilld.yaml" <<-YAML
		databases:
		  - name: shop
		    dsn: "host=$pair/s dbname=shop user=backfilld"
		    expected_standbys: [standby1]
		http: {listen: "off"}
		$1
	YAML
	if [ ${#as[@]} -gt 0 ]; then
		chmod 755 "$scratch"
		chown -R postgres "$pair"
	fi
	run "$bindir/initdb" -D "$pair/data" -U postgres -A trust -E UTF8 \
		--locale=C --no-sync >/dev/null
	cat >>"$pair/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$pair/s'
		fsync = off
		shared_buffers = 32MB
		autovacuum = off
	CONF
	start_server data
	run "$bindir/pg_basebackup" -D "$pair/replica" -R -C -S standby1 \
		-X stream -c fast --no-sync \
		-d "host=$pair/s user=postgres application_name=standby1"
	echo "unix_socket_directories = '$pair/r'" \
		>>"$pair/replica/postgresql.conf"
	start_server replica
	run psql -X -q -h "$pair/s" -U postgres -d postgres \
		-c 'CREATE DATABASE shop'
	user=postgres ctl install >/dev/null
	sql <<-'SQL'
		CREATE ROLE backfilld LOGIN;
		GRANT backfill_daemon, pg_monitor, pg_signal_backend TO backfilld;
		CREATE ROLE app LOGIN;
		GRANT backfill_submit TO app;
		GRANT CREATE ON SCHEMA public TO app;
	SQL
}

# Called by the trap of who sources this.
stop_pair() {
	kill_daemon 2>/dev/null
	stop_server replica immediate 2>/dev/null
	stop_server data immediate 2>/dev/null
}
