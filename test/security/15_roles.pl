# Roles within a database: whatever one role enqueues, the job of another role starts soon. Lowering
# bgjob.workers takes effect while there is work.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('roles', 'bgjob.workers' => 2, fsync => 'off');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE third LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other, third;
	CREATE FUNCTION noop() RETURNS void LANGUAGE sql AS $$SELECT$$');

# as ROLE, SQL returns the answer of a query.
sub as
{
	my ($role, $sql) = @_;

	return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1];
}

# is_served ROLE, WHAT tests that a job of the role starts within two seconds.
sub is_served
{
	my ($role, $what) = @_;
	my $id = as($role, q{SELECT bgjob_enqueue('noop')});

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '30 s')"), 'succeeded', $what);
	cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM started_at - created_at) FROM bgjob.jobs WHERE id = $id"),
		'<', 2, 'within two seconds');
}

sub clear
{
	$node->safe_psql('postgres', q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}, 'cleared');
}

sub sleep_with
{
	my ($role, $n, $running, $what) = @_;

	as($role, "SELECT count(bgjob_enqueue('SELECT pg_sleep(100000)', kind => 'sql')) FROM generate_series(1, $n)");
	wait_until($node, "SELECT count(*) >= $running FROM bgjob.workers WHERE role = '$role'::regrole AND state = 'busy'", $what);
}

# One long job among many short ones: the worker that ends its job first exits.
sleep_with('app', 1, 1, 'a role sleeps');
as('app', q{SELECT count(*) FROM bgjob_enqueue_many('noop', array_fill('[]'::jsonb, ARRAY[100000]))});
is_served('other', 'a job beside a long one and 100,000 short ones');
clear();

# As many sleepers as there are workers, and more.
sleep_with('app', 2, 2, 'a role sleeps with all workers');
is_served('other', 'a role beside as many sleepers as workers');
clear();
set_and_reload($node, 'bgjob.workers' => 4);
sleep_with('app', 50, 4, 'fifty sleepers');
is_served('other', 'a role beside fifty sleepers');
sleep_with('other', 50, 1, 'fifty more of another role');
is_served('third', 'a third role');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.workers'), '<=', 4 + 2, 'each role without a worker gets one more');
clear();

# Fewer workers, under load.
set_and_reload($node, 'bgjob.workers' => 4);
as('app', q{SELECT count(*) FROM bgjob_enqueue_many('pg_sleep', array_fill('[0.05]'::jsonb, ARRAY[5000]))});
wait_until($node, q{SELECT count(*) = 4 FROM bgjob.workers WHERE state = 'busy'}, 'four workers are at work');
my $begin = time;
set_and_reload($node, 'bgjob.workers' => 1);
wait_until($node, 'SELECT count(*) = 1 FROM bgjob.workers', 'one of four workers is left');
cmp_ok(time - $begin, '<', 5, 'within five seconds');
set_and_reload($node, 'bgjob.workers' => 0);
wait_until($node, 'SELECT count(*) = 0 FROM bgjob.workers', 'no worker is left when bgjob.workers is 0');
set_and_reload($node, 'bgjob.workers' => 1);
clear();

# The default number of slots: a single role does not get the last ones.
set_and_reload($node, 'bgjob.workers' => 10);
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
sleep_with('app', 50, 1, 'sleepers where slots are scarce');
is_served('other', 'a role beside them');
is_served('third', 'a third role is served');
clear();

# Short jobs may use the reserve; it is freed when long jobs follow and another role needs a worker.
as('app', q{SELECT count(*) FROM bgjob_enqueue_many('pg_sleep', array_fill('[0.01]'::jsonb, ARRAY[3000]))});
wait_until($node, q{SELECT count(*) = 5 FROM bgjob.workers WHERE role = 'app'::regrole}, 'short jobs use all slots');
as('app', q{SELECT count(bgjob_enqueue('SELECT pg_sleep(100000)', kind => 'sql', priority => 1)) FROM generate_series(1, 50)});
is_served('other', 'a role beside them, when they have become long');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state NOT IN ('enqueued', 'processing', 'succeeded', 'deleted')}),
	0, 'the interrupted jobs wait again');
clear();
$node->stop;
done_testing();
