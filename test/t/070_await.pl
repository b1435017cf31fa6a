# bgjob_await(): sessions that wait for external jobs. As many wake as there are jobs; nobody sleeps while a job is ready,
# whatever becomes of the session that was woken, and however the job has become ready: by a commit, its due time, a lease that is
# lost, a fetch that is rolled back, a limit, a queue that is resumed, a prepared transaction. Waiting holds no transaction, snapshot
# or lock. It can be canceled, ends at a time-out, and with the server. The arguments are in pgtap/33_external_calls.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use constant CROWD => 300;

my $node = bgjob_cluster('await', max_connections => CROWD + 50, 'bgjob.workers' => 2);
my $tmp  = $node->basedir;
my @background;
sub sql { return ask($node, $_[0]) }
sub enqueue { my ($queue, $more) = @_; return sql("SELECT bgjob_enqueue('work', kind => 'external', queue => '$queue'" . ($more ? ", $more" : '') . ')') }

# in_background COMMAND… starts a program that ends with this file; returns its handle.
sub in_background
{
	my (@command) = @_;
	my $out = '';
	my $handle = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$out);

	push @background, $handle;
	return { handle => $handle, out => \$out };
}

# session SQL… starts a session that runs the statements, one after the other, and leaves.
sub session { return in_background('psql', '-XAtq', '-d', $node->connstr('postgres'), map { ('-c', $_) } @_) }

# output SESSION waits for the end of a session and returns what it has printed.
sub output { my ($session) = @_; $session->{handle}->finish; return ${ $session->{out} } }

# waiting QUEUE returns a query for the number of sessions that wait for a queue.
sub waiting { my ($queue) = @_; return "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event IN ('Extension', 'BgjobExternalJob') AND query LIKE '%bgjob_await%{$queue}%' AND pid <> pg_backend_pid()" }

# until_waiting QUEUE, NUMBER waits until as many sessions wait.
sub until_waiting { my ($queue, $n) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return wait_until($node, 'SELECT (' . waiting($queue) . ") = $n", "$n wait for queue $queue") }

# taken_by ID, WORKER, WHAT tests that a worker gets a job.
sub taken_by { my ($id, $worker, $what) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return wait_until($node, "SELECT state = 'processing' AND server LIKE '$worker' FROM bgjob.jobs WHERE id = $id", $what) }

# waiter QUEUE, WORKER starts a session that waits, fetches and stays.
sub waiter { my ($queue, $worker) = @_; return session("CALL bgjob_await('{$queue}', '2 min')", "SELECT id FROM bgjob_fetch('{$queue}', '$worker')", 'SELECT pg_sleep(300)') }

# ---- a crowd ----

append_to_file("$tmp/crowd.sql", "CALL bgjob_await('{crowd}', '10 min');\nSELECT id FROM bgjob_fetch('{crowd}', 'crowd' || :client_id);\n\\sleep 600 s\n");
my $crowd = in_background('pgbench', '-n', '-c', CROWD, '-j', 1, '-t', 1, '-f', "$tmp/crowd.sql", '-h', $node->host, '-p', $node->port, 'postgres');
until_waiting('crowd', CROWD);
my $of_crowd = q{FROM pg_stat_activity a WHERE query LIKE '%bgjob\_await%{crowd}%' AND pid <> pg_backend_pid()};
is(sql("SELECT count(xact_start), count(backend_xmin), count(backend_xid) $of_crowd"), '0|0|0', 'none of them has a transaction or a snapshot');
is(sql("SELECT count(*) FROM pg_locks WHERE pid IN (SELECT pid $of_crowd)"), '0', 'nor a lock');
is(sql('SELECT count(*) FROM bgjob.servers WHERE kind = \'external\''), '0', 'a session that waits is not a worker yet');

# Each session that wakes fetches, and is a worker by that.
sub woken { return sql(q{SELECT count(*) FROM bgjob.servers WHERE kind = 'external' AND name LIKE 'crowd%'}) }

# crowd_takes JOBS, WHAT enqueues so many jobs in one commit, and tests that as many sessions have been woken. Where a session that is
# woken does not fetch within a second, another one is woken; so a round in which the machine took as long says nothing, and there is another one.
sub crowd_takes
{
	my ($jobs, $what) = @_;
	my $settled = '(' . waiting('crowd') . q{) + (SELECT count(*) FROM bgjob.servers WHERE kind = 'external' AND name LIKE 'crowd%') = } . CROWD;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for (1 .. 10)
	{
		my $before = woken();
		my $first  = sql("SELECT min(id) FROM bgjob_enqueue_many('work', array_fill('1'::jsonb, ARRAY[$jobs]), kind => 'external', queue => 'crowd') id");
		my $these  = "FROM bgjob.jobs WHERE queue = 'crowd' AND id >= $first";

		wait_until($node, "SELECT count(*) = $jobs $these AND state = 'processing'", "$what: taken");
		wait_until($node, "SELECT $settled", "$what: each session waits, or is a worker");
		next if sql("SELECT count(*) $these AND started_at - created_at > interval '0.8 s'") ne '0';
		return is(woken() - $before, $jobs, "$what: and no more than as many have been woken");
	}
	return fail("$what: no round took less than a second");
}
crowd_takes(1, 'one job');
crowd_takes(20, 'twenty jobs of one commit');
enqueue('other') for 1 .. 5;
sql(q{BEGIN; SELECT bgjob_enqueue('work', kind => 'external', queue => 'crowd'); ROLLBACK});
sql(q{BEGIN; SAVEPOINT a; SELECT bgjob_enqueue('work', kind => 'external', queue => 'crowd'); ROLLBACK TO a; SELECT bgjob_enqueue('work', kind => 'external', queue => 'another'); COMMIT});
crowd_takes(1, 'a job after others that concern nobody');
my $asleep = sql(waiting('crowd'));
is($asleep + woken(), CROWD, 'the others sleep on');

# ---- who is woken, and does not fetch ----

my $leaves = session("CALL bgjob_await('{pass}', '2 min')");
until_waiting('pass', 1);
my $takes = waiter('pass', 'second');
until_waiting('pass', 2);
my $id = enqueue('pass');
is(output($leaves), '', 'the session that has waited longest is woken, and leaves');
taken_by($id, 'second', 'another one is woken in its place');

my $idles = session("CALL bgjob_await('{idle}', '2 min')", 'SELECT pg_sleep(300)');
until_waiting('idle', 1);
waiter('idle', 'busy');
until_waiting('idle', 2);
$id = enqueue('idle');
taken_by($id, 'busy', 'where the session stays and does not fetch, another one is woken');

my $killed = session("CALL bgjob_await('{kill}', '2 min')");
until_waiting('kill', 1);
waiter('kill', 'alive');
until_waiting('kill', 2);
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{kill}%' AND pid <> pg_backend_pid() ORDER BY backend_start LIMIT 1});
like(output($killed), qr/terminating connection/, 'a session that waits is terminated');
taken_by(enqueue('kill'), 'alive', 'another one is woken');

my $canceled = session("SET statement_timeout = '200 ms'", "CALL bgjob_await('{cancel}', '2 min')", 'RESET statement_timeout', "SELECT 'alive', txid_current_if_assigned() IS NULL");
$canceled = output($canceled);
like($canceled, qr/canceling statement due to statement timeout/, 'a wait ends by statement_timeout');
like($canceled, qr/^alive\|t$/m, 'and the session can go on');
$canceled = session("CALL bgjob_await('{cancel}', '2 min')", "SELECT 'alive'");
until_waiting('cancel', 1);
sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{cancel}%' AND pid <> pg_backend_pid()});
$canceled = output($canceled);
like($canceled, qr/canceling statement due to user request/, 'or when it is canceled');
like($canceled, qr/^alive$/m, 'and the session can go on');

# A session takes another queue than it has waited for.
session("CALL bgjob_await('{mine}', '2 min')", "SELECT id FROM bgjob_fetch('{elsewhere}', 'astray')", 'SELECT pg_sleep(300)');
until_waiting('mine', 1);
waiter('mine', 'right');
until_waiting('mine', 2);
taken_by(enqueue('mine'), 'right', 'a session that fetches from other queues passes the wake-up on');

# Two queues: the session that is woken for one takes a job of the other.
session("CALL bgjob_await('{left,right}', '2 min')", "SELECT id FROM bgjob_fetch('{left,right}', 'both')", 'SELECT pg_sleep(300)');
wait_until($node, 'SELECT (' . waiting('left,right') . ') = 1', 'a session waits for two queues');
waiter('right', 'one');
until_waiting('right', 1);
sql(q{SELECT bgjob_enqueue('work', kind => 'external', queue => q) FROM unnest('{right,left}'::text[]) q});
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE queue IN ('left', 'right') AND state = 'processing'}, 'both jobs of two queues are taken');

# ---- how jobs become ready ----

waiter('due', 'due');
until_waiting('due', 1);
$id = enqueue('due', q{delay => '1 s'});
taken_by($id, 'due', 'a session is woken when a job is due');

my $holder = session(q{SET bgjob.bind_leases = off}, q{SELECT id FROM bgjob_fetch('{lease}', 'slow', lease => '2 s')}, 'SELECT pg_sleep(300)');
$id = enqueue('lease');
$holder = session(q{SET bgjob.bind_leases = off}, q{SELECT id FROM bgjob_fetch('{lease}', 'slow', lease => '3 s')}, 'SELECT pg_sleep(300)');
taken_by($id, 'slow', 'a worker has a job');
waiter('lease', 'next');
until_waiting('lease', 1);
taken_by($id, 'next', 'another one is woken when the lease is over');

$id = enqueue('bound');
$holder = session(q{SELECT id FROM bgjob_fetch('{bound}', 'bound')}, 'SELECT pg_sleep(300)');
taken_by($id, 'bound', 'a worker has a job, bound to its session');
waiter('bound', 'heir');
until_waiting('bound', 1);
sql("SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE id = $id");
taken_by($id, 'heir', 'another one is woken when the session has gone');

$id = enqueue('back');
$holder = session(q{BEGIN}, q{SELECT id FROM bgjob_fetch('{back}', 'undone')}, q{SELECT pg_advisory_lock(1)}, 'ROLLBACK', 'SELECT pg_sleep(300)');
my $locker = session('SELECT pg_advisory_lock(1), pg_sleep(300)');
wait_until($node, q{SELECT count(*) >= 1 FROM pg_locks WHERE locktype = 'advisory'}, 'a session has the lock');
waiter('back', 'again');
wait_until($node, 'SELECT (' . waiting('back') . ") = 1 OR EXISTS (SELECT FROM bgjob.jobs WHERE id = $id AND server = 'again')", 'another one waits');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'});
taken_by($id, 'again', 'a session is woken when a fetch is rolled back');

sql(q{SELECT bgjob_limit('one', 1)});
$id = enqueue('limit', q{limits => '{one}'});
$holder = session(q{SELECT id FROM bgjob_fetch('{limit}', 'first')}, 'SELECT pg_sleep(300)');
taken_by($id, 'first', 'a worker has a job of a limit');
my $second = enqueue('limit', q{limits => '{one}'});
is(sql(q{SELECT count(*) FROM bgjob_fetch('{limit}', 'none')}), '0', 'no other one has room');
waiter('limit', 'after');
until_waiting('limit', 1);
is(sql("SELECT bgjob_complete($id, 'first')"), 't', 'the first has succeeded');
taken_by($second, 'after', 'a session is woken when the limit has room');

sql(q{SELECT bgjob_queue('paused', paused => true)});
$id = enqueue('paused');
waiter('paused', 'resumed');
until_waiting('paused', 1);
is(sql(q{SELECT bgjob_queue_resume('paused')}), 't', 'the queue is resumed');
taken_by($id, 'resumed', 'a session is woken when its queue goes on');

waiter('prepared', 'prepared');
until_waiting('prepared', 1);
sql(q{BEGIN; SELECT bgjob_enqueue('work', kind => 'external', queue => 'prepared'); PREPARE TRANSACTION 'a'});
sql(q{COMMIT PREPARED 'a'});
wait_until($node, q{SELECT state = 'processing' FROM bgjob.jobs WHERE queue = 'prepared'}, 'a session is woken for a job of a prepared transaction');

# ---- roles ----

sql(q{CREATE ROLE a LOGIN; CREATE ROLE b LOGIN; GRANT USAGE ON SCHEMA bgjob TO a, b});
my $a = session('SET ROLE a', "CALL bgjob_await('{roles}', '2 min')", q{SELECT 'job of ' || (SELECT run_as FROM bgjob.jobs j WHERE j.id = f.id) FROM bgjob_fetch('{roles}', 'a') f});
until_waiting('roles', 1);
sql(q{SET ROLE b; SELECT bgjob_enqueue('work', kind => 'external', queue => 'roles')});
sql(q{SET ROLE a; SELECT bgjob_enqueue('work', kind => 'external', queue => 'roles')});
is(output($a), "job of a\n", "a session is not woken for another role's job");
sql('GRANT b TO a');
is(output(session('SET ROLE a', "CALL bgjob_await('{roles}', '2 min')", q{SELECT 'job of ' || (SELECT run_as FROM bgjob.jobs j WHERE j.id = f.id) FROM bgjob_fetch('{roles}', 'a') f})), "job of b\n", 'but as its member');

# ---- a worker that is to be quiet ----

$id = enqueue('quiet');
$locker = session('SELECT pg_advisory_lock(2)', 'SELECT pg_sleep(300)');
wait_until($node, q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 2}, 'a session has the lock');
my $quiet = session(q{SELECT 'got', count(*) FROM bgjob_fetch('{none}', 'quiet')}, q{SELECT pg_advisory_lock(2)}, q{SELECT 'got', count(*) FROM bgjob_fetch('{quiet}', 'quiet')},
	"CALL bgjob_await('{quiet}', '2 min')", q{SELECT 'got', count(*) FROM bgjob_fetch('{quiet}', 'quiet')});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.servers WHERE name = 'quiet'}, 'a worker is known');
is(sql(q{SELECT bgjob_server_pause('quiet')}), 't', 'it is paused');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND granted});
until_waiting('quiet', 1);
is(sql(q{SELECT bgjob_server_resume('quiet')}), 't', 'it is resumed');
is(output($quiet), "got|0\n\ngot|0\ngot|1\n", 'a worker that is paused gets nothing, and waits for its resumption although there is a job');

# ---- the end of the server ----

until_waiting('crowd', $asleep);
$crowd->{handle}->kill_kill;
sql(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%{crowd}%' AND pid <> pg_backend_pid()});
until_waiting('crowd', 0);
session("CALL bgjob_await('{stop}', '10 min')") for 1 .. 5;
until_waiting('stop', 5);
$node->stop('fast');
pass('the server stops although sessions wait');
$_->kill_kill for @background;
@background = ();
$node->start;
waiter('restart', 'restart');
until_waiting('restart', 1);
taken_by(enqueue('restart'), 'restart', 'sessions are woken after a restart');

# After a start nobody has announced the jobs that were there.
$id = enqueue('kept');
$node->restart;
is(output(session("CALL bgjob_await('{kept}', '2 min')", q{SELECT id FROM bgjob_fetch('{kept}', 'kept')})), "$id\n", 'jobs from before a restart wake sessions');

# Many lanes of a transaction, and more lanes than a role has room for. Which these are is not noted: all who wait may be woken.
waiter("lane-7", "lanes");
until_waiting('lane-7', 1);
sql(q{SELECT count(bgjob_enqueue('work', kind => 'external', queue => 'lane-' || n)) FROM generate_series(2000, 7, -1) n});
wait_until($node, q{SELECT state = 'processing' FROM bgjob.jobs WHERE queue = 'lane-7'}, 'a session is woken for one of 2,000 queues');

$_->kill_kill for @background;
check_counters($node);
done_testing();
