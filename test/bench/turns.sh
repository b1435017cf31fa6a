#!/usr/bin/env bash
# Builds two commits, starts their clusters and measures them in turn, as an ordinary user and inside the folder that
# compare.sh has prepared: the sources are in old/tree and new/tree.
#
#   bash turns.sh DIR PAIRS [--quick] CASE…    PG_CONFIG in the environment
set -u
DIR=$1
PAIRS=$2
shift 2
BENCH=$DIR/new/tree/test/bench
INSTALLED=$PG_CONFIG
declare -A CONFIG

# shellcheck source=test/lib/common.sh
. "$DIR/new/tree/test/lib/common.sh"
# shellcheck source=test/bench/lib/build.sh
. "$BENCH/lib/build.sh"

# stop ends both clusters.
stop()
{
	local which

	for which in "${!CONFIG[@]}"; do
		PG_CONFIG=${CONFIG[$which]} cluster_stop "$DIR/$which" >/dev/null
	done
}

# measure WHICH ARGUMENT… measures the cases once. Figures are added to WHICH/raw.tsv.
measure()
{
	local which=$1

	shift
	perl -I "$BENCH/lib" "$BENCH/bench.pl" --dir "$DIR/$which" --bindir "$("${CONFIG[$which]}" --bindir)" --repeat 1 "$@" |
		sed "s/^/$which  /"
	return "${PIPESTATUS[0]}"
}

trap stop EXIT
trap 'exit 1' INT TERM HUP
for which in old new; do
	say "building: $which"
	PG_CONFIG=$INSTALLED
	build "$DIR/$which"
	CONFIG[$which]=$PG_CONFIG
	cluster_init "$DIR/$which" && cluster_start "$DIR/$which" || exit 1
done
for ((pair = 1; pair <= PAIRS; pair++)); do
	say "pair $pair of $PAIRS"
	# The one that was last is the first now: what drifts does not favour one of them.
	if [ $((pair % 2)) -eq 1 ]; then order="old new"; else order="new old"; fi
	for which in $order; do
		measure "$which" "$@" || die "a case failed; its ratios would be wrong"
	done
done
perl -I "$BENCH/lib" "$BENCH/compare.pl" "$DIR/old/raw.tsv" "$DIR/new/raw.tsv"
