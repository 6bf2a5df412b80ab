#!/usr/bin/env bash
# layers.sh [ROOT]: fail when a file of daemon/ or include/ includes a header
# of a higher floor, naming file and line. daemon/main.c may include all.
set -u
cd "${1:-.}" || exit 1
shopt -s nullglob
files=(daemon/*/*.[ch] include/*/*.h)

LC_ALL=C awk '
BEGIN {
	count = split("base rules config pg store engine ops ctl", names, " ")
	for (i = 1; i <= count; i++)
		floor[names[i]] = i

	# The person'"'"'s tool is a client, not a second daemon.
	split("base rules config pg ctl", may, " ")
	for (i in may)
		of_ctl[may[i]] = 1

	bad = 0
}

function complain(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	bad = 1
}

FNR == 1 {
	split(FILENAME, part, "/")
	folder = part[2]
	if (!(folder in floor))
		complain("\"" folder "\" is not one of the floors")
}

/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
	match($0, /[<"]/)
	target = substr($0, RSTART + 1)
	sub(/[>"].*/, "", target)

	if (floor[folder] <= floor["config"] &&
	    target ~ /^(uv\.h|uv\/.*|libpq-fe\.h|postgresql\/libpq-fe\.h)$/) {
		complain(folder "/ must not include " target)
		next
	}
	if (target !~ /\//)
		next
	split(target, piece, "/")
	if (!(piece[1] in floor))
		next
	if (floor[piece[1]] > floor[folder]) {
		complain(folder "/ must not include " target \
			" of a higher floor")
	} else if (folder == "ctl" && !(piece[1] in of_ctl) &&
		target != "store/scripts.h") {
		complain("ctl/ must not include " target)
	}
}

END { exit bad }
' "${files[@]}" </dev/null
