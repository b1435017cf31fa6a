# A dump contains the jobs; after a restore they wait for bgjob_adopt().
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('dump', wal_level => 'logical', max_wal_senders => 5, 'bgjob.shutdown_timeout' => '1s');
my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.custom";

# The dumped columns of the jobs.
my $columns = 'id, kind, job, args, queue, priority, state, created_at, run_at, finished_at, retries, max_retries, run_as, error, result, settings';
my $jobs    = "SELECT $columns FROM bgjob.jobs ORDER BY id";
my $history = 'SELECT job_id, seq, state, reason, at, data FROM bgjob.job_states ORDER BY job_id, seq';

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE source');
$node->safe_psql('source', 'CREATE EXTENSION bgjob; CREATE TABLE done (n int, who name, zone text); GRANT ALL ON done TO app;
	GRANT USAGE ON SCHEMA bgjob TO app;
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql
		AS $$INSERT INTO public.done VALUES (n, session_user, current_setting($q$TimeZone$q$))$$;
	CREATE FUNCTION broken() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION $q$broken$q$; END$$');
$node->safe_psql('source', q(SELECT bgjob_enqueue('work', '[1]'); SELECT bgjob_enqueue('broken', max_retries => 0)));
wait_until($node, q(SELECT count(*) = 2 FROM bgjob.jobs WHERE state IN ('succeeded', 'failed')), 'two jobs finish', 60, 'source');
set_and_reload($node, 'bgjob.databases' => 'restored, subscriber');
wait_until($node, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'source'),
	'their database is at rest');
$node->safe_psql('source', q(
	SELECT bgjob_enqueue('work', '[2]', priority => 5);
	SELECT bgjob_enqueue('work', '[3]', delay => '1 hour');
	SET SESSION AUTHORIZATION app; SET TimeZone = 'Asia/Tokyo';
	SELECT bgjob_enqueue('work', '[4]', queue => 'mail');
	SELECT bgjob_enqueue('work', '[5]', delay => '1 s')));
my %before = map { $_ => $node->safe_psql('source', $_) } $jobs, $history;

command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('source') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');
wait_until($node, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'restored'),
	'the new database has a scheduler');
is($node->safe_psql('restored', $jobs), $before{$jobs}, 'bgjob.jobs shows the same jobs');
is($node->safe_psql('restored', $history), $before{$history}, 'bgjob.job_states shows the same history');
wait_until($node, q(SELECT (enqueued, scheduled, succeeded, failed) = (2::bigint, 2::bigint, 1::bigint, 1::bigint) FROM bgjob.stats),
	'bgjob.stats counts them', 20, 'restored');

# A new job runs; the restored jobs do not, although one is due.
my $new = $node->safe_psql('restored', q(SELECT bgjob_enqueue('work', '[6]')));
is($new, 7, 'a new job gets a new id');
is($node->safe_psql('restored', "SELECT bgjob_wait($new, '30 s')"), 'succeeded', 'the new job runs');
wait_until($node, q(SELECT max(run_at) FILTER (WHERE args = '[5]') < now() FROM bgjob.jobs), 'a scheduled one is due', 60, 'restored');
is($node->safe_psql('restored', 'SELECT array_agg(n ORDER BY n) FROM done'), '{1,6}', 'the restored jobs do not run');

is($node->safe_psql('restored', q{SELECT DISTINCT reason FROM bgjob.jobs WHERE state = 'scheduled'}), 'Not adopted: run bgjob_adopt()', 'bgjob.jobs shows the reason for scheduled jobs');
is($node->safe_psql('restored', 'SELECT bgjob_adopt()'), 4, 'bgjob_adopt() returns the number of waiting jobs');
wait_until($node, q(SELECT array_agg(n ORDER BY n) = '{1,2,4,5,6}' FROM done), 'which run', 60, 'restored');
is($node->safe_psql('restored', 'SELECT n, who, zone FROM done WHERE n IN (4, 5) ORDER BY n'),
	"4|app|Asia/Tokyo\n5|app|Asia/Tokyo", 'the restored jobs run as their role, with their settings');
wait_until($node, q(SELECT (enqueued, scheduled, succeeded, failed) = (0::bigint, 1::bigint, 5::bigint, 1::bigint) FROM bgjob.stats), 'bgjob.stats agrees', 60, 'restored');
is($node->safe_psql('restored', 'SELECT bgjob_requeue(2)'), 't', 'the failed one can be requeued');
is($node->safe_psql('restored', "SELECT bgjob_wait(2, '30 s')"), 'failed', 'the failed job fails again');
is($node->safe_psql('restored', 'SELECT bgjob_adopt()'), 0, 'a second bgjob_adopt() finds nothing');

# A subscriber of all tables has the rows, but runs none of the publisher's jobs.
$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
$node->safe_psql('subscriber', 'CREATE EXTENSION bgjob; CREATE TABLE done (n int, who name, zone text);
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO public.done VALUES (-n, session_user, NULL)$$');
$node->safe_psql('source', q(CREATE PUBLICATION everything FOR ALL TABLES; SELECT pg_create_logical_replication_slot('sub', 'pgoutput')));
$node->safe_psql('subscriber', sprintf q(CREATE SUBSCRIPTION sub CONNECTION '%s' PUBLICATION everything
	WITH (create_slot = false, copy_data = false)), $node->connstr('source') =~ s/'/''/gr);
my $published = $node->safe_psql('source', q(SELECT bgjob_enqueue('work', '[7]')));
$node->safe_psql('source', 'INSERT INTO done VALUES (100)');
wait_until($node, 'SELECT count(*) = 1 FROM done WHERE n = 100', 'rows arrive at a subscriber', 60, 'subscriber');
is($node->safe_psql('subscriber', "SELECT state FROM bgjob.jobs WHERE id = $published"), 'enqueued', 'the subscriber has a published job');
set_and_reload($node, 'bgjob.databases' => '*');
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $published", 'it runs at the publisher', 60, 'source');
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $published", 'the subscriber hears of it', 60, 'subscriber');
is($node->safe_psql('subscriber', 'SELECT count(*) FROM done WHERE n < 0'), 0, 'the subscriber has run no job');
$node->safe_psql('subscriber', 'DROP SUBSCRIPTION sub');

check_counters($node, 'source');
check_counters($node, 'restored');
$node->stop;
done_testing();
