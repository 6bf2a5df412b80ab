#!/usr/bin/env bash
# The installed service under a real systemd with a real PostgreSQL: both run
# in a container whose files are this machine's, with a memory file system
# above them for what is written.
. "$(dirname "$0")/../lib/container.sh"

build=${BACKFILL_BUILD_DIR:-$PWD/build/release}
version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' \
	2>/dev/null | sort -n | tail -n 1)

# ---- the container

# The reasons why there can be no container here; nothing when there can.
lacks() {
	container_lacks dbus-daemon pg_createcluster
	if [ -z "$version" ]; then
		echo "needs PostgreSQL in /usr/lib/postgresql"
	fi
	if [[ $(basename "$build") == *asan* ]]; then
		echo "needs a build without sanitizers, whose system calls the" \
			"unit forbids"
	fi
}

make_container() {
	mount_files 1g &&
		mkdir "$scratch/files/upper" "$scratch/files/work" "$root" &&
		mount -t overlay overlay -o "lowerdir=/,$(
			echo "upperdir=$scratch/files/upper,"
		)workdir=$scratch/files/work" "$root" || return
	# This machine's servers and settings are not the test's.
	rm -rf "$root/etc/backfilld" "$root/etc/postgresql" \
		"$root/var/lib/postgresql" "$root/var/log/journal"
	mkdir -p "$root/etc/postgresql"
}

# ---- what runs in it

sql() {
	inside runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d shop \
		-c "$1"
}

is_true() {
	[ "$(sql "$1")" = t ]
}

status_is() {
	[ "$(property backfilld StatusText)" = "$1" ]
}

logged() {
	inside journalctl --quiet -o cat -u backfilld "${@:2}" |
		grep -qF -- "$1"
}

configure() {
	cat >"$root/etc/backfilld/$1.yaml"
	inside chgrp backfilld "/etc/backfilld/$1.yaml"
	inside chmod 640 "/etc/backfilld/$1.yaml"
}

# write_config NAME HOST BATCH-ROWS
write_config() {
	configure "$1" <<-YAML
		databases:
		  - name: shop
		    dsn: "host=$2 dbname=shop user=backfilld"
		    expected_standbys: []
		daemon: {lease: 2s, poll_interval: 500ms}
		batch: {batch_rows: $3, max_batch_rows: $3}
	YAML
}

make_server() {
	inside pg_createcluster "$version" main -- --no-sync >/dev/null
	cat >"$root/etc/postgresql/$version/main/pg_hba.conf" <<-HBA
		local all postgres peer
		local shop all scram-sha-256
		host shop all localhost scram-sha-256
	HBA
	echo 'fsync = off' \
		>>"$root/etc/postgresql/$version/main/postgresql.conf"
	inside systemctl start "postgresql@$version-main"
	inside runuser -u postgres -- createdb shop
	inside runuser -u postgres -- backfillctl install -d shop
	sql "CREATE ROLE backfilld LOGIN PASSWORD 'of the daemon';
		GRANT backfill_daemon, pg_monitor, pg_signal_backend
			TO backfilld;
		CREATE ROLE app LOGIN PASSWORD 'of the app';
		GRANT backfill_submit TO app;
		GRANT CREATE, USAGE ON SCHEMA public TO app"
}

give_passwords() {
	(umask 077 && cat >"$root/etc/backfilld/$1.pgpass") <<-PASSFILE
		*:*:*:backfilld:of the daemon
		*:*:*:app:of the app
	PASSFILE
}

# submit NAME SECONDS: 60 rows, ten a batch, each batch that long.
submit() {
	sql "SET ROLE app;
		CREATE TABLE $1 (id int PRIMARY KEY, n int DEFAULT 0);
		INSERT INTO $1 SELECT generate_series(1, 60);
		INSERT INTO backfill.jobs (name, target, set_clause)
		VALUES ('$1', '$1',
			'n = n + 1 + length(pg_sleep($2 / 10.0)::text)')"
}

wait_for_first_batch() {
	wait_until 60 is_true "SELECT EXISTS (SELECT FROM $1 WHERE n = 1)"
	wait_until 60 is_true "SELECT EXISTS (SELECT FROM pg_stat_activity
		WHERE usename = 'app' AND wait_event = 'PgSleep')"
}

# Every row once: the clause is not idempotent.
succeeds_exactly_once() {
	wait_until 90 is_true "SELECT state = 'succeeded' FROM backfill.jobs
		WHERE name = '$1'"
	[ "$(sql "SELECT min(n), max(n), count(*) FROM $1")" = '1|1|60' ]
}

# ---- the tests, each on what the one before left

sysusers_makes_the_user() {
	inside systemd-sysusers
	inside id backfilld
	[ "$(inside getent passwd backfilld | cut -d: -f5,7)" = \
		'PostgreSQL backfill daemon:/usr/sbin/nologin' ]
}

units_have_no_fault() {
	local told

	told=$(inside systemd-analyze verify --man=no backfilld.service \
		backfilld@shop.service 2>&1)
	[ -z "$told" ] || fail "$told"
}

# No server, no password file: it runs, and says what it waits for.
it_starts_while_the_database_is_down() {
	write_config backfilld /run/postgresql 10
	inside systemctl start backfilld
	[ "$(inside systemctl is-active backfilld)" = active ]
	property backfilld StatusText |
		grep '^shop: connecting: .*: No such file or directory'
	inside systemctl status backfilld | grep -F 'Status: "shop: connecting'
}

# The server speaks scram alone; the daemon gets its passwords from systemd.
passwords_come_from_a_credential() {
	make_server
	wait_until 60 logged 'no password supplied'
	give_passwords backfilld
	inside systemctl restart backfilld
	wait_until 60 status_is 'shop: no job'
	[ "$(sql "SELECT count(*) FROM pg_stat_activity
		WHERE usename = 'backfilld'")" = 1 ]
}

it_runs_a_job() {
	submit plain 0
	succeeds_exactly_once plain
}

status_tells_of_jobs() {
	submit shown 2
	wait_until 60 sh -c "[ \"\$(nsenter -t $leader -a systemctl show \
		-P StatusText backfilld | sed 's/[0-9.]* rows/N rows/')\" = \
		'shop: 1 running, N rows/s' ]"
	succeeds_exactly_once shown
	wait_until 60 status_is 'shop: no job'
}

priorities_reach_the_journal() {
	wait_until 60 logged '-> serving' -p info
	wait_until 60 logged 'connect again' -p warning
	if logged '-> serving' -p notice || logged 'connect again' -p err; then
		fail "more urgent than they were written"
	fi
}

# Its own lines and no other's: the daemon's, and those of the job before.
fields_reach_the_journal() {
	local job lines

	job=$(sql "SELECT id FROM backfill.jobs WHERE name = 'shown'")
	wait_until 60 logged '-> succeeded' "BACKFILLD_JOB_ID=$job"
	lines=$(inside journalctl --quiet -o cat -u backfilld \
		"BACKFILLD_JOB_ID=$job")
	[ "$(grep -c 'job [0-9]* (plain)' <<<"$lines")" = 0 ]
	grep -qF "job $job (shown): " <<<"$lines"
	grep -qE -- '60 rows changed in [0-9]+ batches .* -> succeeded$' \
		<<<"$lines"
	logged '-> claimed' BACKFILLD_JOB_NAME=shown BACKFILLD_DATABASE=shop \
		PRIORITY=6 SYSLOG_IDENTIFIER=backfilld
}

reload_is_heard_and_ends() {
	local pid

	pid=$(property backfilld MainPID)
	inside systemctl log-level debug
	write_config backfilld /run/postgresql 20
	inside systemctl reload backfilld
	wait_until 60 logged 'reload: batch.batch_rows changed from 10 to 20'
	wait_until 60 sh -c "nsenter -t $leader -a journalctl -o cat _PID=1 |
		grep -F 'notification message from PID $pid (RELOADING=1'"
	wait_until 60 sh -c "[ \$(nsenter -t $leader -a \
		systemctl is-active backfilld) = active ]"
	inside systemctl log-level info
	[ "$(property backfilld MainPID)" = "$pid" ]
}

# The file is checked first, so that the reload itself fails.
reload_of_a_bad_file_fails() {
	local pid

	pid=$(property backfilld MainPID)
	echo 'databases: []' | configure backfilld
	if inside systemctl reload backfilld; then
		fail "the reload is said to have worked"
	fi
	wait_until 60 logged 'no database is configured'
	[ "$(inside systemctl is-active backfilld)" = active ]
	[ "$(property backfilld MainPID)" = "$pid" ]
	write_config backfilld /run/postgresql 10
	inside systemctl reload backfilld
}

stop_waits_for_the_batch() {
	submit stopped 3
	wait_for_first_batch stopped
	inside systemctl stop backfilld
	[ "$(property backfilld Result)" = success ]
	[ "$(property backfilld ExecMainStatus)" = 0 ]
	[ "$(sql "SELECT state FROM backfill.jobs WHERE name = 'stopped'")" = \
		queued ]
	[ "$(sql "SELECT count(*) % 10 FROM stopped WHERE n = 1")" = 0 ]
	is_true "SELECT stopped_at IS NOT NULL FROM backfill.daemons
		ORDER BY incarnation DESC LIMIT 1"
	inside systemctl start backfilld
	succeeds_exactly_once stopped
}

# restarts_after COMMAND...: does it in mid-batch.
restarts_after() {
	local job=$1 pid

	pid=$(property backfilld MainPID)
	submit "$job" 2
	wait_for_first_batch "$job"
	"${@:2}"
	wait_until 90 sh -c "
		new=\$(nsenter -t $leader -a \
			systemctl show -P MainPID backfilld) &&
		[ \"\$new\" -ne 0 ] && [ \"\$new\" -ne $pid ]"
	succeeds_exactly_once "$job"
	[ "$(inside systemctl is-active backfilld)" = active ]
}

killed_it_is_started_again() {
	restarts_after killed \
		inside systemctl kill --signal=KILL --kill-who=main backfilld
}

# The unit has 30 s; less is only to be done sooner.
frozen_it_is_ended_by_the_watchdog() {
	mkdir -p "$root/etc/systemd/system/backfilld.service.d"
	printf '[Service]\nWatchdogSec=8s\n' \
		>"$root/etc/systemd/system/backfilld.service.d/test.conf"
	inside systemctl daemon-reload
	inside systemctl restart backfilld
	wait_until 60 status_is 'shop: no job'
	restarts_after frozen \
		inside systemctl kill --signal=STOP --kill-who=main backfilld
	wait_until 60 sh -c "nsenter -t $leader -a journalctl -o cat _PID=1 |
		grep -F 'backfilld.service: Watchdog timeout'"
	rm -r "$root/etc/systemd/system/backfilld.service.d"
	inside systemctl daemon-reload
}

# Trying again would help nobody.
refused_it_is_not_started_again() {
	local before

	inside systemctl restart backfilld
	before=$(property backfilld NRestarts)
	sql 'REVOKE pg_monitor FROM backfilld'
	if inside systemctl restart backfilld; then
		fail "it is said to have started"
	fi
	[ "$(property backfilld ActiveState)" = failed ]
	[ "$(property backfilld ExecMainStatus)" = 1 ]
	[ "$(property backfilld NRestarts)" = "$before" ]
	wait_until 60 logged 'lacks membership in pg_monitor' -p err
	sql 'GRANT pg_monitor TO backfilld'
}

# By name and over TCP, from within the same confinement.
instance_has_its_own_files() {
	write_config shop localhost 10
	give_passwords shop
	inside systemctl start backfilld@shop
	submit of_instance 0
	succeeds_exactly_once of_instance
	inside systemctl stop backfilld@shop
}

# ---- all of it

reason=$(lacks | head -n 1)
if [ -z "$reason" ]; then
	trap stop_container EXIT
	if ! make_container 2>"$scratch/console"; then
		reason="needs an overlay file system: $(
			tail -n 1 "$scratch/console"
		)"
	elif ! make -s -o all VARIANT="$(basename "$build")" \
		DESTDIR="$root" install >"$scratch/console" 2>&1; then
		cat "$scratch/console"
		exit 1
	elif ! start_container basic.target >/dev/null; then
		reason="needs systemd to boot in a container: $(
			tail -n 1 "$scratch/console"
		)"
	fi
fi

for name in sysusers_makes_the_user units_have_no_fault \
	it_starts_while_the_database_is_down \
	passwords_come_from_a_credential it_runs_a_job status_tells_of_jobs \
	priorities_reach_the_journal fields_reach_the_journal \
	reload_is_heard_and_ends \
	reload_of_a_bad_file_fails stop_waits_for_the_batch \
	killed_it_is_started_again frozen_it_is_ended_by_the_watchdog \
	refused_it_is_not_started_again instance_has_its_own_files; do
	if [ -n "$reason" ]; then
		eval "$name() { skip_test '$reason'; }"
	fi
	run_test "$name"
done
finish_tests
