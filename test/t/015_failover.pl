# check.sh: crashes expected
# The primary is lost while jobs run: the synchronous standby has every job whose enqueueing was acknowledged,
# and each job runs exactly once, counted over both servers.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = bgjob_cluster('primary', allows_streaming => 1, 'bgjob.workers' => 4);
$primary->safe_psql('postgres', q{
	CREATE TABLE effect (job bigint, step int);
	CREATE FUNCTION work() RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id(), 1);
		PERFORM pg_sleep(0.005);
		INSERT INTO effect VALUES (bgjob_current_id(), 2);
		RETURN bgjob_current_id();
	END $$;
});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
set_and_reload($primary, synchronous_standby_names => '*');
wait_until($primary, q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'), 'a synchronous standby');

my $acknowledged = 0;
for (1 .. 10)
{
	$acknowledged += $primary->safe_psql('postgres', q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[200]))});
}
my $long = $primary->safe_psql('postgres', q{SELECT bgjob_enqueue('pg_sleep', '[3]')});
wait_until($primary, q{SELECT count(*) FILTER (WHERE state = 'succeeded') >= 100 FROM bgjob.jobs}, 'jobs run');
cmp_ok($primary->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state = 'processing'}), '>', 0, 'some jobs are running');
my $seen = $primary->safe_psql('postgres', q{SELECT array_agg(id) FROM bgjob.jobs WHERE state = 'succeeded'});

my $pid = $primary->{_pid};
$primary->kill9;
until_gone($pid);
$standby->promote;
$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$standby->reload;

is($standby->safe_psql('postgres', 'SELECT count(*) FROM bgjob.jobs'), $acknowledged + 1, 'the standby has every acknowledged job');
is($standby->safe_psql('postgres', "SELECT count(*) FROM bgjob.jobs WHERE id = ANY ('$seen') AND state <> 'succeeded'"), 0,
	'jobs seen as succeeded have succeeded');
cmp_ok($standby->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}), '>', 0, 'other jobs still wait');
wait_until($standby, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs}, 'the promoted server performs it', 120);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs j WHERE job = 'work'
	AND (SELECT array_agg(step ORDER BY step) FROM effect WHERE job = j.id) IS DISTINCT FROM ARRAY[1, 2]}), 0, 'every effect is there exactly once');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM effect WHERE job NOT IN (SELECT id FROM bgjob.jobs)}), 0, 'there is no effect without its job');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE job = 'work' AND result <> to_jsonb(id)}), 0, 'the results are kept');
is($standby->safe_psql('postgres', 'SELECT sum(retries) FROM bgjob.jobs'), 0, 'no retry was used');
is($standby->safe_psql('postgres', "SELECT bgjob_wait($long, '60 s')"), 'succeeded', 'the job that was running has succeeded');
my $new = $standby->safe_psql('postgres', q{SELECT bgjob_enqueue('work')});
cmp_ok($new, '>', $acknowledged + 1, 'a new job gets a new id');
is($standby->safe_psql('postgres', "SELECT bgjob_wait($new, '60 s')"), 'succeeded', 'the new job runs');
wait_until($standby, q{SELECT succeeded = (SELECT count(*) FROM bgjob.jobs) AND enqueued + processing + scheduled = 0 FROM bgjob.stats},
	'the statistics agree');
check_counters($standby);
$standby->stop;

# Only its successor removes the shared memory of a server that was killed.
start_again($primary);
$primary->stop('immediate');
done_testing();
