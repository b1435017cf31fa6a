#!/usr/bin/env bash
# Gate: the tree builds from scratch with gcc and with clang, without warnings.
#
#   bash warnings.sh TREE                  says TAP; PG_CONFIG in the environment
#
# clang gets one exception: PostgreSQL's own flags were written for the compiler that built it, and
# clang does not know all of gcc's.
set -u
tree=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# shellcheck source=test/lib/common.sh
. "$tree/test/lib/common.sh"

echo "1..2"
number=0
for compiler in gcc clang; do
	number=$((number + 1))
	copy_tree "$tree" "$place/$compiler"
	flags=
	[ "$compiler" = gcc ] || flags="-Wno-unknown-warning-option -Wno-ignored-attributes -Wno-ignored-optimization-argument -Wno-unused-command-line-argument"
	if make_bgjob "$place/$compiler" -j "$(nproc)" -O WERROR=1 CC="$compiler" COPT="$flags" all >"$place/log" 2>&1 &&
		[ ! -s "$place/log" ]; then
		echo "ok $number - $compiler"
	else
		echo "not ok $number - $compiler"
		head -n 60 "$place/log" | sed 's/^/# /'
	fi
done
