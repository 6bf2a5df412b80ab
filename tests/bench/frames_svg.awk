# frames_svg.awk: draws screens of a terminal, 80 columns wide, as one moving
# SVG: awk -v command='backfillctl status' -f frames_svg.awk FRAME...
#
# A frame is a file whose first line is "SECONDS [still] CAPTION", how long it
# stands and what happens; the screen follows. The one that is "still" is
# shown where nothing may move.

function escaped(s) {
	gsub(/[\001-\010\013-\037\177]/, "?", s)
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	gsub(/"/, "\\&quot;", s)
	return s
}

function span(class, s) {
	return s == "" ? "" : "<tspan class=\"" class "\">" escaped(s) "</tspan>"
}

function class_of_state(state) {
	if (state ~ /^(RUNNING|SUCCEEDED)/) return "good"
	if (state ~ /^(FAILED|CANCELLED)/) return "bad"
	if (state ~ /^(HELD|THROTTLED|PAUSED)/) return "held"
	return "dim"
}

# A line of the screen: the title of a job with its state, its bar, its
# reason; else a label and what stands behind it.
function coloured(s,	at, state) {
	if (s ~ /^#[0-9]+ /) {
		at = match(s, / [A-Z]+( [^ ].*)?$/)
		if (at == 0) return span("title", s)
		state = substr(s, at + 1)
		return span("title", substr(s, 1, at)) \
			span(class_of_state(state), state)
	}
	if (match(s, /\[#*>?-*\]/)) {
		at = index(substr(s, RSTART), "-")
		if (at == 0 || at > RLENGTH) at = RLENGTH
		return span("text", substr(s, 1, RSTART)) \
			span("good", substr(s, RSTART + 1, at - 2)) \
			span("dim", substr(s, RSTART + at - 1,
				RLENGTH - at)) \
			span("text", substr(s, RSTART + RLENGTH - 1))
	}
	if (is_reason) return span("held", s)
	if (match(s, /^  [a-z]+ /)) {
		return span("dim", substr(s, 1, RLENGTH)) \
			span("text", substr(s, RLENGTH + 1))
	}
	return span("text", s)
}

# As a terminal does: what is too long goes on in the next line.
function add_line(s) {
	is_reason = s ~ /^  (why|next) /
	do {
		line[frames, ++lines[frames]] = coloured(substr(s, 1, 80))
		s = substr(s, 81)
	} while (s != "")
	if (lines[frames] > most) most = lines[frames]
}

function text(class, x, y, s) {
	printf "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x, y, s
}

# A keyframe is a step: shown from its own time to the next one's.
function keyframes(	i, from, to) {
	for (i = 1; i <= frames; i++) {
		to = from + seconds[i]
		printf "@keyframes f%d{", i
		if (from > 0) printf "0%%{visibility:hidden}"
		printf "%.2f%%{visibility:visible}", from / total * 100
		if (i < frames) printf "%.2f%%{visibility:hidden}", to / total * 100
		print "}"
		from = to
	}
}

BEGIN { width = 720; step = 19; left = 20; top = 66 }
FNR == 1 {
	frames++
	seconds[frames] = $1
	total += $1
	sub(/^[^ ]+ /, "")
	if (sub(/^still /, "")) still = frames
	caption[frames] = $0
	next
}
{ add_line($0) }
END {
	if (!still) still = frames
	height = top + most * step + 34
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\"" \
		" role=\"img\" aria-label=\"%s: %s\">\n", width, height,
		escaped(command), escaped(caption[still])
	print "<style>"
	print "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas," \
		"\"DejaVu Sans Mono\",\"Liberation Mono\",monospace;" \
		"white-space:pre}"
	print ".back{fill:#11151c} .bar{fill:#1c222c} .text{fill:#c9d1d9}" \
		" .title{fill:#f2f5f9;font-weight:bold} .dim{fill:#7d8794}" \
		" .good{fill:#56d364} .held{fill:#e3b341} .bad{fill:#ff7b72}" \
		" .note{fill:#9fb6d8;font-style:italic}"
	print ".frame{visibility:hidden} .still{visibility:visible}"
	print "@media (prefers-reduced-motion:no-preference){"
	for (i = 1; i <= frames; i++) {
		printf "#f%d{animation:f%d %gs step-end infinite}\n", i, i, total
	}
	print "}"
	keyframes()
	print "</style>"
	printf "<rect class=\"back\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n",
		width, height
	printf "<rect class=\"bar\" width=\"%d\" height=\"32\" rx=\"8\"/>\n", width
	text("dim", left, 21, span("good", "$ ") span("text", command))
	for (i = 1; i <= frames; i++) {
		printf "<g id=\"f%d\" class=\"frame%s\">\n", i,
			i == still ? " still" : ""
		for (j = 1; j <= lines[i]; j++) {
			text("text", left, top + (j - 1) * step, line[i, j])
		}
		text("note", left, height - 16, escaped(caption[i]))
		print "</g>"
	}
	print "</svg>"
}
