# The scheduler and the launcher never wait for rows, tables or transactions of other sessions. They retry later.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('waits', 'bgjob.workers' => 4, fsync => 'off');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, other;
	CREATE FUNCTION noop() RETURNS void LANGUAGE sql AS $$SELECT$$');

sub as
{
	my ($role, $sql) = @_;

	return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1];
}

# due_is_on_time WHAT: a due job of another role is performed.
sub due_is_on_time
{
	my ($what) = @_;
	my $id = as('other', q{SELECT bgjob_enqueue('noop', delay => '1 s')});

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '30 s')"), 'succeeded', "$what: a due job is performed");
	cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM started_at - created_at) FROM bgjob.jobs WHERE id = $id"),
		'<', 4, 'in time');
}

# A job ends its worker; while the scheduler is stopped, a session takes the job and keeps its transaction open.
sub lose_job
{
	my $id = as('app', q{SELECT bgjob_enqueue('SELECT pg_sleep(1000)', kind => 'sql', max_retries => 0)});
	my $worker = pid_of($node, "SELECT pid FROM bgjob.workers WHERE job_id = $id");
	my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
	my $session = $node->background_psql('postgres', on_error_stop => 1);

	kill 'STOP', $scheduler;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	$session->query_safe("BEGIN; SELECT 1 FROM bgjob_internal.job WHERE id = $id FOR UPDATE");
	kill 'CONT', $scheduler;
	until_gone($worker);
	return ($id, $session);
}

my ($id, $session) = lose_job();
due_is_on_time('a lost job is held by a transaction');
is($node->safe_psql('postgres', "SELECT interruptions FROM bgjob.jobs WHERE id = $id"), 0, 'the lost job has not been looked after');
$session->query_safe('ROLLBACK');
$session->quit;
wait_until($node, "SELECT interruptions = 1 FROM bgjob.jobs WHERE id = $id",
	'it is when the transaction has ended', 30);
$node->safe_psql('postgres', "SELECT bgjob_delete($id)");

# Each table locked by an administrator: work without that table continues, the rest resumes after the lock.
$node->safe_psql('postgres', q{SELECT bgjob_recurring('beat', '@every_second', 'noop')});
for my $table (qw(recurring state failure claim unique_key log settings total queue_conf server_conf limit_conf weight_conf function_conf filter installation schedule queue job))
{
	my $locker = $node->background_psql('postgres', on_error_stop => 1);

	$locker->query_safe("BEGIN; LOCK TABLE bgjob_internal.$table IN ACCESS EXCLUSIVE MODE");
	# The scheduler sleeps or works, but never waits for the lock.
	is($node->safe_psql('postgres', q{SELECT count(*) FROM generate_series(1, 5) i, pg_sleep(0.12), LATERAL (SELECT i,
		count(*) FILTER (WHERE wait_event_type = 'Lock') n FROM pg_stat_get_activity(NULL) WHERE backend_type = 'bgjob scheduler') s WHERE n > 0}),
		0, "bgjob_internal.$table locked: the scheduler does not wait");
	$locker->query_safe('ROLLBACK');
	$locker->quit;
}
due_is_on_time('after the locks');
wait_until($node, q{SELECT max(finished_at) > now() - interval '3 s' FROM bgjob.jobs WHERE recurring_name = 'beat'}, 'the recurring job runs after the locks');

# Other locked rows are skipped: a thousand recurring jobs in one transaction, the oldest due first.
as('app', q{SELECT count(bgjob_recurring('m' || i, '@every_second', 'noop')) FROM generate_series(1, 300) i});
$session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe(q{BEGIN; SELECT count(*) FROM (SELECT 1 FROM bgjob_internal.recurring WHERE name LIKE 'm%' FOR UPDATE) s});
$node->safe_psql('postgres', 'SELECT pg_sleep(2)');
wait_until($node, q{SELECT max(finished_at) > now() - interval '2 s' FROM bgjob.jobs WHERE recurring_name = 'beat'}, 'a recurring job behind 300 locked ones');
$session->query_safe('ROLLBACK');
$session->quit;
as('app', q{SELECT count(bgjob_recurring_remove('m' || i)) FROM generate_series(1, 300) i});

# Due jobs locked by a transaction are skipped, however many, and retried.
as('app', q{SELECT count(*) FROM bgjob_enqueue_many('noop', array_fill('[]'::jsonb, ARRAY[20000]), run_at => clock_timestamp() + '4 s', queue => 'held')});
$session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe(q{BEGIN; SELECT count(*) FROM (SELECT 1 FROM bgjob_internal.schedule WHERE queue = 'held' FOR UPDATE) s});
wait_until($node, q{SELECT min(run_at) < clock_timestamp() FROM bgjob.jobs WHERE queue = 'held'}, '20,000 due jobs are held');
due_is_on_time('beside held jobs that are due');
$session->query_safe('ROLLBACK');
$session->quit;
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE queue = 'held'}, 'they are performed afterwards');

# The launcher does not wait for pg_database.
$session = $node->background_psql('postgres', on_error_stop => 1);
$node->safe_psql('postgres', 'CREATE DATABASE second');
$session->query_safe('BEGIN; LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE');
$node->reload;
$session->query_safe('SELECT pg_sleep(2)');
is($session->query_safe(q{SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE backend_type = 'bgjob launcher' AND NOT granted AND waitstart < clock_timestamp() - interval '1 s'}),
	0, 'pg_database locked: the launcher does not wait');
$session->query_safe('ROLLBACK');
$session->quit;
$node->safe_psql('second', 'CREATE EXTENSION bgjob');
$id = $node->safe_psql('second', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
is($node->safe_psql('second', "SELECT bgjob_wait($id, '20 s')"), 'succeeded', 'and goes on afterwards');
$node->stop;
done_testing();
