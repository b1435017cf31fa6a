#!/usr/bin/env bash
# Gate: the C source has the format of .clang-format.
#
#   bash format.sh TREE                    says TAP
#
# The output of clang-format differs between versions, so only version 14, that of Debian 12, counts.
# Without that version the gate is skipped and counted as skipped.
set -u
cd "$1" || exit 1

formatter=
for candidate in clang-format-14 clang-format; do
	case $("$candidate" --version 2>/dev/null) in
	*"version 14."*) formatter=$candidate && break ;;
	esac
done
if [ -z "$formatter" ]; then
	echo "1..0 # SKIP clang-format 14 is not to be had here"
	exit 0
fi

mapfile -t files < <(find src test -name '*.c' -o -name '*.h' | sort)
bad=()
for file in "${files[@]}"; do
	"$formatter" --dry-run -Werror --style=file "$file" >/dev/null 2>&1 || bad+=("$file")
done
echo "1..1"
if [ "${#bad[@]}" -eq 0 ]; then
	echo "ok 1 - ${#files[@]} files are formatted"
else
	echo "not ok 1 - ${#files[@]} files are formatted"
	echo "# mend it with: $formatter -i ${bad[*]}"
	for file in "${bad[@]}"; do
		"$formatter" --style=file "$file" | diff -U1 --label "$file" --label formatted "$file" - | head -n 20 | sed 's/^/# /'
	done
fi
