#!/usr/bin/env bash
# Builds the extension and runs its tests, as an ordinary user and inside the given folder. check.sh
# prepares that folder (the copy of the source in tree/) and calls this script.
#
#   bash suite.sh DIR [SELECTION…]         PG_CONFIG in the environment
#
# A file of tests is the unit of work: BGJOB_JOBS of them run at the same time, each in a process of its own (perform),
# which has a lane. run_GROUP runs a file of that group: tap.pl runs it as TAP, and adds its counts to the file's
# counts. What a file says is printed whole when it and all before it have ended (show). The last line is the sum.
#
# Nothing is outside DIR: clusters have no TCP port, and temporary files are in DIR/tmp. Each process has its working
# folder below DIR, by which end_processes finds it, also after a signal.
set -u
DIR=$1
shift
SELECTIONS=("$@")
TREE=$DIR/tree
COUNTS=$DIR/counts
LOGS=$DIR/logs
MIRROR=$DIR/server
# One more than processors: a file waits more than it computes.
JOBS=${BGJOB_JOBS:-$(($(nproc) + 1))}
# Test files, in order, as GROUP/NAME.
ITEMS=()
# The server's messages about a crash. Signal 9 is not among them: tests send it.
CRASH='was terminated by signal (4|6|7|8|11):|PANIC:|TRAP:'
TAP_TIMEOUT=${BGJOB_TEST_TIMEOUT:-600}

# shellcheck source=test/lib/common.sh
. "$TREE/test/lib/common.sh"
# shellcheck source=test/lib/select.sh
. "$TREE/test/lib/select.sh"

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

# has_failed succeeds if the last result is a failure.
has_failed()
{
	[ -n "$(tail -n 1 "$COUNTS" | awk -F '\t' '$3 > 0')" ]
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

# processes_below DIR prints the pids of the processes whose working folder is DIR or below it: all that a test there
# has started, since servers work in their data directory. This script and its ancestors are not among them.
processes_below()
(
	pid=$BASHPID self=" "
	# The processes of this very search work elsewhere.
	cd / || exit
	while [ "${pid:-0}" -gt 1 ]; do
		self+="$pid "
		pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
	done
	find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' \
		\( -lname "$1" -o -lname "$1/*" -o -lname "$1 (deleted)" \) 2>/dev/null | while read -r link; do
		link=${link#/proc/}
		case $self in *" ${link%/cwd} "*) ;; *) say "${link%/cwd}" ;; esac
	done
)

# nothing_runs DIR succeeds if no process works in DIR.
nothing_runs()
{
	[ -z "$(processes_below "$1")" ]
}

# end_server FILE ends the server of a postmaster.pid by an immediate shutdown. One that was killed is started first,
# since only its successor removes its shared memory.
end_server()
{
	local pid data=${1%/*}

	pid=$(head -n 1 "$1")
	[ -e "/proc/$pid" ] || "$BIN/pg_ctl" -D "$data" -l "$data.log" -w -t 20 start >/dev/null 2>&1 </dev/null
	pid=$(head -n 1 "$1" 2>/dev/null)
	case $(readlink "/proc/${pid:-0}/exe") in "$MIRROR"/*) kill -QUIT "$pid" 2>/dev/null ;; esac
}

# end_processes DIR ends what still runs there. A server ends its own processes.
end_processes()
{
	local file pid

	find "$1" -name postmaster.pid 2>/dev/null | while read -r file; do end_server "$file"; done
	for pid in $(processes_below "$1"); do
		case $(readlink "/proc/$pid/exe") in "$MIRROR"/*) ;; *) kill -TERM "$pid" 2>/dev/null ;; esac
	done
	wait_until 5 nothing_runs "$1" && return
	for pid in $(processes_below "$1"); do
		kill -KILL "$pid" 2>/dev/null
	done
	wait_until 5 nothing_runs "$1"
}

# start_cluster PLACE starts a cluster for a group's tests.
start_cluster()
{
	mkdir -p "$1"
	cluster_init "$1" 'fsync = off' 'max_connections = 50' 'max_worker_processes = 32' 'max_prepared_transactions = 10' \
		'shared_buffers = 64MB' && cluster_start "$1" && return
	fail "${1##*/}: cluster" "the cluster did not start"
	return 1
}

# end_cluster PLACE stops a cluster and counts two tests: it stops, and its log has no crash.
end_cluster()
{
	local name=${1##*/}

	if cluster_stop "$1"; then
		count "$name: shutdown" 1 0
	else
		fail "$name: shutdown" "the cluster did not end within a minute of a fast shutdown"
		show_server_logs "$1"
	fi
	check_log "$name" "$1/server.log"
}

run_unit()
{
	tap "unit/$1" "$TREE/test/unit/build/$1"
}

run_gates()
{
	local file=$TREE/test/gates/$1

	if [ -f "$file.pl" ]; then
		tap "gates/$1" perl "$file.pl" "$TREE"
	else
		tap "gates/$1" bash "$file.sh" "$TREE"
	fi
	# The comments of a gate are its report: shown also if it passes.
	grep -q '^not ok' "$LOGS/gates-$1.log" || grep '^#' "$LOGS/gates-$1.log" | grep -v 'SKIP' | head -n 12 | sed 's/^# /        /'
}

# run_driver GROUP INPUTDIR PROGRAM runs the selected files of a group by a regression driver, on a cluster.
run_driver()
{
	local place=$DIR/$1 tests

	tests=$(names_of "$1" | paste -s -d ,)
	start_cluster "$place" || return 0
	tap "$1" perl "$TREE/test/lib/regress.pl" --outputdir "$place/out" --tests "$tests" -- \
		"$3" --bindir="$BIN" --host="$place/socket" --port=5432 --user=postgres \
		--inputdir="$2" --dbname=contrib_regression --load-extension=bgjob
	! has_failed || show_server_logs "$place"
	end_cluster "$place"
}

run_regress()
{
	run_driver regress "$TREE" "$PGXS_TEST/regress/pg_regress"
}

run_isolation()
{
	run_driver isolation "$TREE/test/isolation" "$PGXS_TEST/isolation/pg_isolation_regress"
}

# run_pgtap NAME runs a file on the cluster of this lane, in a database of its own with bgjob and pgTAP; a plain
# DROP DATABASE must remove it. The files in pgtap/lib are included by the tests.
run_pgtap()
{
	local name=$1 place=$DIR/pgtap-$LANE psql

	[ -e "$place/data/postmaster.pid" ] || start_cluster "$place" || return 0
	psql=("$BIN/psql" -X -q -h "$place/socket" -p 5432 -U postgres -v ON_ERROR_STOP=1)
	# The previous file may have crashed the server.
	wait_until 60 "$BIN/pg_isready" -q -h "$place/socket" -p 5432
	if ! { "${psql[@]}" -d postgres -c "CREATE DATABASE \"$name\"" &&
		"${psql[@]}" -d "$name" -c 'CREATE EXTENSION bgjob' -c 'CREATE EXTENSION pgtap'; } >"$place/psql.log" 2>&1; then
		fail "pgtap/$name" "its database cannot be set up" "$(cat "$place/psql.log")"
		return
	fi
	tap "pgtap/$name" "${psql[@]}" -A -t -P pager=off -d "$name" -f "$TREE/test/pgtap/$name.sql"
	if "${psql[@]}" -d postgres -c "DROP DATABASE \"$name\"" >"$place/psql.log" 2>&1; then
		count "pgtap/$name: DROP DATABASE" 1 0
	else
		fail "pgtap/$name: DROP DATABASE" "$(cat "$place/psql.log")"
	fi
}

# run_perl GROUP FOLDER NAME runs a TAP test. A file that crashes the server on purpose contains the comment
# "check.sh: crashes expected".
run_perl()
{
	local group=$1 file=$2/$3.pl name=$3 place=$DIR/$1/$3 logs

	mkdir -p "$place/tmp_check/log"
	(
		cd "$place" || exit 1
		export TESTDIR=$place TESTDATADIR=$place/tmp_check TESTLOGDIR=$place/tmp_check/log
		export PG_REGRESS=$PGXS_TEST/regress/pg_regress top_builddir=$place
		PATH=$BIN:$PATH tap "$group/$name" perl -I "$PGXS_TEST/perl" -I "$TREE/test/lib" -I "$TREE/test/t" "$file"
	)
	end_processes "$place"
	! has_failed || show_server_logs "$place"
	if ! grep -q 'check\.sh: crashes expected' "$file"; then
		mapfile -t logs < <(find "$place" -name '*.log')
		check_log "$group/$name" "${logs[@]}"
	fi
	[ -n "${BGJOB_KEEP:-}" ] || rm -rf "$place"
}

run_tap()
{
	run_perl tap "$TREE/test/t" "$1"
}

# Tests of what an attacker, a greedy role, extreme sizes and times, or a crash could do, by kind of fault.
run_security()
{
	run_perl security "$TREE/test/security" "$1"
}

# Builds bgjob with the plain fallbacks for its use of the server's private parts (src/NEWVERSION.md), and runs the tests
# that they concern. This is a run of the suite within the suite, whose counts are added.
run_plain()
{
	local log=$LOGS/plain.log

	mkdir -p "$DIR/plain"
	copy_tree "$TREE" "$DIR/plain/tree"
	BGJOB_JOBS=1 BGJOB_COPT=-DBGJOB_PLAIN bash "$TREE/test/lib/suite.sh" "$DIR/plain" \
		t/005 t/039 pgtap/01 pgtap/07 pgtap/08 security/27 >"$log" 2>&1
	sed -n '/^  /s/ *\[[^]]*\]$//p' "$log"
	[ -s "$DIR/plain/counts" ] || fail plain "the tests did not run"
	sed 's/^/plain: /' "$DIR/plain/counts" >>"$COUNTS"
}

# build builds the extension and the tests' C modules and installs them into the copy of the server.
build()
{
	local module

	make_bgjob "$TREE" -j "$(nproc)" WERROR=1 COPT="${BGJOB_COPT:-}" all && make_bgjob "$TREE" install || return 1
	for module in "$TREE"/test/modules/*/; do
		[ -f "$module/Makefile" ] || continue
		make -s -C "$module" PG_CONFIG="$PG_CONFIG" all install || return 1
	done
}

# build_unit builds the unit tests.
build_unit()
{
	make -s -j "$(nproc)" -C "$TREE/test/unit" PG_CONFIG="$PG_CONFIG" all
}

# built NAME FUNCTION WHAT succeeds if the function builds; counts a failure if not.
built()
{
	local log=$LOGS/${1//\//-}.log

	# In the background, so that a signal is answered at once.
	"$2" >"$log" 2>&1 &
	wait "$!" && return
	fail "$1" "$3"
	sed 's/^/        | /' "$log"
	return 1
}

# list_items sets ITEMS, after building what the selected groups need. A group whose build fails is left out.
list_items()
{
	local group name server=

	for group in $GROUPS_ALL; do
		selected "$group" || continue
		case $group in
		gates | plain) ;;
		unit) built unit/build build_unit "the unit tests do not build" || continue ;;
		*)
			[ -n "$server" ] || { built build build "bgjob does not build" && server=yes; } || server=no
			[ "$server" = yes ] || continue
			;;
		esac
		case $group in
		# A group that is one unit of work.
		plain | regress | isolation) ITEMS+=("$group/") ;;
		*) while read -r name; do ITEMS+=("$group/$name"); done < <(names_of "$group") ;;
		esac
	done
}

# cost GROUP prints about how many seconds one of its units of work takes, to foresee the end.
cost()
{
	case $1 in
	unit | gates) say 2 ;;
	plain) say 30 ;;
	*) say 10 ;;
	esac
}

# perform NUMBER LANE runs a unit of work, in a process of its own with results of its own.
perform()
{
	local item=${ITEMS[$1]} out=$DIR/items/$1 began=$SECONDS

	LANE=$2
	COUNTS=$out.counts
	: >"$COUNTS"
	export TMPDIR=$DIR/tmp/$1
	mkdir "$TMPDIR"
	"run_${item%%/*}" "${item#*/}"
	rm -rf "$TMPDIR"
	say "$((SECONDS - began))" >"$out.seconds"
}

# clock SECONDS prints them as minutes and seconds.
clock()
{
	printf '%d:%02d' "$(($1 / 60))" "$(($1 % 60))"
}

# progress NUMBER prints how far the run is, and after a twentieth of it when it will end. DONE and ALL are the costs of
# what has ended and of everything; BEGAN is when the first file began.
progress()
{
	local foreseen=

	[ "$((DONE * 20))" -lt "$ALL" ] || foreseen=" of about $(clock "$((BEGAN + (SECONDS - BEGAN) * ALL / DONE))")"
	say "$(($1 + 1)) of ${#ITEMS[@]}, $(clock "$SECONDS")$foreseen"
}

# show NUMBER prints what a unit of work has said and adds its results; the heading and the sums of its group, too,
# if it is the first or the last one.
show()
{
	local item=${ITEMS[$1]} out=$DIR/items/$1 group

	group=${item%%/*}
	if [ "$group" != "$GROUP" ]; then
		GROUP=$group GROUP_FROM=$(wc -l <"$COUNTS") GROUP_TOOK=0
		say "== $group"
	fi
	sed "1s/\$/  [$(progress "$1")]/" "$out.said"
	[ -s "$out.counts" ] || fail "$item" "it has no results"
	cat "$out.counts" >>"$COUNTS"
	GROUP_TOOK=$((GROUP_TOOK + $(cat "$out.seconds" 2>/dev/null || say 0)))
	if [ "$group" != "$(next_group "$1")" ]; then
		awk -F '\t' -v from="$GROUP_FROM" -v group="$group" -v took="$GROUP_TOOK" 'NR > from { p += $2; f += $3; s += $4 }
			END { printf "-- %s: %d passed, %d failed%s, %d s\n", group, p, f, s ? ", " s " skipped" : "", took }' "$COUNTS"
	fi
}

# next_group NUMBER prints the group of the following unit of work, if there is one.
next_group()
{
	local next=${ITEMS[$1 + 1]:-}

	say "${next%%/*}"
}

# run_all runs the units of work, JOBS at a time, and shows them in order.
run_all()
{
	local started=0 shown=0 lane pid item lanes=() number_of=() lane_of=() ended=()

	DONE=0 ALL=0 BEGAN=$SECONDS GROUP=
	for item in "${ITEMS[@]}"; do ALL=$((ALL + $(cost "${item%%/*}"))); done
	for ((lane = JOBS; lane > 0; lane--)); do lanes+=("$lane"); done
	while [ "$shown" -lt "${#ITEMS[@]}" ]; do
		while [ "${#lanes[@]}" -gt 0 ] && [ "$started" -lt "${#ITEMS[@]}" ]; do
			perform "$started" "${lanes[-1]}" >"$DIR/items/$started.said" 2>&1 &
			number_of[$!]=$started lane_of[$!]=${lanes[-1]}
			unset 'lanes[-1]'
			started=$((started + 1))
		done
		wait -n -p pid "${!number_of[@]}"
		lanes+=("${lane_of[pid]}")
		ended[number_of[pid]]=yes
		item=${ITEMS[number_of[pid]]}
		DONE=$((DONE + $(cost "${item%%/*}")))
		unset "number_of[pid]"
		while [ -n "${ended[shown]:-}" ]; do
			show "$shown"
			shown=$((shown + 1))
		done
	done
}

main()
{
	local place wrong

	cd "$DIR" || exit 1
	mkdir -p "$LOGS" "$DIR/tmp" "$DIR/items"
	export TMPDIR=$DIR/tmp PG_TEST_PORT_DIR=$DIR/ports
	: >"$COUNTS"
	trap 'end_processes "$DIR"' EXIT
	trap 'exit 1' INT TERM HUP PIPE
	mirror_server "$MIRROR"
	BIN=$("$PG_CONFIG" --bindir)
	PGXS_TEST=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
	export BIN PGXS_TEST
	say "$("$PG_CONFIG" --version)"

	! wrong=$(wrong_selection) || fail selection "$wrong"
	list_items
	run_all
	for place in "$DIR"/pgtap-*; do
		[ ! -d "$place" ] || end_cluster "$place"
	done

	say "took $(clock "$SECONDS") minutes"
	awk -F '\t' '{ p += $2; f += $3; s += $4 }
		END { printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : ""; exit p == 0 || f > 0 }' "$COUNTS"
}

main
