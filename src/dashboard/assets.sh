#!/bin/sh
# Writes the files of the page into C: assets.sh FOLDER > assets.c
#
# Each file is there twice, as it is and compressed; the media type is that of its suffix. One hash over all of
# them is part of their addresses, so that a browser may keep them for ever. What belongs to the
# development of the page alone (package.json, licences, sums, texts) is left out.
# The output depends on nothing but the files.
set -eu
LC_ALL=C
export LC_ALL
cd "$1"

# type_of prints the media type of a file.
type_of()
{
	case $1 in
	*.html) echo "text/html; charset=utf-8" ;;
	*.js) echo "text/javascript; charset=utf-8" ;;
	*.css) echo "text/css; charset=utf-8" ;;
	*.svg) echo "image/svg+xml" ;;
	*.png) echo "image/png" ;;
	*.ico) echo "image/x-icon" ;;
	*.woff2) echo "font/woff2" ;;
	*.json | *.webmanifest) echo "application/json" ;;
	*)
		echo "$PWD/$1:1: the suffix has no media type" >&2
		return 1
		;;
	esac
}

# bytes turns its input into literals of C.
bytes()
{
	od -An -v -to1 -w32 | sed 's/ /\\/g; s/^/	"/; s/$/"/'
}

files=$(find . -type f ! -name 'package*.json' ! -iname '*licen[sc]e*' ! -name '*.md' ! -name '*.txt' ! -name 'SHA256SUMS' | sed 's,^\./,,' | sort)
hash=$(for file in $files; do
	printf '%s\n' "$file"
	cat "$file"
done | sha256sum | cut -c 1-16)

printf '/* Made by assets.sh. */\n#include "dashboard/asset.h"\n\n#include <stddef.h>\n\n'
printf 'const char asset_hash[] = "%s";\n\n' "$hash"
number=0
for file in $files; do
	case $file in
	*[!A-Za-z0-9_./-]*)
		echo "$PWD/$file:1: the name has a character that addresses should not have" >&2
		exit 1
		;;
	esac
	number=$((number + 1))
	printf 'static const char plain_%d[] =\n' $number
	bytes <"$file"
	printf '\t"";\n\nstatic const char packed_%d[] =\n' $number
	gzip -9nc "$file" | bytes
	printf '\t"";\n\n'
done
printf 'const Asset assets[] = {\n'
number=0
for file in $files; do
	number=$((number + 1))
	type=$(type_of "$file")
	printf '\t{"%s", "%s", plain_%d, sizeof(plain_%d) - 1, packed_%d, sizeof(packed_%d) - 1},\n' \
		"$file" "$type" $number $number $number $number
done
printf '\t{NULL, NULL, NULL, 0, NULL, 0}\n};\n'
