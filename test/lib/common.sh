# shellcheck shell=bash
# Functions shared by check.sh and demo.sh: they install missing Debian packages, choose a PostgreSQL,
# drop root's rights, and make a private copy of the server.
#
# PostgreSQL finds its directories relative to its executable. So a folder with copies of the
# executables and links to all other files is a complete server. `make install` writes to that
# folder only: it needs no rights and touches neither the installed server nor its clusters.
#
# To be sourced. Needs only bash and the base system before ensure_packages has run.

SUPPORTED_VERSIONS="18 17 16 15"

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# as_root COMMAND… runs a command as root: directly, or through sudo.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# need_root PACKAGE… ends with one message if packages are missing and cannot be installed from here.
need_root()
{
	command -v apt-get >/dev/null || die "these packages are missing, and there is no apt-get: $*"
	[ "$(id -u)" -ne 0 ] || return 0
	if command -v sudo >/dev/null; then
		sudo -n true 2>/dev/null && return
		# A password can be typed only at a terminal.
		[ ! -t 0 ] || ! sudo -v || return 0
	fi
	die "packages are missing, and installing them needs root or sudo. As root: apt-get install $*"
}

# missing_packages NAME… prints the packages that are not installed.
missing_packages()
{
	local name

	for name in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
			say "$name"
	done
}

# apt COMMAND… runs apt-get as root without questions, quiet unless it fails.
apt()
{
	local said status=0

	said=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" 2>&1 </dev/null) || status=$?
	[ "$status" -eq 0 ] || tail -n 25 <<<"$said" >&2
	return "$status"
}

# apt_update reads the package lists, once per run.
apt_update()
{
	[ -z "${APT_UPDATED:-}" ] || return 0
	say "reading the package lists"
	apt update || say "apt-get update failed, continuing with the present lists" >&2
	APT_UPDATED=yes
}

# install_packages NAME… installs packages, and keeps Debian from creating a cluster and from starting anything.
install_packages()
(
	conf=/etc/postgresql-common/createcluster.d/bgjob-no-cluster.conf
	policy=/usr/sbin/policy-rc.d
	[ ! -e "$policy" ] || policy=
	trap 'as_root rm -f "$conf" ${policy:+"$policy"}' EXIT
	trap 'exit 1' INT TERM HUP
	if [ -n "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	as_root mkdir -p "${conf%/*}"
	say 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
	apt install --no-install-recommends "$@" || exit
	# Not at the next boot either.
	case " $* " in *" pgbouncer "*) ! command -v systemctl >/dev/null || as_root systemctl -q disable pgbouncer 2>/dev/null || true ;; esac
)

# ensure_packages NAME… installs the missing packages.
ensure_packages()
{
	local missing

	mapfile -t missing < <(missing_packages "$@")
	[ "${#missing[@]}" -gt 0 ] || return 0
	need_root "${missing[@]}"
	apt_update
	say "installing: ${missing[*]}"
	install_packages "${missing[@]}" || die "could not install: ${missing[*]}"
}

# choose_version sets VERSION, the major version to use: the highest one that is installed with its
# headers, else the distribution's default.
choose_version()
{
	for VERSION in $SUPPORTED_VERSIONS; do
		if [ -x "/usr/lib/postgresql/$VERSION/bin/initdb" ] &&
			[ -f "/usr/lib/postgresql/$VERSION/lib/pgxs/src/makefiles/pgxs.mk" ]; then
			return
		fi
	done
	need_root postgresql postgresql-server-dev-all gcc make
	apt_update
	VERSION=$(apt-cache depends postgresql | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p')
	[ -n "$VERSION" ] || die "the package lists have no PostgreSQL"
}

# choose_server [PACKAGE-TEMPLATE…] installs server, compiler and the given packages (NN stands for the
# major version) and sets PG_CONFIG, unless the environment sets it.
choose_server()
{
	if [ -z "${PG_CONFIG:-}" ]; then
		choose_version
		ensure_packages "postgresql-$VERSION" "postgresql-server-dev-$VERSION" gcc libc6-dev make \
			"${@//NN/$VERSION}"
		PG_CONFIG=/usr/lib/postgresql/$VERSION/bin/pg_config
	elif command -v dpkg-query >/dev/null; then
		VERSION=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		ensure_packages "${@//NN/$VERSION}"
	fi
	[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v "$PG_CONFIG") || die "there is no $PG_CONFIG"
	[ -f "$("$PG_CONFIG" --pgxs)" ] || die "$PG_CONFIG: the server's headers (PGXS) are missing"
	export PG_CONFIG
}

# test_user prints the user that builds and runs the server: the caller. PostgreSQL does not run as
# root; then it is the user of Debian's packages.
test_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		id -un
	elif id postgres >/dev/null 2>&1; then
		say postgres
	else
		say nobody
	fi
}

# set_as_user sets AS_USER, the words before a command that run it as test_user, without the caller's own settings.
set_as_user()
{
	local user

	user=$(test_user)
	AS_USER=(env -u LC_ALL -u LANGUAGE -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGDATA
		-u PGSERVICE -u PGOPTIONS -u MAKEFLAGS LANG=C.UTF-8 USER="$user" LOGNAME="$user")
	[ "$(id -u)" -ne 0 ] ||
		AS_USER=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "${AS_USER[@]}")
}

# as_user COMMAND… runs a command as test_user.
as_user()
{
	set_as_user
	"${AS_USER[@]}" "$@"
}

# copy_tree FROM TO copies the source without its build products and its history.
copy_tree()
{
	mkdir -p "$2"
	tar -C "$1" -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./bgjob--1.0.sql --exclude=./bgjob-worker --exclude=tmp_check --exclude=./results --exclude=./output_iso \
		--exclude=./test/unit/build . |
		tar -C "$2" -xf -
}

# mirror_server DIR makes the private copy of the server of PG_CONFIG and points PG_CONFIG to it. The
# directories keep their relative paths, by which the server finds them.
mirror_server()
{
	local to=$1 bin lib share prefix kind from

	bin=$(readlink -f "$("$PG_CONFIG" --bindir)")
	lib=$(readlink -f "$("$PG_CONFIG" --pkglibdir)")
	share=$(readlink -f "$("$PG_CONFIG" --sharedir)")
	prefix=$bin
	while [ "$lib" = "${lib#"$prefix"/}" ] || [ "$share" = "${share#"$prefix"/}" ]; do
		prefix=${prefix%/*}
	done
	mkdir -p "$to/${bin#"$prefix"/}" "$to/${lib#"$prefix"/}" "$to/${share#"$prefix"/}"
	cp -L "$bin"/* "$to/${bin#"$prefix"/}/"
	cp -rs "$lib"/. "$to/${lib#"$prefix"/}/"
	cp -rs "$share"/. "$to/${share#"$prefix"/}/"
	for kind in includedir pkgincludedir includedir-server; do
		from=$("$PG_CONFIG" "--$kind")
		if [ -d "$from" ] && [ ! -e "$to/${from#"$prefix"/}" ]; then
			mkdir -p "$to/${from#"$prefix"/}"
			cp -rs "$from"/. "$to/${from#"$prefix"/}/"
		fi
	done
	rm -rf "$to/${lib#"$prefix"/}"/bgjob.so "$to/${share#"$prefix"/}"/extension/bgjob* \
		"$to/${from#"$prefix"/}"/extension/bgjob
	PG_CONFIG=$to/${bin#"$prefix"/}/pg_config
	[ "$("$PG_CONFIG" --pkglibdir)" = "$to/${lib#"$prefix"/}" ] ||
		die "the copy of the server does not find its own directories"
	export PG_CONFIG
}

# make_bgjob TREE TARGET… [VARIABLE=VALUE…] runs the extension's Makefile for PG_CONFIG.
make_bgjob()
{
	local tree=$1

	shift
	make -s -C "$tree" PG_CONFIG="$PG_CONFIG" "$@"
}

# wait_until SECONDS COMMAND… runs a command until it succeeds; fails after the given time.
wait_until()
{
	local deadline=$((SECONDS + $1))

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

# cluster_init DIR [LINE…] makes a cluster in DIR/data (socket in DIR/socket, port 5432, no TCP) and adds
# the lines to its configuration. The caller must not be root.
cluster_init()
{
	local dir=$1 bin

	shift
	bin=$("$PG_CONFIG" --bindir)
	mkdir -p "$dir/socket"
	[ "${#dir}" -lt 80 ] || die "$dir is too long a name for a Unix socket's folder: set TMPDIR"
	"$bin/initdb" -D "$dir/data" -U postgres -A trust -N --encoding=UTF8 --locale=C.UTF-8 \
		>"$dir/initdb.log" 2>&1 || {
		cat "$dir/initdb.log" >&2
		return 1
	}
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir/socket'" \
		"log_line_prefix = '%m [%p] %b %u@%d '" "shared_preload_libraries = 'bgjob'" \
		"lc_messages = 'C'" "$@" >>"$dir/data/postgresql.conf"
}

# cluster_start DIR starts a cluster and waits until it accepts connections.
cluster_start()
{
	"$("$PG_CONFIG" --bindir)/pg_ctl" -D "$1/data" -l "$1/server.log" -w -t 120 start \
		>"$1/start.log" 2>&1 </dev/null || {
		cat "$1/start.log" >&2
		tail -n 30 "$1/server.log" >&2
		return 1
	}
}

# cluster_stop DIR [MODE] stops a cluster; in immediate mode if it does not stop within a minute.
cluster_stop()
{
	local ctl

	ctl=$("$PG_CONFIG" --bindir)/pg_ctl
	[ -f "$1/data/postmaster.pid" ] || return 0
	"$ctl" -D "$1/data" -m "${2:-fast}" -w -t 60 stop >"$1/stop.log" 2>&1 || {
		"$ctl" -D "$1/data" -m immediate -w -t 60 stop >>"$1/stop.log" 2>&1 || true
		return 1
	}
}
