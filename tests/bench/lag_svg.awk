# lag_svg.awk: draws two files of lines "SECONDS LAG", the loop's and the
# job's, with the line of the limit, as an SVG that reads well on light and on
# dark pages: awk -v limit=2 -f lag_svg.awk LOOP JOB.

# A round step for about this many ticks up to most.
function step(most, ticks,	s) {
	s = 1
	while (most / s > ticks * 1000) s *= 1000
	while (most / s > ticks) {
		if (most / (s * 2) <= ticks) return s * 2
		if (most / (s * 5) <= ticks) return s * 5
		s *= 10
	}
	return s
}

function across(t) { return left + t / t_most * (right - left) }
function up(seconds) { return bottom - seconds / lag_most * (bottom - top) }

function text(class, x, y, anchor, words) {
	printf "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"" \
		">%s</text>\n", class, x, y, anchor, words
}

function line(class, x1, y1, x2, y2) {
	printf "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\"" \
		" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2
}

function curve(class, n,	i) {
	printf "<polyline class=\"%s\" points=\"", class
	for (i = 1; i <= points[n]; i++)
		printf " %.1f,%.1f", across(at[n, i]), up(lag[n, i])
	print "\"/>"
}

function legend(class, x, words) {
	line(class, x, top - 20, x + 26, top - 20)
	text("words", x + 32, top - 16, "start", words)
}

function axes(	s, v) {
	s = step(lag_most, 6)
	for (v = 0; v <= lag_most; v += s) {
		line("grid", left, up(v), right, up(v))
		text("words", left - 8, up(v) + 4, "end", v)
	}
	s = step(t_most, 10)
	for (v = 0; v <= t_most; v += s) {
		line("grid", across(v), bottom, across(v), bottom + 5)
		text("words", across(v), bottom + 20, "middle", v)
	}
	line("axis", left, top, left, bottom)
	line("axis", left, bottom, right, bottom)
	text("words", (left + right) / 2, bottom + 42, "middle",
		"seconds since the first row")
	printf "<text class=\"words\" text-anchor=\"middle\" transform=" \
		"\"translate(18 %.1f) rotate(-90)\">%s</text>\n",
		(top + bottom) / 2, "replay lag, seconds"
}

BEGIN {
	left = 64; right = 780; top = 84; bottom = 380
	t_most = 1; lag_most = limit * 1.5
}
FNR == 1 { file++ }
NF == 2 {
	n = ++points[file]
	at[file, n] = $1
	lag[file, n] = $2
	if ($1 > t_most) t_most = $1
	if ($2 > lag_most) lag_most = $2
}
END {
	lag_most *= 1.05
	print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800" \
		" 440\" font-family=\"sans-serif\" font-size=\"13\" role=" \
		"\"img\" aria-label=\"replay lag of a slow standby over time\">"
	print "<style>"
	print ".back{fill:#fff} .words{fill:#333} .title{fill:#111;" \
		"font-size:16px;font-weight:bold} .grid{stroke:#ddd}" \
		" .axis{stroke:#666} polyline,.loop,.job,.limit{fill:none;" \
		"stroke-width:2} .loop{stroke:#c2410c} .job{stroke:#1d4ed8}" \
		" .limit{stroke:#555;stroke-dasharray:6 4}"
	print "@media (prefers-color-scheme:dark){.back{fill:#16181d}" \
		" .words{fill:#c9ccd1} .title{fill:#f2f3f5}" \
		" .grid{stroke:#33363d} .axis{stroke:#8b9098}" \
		" .loop{stroke:#fb923c} .job{stroke:#7aa2ff}" \
		" .limit{stroke:#b0b4bb}}"
	print "</style>"
	print "<rect class=\"back\" width=\"800\" height=\"440\"/>"
	text("title", left, 30, "start", \
		"Replay lag of a slow standby while a table is changed")
	legend("loop", left, "loop without a pause")
	legend("job", left + 190, "job of backfilld")
	legend("limit", left + 350, "max_replication_lag " limit " s")
	axes()
	line("limit", left, up(limit), right, up(limit))
	curve("loop", 1)
	curve("job", 2)
	print "</svg>"
}
