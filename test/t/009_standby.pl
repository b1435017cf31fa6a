# A streaming standby runs no job; after promotion it runs every job exactly once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $jobs    = 200;
my $primary = bgjob_cluster('primary', allows_streaming => 1, 'bgjob.enabled' => 'off');

$primary->safe_psql('postgres', 'CREATE TABLE done (n int);
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO done VALUES (n)$$');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'bgjob.enabled = on');
$standby->start;
wait_until($primary, q(SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'), 'the standby follows');
set_and_reload($primary, synchronous_standby_names => '*');
wait_until($primary, q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'), 'synchronously');

# The primary runs half of the jobs first.
set_and_reload($primary, 'bgjob.enabled' => 'on');
$primary->safe_psql('postgres', enqueue(1, $jobs / 2));
wait_until($primary, "SELECT count(*) = $jobs / 2 FROM bgjob.jobs WHERE state = 'succeeded'", 'jobs run on the primary');
set_and_reload($primary, 'bgjob.enabled' => 'off');
wait_until($primary, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'), 'the scheduler stops');
$primary->safe_psql('postgres', enqueue($jobs / 2 + 1, $jobs));
$primary->safe_psql('postgres', q(SELECT bgjob_enqueue('work', '[0]', delay => '1 s')));
$primary->wait_for_catchup($standby, 'replay');

my $processes = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'bgjob%');
is($standby->safe_psql('postgres', $processes), 0, 'no process of bgjob on the standby');
is( $standby->safe_psql('postgres', q(SELECT string_agg(state || n, ' ' ORDER BY state) FROM
	(SELECT state, count(*) AS n FROM bgjob.jobs GROUP BY 1) s)),
	sprintf('enqueued%d scheduled1 succeeded%d', $jobs / 2, $jobs / 2), 'the views of the standby show the jobs');
is($standby->safe_psql('postgres', 'SELECT enqueued, scheduled, succeeded FROM bgjob.stats'),
	sprintf('%d|1|%d', $jobs / 2, $jobs / 2), 'bgjob.stats of the standby counts the jobs');
is($standby->safe_psql('postgres', 'SELECT count(*), bgjob_function_stats_reset() FROM bgjob.function_stats'), '0|0', 'bgjob.function_stats of the standby has no rows, and can be reset');
my $history = q{FROM bgjob.stats_history WHERE bucket = 'hour'};
wait_until($standby, sprintf("SELECT sum(succeeded) = %d $history", $jobs / 2), 'bgjob.stats_history of the standby is that of the primary');
my (undef, undef, $refused) = $standby->psql('postgres', q(SELECT bgjob_enqueue('work', '[0]')));
like($refused, qr/cannot execute bgjob_enqueue\(\)/, 'nothing can be enqueued there');
(undef, undef, $refused) = $standby->psql('postgres', q(SELECT bgjob_run(max(id)) FROM bgjob.jobs WHERE state = 'enqueued'));
like($refused, qr/cannot execute bgjob_run\(\)/, 'or run by hand');
is($standby->safe_psql('postgres', q(SELECT bgjob_wait(min(id), '1 s') FROM bgjob.jobs WHERE state = 'succeeded')), 'succeeded',
	'bgjob_wait returns the state of an ended job');
(undef, undef, $refused) = $standby->psql('postgres', q(SELECT bgjob_wait(max(id), '1 s') FROM bgjob.jobs WHERE state = 'enqueued'));
like($refused, qr/cannot wait for a job on a server that runs no jobs/, 'bgjob_wait raises an error for any other job');

$primary->stop('immediate');
$standby->promote;
wait_until($standby, "SELECT count(*) = $jobs + 1 FROM bgjob.jobs WHERE state = 'succeeded'", 'after promotion the jobs run');
is($standby->safe_psql('postgres', 'SELECT count(*), count(DISTINCT n), min(n), max(n) FROM done'),
	sprintf('%d|%d|0|%d', $jobs + 1, $jobs + 1, $jobs), 'each job has run exactly once');
is($standby->safe_psql('postgres', "SELECT count(*) FROM bgjob.jobs WHERE interruptions > 0 OR retries > 0"), 0, 'each job succeeded at the first attempt');
my $id = $standby->safe_psql('postgres', q(SELECT bgjob_enqueue('work', '[-1]')));
cmp_ok($id, '>', $jobs + 1, 'a new job gets a new id');
is($standby->safe_psql('postgres', "SELECT bgjob_wait($id, '30 s')"), 'succeeded', 'the new job runs');
wait_until($standby, "SELECT sum(succeeded) = $jobs + 2 $history", 'and bgjob.stats_history goes on');
check_counters($standby);
$standby->stop;
done_testing();

sub enqueue
{
	my ($from, $to) = @_;
	return "SELECT bgjob_enqueue_many('work', (SELECT array_agg(to_jsonb(ARRAY[n])) FROM generate_series($from, $to) n))";
}
