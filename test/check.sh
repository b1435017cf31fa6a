#!/usr/bin/env bash
# Runs every test: a quarter of an hour on a machine with two cores. On a fresh Debian machine (12 or newer) it first
# installs missing packages, those that the selected tests need; for that it needs root or sudo.
#
#   bash test/check.sh                     everything
#   bash test/check.sh gates pgtap         some groups: unit gates plain regress isolation pgtap tap security
#   bash test/check.sh t/004 sql/errors    single files, by the beginning of their names
#
# The source is copied to another folder and built there. The tests use a private copy of the server
# (test/lib/common.sh) with private clusters, so neither this folder nor the machine's PostgreSQL
# changes. Root only installs packages; the rest runs as "postgres". Ctrl-C ends all of it and removes the folder.
#
# PG_CONFIG chooses another server, TMPDIR another place, BGJOB_KEEP=1 keeps the folder with all the
# logs, BGJOB_JOBS is the number of files that run at the same time (one more than processors),
# BGJOB_TEST_TIMEOUT the limit for one file in seconds (600).
# The last line is "N passed, N failed", with ", N skipped" where some were; the status is 1 if any failed.
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TREE=$TOP
SELECTIONS=("$@")
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"
# shellcheck source=test/lib/select.sh
. "$TOP/test/lib/select.sh"

# finish ends the tests if they still run, and removes the folder, unless it is to be kept.
finish()
{
	[ -z "${SUITE:-}" ] || ! kill -TERM "$SUITE" 2>/dev/null || wait "$SUITE"
	if [ -n "${BGJOB_KEEP:-}" ]; then
		say "kept: $DIR" >&2
	else
		rm -rf "$DIR"
	fi
}

# packages prints the packages that the selected groups need, beside server and compiler. NN stands for the server's
# version. Where the distribution has it: the clang-format whose result counts, another implementation of cron.
packages()
{
	local codename

	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && say "${VERSION_CODENAME:-}")
	say perl
	if any_selected gates; then say clang cppcheck shellcheck; fi
	if any_selected gates && [ "$codename" = bookworm ]; then say clang-format-14; fi
	if any_selected plain pgtap tap; then say postgresql-NN-pgtap; fi
	if any_selected plain tap security; then say libipc-run-perl; fi
	if any_selected tap; then say postgresql-NN-cron iproute2 jq pgbouncer python3-psycopg nodejs chromium chromium-driver python3-selenium curl openssl; fi
	if any_selected tap && ! foreign_node; then say node-pg; fi
	if any_selected gates tap; then say libpq-dev libmicrohttpd-dev; fi
	if any_selected tap && [[ $codename =~ ^(bookworm|trixie)$ ]]; then say python3-croniter; fi
}

# foreign_node succeeds if nodejs is installed, and not from Debian. Then Debian's driver cannot be installed beside it.
foreign_node()
{
	local by

	by=$(dpkg-query -W -f '${db:Status-Status} ${Maintainer}' nodejs 2>/dev/null) &&
		[[ $by == installed* && $by != *debian.org* ]]
}

# unpack_node_driver has Node find Debian's driver in DIR. Without it, tests are skipped.
unpack_node_driver()
(
	mkdir -p "$DIR/node" && cd "$DIR/node" || return
	apt-get -q download node-pg node-split2 node-xtend >log 2>&1 || { apt_update && apt-get -q download node-pg node-split2 node-xtend >log 2>&1; } || {
		say "Debian's driver for Node cannot be loaded down:" "$(tail -n 1 log)" >&2
		return
	}
	for package in *.deb; do dpkg -x "$package" .; done
)

# unpack_promtool has the tests find promtool in DIR. The package is not installed: it would start Prometheus at the next boot.
# Without it, tests are skipped.
unpack_promtool()
(
	mkdir -p "$DIR/prometheus" && cd "$DIR/prometheus" || return
	apt-get -q download prometheus >log 2>&1 || { apt_update && apt-get -q download prometheus >log 2>&1; } || {
		say "promtool cannot be loaded down:" "$(tail -n 1 log)" >&2
		return
	}
	dpkg -x prometheus*.deb .
)

case ${1:-} in
-h | --help)
	sed -n '/^set -u$/q; s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | tail -n +2
	exit 0
	;;
esac
[ "$(id -u)" -eq 0 ] || [ -z "$(find "$TOP" -maxdepth 0 ! -readable)" ] || die "cannot read $TOP"
if WRONG=$(wrong_selection); then
	say "check.sh: $WRONG" >&2
	say "0 passed, 1 failed"
	exit 1
fi
[ $# -gt 0 ] || say "All tests: a quarter of an hour on a machine with two cores. bash test/check.sh --help says how to run some"
# shellcheck disable=SC2046	# several words are meant
choose_server $(packages)

DIR=$(mktemp -d "${TMPDIR:-/tmp}/bgjob-check.XXXXXX")
trap finish EXIT
trap 'exit 1' INT TERM HUP PIPE
copy_tree "$TOP" "$DIR/tree"
if any_selected tap && foreign_node; then
	unpack_node_driver
	export NODE_PATH=$DIR/node/usr/share/nodejs
fi
if any_selected tap && ! command -v promtool >/dev/null; then
	unpack_promtool
	export PATH=$PATH:$DIR/prometheus/usr/bin
fi
if [ "$(id -u)" -eq 0 ]; then
	chown -R "$(test_user):" "$DIR"
fi
# In the background, since a shell answers signals only when its command in the foreground has ended.
set_as_user
"${AS_USER[@]}" env -C "$DIR" HOME="$DIR" PG_CONFIG="$PG_CONFIG" bash "$DIR/tree/test/lib/suite.sh" "$DIR" "$@" &
SUITE=$!
wait "$SUITE"
