# Translates the statements of the dashboard into C: one table for each folder.
#
#   awk -f statements.awk sql/*.sql actions/*.sql internal/*.sql > statements.c
#
# A file is comments, one of which may be "-- params: name type[?] [= default], …", and one statement. A type with a
# question mark: the parameter is an argument of a function, not the first one, that may as well be left out as be null; so it is, where
# the statement is shown. A type text(a|b): the parameter has one of these values. In the statement, :name is a parameter and @bgjob@ the schema of the extension's functions. The C text
# has the byte 1 for that schema, and for a parameter the byte 2 and a character: "A" for the first one,
# and so on. Comments are left out.
#
# A function that keeps settings with a job, or looks up names, has to see the role's own settings instead of the
# program's. Such a statement has @from_role@ where a FROM clause may stand, or @join_role@ behind one: the bytes 3
# and 4. statement.c writes out what restores the settings while the statement is executed; names in
# the statement itself are looked up before.
#
# What is wrong ends the translation with the file and the line.

function fail(line, message)
{
	printf "%s:%d: %s\n", file, line, message > "/dev/stderr"
	failed = 1
	exit 1
}

# c_string returns a text as a literal of C.
function c_string(text,    out, i, c)
{
	out = ""
	for (i = 1; i <= length(text); i++)
	{
		c = substr(text, i, 1)
		if (c == "\\" || c == "\"")
			out = out "\\" c
		else if (c == "\n")
			out = out "\\n\"\n\t\""
		else if (c == "\t")
			out = out "\\t"
		else if (c == "\001")
			out = out "\\001"
		else if (c ~ /[\002\003\004]/)
			out = out sprintf("\\00%d", c == "\002" ? 2 : c == "\003" ? 3 : 4)
		else
			out = out c
	}
	return "\"" out "\""
}

function trim(text)
{
	gsub(/^[ \t\n]+/, "", text)
	gsub(/[ \t\n]+$/, "", text)
	return text
}

# read_params reads what follows "-- params:".
function read_params(text, line,    parts, n, i, p, name, type)
{
	if (have_params)
		fail(line, "parameters are declared twice")
	have_params = 1
	if (trim(text) == "")
		return
	n = split(text, parts, ",")
	for (i = 1; i <= n; i++)
	{
		p = trim(parts[i])
		default_of[i] = ""
		has_default[i] = 0
		if ((at = index(p, "=")) > 0)
		{
			default_of[i] = trim(substr(p, at + 1))
			has_default[i] = default_of[i] != "NULL"
			p = trim(substr(p, 1, at - 1))
		}
		if (split(p, word, /[ \t]+/) != 2)
			fail(line, "\"" p "\" is not a name and a type")
		name = word[1]
		type = word[2]
		optional[i] = sub(/\?$/, "", type)
		if (name !~ /^[a-z][a-z0-9_]*$/)
			fail(line, "\"" name "\" is no name of a parameter")
		choices_of[i] = ""
		if (type ~ /^text\([a-z|]+\)$/)
		{
			choices_of[i] = substr(type, 6, length(type) - 6)
			type = "text"
		}
		if (type !~ /^(text|bigint|int|integer|boolean|numeric|real|timestamptz|interval|jsonb|date)(\[\])?$/)
			fail(line, "type \"" type "\" is none of those of parameters")
		if (name in number_of)
			fail(line, "parameter \"" name "\" is declared twice")
		number_of[name] = i
		name_of[i] = name
		type_of[i] = type
	}
	if (n > 60)
		fail(line, "too many parameters")
	params = n
}

# skip_quoted returns the position after a text in quotes that begins at "at".
function skip_quoted(at, quote, escapes,    c, start)
{
	start = at
	for (at++; at <= len; at++)
	{
		c = substr(body, at, 1)
		if (escapes && c == "\\")
			at++
		else if (c == quote)
		{
			if (substr(body, at + 1, 1) != quote)
				return at + 1
			at++
		}
	}
	fail(line_at(start), "a text in quotes does not end")
}

function line_at(at,    text)
{
	text = substr(body, 1, at - 1)
	return first_line + gsub(/\n/, "", text)
}

# translate writes the statement in "body" out into "out".
function translate(    at, c, before, rest, end, name)
{
	out = ""
	len = length(body)
	ended = 0
	for (at = 1; at <= len;)
	{
		c = substr(body, at, 1)
		before = at > 1 ? substr(body, at - 1, 1) : " "
		rest = substr(body, at)
		if (ended && c !~ /[ \t\n]/)
			fail(line_at(at), "there is more than one statement")
		end = at + 1
		if (c == "'" || c == "\"")
		{
			end = skip_quoted(at, c, c == "'" && before ~ /[eE]/ && (at < 3 || substr(body, at - 2, 1) !~ /[A-Za-z0-9_$]/))
			out = out substr(body, at, end - at)
		}
		else if (c == "$" && match(rest, /^\$[A-Za-z_]*\$/))
		{
			tag = substr(rest, 1, RLENGTH)
			found = index(substr(rest, RLENGTH + 1), tag)
			if (found == 0)
				fail(line_at(at), "a text in dollars does not end")
			end = at + RLENGTH + found - 1 + RLENGTH
			out = out substr(body, at, end - at)
		}
		else if (c == "$" && rest ~ /^\$[0-9]/)
			fail(line_at(at), "parameters are written :name")
		else if (substr(rest, 1, 2) == "--")
		{
			found = index(rest, "\n")
			end = found ? at + found - 1 : len + 1
			sub(/[ \t]+$/, "", out)
		}
		else if (substr(rest, 1, 2) == "/*")
		{
			found = index(rest, "*/")
			if (!found)
				fail(line_at(at), "a comment does not end")
			end = at + found + 1
		}
		else if (substr(rest, 1, 2) == "::")
		{
			out = out "::"
			end = at + 2
		}
		else if (c == ":" && match(substr(rest, 2), /^[a-z_][a-z0-9_]*/))
		{
			name = substr(rest, 2, RLENGTH)
			if (!(name in number_of))
				fail(line_at(at), "parameter \"" name "\" is not declared")
			used[name] = 1
			out = out sprintf("\002%c", 64 + number_of[name])
			end = at + 1 + length(name)
		}
		else if (substr(rest, 1, 7) == "@bgjob@")
		{
			out = out "\001"
			end = at + 7
		}
		else if (substr(rest, 1, 11) == "@from_role@" || substr(rest, 1, 11) == "@join_role@")
		{
			out = out (substr(rest, 2, 1) == "f" ? "\003" : "\004")
			end = at + 11
		}
		else if (c == ";")
			ended = 1
		else if (c !~ /[ \t\n]/ || !ended)
			out = out c
		at = end
	}
}

function finish(    i, path, n, folder, name, line)
{
	if (file == "")
		return
	if (comments == 0)
		fail(1, "the file does not begin with a comment that says what the statement is for")
	translate()
	out = trim(out)
	gsub(/\n([ \t]*\n)+/, "\n", out)
	if (out == "")
		fail(1, "there is no statement")
	for (name in number_of)
		if (!(name in used))
			fail(1, "parameter \"" name "\" is not used")
	n = split(file, path, "/")
	folder = path[n - 1]
	name = path[n]
	sub(/\.sql$/, "", name)
	if (name !~ /^[a-z][a-z0-9_]*$/)
		fail(1, "the name of a statement has small letters, digits and _ only")
	count++
	if (params > 0)
	{
		printf "static const Parameter parameters_%d[] = {\n", count
		for (i = 1; i <= params; i++)
			printf "\t{\"%s\", \"%s\", %s, %s, %s},\n", name_of[i], type_of[i], has_default[i] ? c_string(default_of[i]) : "NULL",
				choices_of[i] != "" ? c_string(choices_of[i]) : "NULL", optional[i] ? "true" : "false"
		print "};\n"
	}
	line = sprintf("\t{\"%s\",\n\t %s,\n\t %d, %s},\n", name, c_string(out), params, params > 0 ? "parameters_" count : "NULL")
	if (!(folder in table))
		folders[++nfolders] = folder
	table[folder] = table[folder] line
	entries[folder]++
}

function begin()
{
	file = FILENAME
	body = ""
	comments = params = have_params = first_line = 0
	split("", number_of)
	split("", used)
	split("", default_of)
	split("", choices_of)
	split("", has_default)
}

BEGIN {
	print "/* Made by statements.awk. */"
	print "#include \"dashboard/statement.h\"\n"
	print "#include <stddef.h>\n"
}

FNR == 1 {
	finish()
	begin()
}

{
	if (first_line == 0 && /^--/)
	{
		comments++
		if (/^-- params:/)
			read_params(substr($0, 11), FNR)
		next
	}
	if (first_line == 0 && /^[ \t]*$/)
		next
	if (first_line == 0)
		first_line = FNR
	body = body $0 "\n"
}

END {
	if (failed)
		exit 1
	finish()
	if (failed)
		exit 1
	for (i = 1; i <= nfolders; i++)
		printf "static const Statement statements_%s[] = {\n%s};\n\n", folders[i], table[folders[i]]
	print "const StatementTable statement_tables[] = {"
	for (i = 1; i <= nfolders; i++)
		printf "\t{\"%s\", statements_%s, %d},\n", folders[i], folders[i], entries[folders[i]]
	print "\t{NULL, NULL, 0}\n};"
}
