#!/usr/bin/env bash
# Measures this checkout beside another commit: what has a change gained? The speed of a machine may change within minutes,
# most of all that of a virtual one. So both are measured in turn, and the ratio is taken pair by pair.
#
#   bash test/bench/compare.sh COMMIT CASE…
#   --repeat N     pairs (5)
#   --quick        a twentieth of the sizes
#
# The cases are those of this checkout, for both. Each has a private server and cluster of its own, which is idle while
# the other one is measured. Prints for each figure the medians, and the median, the least and the greatest of the
# ratios. A clean checkout beside HEAD shows how far ratios differ from 1 by chance.
# BGJOB_KEEP=1 keeps the folder with the logs and raw.tsv, every single figure.
# Like run.sh it installs what is missing, and leaves what was installed on the machine alone.
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"

REPEAT=5
WORDS=()
OPTIONS=()

# parse ARGUMENT… reads the command line.
parse()
{
	local case

	while [ $# -gt 0 ]; do
		case $1 in
		--quick) OPTIONS+=(--quick) ;;
		--repeat)
			[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--repeat wants a number"
			REPEAT=$2
			shift
			;;
		-*) die "usage: compare.sh [--repeat N] [--quick] COMMIT CASE…" ;;
		*) WORDS+=("$1") ;;
		esac
		shift
	done
	[ "${#WORDS[@]}" -ge 2 ] || die "usage: compare.sh [--repeat N] [--quick] COMMIT CASE…"
	COMMIT=$(git -C "$TOP" rev-parse --verify --quiet "${WORDS[0]}^{commit}") || die "no such commit: ${WORDS[0]}"
	for case in "${WORDS[@]:1}"; do
		[ -f "$TOP/test/bench/cases/$case.pm" ] || die "no such case: $case (run.sh --list names them)"
		OPTIONS+=("$case")
	done
}

# copy_commit TO puts the commit into a folder, but with the cases of this checkout.
copy_commit()
{
	mkdir -p "$1"
	git -C "$TOP" archive "$COMMIT" | tar -C "$1" -xf - || die "git archive failed"
	rm -rf "$1/test/bench" "$1/test/modules/bareworker"
	mkdir -p "$1/test/modules"
	cp -R "$TOP/test/bench" "$1/test/"
	cp -R "$TOP/test/modules/bareworker" "$1/test/modules/"
}

# finish removes the folder; turns.sh has ended its clusters.
finish()
{
	if [ -n "${BGJOB_KEEP:-}" ]; then
		say "kept: $DIR" >&2
	else
		rm -rf "$DIR"
	fi
}

parse "$@"
choose_server perl
DIR=$(mktemp -d "${TMPDIR:-/var/tmp}/bgjob-bench.XXXXXX")
trap finish EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$DIR/old/out" "$DIR/new/out"
copy_tree "$TOP" "$DIR/new/tree"
copy_commit "$DIR/old/tree"
[ "$(id -u)" -ne 0 ] || chown -R "$(test_user):" "$DIR"
cd "$DIR" || exit 1
as_user env HOME="$DIR" PG_CONFIG="$PG_CONFIG" bash "$DIR/new/tree/test/bench/turns.sh" "$DIR" "$REPEAT" "${OPTIONS[@]}"
