#!/usr/bin/env bash
# Runs the test suite on the PostgreSQL versions of other Debian releases, each in a folder of its own:
# 17 on Debian 13 (trixie), 18 on Debian testing (forky).
#
#   bash test/matrix.sh                    both
#   bash test/matrix.sh trixie [GROUP…]    one; the groups are those of check.sh
#   bash test/matrix.sh clean              removes the folders
#
# Needs root (debootstrap and chroot do). The folders are kept in BGJOB_MATRIX_DIR (default
# /var/tmp/bgjob-matrix), so that a second run starts at once. BGJOB_MIRROR is the mirror to take them
# from. The last line is the sum of all releases: "N passed, N failed".
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"

PLACE=${BGJOB_MATRIX_DIR:-/var/tmp/bgjob-matrix}
MIRROR=${BGJOB_MIRROR:-http://deb.debian.org/debian}
RELEASES="trixie forky"

# clean removes the folders, after looking that nothing is mounted there.
clean()
{
	local release

	for release in $RELEASES; do
		unmount "$PLACE/$release"
		! mountpoint -q "$PLACE/$release/proc" || die "$PLACE/$release/proc is still mounted"
		rm -rf --one-file-system "${PLACE:?}/$release" "$PLACE/$release.log"
	done
}

# unmount ROOT takes off what run_suite has mounted.
unmount()
{
	! mountpoint -q "$1/proc" || umount "$1/proc"
}

# make_root RELEASE makes its folder, unless it is there and complete.
make_root()
{
	local release=$1 root=$PLACE/$1 script=/usr/share/debootstrap/scripts/$1

	[ ! -f "$root/etc/bgjob-matrix" ] || return 0
	say "debootstrap $release"
	rm -rf --one-file-system "$root"
	mkdir -p "$PLACE"
	# Older debootstraps do not know the newest names; sid's script serves all.
	[ -e "$script" ] || script=${script%/*}/sid
	if ! debootstrap --variant=minbase "$release" "$root" "$MIRROR" "$script" >"$PLACE/$release.log" 2>&1; then
		tail -n 20 "$PLACE/$release.log" >&2
		return 1
	fi
	# A snapshot mirror's Release file may have expired.
	say 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/90bgjob-matrix"
	touch "$root/etc/bgjob-matrix"
}

# run_suite RELEASE [GROUP…] runs check.sh in its folder, on a copy of this source.
run_suite()
{
	local root=$PLACE/$1

	shift
	rm -rf "$root/root/bgjob"
	copy_tree "$TOP" "$root/root/bgjob"
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
	mountpoint -q "$root/proc" || mount -t proc proc "$root/proc" || return 1
	chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		LANG=C.UTF-8 http_proxy="${http_proxy:-}" BGJOB_TEST_TIMEOUT="${BGJOB_TEST_TIMEOUT:-600}" bash /root/bgjob/test/check.sh "$@"
	unmount "$root"
}

case ${1:-} in
clean)
	clean
	exit
	;;
trixie | forky)
	RELEASES=$1
	shift
	;;
'') ;;
*) die "usage: matrix.sh [trixie|forky [GROUP…] | clean]" ;;
esac

[ "$(id -u)" -eq 0 ] || die "debootstrap and chroot need root"
ensure_packages debootstrap
passed=0 failed=0 skipped=0
for release in $RELEASES; do
	trap 'unmount "$PLACE/$release"' EXIT
	say "=== $release"
	mkdir -p "$PLACE"
	last=
	if make_root "$release"; then
		# Everything is shown as it comes; the last line is kept for the sum.
		run_suite "$release" "$@" 2>&1 | tee "$PLACE/$release.log"
		last=$(tail -n 1 "$PLACE/$release.log")
	fi
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
	else
		say "$release: the suite did not end"
		failed=$((failed + 1))
	fi
done
say "=== all"
say "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || say ", $skipped skipped")"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
