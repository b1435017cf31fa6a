# Ends of jobs are settled once for a transaction, just before its commit or PREPARE: all jobs that ended in it, and none of a
# savepoint that was rolled back. The server logs it at DEBUG2. A group of jobs is one transaction, and settles once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('settle', 'bgjob.workers' => 1, max_prepared_transactions => 5, log_min_messages => 'debug2');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	SELECT bgjob_queue('held'), bgjob_queue_pause('held'), bgjob_queue('group', group_size => 20);
	CREATE FUNCTION work(i int) RETURNS int LANGUAGE sql AS 'SELECT 10 / i'});

# settled TEXT tests what was settled, in the order of the transactions: ended jobs/ended attempts of jobs that run again.
sub settled
{
	return join ' ', map { join '/', $_ =~ /bgjob: jobs that have ended: (\d+), attempts after which jobs go on: (\d+)/ } grep /jobs that have ended:/, split /\n/, $_[0];
}

# session SQL runs SQL in a session; $a to $d are waiting jobs.
sub session
{
	my ($commands) = @_;
	my $jobs = sql(q{SELECT string_agg(bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'held')::text, ' ') FROM generate_series(1, 4)});
	my ($stdout, $stderr);

	@_{qw(a b c d)} = split / /, $jobs;
	$commands =~ s/\$([abcd])/$_{$1}/g;
	$node->psql('postgres', "SET client_min_messages = debug2; $commands", stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
	return settled($stderr);
}

is(session('SELECT bgjob_delete($a)'), '1/0', 'a statement');
is(session('BEGIN; SELECT bgjob_delete($a); SELECT bgjob_delete($b); COMMIT'), '2/0', 'a transaction settles all at once');
is(session('BEGIN; SELECT bgjob_delete($a); ROLLBACK'), '', 'a rolled-back transaction settles nothing');
is(session('BEGIN; SELECT bgjob_delete($a); SAVEPOINT s; SELECT bgjob_delete($b); SELECT bgjob_delete($c); ROLLBACK TO s; COMMIT'), '1/0', 'a savepoint that is rolled back takes its jobs along');
is(session('BEGIN; SELECT bgjob_delete($a); SAVEPOINT s; SELECT bgjob_delete($b); SAVEPOINT t; SELECT bgjob_delete($c); RELEASE t; RELEASE s; SELECT bgjob_delete($d); COMMIT'), '4/0', 'savepoints that are released do not');
is(session('BEGIN; SAVEPOINT s; SELECT bgjob_delete($a); SAVEPOINT t; SELECT bgjob_delete($b); RELEASE t; ROLLBACK TO s; COMMIT'), '', 'a savepoint released within a rolled-back one is not settled');
is(session('BEGIN; SELECT bgjob_delete($a); PREPARE TRANSACTION \'p\'; COMMIT PREPARED \'p\''), '1/0', 'a prepared transaction settles when it is prepared');
is(session('SELECT bgjob_requeue($a)'), '', 'nothing is over that only waits');

# A group of jobs, one of which is retried.
my $from = -s $node->logfile;
sql(q{SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(0, 9) i), queue => 'group', max_retries => 1)});
wait_until($node, q{SELECT count(*) FILTER (WHERE state = 'succeeded') = 9 AND count(*) FILTER (WHERE state = 'scheduled') = 1 FROM bgjob.jobs WHERE queue = 'group'},
	'a group of jobs has run');
is(settled(slurp_file($node->logfile, $from)), '9/1', 'the transaction was settled once: nine jobs and an attempt');

check_counters($node);
$node->stop;
done_testing();
