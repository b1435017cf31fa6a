# Dumps taken while jobs run are consistent: a job has succeeded in a dump if and only if its effects are there.
# pg_upgrade keeps the jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('load', 'bgjob.workers' => 4);
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
my $jobs = 20000;

$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', q{CREATE EXTENSION bgjob; CREATE TABLE effect (job bigint);
	CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$INSERT INTO public.effect VALUES (public.bgjob_current_id())$$});
$node->safe_psql('source', qq{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[$jobs]))});
# Jobs run during all of the dumps, however fast the machine is.
$node->safe_psql('source', q{SELECT count(*) FROM bgjob_enqueue_many('pg_sleep', array_fill('[0.05]'::jsonb, ARRAY[400]), priority => -1)});

# A custom dump, a parallel one and a plain one.
command_ok([ 'pg_dump', '-Fd', '-j', 4, '-f', "$tmp/parallel", '-d', $node->connstr('source') ], 'a parallel pg_dump under load');
command_ok([ 'pg_dump', '-Fp', '-f', "$tmp/plain.sql", '-d', $node->connstr('source') ], 'a plain pg_dump under load');
cmp_ok($node->safe_psql('source', q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}), '>', 0, 'jobs were running meanwhile');
command_ok([ 'pg_dump', '-Fc', '--schema-only', '-f', "$tmp/schema.custom", '-d', $node->connstr('source') ], 'a dump of the schema alone');

$node->safe_psql('postgres', "CREATE DATABASE r$_") for 1 .. 3;
command_ok([ 'pg_restore', '-j', 4, '--exit-on-error', '-d', $node->connstr('r1'), "$tmp/parallel" ], 'a parallel pg_restore');
command_ok([ 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('r2'), '-f', "$tmp/plain.sql" ], 'psql in one transaction');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('r3'), "$tmp/schema.custom" ], 'pg_restore of the schema alone');

for my $db ('r1', 'r2')
{
	wait_until($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = '$db'", "$db has a scheduler");
	is($node->safe_psql($db, q{SELECT count(*) FROM bgjob.jobs j WHERE job = 'work'
		AND (SELECT count(*) FROM effect WHERE job = j.id) <> (state = 'succeeded')::int}), 0, 'effects and success agree in it');
	is($node->safe_psql($db, q{SELECT count(*) FROM bgjob.jobs}), $jobs + 400, 'the dump has all jobs');
	my $done = $node->safe_psql($db, 'SELECT count(*) FROM effect');
	my $new = $node->safe_psql($db, q{SELECT bgjob_enqueue('work')});
	is($node->safe_psql($db, "SELECT bgjob_wait($new, '60 s')"), 'succeeded', 'a new job runs');
	is($node->safe_psql($db, 'SELECT count(*) FROM effect'), $done + 1, 'no restored job runs');
	$node->safe_psql($db, 'SELECT bgjob_adopt()');
	wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE job = 'work'}, 'adopted, they do', 120, $db);
	is($node->safe_psql($db, 'SELECT count(*), count(DISTINCT job) FROM effect'), sprintf('%d|%d', $jobs + 1, $jobs + 1), 'each job has run once');
}
my $id = $node->safe_psql('r3', q{SELECT bgjob_enqueue('work')});
is($node->safe_psql('r3', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'the schema alone has no jobs and performs new ones');
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs}, 'the dumped database has done its work', 120, 'source');
is($node->safe_psql('source', 'SELECT count(*), count(DISTINCT job) FROM effect'), "$jobs|$jobs", 'each job has run once');

# pg_upgrade, to a cluster of the same version.
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'), 'no scheduler is left');
my $waiting = $node->safe_psql('source', q{SELECT bgjob_enqueue('work')});
my $delayed = $node->safe_psql('source', q{SELECT bgjob_enqueue('work', delay => '1 s')});
my $summary = 'SELECT id, state, job, args, queue, run_as, retries FROM bgjob.jobs ORDER BY id';
my $before  = $node->safe_psql('source', $summary);
$node->stop;
my $new = PostgreSQL::Test::Cluster->new('upgraded');
$new->init;
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'bgjob'
max_worker_processes = 32
autovacuum = off
max_prepared_transactions = 5");
my $bin = $node->config_data('--bindir');
chdir $tmp or die;
command_ok([ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
		'-s', $new->host, '-p', $node->port, '-P', $new->port ], 'pg_upgrade');
$new->append_conf('postgresql.conf', 'bgjob.enabled = off');
$new->start;
is($new->safe_psql('source', $summary), $before, 'the jobs are unchanged: none has run meanwhile');
set_and_reload($new, 'bgjob.enabled' => 'on');
$id = $new->safe_psql('source', q{SELECT bgjob_enqueue('work')});
cmp_ok($id, '>', $delayed, 'a new job gets a new id');
is($new->safe_psql('source', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'the new job runs');
note('without bgjob_adopt() the waiting one is ' . $new->safe_psql('source', "SELECT state FROM bgjob.jobs WHERE id = $waiting"));
$new->safe_psql('source', 'SELECT bgjob_adopt()');
wait_until($new, 'SELECT bool_and(state = \'succeeded\') FROM bgjob.jobs', 'the waiting ones run, adopted if need be', 60, 'source');
is($new->safe_psql('source', 'SELECT count(*), count(DISTINCT job) FROM effect'), sprintf('%d|%d', $jobs + 3, $jobs + 3), 'each job has run once');
check_counters($new, 'source');
$new->stop;
done_testing();
