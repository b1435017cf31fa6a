#!/usr/bin/env bash
# Builds the extension and runs its tests, as an ordinary user and inside the given folder. check.sh
# prepares that folder (the copy of the source in tree/) and calls this script.
#
#   bash suite.sh DIR [SELECTION…]         PG_CONFIG in the environment
#
# Each group has a function group_NAME below. tap.pl runs a group's tests as TAP and adds their counts to
# DIR/counts; the last line printed is the sum. Clusters have their own folders below DIR and no TCP port.
set -u
DIR=$1
shift
SELECTIONS=("$@")
TREE=$DIR/tree
COUNTS=$DIR/counts
LOGS=$DIR/logs
GROUPS_ALL="unit gates regress isolation pgtap tap security plain"
# The server's messages about a crash. Signal 9 is not among them: tests send it.
CRASH='was terminated by signal (4|6|7|8|11):|PANIC:|TRAP:'
TAP_TIMEOUT=${BGJOB_TEST_TIMEOUT:-600}

# shellcheck source=test/lib/common.sh
. "$TREE/test/lib/common.sh"

# group_of WORD prints the group for the first part of a selection: a group's name or its folder.
group_of()
{
	case $1 in
	sql) say regress ;;
	specs | isolation) say isolation ;;
	t) say tap ;;
	*) say "$1" ;;
	esac
}

# selected GROUP [NAME] succeeds if the command line selects it. A selection is a group, or
# group/beginning-of-a-name.
selected()
{
	local selection name

	[ "${#SELECTIONS[@]}" -gt 0 ] || return 0
	for selection in "${SELECTIONS[@]}"; do
		[ "$(group_of "${selection%%/*}")" = "$1" ] || continue
		[ -n "${2:-}" ] || return 0
		case $selection in
		*/*) name=${selection#*/} ;;
		*) return 0 ;;
		esac
		case $2 in "${name%.*}"*) return 0 ;; esac
	done
	return 1
}

# names_of GROUP FILE… prints the names of the selected files without folder and extension.
names_of()
{
	local group=$1 file name

	shift
	for file in "$@"; do
		[ -f "$file" ] || continue
		name=${file##*/}
		name=${name%.*}
		! selected "$group" "$name" || say "$name"
	done
}

# tap NAME COMMAND… runs a program that prints TAP and counts its results.
tap()
{
	local name=$1

	shift
	perl "$TREE/test/lib/tap.pl" --name "$name" --log "$LOGS/${name//\//-}.log" --counts "$COUNTS" \
		--timeout "$TAP_TIMEOUT" -- "$@" || fail "$name" "its results could not be read"
}

# count NAME PASSED FAILED adds the results of a test that is not a program.
count()
{
	printf '%s\t%d\t%d\t0\n' "$@" >>"$COUNTS"
}

# fail NAME TEXT… counts and prints a failure.
fail()
{
	count "$1" 0 1
	say "  FAIL  $1"
	shift
	printf '        ! %s\n' "$@"
}

# check_log NAME LOG… counts one test: no crash in these server logs. Prints the lines before a crash.
check_log()
{
	local name=$1 log line

	shift
	for log in "$@"; do
		[ -f "$log" ] || continue
		line=$(grep -nEm 1 "$CRASH" "$log" | cut -d: -f1)
		if [ -n "$line" ]; then
			fail "$name: server log" "a crash that no test declares: ${log#"$DIR"/}, line $line"
			sed -n "$((line > 15 ? line - 15 : 1)),$((line + 5))p" "$log" | sed 's/^/        | /'
			return
		fi
	done
	count "$name: server log" 1 0
}

# show_server_logs DIR prints the ends of all logs of servers and TAP tests below DIR, after a failure.
show_server_logs()
{
	local log

	find "$1" \( -name '*.log' -o -name 'regress_log_*' \) -size +0 -not -name initdb.log -not -name start.log \
		-not -name stop.log | sort | while read -r log; do
		say "        --- end of ${log#"$DIR"/}"
		tail -n 25 "$log" | sed 's/^/        | /'
	done
}

# end_servers DIR stops the clusters below DIR that are still running.
end_servers()
{
	local file pid

	find "$1" -name postmaster.pid 2>/dev/null | while read -r file; do
		pid=$(head -n 1 "$file")
		case $(readlink "/proc/$pid/exe") in "$DIR"/*) kill -QUIT "$pid" 2>/dev/null ;; *) continue ;; esac
		wait_until 20 test ! -e "/proc/$pid" || kill -KILL "$pid" 2>/dev/null
	done
}

# test_cluster NAME starts a cluster for a group's tests.
test_cluster()
{
	mkdir -p "$DIR/$1"
	if ! cluster_init "$DIR/$1" 'fsync = off' 'max_connections = 50' 'max_worker_processes = 32' \
		'max_prepared_transactions = 10' 'shared_buffers = 64MB' || ! cluster_start "$DIR/$1"; then
		fail "$1: cluster" "the cluster did not start"
		return 1
	fi
}

# end_cluster NAME stops a cluster and counts two tests: it stops, and its log has no crash.
end_cluster()
{
	if cluster_stop "$DIR/$1"; then
		count "$1: shutdown" 1 0
	else
		fail "$1: shutdown" "the cluster did not end within a minute of a fast shutdown"
		show_server_logs "$DIR/$1"
	fi
	check_log "$1" "$DIR/$1/server.log"
}

# run_regress GROUP INPUTDIR PROGRAM NAME… runs a regression driver on its own cluster.
run_regress()
{
	local group=$1 input=$2 program=$3 tests

	shift 3
	tests=$(IFS=, && say "$*")
	test_cluster "$group" || return 0
	tap "$group" perl "$TREE/test/lib/regress.pl" --outputdir "$DIR/$group/out" --tests "$tests" -- \
		"$program" --bindir="$BIN" --host="$DIR/$group/socket" --port=5432 --user=postgres \
		--inputdir="$input" --dbname=contrib_regression --load-extension=bgjob
	[ -z "$(tail -n 1 "$COUNTS" | awk -F '\t' '$3 > 0')" ] || show_server_logs "$DIR/$group"
	end_cluster "$group"
}

group_unit()
{
	local names name

	mapfile -t names < <(names_of unit "$TREE"/test/unit/*.c)
	[ "${#names[@]}" -gt 0 ] || return 0
	if ! make -s -C "$TREE/test/unit" PG_CONFIG="$PG_CONFIG" all >"$LOGS/unit-build.log" 2>&1; then
		fail unit/build "the unit tests do not build"
		sed 's/^/        | /' "$LOGS/unit-build.log"
		return 0
	fi
	for name in "${names[@]}"; do
		tap "unit/$name" "$TREE/test/unit/build/$name"
	done
}

group_gates()
{
	local file name

	for file in "$TREE"/test/gates/*.pl "$TREE"/test/gates/*.sh; do
		name=${file##*/}
		name=${name%.*}
		[ -f "$file" ] || continue
		selected gates "$name" || continue
		case $file in
		*.pl) tap "gates/$name" perl "$file" "$TREE" ;;
		*) tap "gates/$name" bash "$file" "$TREE" ;;
		esac
		# The comments of a gate are its report: shown also if it passes.
		grep -q '^not ok' "$LOGS/gates-$name.log" || grep '^#' "$LOGS/gates-$name.log" | grep -v 'SKIP' | head -n 12 | sed 's/^# /        /'
	done
}

group_regress()
{
	local names

	mapfile -t names < <(names_of regress "$TREE"/sql/*.sql)
	[ "${#names[@]}" -gt 0 ] || return 0
	run_regress regress "$TREE" "$PGXS_TEST/regress/pg_regress" "${names[@]}"
}

group_isolation()
{
	local names input

	for input in "$TREE"/test/isolation "$TREE"/test; do
		[ ! -d "$input/specs" ] || break
	done
	mapfile -t names < <(names_of isolation "$input"/specs/*.spec)
	[ "${#names[@]}" -gt 0 ] || return 0
	run_regress isolation "$input" "$PGXS_TEST/isolation/pg_isolation_regress" "${names[@]}"
}

# Each file has its own database with bgjob and pgTAP; a plain DROP DATABASE must remove it. The files in pgtap/lib are
# included by the tests.
group_pgtap()
{
	local names name psql

	mapfile -t names < <(names_of pgtap "$TREE"/test/pgtap/*.sql)
	[ "${#names[@]}" -gt 0 ] || return 0
	test_cluster pgtap || return 0
	psql=("$BIN/psql" -X -q -h "$DIR/pgtap/socket" -p 5432 -U postgres -v ON_ERROR_STOP=1)
	for name in "${names[@]}"; do
		# The previous file may have crashed the server.
		wait_until 60 "$BIN/pg_isready" -q -h "$DIR/pgtap/socket" -p 5432
		if ! { "${psql[@]}" -d postgres -c "CREATE DATABASE \"$name\"" &&
			"${psql[@]}" -d "$name" -c 'CREATE EXTENSION bgjob' -c 'CREATE EXTENSION pgtap'; } >"$LOGS/psql.log" 2>&1; then
			fail "pgtap/$name" "its database cannot be set up" "$(cat "$LOGS/psql.log")"
			continue
		fi
		tap "pgtap/$name" "${psql[@]}" -A -t -P pager=off -d "$name" -f "$TREE/test/pgtap/$name.sql"
		if "${psql[@]}" -d postgres -c "DROP DATABASE \"$name\"" >"$LOGS/psql.log" 2>&1; then
			count "pgtap/$name: DROP DATABASE" 1 0
		else
			fail "pgtap/$name: DROP DATABASE" "$(cat "$LOGS/psql.log")"
		fi
	done
	end_cluster pgtap
}

# run_tap GROUP FOLDER runs the TAP tests in a folder. A file that crashes the server on purpose contains the comment
# "check.sh: crashes expected".
run_tap()
{
	local group=$1 folder=$2 names name place logs

	mapfile -t names < <(names_of "$group" "$folder"/*.pl)
	for name in "${names[@]}"; do
		place=$DIR/$group/$name
		mkdir -p "$place"
		(
			cd "$place" || exit 1
			export TESTDIR=$place TESTDATADIR=$place/tmp_check TESTLOGDIR=$place/tmp_check/log
			export PG_REGRESS=$PGXS_TEST/regress/pg_regress top_builddir=$place
			mkdir -p "$TESTLOGDIR"
			PATH=$BIN:$PATH tap "$group/$name" perl -I "$PGXS_TEST/perl" -I "$TREE/test/lib" -I "$TREE/test/t" \
				"$folder/$name.pl"
		)
		end_servers "$place"
		[ -z "$(tail -n 1 "$COUNTS" | awk -F '\t' '$3 > 0')" ] || show_server_logs "$place"
		if ! grep -q 'check\.sh: crashes expected' "$folder/$name.pl"; then
			mapfile -t logs < <(find "$place" -name '*.log')
			check_log "$group/$name" "${logs[@]}"
		fi
		[ -n "${BGJOB_KEEP:-}" ] || rm -rf "$place"
	done
}

group_tap()
{
	run_tap tap "$TREE/test/t"
}

# Tests of what an attacker, a greedy role, extreme sizes and times, or a crash could do, by kind of fault.
group_security()
{
	run_tap security "$TREE/test/security"
}

# Builds bgjob with the plain fallbacks for its use of the server's private parts (src/NEWVERSION.md), and runs the tests
# that they concern. This is a run of the suite within the suite, whose counts are added.
group_plain()
{
	local log=$LOGS/plain.log

	mkdir -p "$DIR/plain"
	copy_tree "$TREE" "$DIR/plain/tree"
	BGJOB_COPT=-DBGJOB_PLAIN bash "$TREE/test/lib/suite.sh" "$DIR/plain" t/005 t/039 pgtap/01 pgtap/07 pgtap/08 security/27 >"$log" 2>&1
	sed -n '/^  /p' "$log"
	[ -s "$DIR/plain/counts" ] || fail plain "the tests did not run"
	sed 's/^/plain: /' "$DIR/plain/counts" >>"$COUNTS"
}

# build builds the extension and the tests' C modules and installs them into the copy of the server.
build()
{
	local module

	{
		make_bgjob "$TREE" -j "$(nproc)" WERROR=1 COPT="${BGJOB_COPT:-}" all && make_bgjob "$TREE" install || return 1
		for module in "$TREE"/test/modules/*/; do
			[ -f "$module/Makefile" ] || continue
			make -s -C "$module" PG_CONFIG="$PG_CONFIG" all install || return 1
		done
	} >"$LOGS/build.log" 2>&1
}

# built succeeds if the extension is installed. Builds it at the first call; counts a failure once.
built()
{
	if [ -z "${BUILT:-}" ]; then
		if build; then
			BUILT=yes
		else
			BUILT=no
			fail build "bgjob does not build"
			sed 's/^/        | /' "$LOGS/build.log"
		fi
	fi
	[ "$BUILT" = yes ]
}

# summary GROUP SECONDS FROM prints the sums of a group; FROM is the number of counts before it.
summary()
{
	awk -F '\t' -v from="$3" -v group="$1" -v took="$2" 'NR > from { p += $2; f += $3; s += $4 }
		END { printf "-- %s: %d passed, %d failed%s, %d s\n", group, p, f, s ? ", " s " skipped" : "", took }' "$COUNTS"
}

# check_selections counts an unknown group as a failure: a typing error must not pass.
check_selections()
{
	local selection group

	for selection in "${SELECTIONS[@]}"; do
		group=$(group_of "${selection%%/*}")
		case " $GROUPS_ALL " in
		*" $group "*) ;;
		*) fail "$selection" "no such group; there are: $GROUPS_ALL" ;;
		esac
	done
}

main()
{
	local group began from

	mkdir -p "$LOGS"
	: >"$COUNTS"
	trap 'end_servers "$DIR"' EXIT
	mirror_server "$DIR/server"
	BIN=$("$PG_CONFIG" --bindir)
	PGXS_TEST=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
	export BIN PGXS_TEST
	say "$("$PG_CONFIG" --version)"

	check_selections
	for group in $GROUPS_ALL; do
		selected "$group" || continue
		say "== $group"
		began=$SECONDS
		from=$(wc -l <"$COUNTS")
		case $group in
		unit | gates | plain) "group_$group" ;;
		*) ! built || "group_$group" ;;
		esac
		summary "$group" "$((SECONDS - began))" "$from"
	done

	say "took $SECONDS s"
	awk -F '\t' '{ p += $2; f += $3; s += $4 }
		END { printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : ""; exit p == 0 || f > 0 }' "$COUNTS"
}

main
