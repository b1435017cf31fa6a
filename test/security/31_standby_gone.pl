# A lost synchronous standby: workers wait for it in their commits, and the wait can be ended, as in every backend. The
# scheduler waits for no standby.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('standby_gone', allows_streaming => 1, fsync => 'off', 'bgjob.workers' => 2);
$node->safe_psql('postgres', q{CREATE TABLE done (n int);
	ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()});
wait_until($node, q{SELECT current_setting('synchronous_standby_names') = 'nobody'}, 'there is a synchronous standby, and it is gone');

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', "SET synchronous_commit = local; $query");
}

sub enqueue
{
	my ($command, $more) = @_;

	return sql("SELECT bgjob_enqueue(\$\$$command\$\$, kind => 'sql'" . ($more // '') . ')');
}

# Returns the pid of the waiting worker.
sub waiting
{
	my ($what) = @_;

	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND wait_event = 'SyncRep'}, $what, 20);
	return sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND wait_event = 'SyncRep'});
}

sub becomes
{
	my ($id, $state, $what) = @_;

	return wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $id", $what, 20);
}

# pg_cancel_backend ends the wait, not the job; the worker goes on.
my $id  = enqueue('INSERT INTO done VALUES (1)');
my $pid = waiting('the commit of a job waits');
sql("SELECT pg_cancel_backend($pid)");
becomes($id, 'succeeded', 'pg_cancel_backend() ends the wait');
my $next = enqueue('INSERT INTO done VALUES (2)');
is(waiting('so does the next one'), $pid, 'the next job waits in the same worker');
sql("SELECT pg_cancel_backend($pid)");
becomes($next, 'succeeded', 'the next job is ended in the same way');

# The commit of a failure waits, too.
$id  = enqueue('SELECT 1/0', ', max_retries => 0');
$pid = waiting('the record of a failure waits');
sql("SELECT pg_cancel_backend($pid)");
becomes($id, 'failed', 'the wait of the failed job is ended');

# pg_terminate_backend ends the worker at once; committed jobs stay.
$id  = enqueue('INSERT INTO done VALUES (3)');
$pid = waiting('a job waits');
my $begin = time;
sql("SELECT pg_terminate_backend($pid)");
until_gone($pid);
cmp_ok(time - $begin, '<', 2.5, 'pg_terminate_backend() ends the worker at once');
becomes($id, 'succeeded', 'the job of the terminated worker has succeeded');

# The scheduler moves due jobs, and never waits for the standby.
$id = enqueue('INSERT INTO done VALUES (4)', q{, delay => '0.5 s'});
waiting('a due job is moved and performed');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND wait_event IS DISTINCT FROM 'SyncRep'}), 1, 'the scheduler waits for no standby');

# A fast shutdown: a commit that waits when it comes, and one that would wait afterwards.
my $late = enqueue('INSERT INTO done SELECT 5 FROM pg_sleep(2)');
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $late", 'another job runs');
$begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 7, 'a fast shutdown waits for the job, and for no standby');
$node->append_conf('postgresql.conf', 'synchronous_commit = local');
$node->start;
becomes($_, 'succeeded', "job $_ has succeeded") for $id, $late;
is($node->safe_psql('postgres', q{SELECT string_agg(n::text, ',' ORDER BY n) FROM done}), '1,2,3,4,5', 'each was performed once');
check_counters($node);
$node->stop;
done_testing();
