# What a DBA sees of bgjob: names of locks and waits, the cause of an attempt's end, when a database is served.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('dba', fsync => 'off', restart_after_crash => 'on');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');

sub waits_as
{
	my ($process, $since_17, $before, $what) = @_;
	my $event = $version >= 170000 ? $since_17 : $before;

	return wait_until($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = '$process' AND application_name IN ('$process', 'psql', '30_dba.pl')
		AND wait_event = '$event'", $what, 20);
}

# LWLocks: a session knows the names of all tranches that libraries have made.
$node->safe_psql('postgres', 'CREATE EXTENSION locknames');
is($node->safe_psql('postgres', q{SELECT string_agg(n, ',' ORDER BY n) FROM unnest(locknames()) n}),
	'BgjobAwaiters,BgjobChunkWaits,BgjobConsole,BgjobExternalWorkers,BgjobFair,BgjobFreeLeases,BgjobFunctionStats,BgjobGate,BgjobGateEntries,BgjobGateLists,BgjobGroup,BgjobLane,BgjobLaneGroup,BgjobLaneGroups,BgjobLaneScan,BgjobLateAnswers,BgjobLeases,BgjobMap,BgjobMapCleaner,BgjobPreparedMoves,BgjobQueueStats,BgjobQueues,BgjobRegistry,BgjobReviews,BgjobServers,BgjobTallies', 'every LWLock of bgjob has a name');

# Processes and their waits.
is($node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')}), 1, 'a job');
waits_as('bgjob launcher', 'BgjobLauncherMain', 'Extension', 'the launcher');
waits_as('bgjob scheduler', 'BgjobSchedulerMain', 'Extension', 'the scheduler');
waits_as('bgjob worker', 'BgjobWorkerMain', 'Extension', 'a worker');
my $long = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});
my $waiting = $node->background_psql('postgres');
$waiting->query_until(qr/waits/, "\\echo waits\nSELECT bgjob_wait($long, '10 min');\n");
waits_as('client backend', 'BgjobJobEnd', 'Extension', 'a session in bgjob_wait()');
$node->safe_psql('postgres', "SELECT bgjob_delete($long)");
$waiting->quit;
$waiting = $node->background_psql('postgres');
$waiting->query_until(qr/waits/, "\\set ON_ERROR_STOP off\n\\echo waits\nCALL bgjob_await('{none}', '10 min');\n");
waits_as('client backend', 'BgjobExternalJob', 'Extension', 'a session in bgjob_await()');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%'});
$waiting->quit;

# The history says why an attempt was interrupted, and which worker was at it.
sub history
{
	my ($id) = @_;

	return $node->safe_psql('postgres', qq{SELECT (SELECT string_agg(data ->> 'worker_pid', ',' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $id AND state = 'processing')
		|| ' ' || (SELECT reason FROM bgjob.job_states WHERE job_id = $id AND state = 'enqueued' AND reason IS NOT NULL ORDER BY seq DESC LIMIT 1)});
}

# Starts a job; returns its id and the pid of its worker.
sub start_job
{
	my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});

	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", 'a job runs');
	return ($id, $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $id"));
}

my $rerun = q{SELECT interruptions = %d AND state = 'processing' FROM bgjob.jobs WHERE id = %d};
my ($id, $pid) = start_job();
my @pids = ($pid);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until($node, sprintf($rerun, 1, $id), 'the job runs again after its worker was terminated');
push @pids, $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
is(history($id), "@{[join ',', @pids]} Interrupted by the termination of its worker", 'the history says so');
kill 'KILL', $pids[1];
wait_until($node, sprintf($rerun, 2, $id), 'the server crashes; the job runs again');
push @pids, ask($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
is(history($id), "@{[join ',', @pids]} Interrupted by a crash of the server", 'the history says so, too');
set_and_reload($node, 'bgjob.shutdown_timeout' => '1500ms');
$node->restart;
wait_until($node, sprintf($rerun, 3, $id), 'the server is restarted; the job runs again');
push @pids, $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
is(history($id), "@{[join ',', @pids]} Interrupted by shutdown", 'after the restart the history has the reason shutdown');
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $id", 'bgjob is switched off');
is(history($id), "@{[join ',', @pids]} Interrupted by bgjob.enabled or bgjob.databases", 'the history has the reason bgjob.enabled');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, sprintf($rerun, 4, $id), 'the job runs again when bgjob is switched on');
push @pids, $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
$node->safe_psql('template1', 'ALTER DATABASE postgres RENAME TO renamed; ALTER DATABASE renamed RENAME TO postgres');
# A worker may have started the job between the two commands, too.
wait_until($node, "SELECT interruptions > 4 AND state = 'processing' FROM bgjob.jobs WHERE id = $id", 'the database is renamed');
like(history($id), qr/^@{[join ',', @pids]}(,[1-9]\d*){1,2} Interrupted by a command on its database$/, 'the history has the reason of the command');
ok(!(grep { !($_ > 0) } @pids), 'every attempt has a worker');

# The log: one line when a database is first served, one when it no longer is, and what a shutdown waits for.
$node->safe_psql('postgres', "SELECT bgjob_delete($id)");
my $log = slurp_file($node->logfile);
is(() = $log =~ /LOG:  bgjob \d\S* serves database "postgres"/g, 4, 'a line at each start of the server, and when bgjob is switched on');
is(() = $log =~ /LOG:  bgjob no longer serves database "postgres"/g, 2, 'a line when the server is shut down, and when bgjob is switched off');
my $running = qr/.*DETAIL:  Running: job $id \(SELECT pg_sleep\(\d+\)\), role "\w+", running for \d+ s\.\n/;
like($log, qr/LOG:  waiting for 1 job in database "postgres" to end\n$running.*HINT:  Jobs are interrupted after 1500 ms/, 'a line about the job that the shutdown waits for');
like($log, qr/LOG:  interrupting 1 job in database "postgres": the server is shutting down\n$running/, 'a line when it is interrupted');
like($log, qr/LOG:  interrupting 1 job in database "postgres": bgjob\.enabled or bgjob\.databases has been changed\n$running/, 'a line about the job that a setting interrupts');
like($log, qr/LOG:  interrupting 1 job in database "postgres": a command needs the database, or the extension, for itself\n$running/, 'a line about the job that a command interrupts');
check_counters($node);
$node->stop;
done_testing();
