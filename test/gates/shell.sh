#!/usr/bin/env bash
# Gate: shellcheck is quiet about every shell script.
#
#   bash shell.sh TREE                     says TAP
set -u
cd "$1" || exit 1

mapfile -t files < <({ find . -name '*.sh' -not -path './.git/*' && echo ./.ci/run; } | sort)
echo "1..1"
if report=$(shellcheck -x "${files[@]}" 2>&1); then
	echo "ok 1 - ${#files[@]} scripts"
else
	echo "not ok 1 - ${#files[@]} scripts"
	printf '%s\n' "$report" | sed 's/^/# /'
fi
