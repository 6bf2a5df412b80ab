#!/usr/bin/env bash
# picture.sh, `make picture`: the picture of README.md. A primary, a standby
# and a daemon; a job that runs, is held while the standby stands still, goes
# on and ends; what `backfillctl status` said of it meanwhile, drawn to
# conf/doc/status.svg, or to the file of PICTURE.
#
# Environment: PICTURE, ROWS (2000000), FRAMES (a directory that keeps them)
here=$(cd "$(dirname "$0")" && pwd)
. "$(dirname "$0")/lib.sh"

rows=${ROWS:-2000000}
picture=$(realpath -m "${PICTURE:-$here/../../conf/doc/status.svg}")
frames=
[ -z "${FRAMES:-}" ] || frames=$(realpath -m "$FRAMES")

# frame SECONDS [still] CAPTION: the screen as it is now.
frame() {
	count=$((count + 1))
	{
		echo "$*"
		NO_COLOR=1 COLUMNS=80 as_server "$dir/bin/backfillctl" \
			-h "$sock" -U app -d shop status
	} >"$frames/$(printf %02d "$count").txt"
}

# at PERCENT SECONDS CAPTION: a frame as soon as so much is done.
at() {
	wait_until "SELECT percent >= $1 OR finished_at IS NOT NULL
		FROM backfill.progress" 120
	frame "${@:2}"
}

is_held() {
	wait_until "SELECT (coalesce(reason, '') LIKE 'held:%') = $1
		FROM backfill.progress" 60
}

bench_open picture
: "${frames:=$dir/frames}"
count=0
mkdir -p "$frames"
rm -f "$frames"/*.txt
start_primary 'shared_buffers = 256MB' 'max_wal_size = 8GB' \
	'fsync = off' 'autovacuum = off'
start_standby standby1
user=app sql -v rows="$rows" <<-'SQL'
	CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12,2),
		amount_cents bigint);
	INSERT INTO orders (id, amount)
	SELECT n, (n::bigint * 7919 % 1000000) / 100.0
	FROM generate_series(1, :rows) n;
	ANALYZE orders;
SQL
start_daemon '    expected_standbys: [standby1]' \
	'pace: {max_replication_lag: 2s}'
user=app sql -c "INSERT INTO backfill.jobs
	(name, target, set_clause, where_clause)
	VALUES ('orders.amount_cents', 'orders', 'amount_cents = amount * 100',
		'amount_cents IS NULL')"

for percent in 4 12 20; do
	at $percent 1 'a job of two million orders runs'
done
sql_at standby1 -c 'SELECT pg_wal_replay_pause()' >/dev/null
is_held true
frame 2 'the standby stops replaying: the job is held, and says why'
value 'SELECT pg_sleep(4)' >/dev/null
frame 3 still 'the standby stops replaying: the job is held, and says why'
sql_at standby1 -c 'SELECT pg_wal_replay_resume()' >/dev/null
is_held false
frame 1 'it replays again, and the job goes on'
for percent in 35 50 65 80 92; do
	at $percent 1 'it replays again, and the job goes on'
done
wait_until "SELECT state = 'succeeded' FROM backfill.progress" 120
NO_COLOR=1 COLUMNS=80 as_server "$dir/bin/backfillctl" -h "$sock" -U app \
	-d shop status orders.amount_cents >"$dir/end"
{ echo '4 the job has succeeded'; cat "$dir/end"; } \
	>"$frames/99.txt"

mkdir -p "$(dirname "$picture")"
awk -v command='backfillctl status' -f "$here/frames_svg.awk" \
	"$frames"/*.txt >"$dir/status.svg"
sql -v svg="$(cat "$dir/status.svg")" -At >"$dir/verdict" <<-'SQL'
	SELECT xml_is_well_formed_document(:'svg');
SQL
[ "$(cat "$dir/verdict")" = t ] || {
	echo "the picture is no XML" >&2
	exit 1
}
cp "$dir/status.svg" "$picture"
echo "drawn: $picture"
