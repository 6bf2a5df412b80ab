#!/usr/bin/env bash
# The status screen as a person sees it: in terminals of 80x24 and 200x60,
# over a real primary, standby and daemon, against golden files. What is
# another each time is masked: see golden/mask.sed. GOLDEN=write writes them.
. "$(dirname "$0")/../lib/shell.sh"
. tests/lib/pair.sh
trap 'end_terminals; stop_pair; rm -rf "$scratch"' EXIT

golden=$PWD/tests/integration/golden
WAIT=60

# ---- terminals

tm() { tmux -S "$scratch/tmux" -f /dev/null "$@"; }

# A server's own environment is what its first client had.
end_terminals() { tm kill-server 2>/dev/null; }

# open_terminal NAME COLUMNS ROWS COMMAND
open_terminal() {
	tm new-session -d -s "$1" -x "$2" -y "$3" "$4"
}

# watch NAME COLUMNS ROWS [ARGUMENT]...
watch() {
	local name=$1 columns=$2 rows=$3

	shift 3
	open_terminal "$name" "$columns" "$rows" \
		"exec $(ctl_line) status --watch=200ms $*"
}

ctl_line() {
	echo "${as[*]} env -u NO_COLOR -u PG_COLOR $pair/bin/backfillctl" \
		"-h $pair/s -U app -d shop"
}

screen() { tm capture-pane -p -t "$1"; }
mask() { sed -E -e 's/ +$//' -f "$golden/mask.sed"; }

# Of a large one each half by itself: where the right one begins is not to
# depend on what is masked at its left.
masked() {
	if [ "$(tm display -p -t "$1" '#{pane_width}')" -lt 200 ]; then
		screen "$1" | mask
		return
	fi
	paste -d '|' <(screen "$1" | cut -c-102 | mask) \
		<(screen "$1" | cut -c103- | mask) | sed 's/|$//'
}
is_golden() { masked "$1" | cmp -s - "$golden/$2"; }

# looks_like NAME FILE: the masked screen becomes what the file has.
looks_like() {
	local deadline=$((SECONDS + WAIT))

	if [ "${GOLDEN:-}" = write ]; then
		# Whatever came before has to be over.
		sleep 3
		masked "$1" >"$golden/$2"
		return
	fi
	until is_golden "$1" "$2"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			screen "$1"
			masked "$1" | diff - "$golden/$2" || true
			fail "the screen is not that of golden/$2"
		fi
		sleep 0.1
	done
}

# Both terminals.
both_look_like() {
	looks_like small "status-80x24-$1.txt"
	looks_like large "status-200x60-$1.txt"
}

# ---- the scenes, one after the other

set_up() {
	start_pair 'pace: {max_replication_lag: 2s}
		daemon: {lease: 2s, poll_interval: 200ms}'
	user=app sql <<-'SQL'
		CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric,
			amount_cents bigint);
		INSERT INTO orders SELECT n, n FROM generate_series(1, 60000) n;
		CREATE TABLE users (id bigint PRIMARY KEY, email text);
		INSERT INTO users SELECT n, 'A' FROM generate_series(1, 100) n;
		ANALYZE;
		INSERT INTO backfill.jobs (name, target, set_clause,
			where_clause, max_rows_per_second, max_batch_rows)
		VALUES ('orders.amount_cents', 'orders',
			'amount_cents = amount * 100', 'amount_cents IS NULL',
			100, 50);
		INSERT INTO backfill.jobs (name, target, set_clause,
			where_clause, hold)
		VALUES ('users.email_norm', 'users', 'email = lower(email)',
			'email <> lower(email)', true);
		INSERT INTO backfill.jobs (name, target, set_clause)
		VALUES ('users.broken', 'users', 'email = 1 / id::text');
	SQL
	serve
	watch small 80 24
	watch large 200 60
	wait_sql $WAIT "(SELECT state = 'failed' FROM backfill.progress
		WHERE id = 3) AND (SELECT batches > 5 FROM backfill.progress
		WHERE id = 1)"
}

# How long the name of a machine is shall not matter.
serve() {
	start_daemon
	wait_sql $WAIT "EXISTS (SELECT FROM backfill.daemons
		WHERE host <> 'db1')"
	sql -c "UPDATE backfill.daemons SET host = 'db1'"
}

running() {
	set_up
	both_look_like running
}

held_by_a_paused_standby() {
	on_standby -c 'SELECT pg_wal_replay_pause()' >/dev/null
	wait_sql $WAIT "(SELECT waits_for = 'lag' AND reason LIKE '%>%'
		FROM backfill.progress WHERE id = 1)"
	both_look_like held
}

resumed_and_taken_over() {
	on_standby -c 'SELECT pg_wal_replay_resume()' >/dev/null
	wait_sql $WAIT "(SELECT waits_for IS NULL
		FROM backfill.progress WHERE id = 1)"
	kill_daemon
	serve
	wait_sql $WAIT "EXISTS (SELECT FROM backfill.events
		WHERE event = 'taken_over')"
	both_look_like resumed
}

paused_by_a_person() {
	ctl pause 1 'month end'
	both_look_like paused
}

# The screen of one job, and of all when none is open.
done_with_it() {
	end_terminals
	wait_for $WAIT terminals_have_ended
	watch small 80 24 1
	watch large 200 60 1
	user=app sql -c "UPDATE backfill.jobs SET max_rows_per_second = NULL,
		max_batch_rows = NULL WHERE id = 1"
	ctl resume 1
	ctl wait 1
	both_look_like 'done'
}

terminals_have_ended() { ! tm list-sessions 2>/dev/null; }

# ---- what the terminal itself sees

# The next look is a minute away: it is the size that draws.
a_resize_draws_at_once() {
	open_terminal resized 80 24 \
		"exec $(ctl_line) status --watch=10min 1"
	looks_like resized status-80x24-done.txt
	tm resize-window -t resized -x 200 -y 60
	looks_like resized status-200x60-done.txt
	tm resize-window -t resized -x 80 -y 24
	looks_like resized status-80x24-done.txt
}

# leaves_by WHAT COMMAND...: a shell's terminal is as it was before.
leaves_by() {
	local name=$1

	shift
	open_terminal "$name" 80 24 "PS1='ready> ' exec /bin/sh"
	wait_for $WAIT grep_screen "$name" '^ready>'
	tm send-keys -t "$name" "stty -a > $scratch/before; echo hello" Enter
	wait_for $WAIT grep_screen "$name" '^hello'
	tm send-keys -t "$name" "clear; echo still here; \
$(ctl_line) status --watch=200ms" Enter
	wait_for $WAIT grep_screen "$name" '^backfilld '
	[ "$(tm display -p -t "$name" '#{alternate_on}#{cursor_flag}')" = 10 ]
	"$@"
	wait_for $WAIT is_left "$name"
	grep_screen "$name" '^still here'
	tm send-keys -t "$name" 'echo code $?' Enter
	wait_for $WAIT grep_screen "$name" '^code [0-9]'
	tm send-keys -t "$name" "stty -a > $scratch/after; echo bye" Enter
	wait_for $WAIT grep_screen "$name" '^bye'
	cmp "$scratch/before" "$scratch/after"
}

is_left() {
	[ "$(tm display -p -t "$1" '#{alternate_on}#{cursor_flag}')" = 01 ]
}

grep_screen() { screen "$1" | grep -q "$2"; }
kill_watch() {
	pkill -TERM -P "$(tm display -p -t term '#{pane_pid}')"
}

q_leaves_the_terminal_as_it_was() {
	leaves_by q tm send-keys -t q q
	grep_screen q '^code 0$'
}

ctrl_c_leaves_the_terminal_as_it_was() {
	leaves_by int tm send-keys -t int C-c
	grep_screen int '^code 130$'
}

a_kill_leaves_the_terminal_as_it_was() {
	leaves_by term kill_watch
	grep_screen term '^code 143$'
}

# It goes on by itself, and what it knew stays to be read.
a_restart_of_the_server_is_survived() {
	watch lost 80 24
	wait_for $WAIT grep_screen lost '^no job is open\|^#3 users.broken'
	stop_server data immediate
	wait_for $WAIT grep_screen lost '^no answer since .*Z ([0-9]*s): '
	grep_screen lost '^#3 users.broken'
	# Dimmed, but for what is new.
	tm capture-pane -ep -t lost | grep -q '31m.*no answer since'
	tm capture-pane -ep -t lost | grep -q '\[2m'
	tm capture-pane -ep -t lost >"$scratch/dimmed"
	not grep '31mFAILED' "$scratch/dimmed"
	start_server data
	wait_for $WAIT not_grep_screen lost '^no answer'
	grep_screen lost '^#3 users.broken'
	tm capture-pane -ep -t lost | grep -q '31mFAILED'
	tm kill-session -t lost
}

not_grep_screen() { ! grep_screen "$@"; }

# errexit does not look at what "!" turns round.
not() {
	if "$@"; then
		fail "not wanted: $*"
	fi
}

# ---- colours

colours_are_for_terminals() {
	local esc

	esc=$(printf '\033')
	ctl status >"$scratch/plain"
	grep -q FAILED "$scratch/plain"
	not grep "$esc" "$scratch/plain"
	PG_COLOR=always ctl status | grep -q "$esc\\[1;31mFAILED"
	NO_COLOR=1 PG_COLOR=always ctl status | grep -q "$esc"
	open_terminal colours 80 24 "PS1='ready> ' exec /bin/sh"
	tm send-keys -t colours "unset PG_COLOR; $(ctl_line) status; \
echo one" Enter
	wait_for $WAIT grep_screen colours '^one'
	tm capture-pane -ep -t colours | grep -q "$esc\\[[0-9;]*31mFAILED"
	for setting in NO_COLOR=1 PG_COLOR=never TERM=dumb; do
		tm send-keys -t colours "clear" Enter
		wait_for $WAIT not_grep_screen colours '^one'
		tm send-keys -t colours "$(ctl_line | sed \
			"s,env.*PG_COLOR,env $setting,") status; \
echo one" Enter
		wait_for $WAIT grep_screen colours '^one'
		grep_screen colours 'FAILED'
		tm capture-pane -ep -t colours >"$scratch/plain"
		not grep 31m "$scratch/plain"
	done
}

# ---- without a terminal

lines_can_be_stopped() {
	local pid

	"${as[@]}" "$pair/bin/backfillctl" -h "$pair/s" -U app -d shop \
		status --watch >"$scratch/stopped" &
	pid=$!
	wait_for $WAIT grep -q ' #' "$scratch/stopped"
	kill -TSTP "$pid"
	wait_for $WAIT grep -q '^State:.T' "/proc/$pid/status"
	kill -CONT "$pid"
	kill -TERM "$pid"
	not wait "$pid"
}

lines_end_with_the_job() {
	local rc=0

	user=app sql -c "INSERT INTO backfill.jobs (name, target, set_clause,
		where_clause, max_rows_per_second, max_batch_rows) VALUES
		('lines', 'users', 'email = ''b''', 'email <> ''b''', 30, 30)"
	ctl status --watch lines >"$scratch/lines"
	mask <"$scratch/lines" >"$scratch/masked"
	grep -q '^YYYY-MM-DD hh:mm:ssZ #4 lines .* running' "$scratch/masked"
	tail -n 2 "$scratch/lines" | head -n 1 |
		grep -q 'Z #4 lines 100.0% succeeded [0-9]s ago$'
	[ "$(tail -n 1 "$scratch/lines")" = 'job 4 succeeded' ]
	not grep "$(printf '\033')" "$scratch/lines"
	ctl status --watch 3 >"$scratch/failed" 2>&1 || rc=$?
	[ "$rc" -eq 3 ]
	grep -q '^backfillctl: error: 42883: job 3 failed: ' "$scratch/failed"
}

other_forms() {
	local rc=0

	ctl status --short 1 | grep -Eq \
		'^#1 orders.amount_cents 100.0% succeeded [0-9a-z]+ ago$'
	[ "$(ctl status --json | psql_json "j->>'database'")" = shop ]
	[ "$(ctl status --json orders.amount_cents |
		psql_json "j->'job'->>'state'")" = succeeded ]
	ctl status --check >"$scratch/check" || rc=$?
	[ "$rc" -eq 2 ]
	grep -Eq '^BACKFILLD CRITICAL - #3 users.broken failed [^|]* ago \| run' \
		"$scratch/check"
	[ "$(wc -l <"$scratch/check")" -eq 1 ]
	ctl status --check 1 | grep -q '^BACKFILLD OK - '
	rc=0
	ctl -d postgres status --check >"$scratch/check" || rc=$?
	[ "$rc" -eq 3 ]
	grep -q '^BACKFILLD UNKNOWN - backfill is not installed in database ' \
		"$scratch/check"
	rc=0
	ctl -h /nowhere status --check >"$scratch/check" 2>&1 || rc=$?
	[ "$rc" -eq 3 ]
	grep -q '^BACKFILLD UNKNOWN - connection to server on socket ' \
		"$scratch/check"
	[ "$(wc -l <"$scratch/check")" -eq 1 ]
	rc=0
	ctl status --json --short 2>"$scratch/error" || rc=$?
	[ "$rc" -eq 1 ]
	grep -q 'only one of --watch, --short, --json and --check' \
		"$scratch/error"
	rc=0
	ctl status --watch=5 2>"$scratch/error" || rc=$?
	[ "$rc" -eq 1 ]
	grep -q 'invalid value for --watch: "5"' "$scratch/error"
}

# From standard input.
psql_json() {
	sql -v json="$(cat)" <<<"SELECT $1 FROM (SELECT :'json'::jsonb AS j) t"
}

command -v tmux >/dev/null || {
	echo "[  SKIPPED ] status_screen: tmux is not installed"
	finish_tests
}
scenes=(running held_by_a_paused_standby resumed_and_taken_over
	paused_by_a_person done_with_it)
for scene in "${scenes[@]}" a_resize_draws_at_once \
	q_leaves_the_terminal_as_it_was ctrl_c_leaves_the_terminal_as_it_was \
	a_kill_leaves_the_terminal_as_it_was colours_are_for_terminals \
	lines_end_with_the_job lines_can_be_stopped other_forms \
	a_restart_of_the_server_is_survived; do
	run_test "$scene"
done
finish_tests
