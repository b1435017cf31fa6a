#!/usr/bin/env bash
# Measures bgjob, and writes what came out into doc/: benchmarks.md, benchmarks.svg and the data, benchmarks.tsv.
# On a fresh Debian machine (12 or newer) it first installs what is missing; so it needs root or sudo
# there, and later nothing of the kind. Nothing else should run on the machine meanwhile.
#
#   bash test/bench/run.sh                        every case, bgjob alone
#   bash test/bench/run.sh --peers                beside graphile-worker and floor.sql, in turn (needs Node 20, npm)
#   bash test/bench/run.sh --peers drain group    some cases: only their rows in doc/benchmarks.tsv change
#   --repeat N     repetitions (3); medians and the spread are kept
#   --quick        a twentieth of the sizes, to try it out; goes to the folder bgjob-bench-quick in TMPDIR, not to doc/
#   --out DIR      where the three files go
#   --list         names the cases
#
# The source is copied to a folder of its own below TMPDIR (/var/tmp; it should be on a real disk) and built there,
# with a private copy of the server (test/lib/common.sh says how) and a private cluster; root only installs.
# The peers are in ../shared/peers beside the checkout; BGJOB_PEERS names another place. BGJOB_KEEP=1 keeps the folder
# with logs and raw.tsv, every single figure. `perl test/bench/report.pl doc` makes text and chart anew from the data.
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"

PEERS=${BGJOB_PEERS:-$TOP/../shared/peers}
OUT=
OPTIONS=()
WITH_PEERS=
QUICK=

# parse ARGUMENT… reads the command line.
parse()
{
	while [ $# -gt 0 ]; do
		case $1 in
		--peers) WITH_PEERS=yes ;;
		--quick)
			QUICK=yes
			OPTIONS+=(--quick)
			;;
		--repeat)
			[[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--repeat wants a number"
			OPTIONS+=(--repeat "$2")
			shift
			;;
		--out)
			[ -n "${2:-}" ] || die "--out wants a folder"
			OUT=$2
			shift
			;;
		--list)
			list
			exit 0
			;;
		-*) die "usage: run.sh [--peers] [--repeat N] [--quick] [--out DIR] [--list] [case…]" ;;
		*)
			[ -f "$TOP/test/bench/cases/$1.pm" ] || die "no such case: $1 (--list names them)"
			OPTIONS+=("$1")
			;;
		esac
		shift
	done
}

# list prints the cases, each with the first line of its file.
list()
{
	local file

	for file in "$TOP"/test/bench/cases/*.pm; do
		printf '%-16s %s\n' "$(basename "$file" .pm)" "$(sed -n '1s/^# //p' "$file")"
	done
}

# check_peers leaves the peers out, and says so, if they cannot be run here.
check_peers()
{
	local why=

	[ -n "$WITH_PEERS" ] || return 0
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		why="node and npm are not installed"
	elif [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
		why="node $(node --version) is too old, 20 is needed"
	elif [ ! -f "$PEERS/graphile.mjs" ]; then
		why="$PEERS has no graphile.mjs (BGJOB_PEERS names another place)"
	fi
	[ -n "$why" ] || return 0
	say "the peers are left out: $why" >&2
	WITH_PEERS=
}

# finish brings the files out, ends nothing (suite.sh ends its own cluster) and removes the folder.
finish()
{
	if [ -f "$DIR/out/benchmarks.tsv" ]; then
		cp "$DIR"/out/benchmarks.* "$OUT/" && say "written: $(cd "$OUT" && printf '%s ' "$PWD"/benchmarks.*)"
	fi
	if [ -n "${BGJOB_KEEP:-}" ]; then
		say "kept: $DIR" >&2
	else
		rm -rf "$DIR"
	fi
}

parse "$@"
check_peers
[ -n "$OUT" ] || OUT=${QUICK:+${TMPDIR:-/var/tmp}/bgjob-bench-quick}
[ -n "$OUT" ] || OUT=$TOP/doc
OUT=$(mkdir -p "$OUT" && cd "$OUT" && pwd) || exit 1
choose_server perl
command -v gnuplot >/dev/null || ensure_packages gnuplot-nox

DIR=$(mktemp -d "${TMPDIR:-/var/tmp}/bgjob-bench.XXXXXX")
trap finish EXIT
trap 'exit 1' INT TERM HUP
copy_tree "$TOP" "$DIR/tree"
mkdir "$DIR/out"
[ ! -f "$OUT/benchmarks.tsv" ] || cp "$OUT/benchmarks.tsv" "$DIR/out/"
[ ! -f "$OUT/profile.md" ] || cp "$OUT/profile.md" "$DIR/out/" # the end of benchmarks.md: where the time goes
if [ -n "$WITH_PEERS" ]; then
	mkdir "$DIR/peers"
	cp "$PEERS"/*.mjs "$PEERS"/*.sql "$PEERS"/package*.json "$DIR/peers/"
	cp "$TOP"/test/bench/peers/* "$DIR/peers/"
fi
[ "$(id -u)" -ne 0 ] || chown -R "$(test_user):" "$DIR"
COMMIT=$(git -C "$TOP" describe --always --dirty --abbrev=10 2>/dev/null || say unknown)
cd "$DIR" || exit 1
as_user env HOME="$DIR" PG_CONFIG="$PG_CONFIG" BENCH_COMMIT="$COMMIT" \
	bash "$DIR/tree/test/bench/suite.sh" "$DIR" "${OPTIONS[@]}"
