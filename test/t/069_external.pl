# check.sh: crashes expected
# Jobs that external workers have: a session that ends gives its jobs back at once, a lease that is over does so, whoever waits; a restart, a crash and
# prepared transactions lose nothing and leave nothing; leases run out; an old snapshot costs nothing; a lease that is held costs the scheduler nothing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobFlow;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('external', max_prepared_transactions => 10, restart_after_crash => 'on', 'bgjob.max_leases' => 50);

flow_on($node);

sub new_job { return value(qq{SELECT bgjob_enqueue('work', kind => 'external', queue => '$_[0]'} . ($_[1] // '') . ')') }
# fetch QUEUE, WORKER [, NUMBER [, LEASE]] returns SQL that fetches and says the ids.
sub fetch
{
	my ($queue, $worker, $n, $lease) = @_;

	$n     //= 1;
	$lease //= '5 min';
	return "SELECT string_agg(id::text, ' ' ORDER BY id) FROM bgjob_fetch('{$queue}', '$worker', $n, '$lease')";
}
# alone SQL does so in a session whose jobs are not bound to it.
sub alone { return value("SET bgjob.bind_leases = off; $_[0]") }

#
# A session that ends.
#
my $job = new_job('a');
my $session = session();
is(say($session, fetch('a', 'w')), $job, 'a session fetches a job');
is(state_of($job), 'processing', 'which is being processed');
my $pid = value("SELECT worker_pid FROM bgjob.jobs WHERE id = $job");
my $before = time;
kill 'TERM', $pid;
becomes($job, 'enqueued', 'when its session is terminated the job is back');
cmp_ok(time - $before, '<', 20, 'long before its lease is over');
is(value("SELECT reason FROM bgjob.jobs WHERE id = $job"), 'Lost by worker "w": its session has ended', 'and the reason says so');
is(value("SELECT retries FROM bgjob.jobs WHERE id = $job"), 0, 'no retry is used');
is(alone(fetch('a', 'w')), $job, 'a session whose leases are not bound fetches it, and ends');
is(state_of($job), 'processing', 'the job stays with the worker');
is(alone("SELECT bgjob_complete($job, 'w')"), 't', 'which completes it in another session');

#
# A lease that is over while its row is locked. The scheduler waits for nobody.
#
$job = new_job('a');
my $other = new_job('a');
is(alone(fetch('a', 'w', 1, '2 s')), $job, 'a job is fetched for a short time');
my $ending = session();
is(say($ending, 'BEGIN'), '', 'a transaction begins');
is(say($ending, "SELECT bgjob_complete($job, 'w')"), 't', 'it completes the job in time, and does not commit');
is(alone(fetch('a', 'v', 1, '10 ms')), $other, 'another job is fetched for a shorter time');
becomes($other, 'enqueued', 'it goes back while the row of the first one is locked');
wait_until($node, q{SELECT clock_timestamp() > max(at) + interval '2100 ms' FROM bgjob.job_states WHERE state = 'processing'}, 'the first lease is over');
is(say($ending, 'COMMIT'), '', 'the transaction commits');
is(state_of($job), 'succeeded', 'the job has succeeded: the answer was in time');
is(alone(fetch('a', 'w')), $other, 'the other one is fetched');
is(say($ending, 'BEGIN'), '', 'a transaction begins');
is(say($ending, "SELECT bgjob_complete($other, 'w')"), 't', 'it completes the job');
my $deleting = session();
$deleting->{in} .= "SELECT bgjob_delete($other);\n";
$deleting->{run}->pump_nb;
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT bgjob_delete%'}, 'bgjob_delete() waits for that transaction');
is(say($ending, 'ROLLBACK'), '', 'which is rolled back');
becomes($other, 'deleted', 'so the job is deleted');

#
# Prepared transactions.
#
$job = new_job('p');
is(refused("BEGIN; SELECT * FROM bgjob_fetch('{p}', 'w'); PREPARE TRANSACTION 'f'"), '0A000', 'a transaction that has fetched cannot be prepared');
is(alone(fetch('p', 'w')), $job, 'its job is in the queue again');
value("SET bgjob.bind_leases = off; BEGIN; SELECT bgjob_complete($job, 'w', '7'); PREPARE TRANSACTION 'c'");
is(state_of($job), 'processing', 'a completion that is prepared does not count yet');
value(q{ROLLBACK PREPARED 'c'});
is(alone("SELECT bgjob_release($job, 'w')"), 't', 'rolled back, the worker has the job');
is(alone(fetch('p', 'w')), $job, 'and fetches it again');
value("SET bgjob.bind_leases = off; BEGIN; SELECT bgjob_complete($job, 'w', '7'); PREPARE TRANSACTION 'c'");
value(q{COMMIT PREPARED 'c'});
becomes($job, 'succeeded', 'committed, it has succeeded');
wait_until($node, q{SELECT processing = 0 FROM bgjob.stats}, 'and its lease is free');
$job = new_job('p');
is(alone(fetch('p', 'w')), $job, 'another one is fetched');
value("SET bgjob.bind_leases = off; BEGIN; SELECT bgjob_release($job, 'w'); PREPARE TRANSACTION 'r'");
$node->stop('immediate');
start_again($node);
becomes($job, 'processing', 'after a crash it is with its worker while its release is prepared');
value(q{COMMIT PREPARED 'r'});
wait_until($node, "SELECT string_agg(id::text, '') = '$job' FROM bgjob_fetch('{p}', 'v')", 'committed, it can be fetched');
becomes($job, 'enqueued', 'the session of that worker has ended');
is(value("SELECT bgjob_delete($job)"), 't', 'it is deleted');

#
# Restarts and crashes.
#
foreach my $how ('fast', 'immediate', 'kill')
{
	my ($kept, $bound, $limited, $second) = (new_job('k'), new_job('b'), undef, undef);

	value(q{SELECT bgjob_limit('one', 1)});
	($limited, $second) = map { new_job('l', ", limits => '{one}'") } 1 .. 2;
	is(alone(fetch('k', 'w')), $kept, "$how: a job is fetched");
	is(alone(fetch('l', 'w', 5)), $limited, "$how: and one under a limit");
	my $holder = session();
	is(say($holder, fetch('b', 'v')), $bound, "$how: and one by a session");
	value('CREATE TABLE IF NOT EXISTS flushed (a int); INSERT INTO flushed VALUES (1)'); # what was fetched before is on disk, too
	if ($how eq 'kill')
	{
		kill 'KILL', value("SELECT worker_pid FROM bgjob.jobs WHERE id = $bound");
		wait_until($node, 'SELECT true', "$how: the server is back");
	}
	else
	{
		$node->stop($how);
		start_again($node);
	}
	is(alone("SELECT bgjob_complete($kept, 'w', '1')"), 't', "$how: the worker completes it in its first call afterwards");
	becomes($bound, 'enqueued', "$how: the job of the session is back");
	is(alone("SELECT bgjob_complete($bound, 'v')"), 'f', "$how: and its worker is too late");
	is(alone(fetch('l', 'w', 5)), '', "$how: the limit holds");
	is(alone("SELECT bgjob_complete($limited, 'w')"), 't', "$how: the job under the limit is completed");
	wait_until($node, "SET bgjob.bind_leases = off; SELECT string_agg(id::text, '') = '$second' FROM bgjob_fetch('{l}', 'w', 5)", "$how: and the next one follows");
	is(alone("SELECT bgjob_complete($second, 'w')"), 't', "$how: it is completed");
	is(alone(fetch('b', 'v')), $bound, "$how: the job of the session is fetched again");
	is(alone("SELECT bgjob_complete($bound, 'v')"), 't', "$how: and completed");
	is(value("SELECT count(*) FROM bgjob.jobs WHERE id IN ($kept, $bound, $limited, $second) AND state = 'succeeded'"), 4, "$how: all have succeeded");
}

#
# A worker that comes back before the launcher has come to its database: as if that were slow after a start.
#
my ($kept, $next) = map { new_job('e') } 1 .. 2;
is(alone(fetch('e', 'w')), $kept, 'a job is fetched');
$node->append_conf('postgresql.conf', q{bgjob.databases = 'none'});
$node->restart;
my $launcher = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob launcher' AND wait_event_type = 'Extension'});
kill 'STOP', $launcher;
set_and_reload($node, 'bgjob.databases' => '*');
wait_until($node, q{SELECT current_setting('bgjob.databases') = '*'}, 'the launcher does not go on');
is(alone("SELECT * FROM bgjob_heartbeat('w', '{$kept}', '5 min')"), "$kept|continue", 'before it does, a heartbeat counts');
is(alone("SELECT bgjob_complete($kept, 'w')"), 't', 'and an answer');
is(value(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}), 0, 'without a scheduler');
kill 'CONT', $launcher;
wait_until($node, "SET bgjob.bind_leases = off; SELECT string_agg(id::text, '') = '$next' FROM bgjob_fetch('{e}', 'w', 5)", 'when that is there, the next job can be fetched');
is(alone("SELECT bgjob_complete($next, 'w')"), 't', 'which is completed, too');
is(value("SELECT string_agg(state, ' ') FROM bgjob.jobs WHERE id IN ($kept, $next)"), 'succeeded succeeded', 'both have succeeded');

#
# Leases run out. No role has the last ones.
#
value(q{CREATE ROLE greedy LOGIN; CREATE ROLE modest LOGIN; GRANT USAGE ON SCHEMA bgjob TO greedy, modest;
	SET ROLE greedy; SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, '{60}'), kind => 'external', queue => 'm');
	SET ROLE modest; SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, '{2}'), kind => 'external', queue => 'm')});
my ($out, $err) = ('', '');
$node->psql('postgres', q{SET bgjob.bind_leases = off; SET ROLE greedy; SELECT count(*) FROM bgjob_fetch('{m}', 'w', 100)}, stdout => \$out, stderr => \$err);
is($out, 37, 'a role is given three quarters of the leases');
like($err, qr/WARNING:  out of leases.*HINT:  Increase bgjob.max_leases/s, 'with a warning');
is(alone(q{SET ROLE greedy; SELECT count(*) FROM bgjob_fetch('{m}', 'v', 100)}), 0, 'another worker of the role is given nothing');
is(alone(q{SET ROLE modest; SELECT count(*) FROM bgjob_fetch('{m}', 'w', 100)}), 2, 'another role is given its jobs');
is(value(q{SELECT count(*) FILTER (WHERE bgjob_complete(id, 'w')) FROM bgjob.jobs WHERE queue = 'm' AND state = 'processing'}), 39, 'they are completed');
is(alone(q{SET ROLE greedy; SELECT count(*) FROM bgjob_fetch('{m}', 'w', 100)}), 23, 'and the others are given');
is(value(q{SELECT count(*) FILTER (WHERE bgjob_complete(id, 'w')) FROM bgjob.jobs WHERE queue = 'm' AND state = 'processing'}), 23, 'and completed');

#
# An old snapshot. No call reads the table of leases but by its key.
#
my $old = session();
say($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
say($old, 'SELECT count(*) FROM bgjob.stats');
my $scans = value(q{SELECT seq_scan FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.lease'::regclass});
value(q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, '{2000}'), kind => 'external', queue => 'o');
	CREATE PROCEDURE work_off() LANGUAGE plpgsql AS $$
	DECLARE
		jobs bigint[];
	BEGIN
		LOOP
			SELECT array_agg(id) INTO jobs FROM bgjob_fetch('{o}', 'w', 10);
			COMMIT;
			EXIT WHEN jobs IS NULL;
			PERFORM bgjob_complete(id, 'w') FROM unnest(jobs) id;
			COMMIT;
		END LOOP;
	END$$});
value('CALL work_off()');
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'o' AND state = 'succeeded'}), 2000, 'many jobs are done while a snapshot is held');
wait_until($node, q{SELECT n_tup_ins >= 2000 FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.lease'::regclass}, 'the server has counted that');
is(value(q{SELECT seq_scan FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.lease'::regclass}), $scans, 'the table of leases was never scanned');
say($old, 'COMMIT');

#
# A lease that is held costs the scheduler nothing, nor does one that has ended.
#
$job = new_job('i');
is(alone(fetch('i', 'w')), $job, 'a job is fetched');
my $scheduler = scheduler();
sub rounds { return slurp_file("/proc/$scheduler/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : -1 }
my $calm = 0;
for (1 .. 20)
{
	my $first = rounds();
	usleep(1_000_000);
	$calm = rounds() - $first < 20;
	last if $calm;
}
ok($calm, 'the scheduler sleeps while a worker has a job');
is(alone("SELECT bgjob_complete($job, 'w')"), 't', 'which is completed');

check_counters($node);
done_testing();
