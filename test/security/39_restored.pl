# A restored database holds jobs back until bgjob_adopt(); the log and the views show them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils;

my $node = bgjob_cluster('restored', 'bgjob.workers' => 2, fsync => 'off', wal_level => 'logical', max_wal_senders => 5);
my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.custom";
my $reasons = q{SELECT string_agg(id || ' ' || state || ' ' || coalesce(reason, '-'), ', ' ORDER BY id) FROM bgjob.jobs WHERE state <> 'succeeded'};

# reported_since OFFSET is what the log says there of what databases hold back.
sub reported_since { my ($offset) = @_; return join(' ', substr(slurp_file($node->logfile), $offset) =~ /LOG:\s+(database .* holds back .* of bgjob)/g) }
sub tells { my ($offset, $what, $line) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; $node->wait_for_log(qr/\Q$line\E/, $offset); pass($what); return }
sub size { return -s $node->logfile }

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE DATABASE source');
$node->safe_psql('source', q{CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO app;
	CREATE FUNCTION work(n int) RETURNS int LANGUAGE sql AS 'SELECT n'});
my $done = $node->safe_psql('source', q{SELECT bgjob_enqueue('work', '[1]')});
is($node->safe_psql('source', "SELECT bgjob_wait($done, '30 s')"), 'succeeded', 'a job of the source');
is(reported_since(0), '', 'a new database holds nothing back');
set_and_reload($node, 'bgjob.databases' => 'restored, subscriber');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'source'}, 'the scheduler of the new database rests');
$node->safe_psql('source', q{
	SELECT bgjob_enqueue('work', '[2]'), bgjob_enqueue('work', '[3]', queue => 'mail', priority => 3), bgjob_enqueue('work', '[4]', delay => '1 hour'),
		bgjob_enqueue('VACUUM', kind => 'sql');
	UPDATE bgjob_internal.job SET state = 'p', started_at = now(), worker_pid = 1 WHERE job = 'VACUUM'; -- as a dump would find one that is being performed
	SELECT bgjob_recurring('beat', '@every_second', 'work', '[5]'); SELECT bgjob_recurring('noon', '@daily', 'work', '[6]')});

#
# A dump: a line when the jobs come, and one when the database is served again.
#
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('source') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
my $since = size();
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');
tells($since, 'the log says how many are held back', 'database "restored" holds back 4 jobs and 2 recurring jobs of bgjob');
like(substr(slurp_file($node->logfile), $since), qr/DETAIL:.*do not run here.*HINT:.*bgjob_adopt\(\)/s, 'the message has a detail and a hint');
my $held = 'Not adopted: run bgjob_adopt()';
my $ids = $done + 1;
is($node->safe_psql('restored', $reasons), join(', ', "$ids enqueued $held", ($ids + 1) . " enqueued $held", ($ids + 2) . " scheduled $held", ($ids + 3) . " processing $held"),
	'bgjob.jobs says so of all that would be performed');
is($node->safe_psql('restored', 'SELECT DISTINCT error FROM bgjob.recurring_jobs'), $held, 'bgjob.recurring_jobs likewise');
is($node->safe_psql('restored', "SET ROLE app; $reasons"), '', 'other roles do not see them');
$since = size();
$node->restart;
tells($since, 'so it does at the next start', 'database "restored" holds back 4 jobs and 2 recurring jobs of bgjob');

# The database's own jobs are not counted as held back, while they wait, run and end.
my $own = $node->safe_psql('restored', q{SELECT bgjob_enqueue('work', '[7]')});
is($node->safe_psql('restored', "SELECT bgjob_wait($own, '30 s')"), 'succeeded', 'a new job is performed');
$own = $node->safe_psql('restored', q{SELECT bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql') FROM generate_series(1, 4)});
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.workers WHERE state = 'busy'}, 'some run, some wait', 30, 'restored');
is($node->safe_psql('restored', q{SELECT count(*), count(*) FILTER (WHERE reason LIKE 'Not adopted%') FROM bgjob.jobs WHERE job LIKE '%sleep%'}), '4|0', 'no running job is shown as held back');
$node->safe_psql('restored', q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job LIKE '%sleep%'});

is($node->safe_psql('restored', 'SELECT bgjob_adopt()'), 4, 'bgjob_adopt() releases them');
wait_until($node, qq{SELECT count(*) = 0 FROM bgjob.jobs WHERE reason LIKE 'Not adopted%'}, 'nothing is held back any more', 30, 'restored');
wait_until($node, "SELECT count(*) = 3 FROM bgjob.jobs WHERE id IN ($ids, $ids + 1, $ids + 3) AND state = 'succeeded'", 'they are performed', 30, 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM bgjob.recurring_jobs WHERE error IS NOT NULL'), 0, 'recurring jobs go on');
is($node->safe_psql('restored', 'SELECT count(*) FROM bgjob_internal.installation'), 1, 'nothing is left of the note');
$since = size();
$node->restart;
wait_until($node, q{SELECT count(*) > 0 FROM bgjob.jobs WHERE recurring_name = 'beat' AND created_at > pg_postmaster_start_time()}, 'the database is served again', 60, 'restored');
is(reported_since($since), '', 'no message about held-back jobs after that');

#
# A publisher's jobs are held back, too.
#
$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
$node->safe_psql('subscriber', 'CREATE EXTENSION bgjob; CREATE FUNCTION work(n int) RETURNS int LANGUAGE sql AS $$SELECT n$$');
$node->safe_psql('source', q{CREATE PUBLICATION everything FOR ALL TABLES; SELECT pg_create_logical_replication_slot('sub', 'pgoutput')});
$since = size();
$node->safe_psql('subscriber', sprintf q{CREATE SUBSCRIPTION sub CONNECTION '%s' PUBLICATION everything WITH (create_slot = false, slot_name = sub)}, $node->connstr('source') =~ s/'/''/gr);
tells($since, 'a subscriber says what it holds back', 'database "subscriber" holds back 4 jobs and 2 recurring jobs of bgjob');
$node->safe_psql('subscriber', 'DROP SUBSCRIPTION sub');

check_counters($node, 'restored');
$node->stop;
done_testing();
