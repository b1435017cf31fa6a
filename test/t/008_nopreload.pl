# Without the library in shared_preload_libraries no job runs, everything else works, and a warning says so.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('nopreload', shared_preload_libraries => '', autovacuum => 'off');
my ($out, $err);

$node->safe_psql('postgres', 'CREATE TABLE done (n int);
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO done VALUES (n)$$');

# A session that calls several functions gets one warning.
my $status = $node->psql('postgres', q(
	SELECT bgjob_enqueue('work', '[1]');
	SELECT bgjob_enqueue('work', '[2]', delay => '1 hour');
	SELECT bgjob_enqueue('work', '[3]');
	SELECT bgjob_enqueue('work', '[4]');
	SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[5]', '[6]']::jsonb[]);),
	stdout => \$out, stderr => \$err);
is($status, 0, 'jobs can be enqueued');
is($out, "1\n2\n3\n4\n2", 'jobs have ids');
is(scalar(() = $err =~ /WARNING/g), 1, 'there is one warning per session') or diag($err);
like($err, qr/DETAIL: .*shared_preload_libraries.*HINT: .*restart/s, 'the warning has a detail and a hint');
$node->psql('postgres', q(SELECT bgjob_enqueue('work', '[7]')), stderr => \$err);
is(scalar(() = $err =~ /WARNING/g), 1, 'the next session gets a warning as well') or diag($err);

is($node->safe_psql('postgres', q(SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs)),
	'enqueued scheduled enqueued enqueued enqueued enqueued enqueued', 'bgjob.jobs shows the jobs');
is($node->safe_psql('postgres', q(SELECT string_agg(id::text, ' ') FROM bgjob_list(state => 'enqueued', before_id => 6))), '5 4 3 1', 'bgjob_list()');
is($node->safe_psql('postgres', q(SELECT count(*) FROM bgjob.job_states WHERE state IN ('enqueued', 'scheduled'))),
	7, 'bgjob.job_states');
is($node->safe_psql('postgres', 'SELECT queue, enqueued, scheduled, processing FROM bgjob.queues'), 'default|6|1|0', 'bgjob.queues');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.workers'), 0, 'bgjob.workers');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.servers'), 0, 'bgjob.servers');
is($node->safe_psql('postgres', 'SELECT workers, enqueued, scheduled, deleted FROM bgjob.stats'), '0|6|1|0', 'bgjob.stats');

is($node->safe_psql('postgres', 'SELECT count(*), bgjob_function_stats_reset() FROM bgjob.function_stats'), '0|0', 'bgjob.function_stats');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.stats_history'), 0, 'bgjob.stats_history');
is($node->safe_psql('postgres', 'SELECT bgjob_delete(3), bgjob_delete(4)'), 't|t', 'bgjob_delete');
is($node->safe_psql('postgres', 'SELECT bgjob_requeue(4)'), 't', 'bgjob_requeue');
is($node->safe_psql('postgres', q(SELECT bgjob_reschedule(5, delay => '1 hour'))), 't', 'bgjob_reschedule');
is($node->safe_psql('postgres', q(SELECT bgjob_purge('deleted'))), 1, 'bgjob_purge');
is($node->safe_psql('postgres', q(SELECT string_agg(id || state, ' ' ORDER BY id) FROM bgjob.jobs)),
	'1enqueued 2scheduled 4enqueued 5scheduled 6enqueued 7enqueued', 'the commands have changed the jobs');
is($node->safe_psql('postgres', 'SELECT enqueued, scheduled, deleted FROM bgjob.stats'), '4|2|1', 'bgjob.stats counts the jobs');
$node->psql('postgres', q(\set VERBOSITY verbose
	SELECT bgjob_wait(1, '1 s')), stderr => \$err);
like($err, qr/ERROR:  55000:/, 'bgjob_wait raises an error');
$node->psql('postgres', "\\set VERBOSITY verbose\nCALL bgjob_await('{a}', '1 s')", stderr => \$err);
like($err, qr/ERROR:  55000:/, 'so does bgjob_await');
is($node->safe_psql('postgres', q{SELECT bgjob_server_pause('external')}), 'f', 'no external worker is known');
is($node->safe_psql('postgres', q{BEGIN; SELECT count(bgjob_run(1)); SELECT state FROM bgjob.jobs WHERE id = 1; SELECT * FROM done; ROLLBACK}), "0\nsucceeded\n1", 'bgjob_run() performs a job');
is($node->safe_psql('postgres', q{SELECT count(bgjob_run(bgjob_enqueue('SELECT bgjob_log($1), bgjob_progress(10)', '["x"]', kind => 'sql'))); SELECT message FROM bgjob.job_logs; SELECT bgjob_purge('succeeded')}), "1\nx\n1", 'which may log');
is($node->safe_psql('postgres', 'SELECT count(*) FROM done'), 0, 'nothing has run');

# A session may set what it likes before the library is loaded. What cannot be is then ignored, with a warning.
$out = '';
$node->psql('postgres', q{SET bgjob.workers = 3; SET bgjob.queues = 'A'; SET bgjob.max_retries = 'many'; SET bgjob.time_zone = 'Nowhere/City'; SET bgjob.nothing = 1;
	SELECT count(*) FROM bgjob_enqueue_many('work', '{}'); SHOW bgjob.max_retries; SHOW bgjob.queues}, stdout => \$out, stderr => \$err);
is($out, "0\n10\n*", 'invalid settings from before the library was loaded are ignored');
is(scalar(() = $err =~ /^psql:.*WARNING:  (?:.*(?:bgjob\.\w+|a setting of bgjob))/mg), 5, 'with a warning each') or diag($err);

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'bgjob'");
$node->restart;
wait_until($node, q(SELECT array_agg(n ORDER BY n) = '{1,4,6,7}' FROM done), 'the library preloaded, the jobs run');
$err = '';
$node->psql('postgres', q(SELECT bgjob_enqueue('work', '[8]')), stderr => \$err);
is($err, '', 'there is no warning');
wait_until($node, q(SELECT array_agg(n ORDER BY n) = '{1,4,6,7,8}' FROM done), 'a new job runs');
is($node->safe_psql('postgres', 'SELECT succeeded, enqueued, scheduled, deleted FROM bgjob.stats'), '6|0|2|1', 'bgjob.stats agrees');
check_counters($node);
$node->stop;
done_testing();
