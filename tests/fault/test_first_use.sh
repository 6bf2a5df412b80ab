#!/usr/bin/env bash
# A new user: a minimal Debian that has nothing but systemd, the source tree,
# and README.md, whose blocks are run word for word and in their order, from
# the installation to a job that has ended, and to the removal of it all.
#
# How a block is used is told by what stands behind its fence:
#	sh		typed, line by line, by root in the source tree; ends at
#			the first command that fails
#	sql		typed into the psql that the sh block before it starts
#			with its last line
#	pg_hba.conf	put at the top of that file
#	pg_ident.conf	put at the end of that file
#	yaml		the daemon's configuration
# Packages come from where this machine's apt has them, and through this
# machine's network; everything else happens in the container's own.
. "$(dirname "$0")/../lib/container.sh"

source_tree=/usr/src/backfilld
blocks=$scratch/blocks
psql_waits=

# ---- the machine of the new user

# What apt is told here holds there, too, but for what it has to clean up.
make_tree() {
	local sources=() file

	for file in /etc/apt/sources.list.d/*.sources \
		/etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
		[ ! -e "$file" ] || sources+=("$file")
	done
	mkdir -p "$root"
	mmdebstrap --quiet --mode=root --variant=minbase \
		--include=systemd-sysv,dbus,ca-certificates '' "$root" \
		"${sources[@]}" || return
	rm -r "$root/etc/apt"
	cp -a /etc/apt "$root/etc/apt"
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" \
		2>/dev/null
	mkdir "$root$source_tree"
	copy_source | tar -C "$root$source_tree" -x --no-same-owner
	# A person sees the error and stops.
	echo '\set ON_ERROR_STOP on' >"$root/usr/src/psqlrc"
}

# What a clone has, with what is not committed yet.
copy_source() {
	local files=(-c safe.directory='*' ls-files -z)

	if git "${files[@]}" >/dev/null 2>&1; then
		git "${files[@]}" | xargs -0 sh -c 'for file; do
			[ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
			tar -c --null -T -
	else
		tar -c --exclude=./build .
	fi
}

# With 5432 taken, Debian would give the new server another port.
lacks() {
	container_lacks mmdebstrap tar
	if (: </dev/tcp/127.0.0.1/5432) 2>/dev/null; then
		echo "needs port 5432 of this machine to be free"
	fi
}

# ---- the blocks

# use_blocks SECTION: all of it, as README.md has it.
use_blocks() {
	local name

	rm -rf "$blocks"
	mkdir "$blocks"
	awk -v section="$1" -v dir="$blocks" -f tests/lib/readme_blocks.awk \
		README.md >"$scratch/names"
	[ -s "$scratch/names" ] || fail "README.md has no block in \"$1\""
	while read -r name; do
		echo "---- $1, block $name"
		cat "$blocks/$name"
		echo "----"
		use_block "$blocks/$name"
	done <"$scratch/names"
	[ -z "$psql_waits" ] || fail "psql is started, and nothing typed"
}

use_block() {
	if [ -n "$psql_waits" ] && [[ $1 != *.sql ]]; then
		fail "psql is started, and something else follows"
	fi
	case $1 in
	*.sh)
		if tail -n 1 "$1" | grep -qE ' psql [a-z]+$'; then
			psql_waits=$1
		else
			type_lines "$1" </dev/null
		fi
		;;
	*.sql)
		[ -n "$psql_waits" ] || fail "no psql to type it into"
		type_lines "$psql_waits" <"$1"
		psql_waits=
		;;
	*.pg_hba.conf)
		cat "$1" "$(server_file hba_file)" >"$scratch/hba"
		cat "$scratch/hba" >"$(server_file hba_file)"
		;;
	*.pg_ident.conf) cat "$1" >>"$(server_file ident_file)" ;;
	*.yaml) cat "$1" >"$root/etc/backfilld/backfilld.yaml" ;;
	*) fail "nobody knows what to do with it" ;;
	esac
}

# type_lines FILE: standard input is that of its last command.
type_lines() {
	local where=inside

	if grep -q '^apt-get ' "$1"; then
		where=inside_but_of_our_net
	fi
	"$where" env PSQLRC=/usr/src/psqlrc DEBIAN_FRONTEND=noninteractive \
		timeout 400 sh -ec "cd $source_tree; $(cat "$1")" |
		tee "$1.said"
	[ "${PIPESTATUS[0]}" -eq 0 ]
}

sql() {
	inside runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d shop \
		-c "$1"
}

server_file() {
	echo "$root$(sql "SHOW $1")"
}

# said PATTERN: one of the commands of the section printed that line.
said() {
	cat "$blocks"/*.said | grep -qxE "$1"
}

# ---- the tests, each on what the one before left

install_as_written() {
	use_blocks '## Install'
	# Of check: all is well, and seen with the daemon's own connections.
	said '[0-9]+ ok, 0 warnings, 0 to mend'
	said 'ok +runner login "app": connects to this database'
	[ "$(property backfilld ActiveState)" = active ]
	[ "$(property backfilld UnitFileState)" = enabled ]
}

# A user who does as he is told by the program need not have the README.
install_prints_what_is_written() {
	local line count=0

	while read -r line; do
		count=$((count + 1))
		cat "$blocks"/*.said | tr -s ' ' |
			grep -qE "^(-- )?${line//./\\.}\$" ||
			fail "install does not print: $line"
	done < <(cat "$blocks"/*.pg_hba.conf "$blocks"/*.pg_ident.conf \
		<(grep -hE '^(CREATE ROLE|GRANT)' "$blocks"/*.sql |
			sed 's/ *--.*//') | tr -s ' ')
	[ "$count" = 6 ]
}

first_job_as_written() {
	use_blocks '## The first job'
}

# The recipe with its table; the way back once the way there is done.
migration_as_written() {
	local block

	sql 'SET ROLE app; CREATE SCHEMA shop;
		CREATE TABLE shop.customers (id int PRIMARY KEY);
		INSERT INTO shop.customers SELECT generate_series(1, 5000)'
	rm -r "$blocks" && mkdir "$blocks"
	awk -v section='## A migration' -v dir="$blocks" \
		-f tests/lib/readme_blocks.awk README.md
	block=$(cat "$blocks/01.sql")
	[[ $block == *plan_down* ]]
	sql "SET ROLE app; $(grep -v plan_down <<<"$block")"
	wait_until 60 jobs_have_ended
	[ "$(sql "SELECT attnotnull, (SELECT count(*) FROM shop.customers
			WHERE phone = 'unknown')
		FROM pg_attribute WHERE attname = 'phone'
			AND attrelid = 'shop.customers'::regclass")" = 't|5000' ]
	sql "SET ROLE app; $(grep plan_down <<<"$block")"
	wait_until 60 jobs_have_ended
	[ "$(sql "SELECT count(*) FROM pg_attribute WHERE NOT attisdropped
		AND attnum > 0 AND attrelid = 'shop.customers'::regclass")" = 1 ]
}

jobs_have_ended() {
	[ "$(sql "SELECT bool_and(state = 'succeeded') FROM backfill.jobs")" = t ]
}

# Counted in the table itself; nothing of ours is asked.
every_row_is_changed() {
	[ "$(sql "SELECT count(*) > 1000
			AND count(*) FILTER (WHERE phone = '') = count(*)
			AND count(DISTINCT xmin::text::bigint) > 1
		FROM users")" = t ]
}

removal_as_written() {
	use_blocks '## Take it away'
	[ "$(property backfilld LoadState)" = not-found ]
	[ "$(sql "SELECT count(*) FROM pg_namespace, pg_roles
		WHERE nspname LIKE 'backfill%' OR rolname LIKE 'backfill\_%'")" \
		= 0 ]
	[ -z "$(find "$root/usr/local" -name '*backfill*')" ]
	every_row_is_changed
}

# ---- all of it

reason=$(lacks | head -n 1)
if [ -z "$reason" ]; then
	trap stop_container EXIT
	if ! mount_files 3g || ! make_tree >"$scratch/console" 2>&1; then
		reason="needs Debian's packages: $(tail -n 1 "$scratch/console")"
	elif ! start_container multi-user.target >/dev/null; then
		reason="needs systemd to boot in a container: $(
			tail -n 1 "$scratch/console"
		)"
	fi
fi

for name in install_as_written install_prints_what_is_written \
	first_job_as_written every_row_is_changed migration_as_written \
	removal_as_written; do
	if [ -n "$reason" ]; then
		eval "$name() { skip_test '${reason//\'/}'; }"
	fi
	run_test "$name"
	# The next one would only wait for what cannot be.
	[ "$failures" -eq 0 ] || break
done
finish_tests
