#!/usr/bin/env bash
# Runs every test. On a fresh Debian machine (12 or newer) it first installs missing packages; for that
# it needs root or sudo.
#
#   bash test/check.sh                     everything
#   bash test/check.sh gates pgtap         some groups: unit gates regress isolation pgtap tap security plain
#   bash test/check.sh t/004 sql/enqueue   single files, by the beginning of their names
#
# The source is copied to another folder and built there. The tests use a private copy of the server
# (test/lib/common.sh) with private clusters, so neither this folder nor the machine's PostgreSQL
# changes. Root only installs packages; the rest runs as "postgres".
#
# PG_CONFIG chooses another server, TMPDIR another place, BGJOB_KEEP=1 keeps the folder with all the
# logs, BGJOB_TEST_TIMEOUT is the limit for one file in seconds (600).
# The last line is "N passed, N failed", with ", N skipped" where some were; the status is 1 if any failed.
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"

# finish removes the folder, unless it is to be kept.
finish()
{
	if [ -n "${BGJOB_KEEP:-}" ]; then
		say "kept: $DIR" >&2
	else
		rm -rf "$DIR"
	fi
}

# formatter prints the package of the clang-format whose result counts, where the distribution has it.
formatter()
{
	local codename

	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && say "${VERSION_CODENAME:-}")
	[ "$codename" != bookworm ] || say clang-format-14
}

# oracle prints the package with another implementation of cron, where the distribution has it.
oracle()
{
	local codename

	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && say "${VERSION_CODENAME:-}")
	case $codename in bookworm | trixie) say python3-croniter ;; esac
}

[ "$(id -u)" -eq 0 ] || [ -z "$(find "$TOP" -maxdepth 0 ! -readable)" ] || die "cannot read $TOP"
mapfile -t FORMATTER < <(formatter)
mapfile -t ORACLE < <(oracle)
choose_server perl clang cppcheck shellcheck libipc-run-perl postgresql-NN-pgtap postgresql-NN-cron \
	"${FORMATTER[@]}" "${ORACLE[@]}"

DIR=$(mktemp -d "${TMPDIR:-/tmp}/bgjob-check.XXXXXX")
trap finish EXIT
trap 'exit 1' INT TERM HUP
copy_tree "$TOP" "$DIR/tree"
if [ "$(id -u)" -eq 0 ]; then
	chown -R "$(test_user):" "$DIR"
fi
cd "$DIR" || exit 1
as_user env HOME="$DIR" PG_CONFIG="$PG_CONFIG" bash "$DIR/tree/test/lib/suite.sh" "$DIR" "$@"
