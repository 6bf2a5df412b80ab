# What is another each time, so that screens can be compared: numbers, times
# and how far a bar is. What the mask leaves is what is tested: words, marks,
# the order and place of things, names and ids of jobs, limits, the width of
# bars, and which numbers are known ("-" is not masked).
#
# A date and time is as wide as before; a number that stands before another
# column (a percentage) is, too.
s/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}Z/YYYY-MM-DD hh:mm:ssZ/g
s/\([0-9-]* ?[0-9]{2}:[0-9]{2}Z\)/(hh:mmZ)/g
# Whether there is room for the pid depends on these.
s/^backfilld [0-9.]+ db1( pid [0-9]+)? up /backfilld V db1 up /
# Durations: 0s 250ms 1.2s 52min 1h02m 3d04h
s/\b[0-9.]+(ms|s|min)\b/T/g
s/\b[0-9]+h[0-9]+m\b/T/g
s/\b[0-9]+d[0-9]+h\b/T/g
# A limit is the configuration's: "lag 9.4/2s" became "lag 9.4/T".
s/lag [0-9.]+\/T/lag N\/T/g
s/replay lag [0-9.]+ s/replay lag N s/
# Bars and percentages keep their width.
:bar
s/(\[=*)[#-]/\1=/
t bar
s/ {1,3}[0-9]{1,3}\.[0-9]%/  N.N%/g
# Rows, rates and keys.
s/[0-9,]+ of ~/N of ~/
s/rate [0-9.]+[kM]?\/s now, [0-9.]+[kM]?\/s T/rate N\/s now, N\/s T/
s/done [0-9,]+ rows in [0-9,]+ batch(es)?/done N rows in N batches/
s/key  [0-9]+ to/key  N to/
