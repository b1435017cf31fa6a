# An idle bgjob runs no transaction for a minute. Then its workers exit.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $minute = 60;
my $node   = bgjob_cluster('idle', 'bgjob.worker_idle_timeout' => '10min');

# Queries run in a database without bgjob, since each query is a transaction.
$node->safe_psql('postgres', 'DROP EXTENSION bgjob; CREATE DATABASE db1');
$node->safe_psql('db1', 'CREATE EXTENSION bgjob; CREATE TABLE done (n int);
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO done VALUES (n)$$;');
$node->safe_psql('db1', q(SELECT bgjob_enqueue_many('work', (SELECT array_agg(to_jsonb(ARRAY[n])) FROM generate_series(1, 100) n));
	SELECT bgjob_enqueue('work', '[0]', delay => '1 day')));
wait_until($node, 'SELECT count(*) = 100 FROM done', 'jobs run', 60, 'db1');
my $processes = q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'db1' AND backend_type = 'bgjob %s');
my $workers = $node->safe_psql('postgres', sprintf $processes, 'worker');
cmp_ok($workers, '>', 0, 'the workers are still there after the jobs');

sub counted
{
	return $node->safe_psql('postgres',
		q(SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'db1'));
}

# bgjob is idle some seconds after the last job: statistics are reported with a delay, and the scheduler
# scans once more for changes that were not announced.
my ($last, $since) = (-1, time);
my $end = time + $minute + 50;
while (time < $end && time - $since < $minute)
{
	my $now = counted();
	($last, $since) = ($now, time) if $now != $last;
	usleep(500_000);
}
cmp_ok(time - $since, '>=', $minute, 'no transaction for a minute');
is($node->safe_psql('postgres', sprintf $processes, 'worker'), $workers, 'the workers are still there');

set_and_reload($node, 'bgjob.worker_idle_timeout' => '2s');
wait_until($node, 'SELECT 0 = (' . sprintf($processes, 'worker') . ')',
	'workers leave after bgjob.worker_idle_timeout', 20);
is($node->safe_psql('postgres', sprintf $processes, 'scheduler'), 1, 'the scheduler stays');
my $id = $node->safe_psql('db1', q(SELECT bgjob_enqueue('work', '[101]')));
is($node->safe_psql('db1', "SELECT bgjob_wait($id, '30 s')"), 'succeeded', 'the next job runs');
check_counters($node, 'db1');
$node->stop;
done_testing();
