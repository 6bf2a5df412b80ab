# readme_blocks.awk: writes the fenced blocks of one section of README.md,
# each to a file of its own, and prints their names in order, NN.WORD, where
# WORD is what stands behind the fence:
#	awk -v section="## Install" -v dir=DIRECTORY -f readme_blocks.awk README.md
/^## / && !inside { is_wanted = $0 == section; next }
/^```/ && !inside {
	inside = 1
	word = substr($0, 4)
	if (is_wanted) {
		name = sprintf("%02d.%s", ++count, word == "" ? "none" : word)
		file = dir "/" name
		printf "" >file
		print name
	}
	next
}
/^```$/ {
	inside = 0
	if (is_wanted) close(file)
	next
}
inside && is_wanted { print >file }
