#!/usr/bin/env bash
# The demonstration itself, as an ordinary user and inside the folder that demo.sh has made.
#
#   bash run.sh DIR SOURCE                 PG_CONFIG in the environment; SOURCE: the checkout, for the last hint
set -u
DIR=$1
SOURCE=$2
TREE=$DIR/tree

# shellcheck source=test/lib/common.sh
. "$TREE/test/lib/common.sh"

# heading TEXT… opens a part of the output.
heading()
{
	if [ -t 1 ]; then
		printf '\n\033[1m%s\033[0m\n' "$*"
	else
		printf '\n%s\n' "$*"
	fi
}

# sql ROLE OPTION… runs psql in the demonstration's database.
sql()
{
	local role=$1

	shift
	"$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$DIR/socket" -p 5432 -U "$role" -d demo -P pager=off -P footer=off "$@"
}

# value QUERY prints the fields of one row, separated by blanks.
value()
{
	sql app -A -t -F ' ' -c "$1"
}

# build makes the private server and installs the extension there.
build()
{
	mirror_server "$DIR/server"
	BIN=$("$PG_CONFIG" --bindir)
	if ! make_bgjob "$TREE" -j "$(nproc)" all install >"$DIR/build.log" 2>&1; then
		cat "$DIR/build.log" >&2
		die "bgjob does not build"
	fi
}

# start makes and starts the cluster, with the extension and the role in its database.
start()
{
	cluster_init "$DIR" 'max_worker_processes = 20' 'max_connections = 30' 'shared_buffers = 64MB' || exit 1
	chmod 700 "$DIR/socket"
	cluster_start "$DIR" || exit 1
	"$BIN/createdb" -h "$DIR/socket" -p 5432 -U postgres demo || exit 1
	sql postgres -f "$TREE/test/demo/administrator.sql" && sql app -f "$TREE/test/demo/application.sql" || exit 1
}

# progress SECONDS CONDITION shows how far the jobs are, until the condition, over bgjob.stats, holds.
# On a terminal it is one line that changes; elsewhere there is a line now and then.
progress()
{
	local deadline=$((SECONDS + $1)) condition=$2 done_ enqueued scheduled processing succeeded failed all bar line shown=''

	while :; do
		read -r done_ enqueued scheduled processing succeeded failed < <(
			value "SELECT $condition, enqueued, scheduled, processing, succeeded, failed FROM bgjob.stats"
		)
		[ -n "${failed:-}" ] || die "the server does not answer; see $DIR/server.log"
		all=$((enqueued + scheduled + processing + succeeded + failed))
		bar=$(((succeeded + failed) * 16 / (all > 0 ? all : 1)))
		bar=$(printf '%*s' "$bar" '' | tr ' ' '#')
		# No wider than a terminal of 80 columns: a line that wraps cannot be written over.
		printf -v line '  [%-16s] %4d of %d succeeded, %2d running, %d scheduled, %d failed' \
			"$bar" "$succeeded" "$all" "$processing" "$scheduled" "$failed"
		if [ -t 1 ]; then
			printf '\r%s\033[K' "$line"
		elif [ "$line" != "$shown" ]; then
			printf '%s\n' "$line"
			shown=$line
		fi
		[ "$done_" != t ] || break
		[ "$SECONDS" -lt "$deadline" ] || break
		if [ -t 1 ]; then sleep 0.1; else sleep 0.5; fi
	done
	[ ! -t 1 ] || echo
	[ "$done_" = t ] || die "the jobs have not ended after $1 s; see $DIR/server.log"
}

# operator makes the role that signs in to the dashboard, and has the server ask it for its password: the dashboard accepts no
# connection without. It owns the database, and may so administer; as a member of app it controls its jobs.
operator()
{
	local hba=$DIR/data/pg_hba.conf

	PASSWORD=$(od -A n -N 9 -t x1 /dev/urandom | tr -d ' \n')
	sql postgres <<<"
		CREATE ROLE operator LOGIN PASSWORD '$PASSWORD' IN ROLE app;
		ALTER DATABASE demo OWNER TO operator;" || exit 1
	{
		echo 'local all operator scram-sha-256'
		cat "$hba"
	} >"$hba.new" && mv "$hba.new" "$hba"
	"$BIN/pg_ctl" -D "$DIR/data" reload >/dev/null || exit 1
}

# is_listening succeeds when the dashboard has logged its address, and sets ADDRESS.
is_listening()
{
	local host_port

	host_port=$(sed -n 's/.*listening at \([0-9.]*\), port \([0-9]*\).*/\1:\2/p' "$DIR/dashboard.log" | head -n 1)
	[ -n "$host_port" ] && ADDRESS=http://$host_port
}

# listens_or_ended PID succeeds when it is known whether the dashboard runs.
listens_or_ended()
{
	is_listening || ! kill -0 "$1" 2>/dev/null
}

# dashboard starts it, at port 8080 or any other that is free, and leaves it running. Its process number is in dashboard.pid.
dashboard()
{
	local port pid

	ADDRESS=
	[ -x "$BIN/bgjob-dashboard" ] || return 0
	operator
	sql app -f "$TREE/test/demo/afterwards.sql" >/dev/null || exit 1
	for port in 8080 0; do
		setsid "$BIN/bgjob-dashboard" -h "$DIR/socket" -p 5432 -U app -d demo --listen "127.0.0.1:$port" --title Demo \
			</dev/null >"$DIR/dashboard.log" 2>&1 &
		pid=$!
		wait_until 30 listens_or_ended "$pid"
		is_listening && break
	done
	[ -n "$ADDRESS" ] || {
		cat "$DIR/dashboard.log" >&2
		die "the dashboard does not start"
	}
	echo "$pid" >"$DIR/dashboard.pid"
}

BIN=
heading "A private cluster in $DIR"
build
start
say "  $(value 'SHOW server_version' | sed 's/^/PostgreSQL /'), bgjob $(value "SELECT extversion FROM pg_extension WHERE extname = 'bgjob'"), database demo, role app (no superuser)"

heading "Inserting the text files of this machine into table document; a trigger enqueues a job for each"
began=$(date +%s%N)
perl "$TREE/test/demo/documents.pl" >"$DIR/documents.copy"
sql app -c "\\copy document (path, body) FROM '$DIR/documents.copy'" || exit 1
sql app -f "$TREE/test/demo/others.sql" || exit 1
read -r documents kilobytes < <(value 'SELECT count(*), sum(octet_length(body)) / 1024 FROM document')
say "  $documents documents, $kilobytes kB. Also enqueued: jobs that fail at first, a job that fails for good, delayed jobs, a VACUUM"
progress 240 "enqueued = 0 AND processing = 0"
read -r indexed words < <(value 'SELECT count(*), sum(words) FROM document_index')
say "  $indexed of $documents documents indexed, $words words, $((($(date +%s%N) - began) / 1000000)) ms after the loading began"

heading "The mail server is down: three jobs have failed and wait for a retry, each time longer"
sql app -f "$TREE/test/demo/waiting.sql" || exit 1
say "  The mail server is up again. bgjob_reschedule(id, delay => '1 second') retries the jobs early"
sql app -f "$TREE/test/demo/repair.sql" >/dev/null || exit 1
progress 60 "enqueued + processing + scheduled = 0"

sql app -f "$TREE/test/demo/report.sql" || exit 1

dashboard

psql=$BIN/psql
command -v psql >/dev/null && psql=psql
heading "The cluster is still running${ADDRESS:+, and the dashboard}"
say "  connect    $psql -h $DIR/socket -U app demo"
say "             SELECT bgjob_enqueue('index_document', '{\"id\": 1}');"
say "             SELECT id, job, state, result FROM bgjob.jobs ORDER BY id DESC LIMIT 5;"
[ -z "$ADDRESS" ] ||
	say "  look       $ADDRESS/d/demo   user operator, password $PASSWORD"
say "  stop       bash $SOURCE/test/demo.sh stop   (ends the dashboard, too)"
