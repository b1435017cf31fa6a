# bgjob_why() names each thing that holds a job up, on any server, and reads a bounded number of blocks whatever waits.
# (test/pgtap/18_why.sql has the reasons that need no other server than the usual one.)
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

# why NODE, ID, DATABASE returns what bgjob_why returns, a line for each row; first_reason what bgjob.jobs shows.
sub why { my ($node, $id, $db) = @_; return $node->safe_psql($db // 'postgres', "SELECT reason || ': ' || detail FROM bgjob_why($id)") }
sub first_reason { my ($node, $id, $db) = @_; return $node->safe_psql($db // 'postgres', "SELECT reason FROM bgjob.jobs WHERE id = $id") }

# wait_why NODE, ID, PATTERN, WHAT, DATABASE tests that a row comes to match.
sub wait_why
{
	my ($node, $id, $pattern, $what, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, "SELECT EXISTS (SELECT FROM bgjob_why($id) WHERE reason || ': ' || detail ~ '$pattern')", $what, 60, $db);
}

# poll CODE, PATTERN repeats the code until what it returns matches, a minute at most, and returns that.
sub poll
{
	my ($code, $pattern) = @_;
	my $until = time + 60;
	my $answer;

	while (1)
	{
		$answer = $code->();
		return $answer if $answer =~ $pattern || time > $until;
		select undef, undef, undef, 0.05;
	}
}

# blocks NODE, ID returns how many blocks a call reads, when the session has the catalogs in its caches.
sub blocks
{
	my ($node, $id) = @_;
	my $plan = $node->safe_psql('postgres', "SELECT count(*) FROM bgjob_why($id); EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) SELECT * FROM bgjob_why($id)");
	my ($hit) = $plan =~ /Buffers: shared.*?hit=(\d+)/;
	my ($read) = $plan =~ /Buffers: shared.*?read=(\d+)/;

	return ($hit // 0) + ($read // 0);
}

#
# Without the library preloaded; then with bgjob.enabled off since the start.
#
my $node = bgjob_cluster('why', shared_preload_libraries => '', allows_streaming => 1, 'bgjob.workers' => 1, fsync => 'off');
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app;
	CREATE FUNCTION block() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(49); END $$;
	SELECT bgjob_queue_pause('paused')});
my $first = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
my $second = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 2', kind => 'sql')});
my $paused = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 3', kind => 'sql', queue => 'paused')});
my $preload = 'no worker: The library "bgjob" is not in shared_preload_libraries.';
is(why($node, $first), $preload, 'a library that is not preloaded is a reason');
is(why($node, $second), "$preload\nbehind: 1 job stands before it.", 'the jobs before a job are counted all the same');
is(why($node, $paused), "queue paused: Queue \"paused\" is paused.\n$preload", 'the queue is known to be paused');
is(join('|', map { first_reason($node, $_) } $first, $second, $paused), 'no worker|no worker|queue paused', 'bgjob.jobs shows the first reason of each');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'bgjob'\nbgjob.enabled = off");
$node->restart;
my $off = 'no worker: bgjob.enabled is off.';
is(why($node, $second), "$off\nbehind: 1 job stands before it.", 'bgjob.enabled is a reason since the start');
is(why($node, $paused), "queue paused: Queue \"paused\" is paused.\n$off", 'a paused queue is known where bgjob.enabled is off since the start');
is(join('|', map { first_reason($node, $_) } $first, $second, $paused), 'no worker|no worker|queue paused', 'bgjob.jobs shows the first reasons where bgjob.enabled is off since the start');

# A job that is missing from its place.
$node->safe_psql('postgres', "DELETE FROM bgjob_internal.queue WHERE pos = $first");
is(why($node, $first), "not adopted: It was restored, or came by replication.\n$off", 'a restored job is not adopted');

#
# A standby.
#
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('why_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'bgjob.enabled = on');
$standby->start;
is(why($standby, $second), 'no worker: The server is a standby.', 'a standby is a reason');
is(why($standby, $paused), "queue paused: Queue \"paused\" is paused.\nno worker: The server is a standby.", 'a standby knows paused queues');
is(first_reason($standby, $second), 'no worker', 'bgjob.jobs shows the reason on a standby');
$standby->stop;
is($node->safe_psql('postgres', 'SELECT bgjob_adopt()'), 1, 'the restored job is adopted');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN ($first, $second) AND state = 'succeeded'", 'the jobs run');
is(why($node, $paused), 'queue paused: Queue "paused" is paused.', 'the job of the paused queue still waits');

#
# Many jobs, and dead rows that an old transaction keeps.
#
$node->safe_psql('postgres', q{BEGIN; CREATE TABLE old (); PREPARE TRANSACTION 'old'});
$node->safe_psql('postgres', q{SELECT bgjob_queue('default', group_size => 1000);
	SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', array_fill('[1, 1]'::jsonb, ARRAY[30000]))});
wait_until($node, q{SELECT enqueued = 1 AND processing = 0 FROM bgjob.stats}, '30,000 jobs leave dead rows behind', 120);
my $holder = $node->background_psql('postgres', on_error_stop => 1);
$holder->query_safe('SELECT pg_advisory_lock(49)');
my $blocking = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('block')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $blocking", 'the only worker is busy');
is(why($node, $blocking), '', 'nothing holds up the job that it runs');
my ($low, $high) = split /\|/, $node->safe_psql('postgres', q{SELECT min(id), max(id) FROM bgjob_enqueue_many('pg_catalog.int4pl', array_fill('[1, 1]'::jsonb, ARRAY[100000])) id});
my $busy = 'no worker: The worker of role "' . $node->safe_psql('postgres', 'SELECT current_user') . '" is busy.';
wait_why($node, $low, '^no worker: The worker', 'the first job waits for the worker');
is(why($node, $low), $busy, 'the first job waits for nothing else');
is(why($node, $low + 77), "behind: 77 jobs stand before it.\n$busy", 'the jobs before a job are counted');
is(why($node, $high), "behind: More than 1,000 jobs stand before it.\n$busy", 'of 100,000 jobs, 1,000 are counted');
cmp_ok(blocks($node, $_), '<=', 500, "bgjob_why($_) reads a bounded number of blocks") for $low, $low + 77, $high;
is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE reason = 'behind') FROM bgjob.jobs WHERE state = 'enqueued' AND queue = 'default'"),
	'100000|99999', 'bgjob.jobs shows the reason of each of 100,000 jobs');

# Arguments of 10 MB are not read.
my $large = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('pg_catalog.length(text)', jsonb_build_array(string_agg(md5(i::text), '')), queue => 'paused') FROM generate_series(1, 330000) i});
is(why($node, $large), 'queue paused: Queue "paused" is paused.', 'a job with 10 MB of arguments waits in the paused queue');
cmp_ok(blocks($node, $large), '<=', 50, '10 MB of arguments are not read');
$node->safe_psql('postgres', "SELECT bgjob_delete($large)");

# A role that sees no other jobs, and whose own jobs stand in a line of their own.
my $app = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT pg_advisory_xact_lock_shared(49)', kind => 'sql')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $app", 'another role has a worker of its own');
my $next = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
is($node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; SELECT reason, detail FROM bgjob_why($next)"), 'no worker|The worker of role "app" is busy.', 'a job is not behind those of another role');
my ($status, undef, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET SESSION AUTHORIZATION app; SELECT bgjob_why($high)");
like($err, qr/42501/, 'a role may not ask for the jobs of another');

# Nothing is known of the lanes after a crash; the dead rows are still there.
$node->append_conf('postgresql.conf', 'bgjob.enabled = off');
$node->stop('immediate');
eval { $holder->quit };
$node->start;
like(why($node, $low + 77), qr/^\Q$off\E\nbehind: (At least )?78 jobs stand before it\.$/, 'after a crash a bounded number of rows is read: those near the job');
is(why($node, $high), "$off\nbehind: More than 1,000 jobs stand before it.", 'after a crash the last job is known to be far behind');
cmp_ok(blocks($node, $_), '<=', 500, "bgjob_why($_) reads a bounded number of blocks after a crash") for $low + 77, $high;
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'old'});

#
# Workers that fail to take jobs, and a scheduler that fails.
#
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', q{CHECKPOINT; SELECT pg_relation_filepath('bgjob_internal.job')});
$node->stop;
$node->append_conf('postgresql.conf', "bgjob.enabled = on\nbgwriter_lru_maxpages = 0\ncheckpoint_timeout = '1h'");
my $log = -s $node->logfile;
$node->start;
wait_until($node, 'SELECT count(*) > 0 FROM bgjob.servers', 'the database is served again');
$node->safe_psql('postgres', "SELECT bgjob_delete($app), bgjob_delete($next)");
wait_until($node, q{SELECT enqueued = 1 AND processing = 0 FROM bgjob.stats}, 'all jobs run', 120);
$node->safe_psql('postgres', 'CHECKPOINT');
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe(q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 h')});    # has the table open
rename $file, "$file.away" or die;
$app = $session->query_safe(q{SELECT bgjob_enqueue('SELECT 2', kind => 'sql')});
poll(sub { substr slurp_file($node->logfile), $log }, qr/cannot take jobs/);
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^bgjob (scheduler|worker)'}, 'the processes have gone');
rename "$file.away", $file or die;
is(why($node, $app), "$off\nno worker: The workers of role \"app\" cannot take jobs (SQLSTATE 58P01).", 'workers that cannot take jobs are a reason');
$session->quit;
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $app", 'the job runs when workers can take jobs');

$session = $node->background_psql('postgres', on_error_stop => 1);
$node->safe_psql('template1', 'ALTER DATABASE postgres ALLOW_CONNECTIONS false');    # no other process can connect from now on
$session->query_safe(q{SELECT pg_terminate_backend(pid, 60000) FROM bgjob.workers});
my $unstarted = $session->query_safe(q{SELECT bgjob_enqueue('SELECT 4', kind => 'sql')});
like(poll(sub { $session->query_safe("SELECT reason, detail FROM bgjob_why($unstarted)") }, qr/yet/), qr/^no worker\|Role ".*" has no worker yet\.$/m, 'workers that fail to start are a reason');
$session->query_safe(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'});
my $late = $session->query_safe(q{SELECT bgjob_enqueue('SELECT 3', kind => 'sql')});
like(poll(sub { $session->query_safe("SELECT reason, detail FROM bgjob_why($late)") }, qr/failed/),
	qr/^no worker\|The scheduler of the database has failed, and is started again\.$/m, 'a scheduler that fails is a reason');
$node->safe_psql('template1', 'ALTER DATABASE postgres ALLOW_CONNECTIONS true');
$session->quit;
wait_until($node, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN ($unstarted, $late) AND state = 'succeeded'", 'the jobs run when scheduler and workers start');

#
# Databases: a copy, one that a command needs, one whose extension is not as it should be.
#
$node->safe_psql('postgres', 'CREATE DATABASE origin');
my $waits = $node->safe_psql('origin', q{CREATE EXTENSION bgjob; SELECT bgjob_queue_pause('default'); SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
$waits =~ s/.*\n//s;
wait_until($node, 'SELECT count(*) > 0 FROM bgjob.servers', 'another database is served', 60, 'origin');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE origin');
like(why($node, $waits, 'copy'), qr/^not adopted: The database is a copy of another one\.\nqueue paused/, 'a job in a copy of a database is not adopted');
is(first_reason($node, $waits, 'copy'), 'Not adopted: run bgjob_adopt()', 'bgjob.jobs shows that a job in a copy is not adopted');
$node->safe_psql('copy', 'SELECT bgjob_adopt()');
wait_until($node, "SELECT count(*) = 1 AND min(reason) = 'queue paused' FROM bgjob_why($waits)", 'an adopted job waits as in the original', 60, 'copy');

# A session that is there already, which the command waits for; a new one would wait for the command.
$session = $node->background_psql('origin', on_error_stop => 1);
my $command = IPC::Run::start([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'CREATE DATABASE another TEMPLATE origin' ], '>', '/dev/null', '2>', '/dev/null');
like(poll(sub { $session->query_safe("SELECT reason, detail FROM bgjob_why($waits)") }, qr/Process/),
	qr/^no worker\|Process \d+ runs a command that needs the database to itself\.$/m, 'a command that needs the database is a reason');
$session->quit;
IPC::Run::finish($command);
wait_until($node, "SELECT count(*) = 1 FROM bgjob_why($waits)", 'the database is served again after the command', 60, 'origin');

$node->safe_psql('origin', 'ALTER EXTENSION bgjob DROP TABLE bgjob_internal.filter');
$node->restart;
wait_why($node, $waits, '^no worker: The extension is not as the library expects it: relation "filter": It is not a member', 'an extension that was changed by hand is a reason', 'origin');
$node->safe_psql('origin', 'ALTER EXTENSION bgjob ADD TABLE bgjob_internal.filter; SELECT bgjob_adopt()');
wait_until($node, "SELECT count(*) = 1 FROM bgjob_why($waits)", 'an extension that was put right is served', 60, 'origin');
check_counters($node);
check_counters($node, 'origin');
$node->stop;

#
# Slots: workers, and schedulers. The two launchers leave four; two may be schedulers'.
#
my $slots = bgjob_cluster('why_slots', max_worker_processes => 6, 'bgjob.workers' => 10, 'bgjob.shutdown_timeout' => '100ms');
$slots->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql') FROM generate_series(1, 10)});
wait_why($slots, 10, '^no worker: No slot of max_worker_processes \(6\) is free for another worker', 'a missing slot for a worker is a reason');
like(why($slots, 10), qr/^behind: \d jobs stand before it\.\nno worker: (The worker|All \d workers) of role ".*" (is|are) busy\.\nno worker: No slot/, 'jobs before it and busy workers come before the missing slot');
set_and_reload($slots, 'bgjob.max_workers' => 1);
wait_why($slots, 10, '^no worker: bgjob.max_workers \(1\) allows no more workers in all databases', 'bgjob.max_workers is a reason');
set_and_reload($slots, 'bgjob.max_workers' => -1);
my @databases = map { "d$_" } 1 .. 4;
for my $db (@databases)
{
	$slots->safe_psql('postgres', "CREATE DATABASE $db");
	$slots->safe_psql($db, q{CREATE EXTENSION bgjob; SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});
}
like(poll(sub { join "\n", map { why($slots, 1, $_) } @databases }, qr/scheduler/),
	qr/^no worker: No slot of max_worker_processes \(6\) is free for the scheduler of the database\.$/m, 'a missing slot for a scheduler is a reason');
$slots->stop;
done_testing();
