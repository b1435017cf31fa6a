#!/usr/bin/env bash
# Builds the extension, starts the private cluster and measures, as an ordinary user and inside the folder that
# run.sh has prepared (the source in tree/, the peers in peers/ if they are to take part).
#
#   bash suite.sh DIR [OPTION…] [CASE…]    PG_CONFIG and BENCH_COMMIT in the environment
set -u
DIR=$1
shift
TREE=$DIR/tree

# shellcheck source=test/lib/common.sh
. "$TREE/test/lib/common.sh"
# shellcheck source=test/bench/lib/build.sh
. "$TREE/test/bench/lib/build.sh"

# install_peers fetches graphile-worker into the copy of the peers' folder; without it they are left out.
install_peers()
{
	[ -d "$DIR/peers" ] || return 0
	say "fetching graphile-worker (npm ci)"
	(cd "$DIR/peers" && npm ci --no-audit --no-fund) >"$DIR/npm.log" 2>&1 && return 0
	tail -n 20 "$DIR/npm.log" >&2
	say "the peers are left out: npm ci failed" >&2
	mv "$DIR/peers" "$DIR/peers.failed"
}

# The defaults of PostgreSQL, but for the library, the missing TCP port and the socket's folder.
say "building"
build "$DIR"
install_peers
trap 'cluster_stop "$DIR" >/dev/null' EXIT
trap 'exit 1' INT TERM HUP
cluster_init "$DIR" && cluster_start "$DIR" || exit 1
perl -I "$TREE/test/bench/lib" "$TREE/test/bench/bench.pl" --dir "$DIR" --bindir "$("$PG_CONFIG" --bindir)" "$@"
status=$?
[ ! -f "$DIR/out/benchmarks.tsv" ] || perl -I "$TREE/test/bench/lib" "$TREE/test/bench/report.pl" "$DIR/out" || status=1
exit "$status"
