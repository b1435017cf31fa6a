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

# build makes the private server and installs the extension there, with the flags of a release.
build()
{
	mirror_server "$DIR/server"
	if ! { make_bgjob "$TREE" -j "$(nproc)" all && make_bgjob "$TREE" install &&
		make -s -C "$TREE/test/modules/bareworker" PG_CONFIG="$PG_CONFIG" all install &&
		make -s -C "$TREE/test/bench/client" PG_CONFIG="$PG_CONFIG"; } >"$DIR/build.log" 2>&1; then
		cat "$DIR/build.log" >&2
		die "bgjob does not build"
	fi
}

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
build
install_peers
trap 'cluster_stop "$DIR" >/dev/null' EXIT
trap 'exit 1' INT TERM HUP
cluster_init "$DIR" && cluster_start "$DIR" || exit 1
perl -I "$TREE/test/bench/lib" "$TREE/test/bench/bench.pl" --dir "$DIR" --bindir "$("$PG_CONFIG" --bindir)" "$@"
status=$?
[ ! -f "$DIR/out/benchmarks.tsv" ] || perl -I "$TREE/test/bench/lib" "$TREE/test/bench/report.pl" "$DIR/out" || status=1
exit "$status"
