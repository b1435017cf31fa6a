# Writes the options of jobs into the install script.
#
#   awk -f expand.awk ../store/optionlist.h PIECES…
#
# optionlist.h has a line for each option. In the pieces,
#
#   @options PLACE [name=default …]@
#
# becomes the parameters of the options that can be given at that place, in their order; each has the default null but where
# another is named. A line with @column@, and maybe @type@, is repeated for each option that is a BGJOB_OPTION_COLUMN.

function sql_type(type) { sub(/_array$/, "[]", type); return type }

# The parameters of a place; "defaults" is what stands behind it.
function parameters(place, defaults,    i, n, list, line, pair)
{
	n = split(defaults, list, " ")
	for (i in given) delete given[i]
	for (i = 1; i <= n; i++) { split(list[i], pair, "="); given[pair[1]] = pair[2] }
	line = ""
	for (i = 1; i <= options; i++)
		if (places[i] ~ ("(^|[ |])" place "([ |]|$)"))
			line = line (line == "" ? "" : ",\n    ") names[i] " " types[i] " DEFAULT " (names[i] in given ? given[names[i]] : "NULL")
	return line
}

FILENAME ~ /optionlist\.h$/ {
	if ($0 !~ /^BGJOB_OPTION(_COLUMN)?\(/) next
	column = /^BGJOB_OPTION_COLUMN/
	sub(/^[A-Z_]+\(/, ""); sub(/\)[^)]*$/, "")
	split($0, part, /, */)
	options++
	names[options] = part[2]; types[options] = sql_type(part[3]); places[options] = part[5]; columns[options] = column
	next
}

/@column@/ {
	for (i = 1; i <= options; i++)
		if (columns[i]) { line = $0; gsub(/@column@/, names[i], line); gsub(/@type@/, types[i], line); print line }
	next
}

match($0, /@options [^@]*@/) {
	inside = substr($0, RSTART + 9, RLENGTH - 10)
	place = inside; sub(/ .*/, "", place); sub(/^[A-Z]+ */, "", inside)
	print substr($0, 1, RSTART - 1) parameters(place, inside) substr($0, RSTART + RLENGTH)
	next
}

{ print }
