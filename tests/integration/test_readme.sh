#!/usr/bin/env bash
# That what README.md names is there: commands, options with their defaults,
# functions, files, packages. That its installation works is for
# tests/fault/test_first_use.sh to say.
. "$(dirname "$0")/../lib/shell.sh"

build=${BACKFILL_BUILD_DIR:-$PWD/build/release}

# sections: the titles.
sections() {
	grep '^## ' README.md
}

# blocks WORD: the contents of all fenced blocks of that kind.
blocks() {
	awk -v word="$1" '/^```/ { inside = $0 == "```" word && !inside; next }
		inside' README.md
}

# Each block is a whole configuration.
configurations_are_accepted() {
	local count=0 file section

	mkdir "$scratch/blocks"
	while read -r section; do
		rm -f "$scratch/blocks"/*
		awk -v section="$section" -v dir="$scratch/blocks" \
			-f tests/lib/readme_blocks.awk README.md >/dev/null
		for file in "$scratch/blocks"/*.yaml; do
			[ -e "$file" ] || continue
			count=$((count + 1))
			"$build/backfilld" --check-config -c "$file"
		done
	done < <(sections)
	[ "$count" -ge 2 ]
}

commands_exist() {
	local command count=0

	"$build/backfillctl" --help >"$scratch/help"
	while read -r command; do
		count=$((count + 1))
		grep -qE "^  $command( |\$)" "$scratch/help" ||
			fail "backfillctl has no command \"$command\""
	done < <(blocks sh | sed -nE \
		's/.*backfillctl( -[a-z] [a-z]+)* ([a-z][a-z-]*).*/\2/p')
	[ "$count" -ge 5 ]
}

# In the table of what is never done: `option` (default).
defaults_are_those_of_the_program() {
	local option value count=0

	"$build/backfilld" --describe-config >"$scratch/sample"
	while read -r option value; do
		count=$((count + 1))
		grep -qE "^ *#$option: $value\$" "$scratch/sample" ||
			fail "the default of $option is not $value"
	done < <(sed -n '/^## What it will never do/,/^## What it pro/p' \
		README.md | grep -oE '`[a-z_]+` \([0-9a-zA-Z]+\)' | tr -d '`()')
	[ "$count" -ge 8 ]
}

# backfill.NAME is a function when a parenthesis follows, else a table or view.
objects_exist() {
	local name kind count=0

	while read -r name; do
		kind='(TABLE|VIEW)'
		[[ $name != *'(' ]] || kind='FUNCTION'
		count=$((count + 1))
		grep -qE \
			"^CREATE (OR REPLACE )?$kind (IF NOT EXISTS )?${name%(}\\b" \
			daemon/sql/*.up.sql || fail "there is no $name"
	done < <(grep -oE '\bbackfill\.[a-z_]+\(?' README.md | sort -u)
	[ "$count" -ge 12 ]
}

# As the pages that show README.md make them of titles.
anchors() {
	sections | sed 's/^## /#/' | tr 'A-Z ' 'a-z-' | tr -d ',.'
}

files_are_there() {
	local file count=0

	while read -r file; do
		count=$((count + 1))
		case $file in
		'#'*)
			anchors | grep -qxF "$file" || fail "no title $file"
			continue
			;;
		esac
		[ -e "$file" ] || fail "there is no $file"
	done < <(grep -oE '\]\([^)]+\)' README.md | tr -d '])(' |
		grep -v '^https:')
	[ "$count" -ge 4 ]
}

# What building needs, and a server.
packages_are_all_named() {
	local package

	for package in $(tr '\n' ' ' <tests/lib/install-packages.sh |
		sed 's/.* build=(\([^)]*\)).*/\1/') postgresql; do
		blocks sh | tr ' ' '\n' | grep -qxF "$package" ||
			fail "README.md does not name $package"
	done
}

run_test configurations_are_accepted
run_test commands_exist
run_test defaults_are_those_of_the_program
run_test objects_exist
run_test files_are_there
run_test packages_are_all_named
finish_tests
