#!/usr/bin/env bash
# Shows bgjob at work on the text files of this machine, in a private throw-away PostgreSQL cluster.
# On a fresh Debian machine (12 or newer) it first installs missing packages; for that it needs root or
# sudo.
#
#   bash test/demo.sh                      builds, starts the cluster, runs the demonstration; the cluster stays, and the
#                                          dashboard, at the loopback address
#   bash test/demo.sh stop                 ends both and removes their folder
#
# Everything is in one folder, BGJOB_DEMO_DIR (default /var/tmp/bgjob-demo-USER): the build, a private copy
# of the server (test/lib/common.sh says how), the cluster with its socket. No other cluster is touched; the
# one TCP port is that of the dashboard. Running it again replaces the former one. Root only installs; the server runs as
# the user "postgres" then.
set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/lib/common.sh
. "$TOP/test/lib/common.sh"

DIR=${BGJOB_DEMO_DIR:-/var/tmp/bgjob-demo-$(id -un)}
MARK=$DIR/this-is-a-bgjob-demo

# end_process FILE ends the process whose number is in the first line of a file, if it is one of this folder's programs.
end_process()
{
	local pid

	[ -f "$1" ] || return 0
	pid=$(head -n 1 "$1")
	case $(readlink "/proc/$pid/exe") in
	"$DIR"/*)
		kill -INT "$pid"
		wait_until 30 test ! -e "/proc/$pid" || kill -QUIT "$pid"
		wait_until 30 test ! -e "/proc/$pid" || die "process $pid does not end"
		;;
	esac
}

# end_former ends dashboard and cluster of an earlier run and removes their folder; fails if there was none.
end_former()
{
	[ -e "$DIR" ] || return 1
	[ -O "$MARK" ] || die "$DIR is not a folder of this demonstration: remove it, or set BGJOB_DEMO_DIR"
	end_process "$DIR/dashboard.pid"
	end_process "$DIR/data/postmaster.pid"
	rm -rf "$DIR"
}

case ${1:-} in
stop)
	end_former || die "there is nothing to stop"
	say "stopped, and removed $DIR"
	exit 0
	;;
'') ;;
*) die "usage: demo.sh [stop]" ;;
esac

choose_server perl libpq-dev libmicrohttpd-dev
end_former && say "ended the former demonstration"
mkdir -m 700 "$DIR" || exit 1
touch "$MARK"
DIR=$(cd "$DIR" && pwd -P)
copy_tree "$TOP" "$DIR/tree"
if [ "$(id -u)" -eq 0 ]; then
	chown "$(test_user):" "$DIR"
	chown -R "$(test_user):" "$DIR/tree"
fi
cd "$DIR" || exit 1
as_user env HOME="$DIR" PG_CONFIG="$PG_CONFIG" bash "$DIR/tree/test/demo/run.sh" "$DIR" "$TOP"
