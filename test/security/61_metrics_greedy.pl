# A role with ten thousand queues and recurring jobs, and an administrator with ten thousand limits, make bgjob.metrics no larger than some
# thousand rows, hide nobody else's queue, and no job is missing from the sums. What users name as they like does no
# harm to the text that Prometheus reads. A reader who sees some roles learns nothing of the others, not even from the rest.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('metrics_greedy', 'bgjob.workers' => 2);

# value ROLE, METRIC, LABELS is the sum of its samples, as a role sees it; empty: there are none.
sub value
{
	my ($role, $metric, $labels) = @_;
	return $node->safe_psql('postgres', "SELECT sum(value) FROM bgjob.metrics WHERE name = '$metric' AND labels \@> '$labels'", extra_params => [ '-U', $role ]);
}

$node->safe_psql('postgres', q{
	CREATE ROLE greedy LOGIN; CREATE ROLE modest LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor;
	CREATE ROLE "*" LOGIN; GRANT USAGE ON SCHEMA bgjob TO greedy, modest, "*"});
$node->safe_psql('postgres', $_, extra_params => [ '-U', 'greedy' ]) for
	q{SELECT count(*) FROM (SELECT bgjob_enqueue_many('SELECT 1', '{NULL,NULL}', kind => 'sql', queue => 'q-' || i, delay => '1 day') FROM generate_series(1, 10000) i) j},
	q{SELECT count(bgjob_recurring('r-' || i, '@daily', 'SELECT 1')) FROM generate_series(1, 10000) i};
$node->safe_psql('postgres', q{
	SELECT count(bgjob_limit('l-' || i, max_running => 1)) FROM generate_series(1, 10000) i; SELECT bgjob_limit('*', max_running => 5), bgjob_limit(E'\\\\"\n{}', rate => 1, per => '1 s');
	SELECT count(bgjob_server('s-' || i, ARRAY['s-' || i], workers => 1)) FROM generate_series(1, 63) i});
$node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'modest', delay => '1 day'), bgjob_recurring('*', '@daily', 'SELECT 1')}, extra_params => [ '-U', $_ ]) for 'modest', '*';
wait_until($node, q{SELECT sum(value) = 20002 FROM bgjob.metrics WHERE name = 'bgjob_jobs_enqueued_total'}, 'all jobs are counted');

is(value('monitor', 'bgjob_jobs', '{"state": "scheduled"}'), 20002, 'no job is missing');
is(value('monitor', 'bgjob_jobs_enqueued_total', '{"queue": "modest"}'), 2, 'a queue of other roles has samples of its own');
is(value('monitor', 'bgjob_jobs', '{"queue": "modest", "state": "scheduled"}'), 2, 'its jobs, too');
is(value('monitor', 'bgjob_recurring_jobs', '{}'), 10002, 'no recurring job is missing');
is(value('modest', 'bgjob_jobs', '{"state": "scheduled"}'), 1, 'a role sees its job alone');
is(value('modest', 'bgjob_jobs_enqueued_total', '{}'), 1, 'and what has happened to it alone');
is(value('modest', 'bgjob_jobs', '{"queue": "*"}'), '', 'the rest of others is not shown to it');
is(value('modest', 'bgjob_recurring_jobs', '{}'), 1, 'it sees its recurring job alone');
is(value('greedy', 'bgjob_jobs', '{"state": "scheduled"}'), 20000, 'the role with ten thousand queues sees its jobs, most of them as the rest');
for my $role ('monitor', 'greedy')
{
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.metrics', extra_params => [ '-U', $role ]), '<', 8000, "$role: the number of rows is bounded");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM bgjob.metrics GROUP BY name, labels HAVING count(*) > 1) d', extra_params => [ '-U', $role ]), 0, "$role: no sample is there twice");
	is($node->safe_psql('postgres', q{SELECT max(n) FROM (SELECT count(DISTINCT l.value) AS n FROM bgjob.metrics, jsonb_each_text(labels) l WHERE key NOT IN ('le', 'reason', 'state') GROUP BY key) d}, extra_params => [ '-U', $role ]), 101,
		"$role: a label has 101 values at most");
}

# The rows that are read do not depend on the number of jobs: no table of jobs is scanned. Running jobs would be read one by one.
my $reads = sub { $node->safe_psql('postgres', q{SELECT pg_stat_clear_snapshot(); SELECT sum(seq_scan) FROM pg_stat_all_tables WHERE schemaname = 'bgjob_internal' AND relname IN ('job', 'queue', 'schedule', 'state', 'gate', 'failure')}) =~ s/^\n//r };
my $before = $reads->();
$node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.metrics', extra_params => [ '-U', $_ ]) for 'monitor', 'greedy', 'modest';
is($reads->(), $before, 'no table of jobs is scanned');

check_counters($node);
$node->stop;
done_testing();
