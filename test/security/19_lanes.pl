# Jobs in very many (queue, priority) lanes delay only their own role.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('lanes', 'bgjob.workers' => 4, fsync => 'off');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, other;
	CREATE FUNCTION noop() RETURNS void LANGUAGE sql AS $$SELECT$$;
	CREATE SCHEMA app AUTHORIZATION app');

sub as
{
	my ($role, $sql) = @_;

	return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1];
}

sub is_on_time
{
	my ($options, $due, $what) = @_;
	my $id = as('other', "SELECT bgjob_enqueue('noop'$options)");

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', "$what is performed");
	cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM started_at - created_at) - $due FROM bgjob.jobs WHERE id = $id"), '<', 1.5, 'in time');
}

as('other', q{SELECT bgjob_recurring('beat', '@every_second', 'noop')});
my $begin = time;
as('app', q{SELECT count(bgjob_enqueue('SELECT pg_sleep(5)', kind => 'sql', queue => 'q' || i / 10000, priority => i % 10000)) FROM generate_series(1, 60000) i});
cmp_ok(time - $begin, '<', 30, '60,000 lanes in one statement');
as('app', q{DO $$ BEGIN FOR n IN 0 .. 59 LOOP
	PERFORM bgjob_enqueue('SELECT pg_sleep(5)', kind => 'sql', queue => 'r' || n, priority => i) FROM generate_series(1, 500) i; COMMIT; END LOOP; END $$});

for my $try (1 .. 3)
{
	is_on_time(q{, delay => '1 s'}, 1, "a due job ($try)");
	is_on_time('', 0, "a job ($try)");
	# A rollback has everything looked at anew.
	as('app', q{BEGIN; SELECT bgjob_delete(min(id)) FROM bgjob.jobs WHERE state = 'enqueued' AND queue = 'r1'; ROLLBACK; SELECT 1});
}
wait_until($node, q{SELECT max(finished_at) > now() - interval '2 s' FROM bgjob.jobs WHERE recurring_name = 'beat'}, 'a recurring job is on time', 10);
my $worker = pid_of($node, q{SELECT pid FROM bgjob.workers WHERE role = 'app'::regrole AND state = 'busy' LIMIT 1});
my $id = $node->safe_psql('postgres', "SELECT job_id FROM bgjob.workers WHERE pid = $worker");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
wait_until($node, "SELECT interruptions > 0 OR state <> 'enqueued' FROM bgjob.jobs WHERE id = $id", 'a lost worker is noticed', 3);
$node->stop('immediate');
done_testing();
