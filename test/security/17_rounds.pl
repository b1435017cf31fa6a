# A round of the scheduler is bounded: whatever one role enqueues, the due jobs, recurring jobs, worker starts and
# lost workers of other roles are handled in time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('rounds', 'bgjob.workers' => 4, 'bgjob.worker_idle_timeout' => '1s', fsync => 'off');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, other;
	CREATE FUNCTION noop() RETURNS void LANGUAGE sql AS $$SELECT$$;
	CREATE TABLE seen (n bigint);
	CREATE FUNCTION see() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$INSERT INTO public.seen SELECT count(*) FROM bgjob_internal.schedule$$');

sub as
{
	my ($role, $sql) = @_;

	return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1];
}

# late_by ID, WHAT, SECONDS tests how late a due job started.
sub is_on_time
{
	my ($id, $due, $what, $seconds) = @_;

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', "$what is performed");
	cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM started_at - ($due)) FROM bgjob.jobs WHERE id = $id"), '<', $seconds, 'in time');
}

# Many jobs due at once, without a worker.
my $due = $node->safe_psql('postgres', q{SELECT clock_timestamp() + '6 s'});
as('app', qq{SELECT count(*) FROM bgjob_enqueue_many('noop', array_fill('[]'::jsonb, ARRAY[150000]), run_at => '$due')});
my $sleeper = as('other', q{SELECT bgjob_enqueue('SELECT pg_sleep(1000)', kind => 'sql')});
my $worker = pid_of($node, "SELECT pid FROM bgjob.workers WHERE job_id = $sleeper");
my $later = as('other', qq{SELECT bgjob_enqueue('see', run_at => '$due'::timestamptz + '500 ms')});
wait_until($node, q{SELECT count(*) > 0 FROM bgjob.jobs WHERE state = 'succeeded'}, 'the first are performed');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
my $killed = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM min(started_at) - '$due') FROM bgjob.jobs WHERE started_at IS NOT NULL AND run_as = 'app'::regrole"),
	'<', 1.5, 'within a second');
wait_until($node, "SELECT interruptions > 0 FROM bgjob.jobs WHERE id = $sleeper", 'a worker that is lost meanwhile is noticed', 3);
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob_internal.schedule}), '>', 0, 'before all are there');
is_on_time($later, "'$due'::timestamptz + '500 ms'", q{another role's due job}, 2);
cmp_ok($node->safe_psql('postgres', 'SELECT n FROM seen'), '>', 10000, 'while most of what was due before it is still to be moved');
$node->safe_psql('postgres', "SELECT bgjob_delete($sleeper)");
wait_until($node, 'SELECT count(*) = 0 FROM bgjob_internal.schedule', 'all have become ready', 120);

# Very many missed occurrences: 2,000 recurring jobs, a thousand seconds each.
as('app', q{SELECT count(bgjob_recurring('m' || i, '@every_second', 'noop', misfire => 'all', queue => 'missed')) FROM generate_series(1, 2000) i});
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'stopped');
$node->safe_psql('postgres', q{SELECT bgjob_queue_pause('missed'); UPDATE bgjob_internal.recurring SET next_at = next_at - interval '1000 s'});
as('other', q{SELECT bgjob_recurring('beat', '@every_second', 'noop')});
my $id = as('other', q{SELECT bgjob_enqueue('noop', delay => '2 s')});
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, q{SELECT count(*) > 0 FROM bgjob.jobs WHERE queue = 'missed'}, 'missed occurrences are made up for');
my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
is_on_time($id, "greatest(created_at + '2 s', '$began')", q{another role's due job}, 3);
wait_until($node, qq{SELECT count(*) > 2 FROM bgjob.jobs WHERE recurring_name = 'beat' AND started_at > '$began'}, q{another role's recurring job}, 8);
$id = as('other', q{SELECT bgjob_enqueue('noop')});
is_on_time($id, 'created_at', 'a job for which a worker must be started', 3);
as('app', q{SELECT count(bgjob_recurring_remove('m' || i)) FROM generate_series(1, 2000) i});

# Occurrences without a scheduler count as missed.
as('other', q{SELECT bgjob_recurring('skipped', '@every_second', 'noop', misfire => 'skip')});
wait_until($node, q{SELECT count(*) > 0 FROM bgjob.jobs WHERE recurring_name = 'skipped'}, 'a job every second');
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'stopped');
my $off = $node->safe_psql('postgres', 'SELECT clock_timestamp() FROM pg_sleep(2.5)');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, qq{SELECT count(*) > 0 FROM bgjob.jobs WHERE recurring_name = 'skipped' AND created_at > '$off'}, 'and again');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM bgjob.jobs WHERE recurring_name = 'skipped'
	AND (parameters ->> 'scheduled_for')::timestamptz BETWEEN '$off'::timestamptz - interval '2 s' AND '$off'::timestamptz - interval '100 ms'}), 0, 'not for the time between');

# The jobs of a role that is dropped.
$node->safe_psql('postgres', q{CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA bgjob TO gone; SELECT bgjob_queue('held', paused => true)});
as('gone', q{SELECT count(*) FROM bgjob_enqueue_many('noop', array_fill('[]'::jsonb, ARRAY[5000]), queue => 'held')});
$node->safe_psql('postgres', q{REVOKE ALL ON SCHEMA bgjob FROM gone; DROP ROLE gone; SELECT bgjob_queue_resume('held')});
wait_until($node, q{SELECT count(*) = 5000 FROM bgjob.jobs WHERE queue = 'held' AND state = 'failed'}, 'the jobs of a dropped role fail');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/FATAL/, 'without a fatal error in the log');
$node->stop('immediate');
done_testing();
