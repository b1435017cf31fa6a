# Unreferenced rows of bgjob_internal.settings are removed; never a row that a job uses, or is about to use. So is the configuration of
# functions that no longer exist.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use Time::HiRes qw(time usleep);

# The removal runs every second.
my $node = bgjob_cluster('settings_rows', 'bgjob.workers' => 4, 'bgjob.retention' => '1s', fsync => 'off');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app; GRANT CREATE ON SCHEMA public TO app;
	SET SESSION AUTHORIZATION app;
	CREATE FUNCTION has_path(path text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF current_setting('search_path') <> 'public, ' || path THEN RAISE EXCEPTION 'search_path is %, not %', current_setting('search_path'), path; END IF;
	END$$;
	-- Enqueues with settings of that name.
	CREATE FUNCTION put(path text, later interval = NULL) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('search_path', 'public, ' || path, true);
		RETURN bgjob_enqueue('has_path', jsonb_build_array(path), delay => later, max_retries => 0);
	END$$;
	CREATE PROCEDURE put_many(name text, n int) LANGUAGE plpgsql AS $$
	BEGIN FOR i IN 1..n LOOP PERFORM put(name || i); END LOOP; END$$});
my $rows = 'SELECT count(*) FROM bgjob_internal.settings';

sub app { my ($sql) = @_; return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; $sql"))[-1] }
sub session { my $session = $node->background_psql('postgres', on_error_stop => 1); $session->query_safe('SET SESSION AUTHORIZATION app'); return $session }
sub path_of { my ($id) = @_; return $node->safe_psql('postgres', "SELECT settings ->> 'search_path' FROM bgjob.jobs WHERE id = $id") }

# ends_well ID, WHAT tests that a job runs with its captured settings.
sub ends_well
{
	my ($id, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', $what)
	  or diag($node->safe_psql('postgres', "SELECT reason FROM bgjob.jobs WHERE id = $id"));
}

# ---- referenced rows, while thousands of others are removed ----

my $ahead = app(q{SELECT put('ahead', '1 hour')});
my $failed = app(q{SELECT put('ahead', '1 hour')});
app(q{SET search_path = public, recurring; SELECT bgjob_configure('has_path', retry_delays => ARRAY['1 s']::interval[]);
	SELECT bgjob_recurring('r', '0 0 1 1 *', 'has_path', '["recurring"]', max_retries => 0);
	SELECT bgjob_unconfigure('has_path')});
my $idle = session();
$idle->query_safe(q{SELECT put('idle')});
$node->safe_psql('postgres', q{BEGIN; SET SESSION AUTHORIZATION app; SELECT put('prepared', '1 hour'); PREPARE TRANSACTION 'p'});
app(q{CALL put_many('many', 3000)});
cmp_ok($node->safe_psql('postgres', $rows), '>=', 3000, 'a role makes thousands of rows');
my $endless = app(q{SELECT bgjob_enqueue('SELECT pg_sleep(1000)', kind => 'sql')});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state = 'succeeded'}, 'the jobs of that role end and expire');
cmp_ok($node->safe_psql('postgres', $rows), '>=', 3000, 'nothing is removed while a prepared transaction may refer to it');
$node->stop('immediate');
$node->start;
is(path_of($ahead), 'public, ahead', 'after a crash all is there');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
wait_until($node, "SELECT ($rows) < 20", 'the rows are removed when no job has them any more', 60);

is(path_of($ahead), 'public, ahead', 'the row of a job that waits is not');
my $prepared = $node->safe_psql('postgres', q{SELECT max(id) FROM bgjob.jobs WHERE state = 'scheduled'});
is(path_of($prepared), 'public, prepared', 'the row of a prepared job stays');
$node->safe_psql('postgres', "SELECT bgjob_requeue($ahead), bgjob_requeue($prepared)");
ends_well($ahead, 'the one that waited finds it');
ends_well($prepared, 'the prepared job runs with its settings');
my $triggered = app(q{SELECT bgjob_recurring_trigger('r')});
ends_well($triggered, 'a recurring job has its own');
is($node->safe_psql('postgres', "SELECT policy_id IS NOT NULL AND EXISTS (SELECT FROM bgjob_internal.settings s WHERE s.id = j.policy_id) FROM bgjob_internal.job j WHERE j.id = $triggered"), 't', 'the recurring job has its policy');
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $endless"), 'processing', 'a job that never ends has not kept anything from being removed');

# ---- sessions that cache a row ----

$idle = session();
$idle->query_safe(q{SELECT put('idle')});
app(q{CALL put_many('garbage', 100)});
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob_internal.settings WHERE settings ->> 'search_path' = 'public, idle') AND (} . "$rows) < 20",
	'the row that a session remembers is removed');
my $again = $idle->query_safe(q{SELECT put('idle', '1 hour')});
is($node->safe_psql('postgres', "SELECT count(*) FROM bgjob_internal.settings s JOIN bgjob_internal.job j ON s.id IN (j.call_id, j.settings_id) WHERE j.id = $again"), '2', 'the session stores it again');
$node->safe_psql('postgres', "SELECT bgjob_requeue($again)");
ends_well($again, 'the requeued job runs with its settings');
$idle->quit;

# A transaction that was given a row's number, and refers to it after others are no longer given it. It rolls a savepoint back, which
# gives up the lock that it took there.
my $holder = session();
$holder->query_safe(q{BEGIN; SAVEPOINT s; SELECT put('undone'); ROLLBACK TO s; SELECT put('held', '1 hour')});
app(q{CALL put_many('garbage', 100)});
app(q{SELECT put('seen')});
my $first = $node->safe_psql('postgres', q{SELECT max(id) FROM bgjob_internal.settings WHERE settings ->> 'search_path' = 'public, seen'});
wait_until($node, q{SELECT put('seen') IS NOT NULL AND (SELECT max(id) FROM bgjob_internal.settings WHERE settings ->> 'search_path' = 'public, seen') > } . $first,
	'a pass begins: its rows are not given out any more');
cmp_ok($node->safe_psql('postgres', $rows), '>=', 100, 'the pass waits for the transaction');
my $late = $holder->query_safe(q{SELECT put('held')});
$holder->query_safe('COMMIT');
$holder->quit;
ends_well($late, 'the late job finds its row');
wait_until($node, "SELECT ($rows) < 20", 'the other rows are removed');

# ---- many sessions, and a pass each second ----

my $before = $node->safe_psql('postgres', q{SELECT succeeded FROM bgjob.stats});
my $script = $node->basedir . '/enqueue.sql';
open(my $file, '>', $script) or die;
print $file q{
\set few random(1, 12)
\set many random(1, 1000000)
\set n random(1, 10)
BEGIN;
SELECT put('few' || :few);
SAVEPOINT s;
SELECT put('many' || :many);
\if :n = 1
ROLLBACK TO s;
\endif
SELECT put('few' || :n);
COMMIT;
};
close $file;
$node->command_ok(['pgbench', '-n', '-c', 4, '-T', 6, '-R', 400, '-U', 'app', '-f', $script, 'postgres'], 'sessions enqueue with a few settings, and with many');
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing') AND job <> 'SELECT pg_sleep(1000)')}, 'the jobs of all sessions end');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state = 'failed'}), '0', 'each job had its own settings')
  or diag($node->safe_psql('postgres', q{SELECT reason FROM bgjob.jobs WHERE state = 'failed' LIMIT 3}));
cmp_ok($node->safe_psql('postgres', q{SELECT succeeded FROM bgjob.stats}) - $before, '>', 300, 'more than 300 jobs have succeeded');
wait_until($node, "SELECT ($rows) < 30", 'the rows of the ended jobs are removed');

# ---- a missing row ----

my $lost = app(q{SELECT put('lost', '1 hour')});
my $nameless = app(q{SELECT bgjob_enqueue('has_path', '["x"]', delay => '1 hour', max_retries => 0)});
$node->safe_psql('postgres', "DELETE FROM bgjob_internal.settings WHERE id = (SELECT settings_id FROM bgjob_internal.job WHERE id = $lost); SELECT bgjob_requeue($lost)");
is($node->safe_psql('postgres', "SELECT bgjob_wait($lost, '60 s')"), 'failed', 'a job whose settings are missing fails');
is($node->safe_psql('postgres', "SELECT reason FROM bgjob.jobs WHERE id = $lost"), 'captured settings of the job are missing', 'the reason names the missing settings');
$node->safe_psql('postgres', "UPDATE bgjob_internal.job SET call_id = 1000000000000 WHERE id = $nameless; SELECT bgjob_requeue($nameless)");
is($node->safe_psql('postgres', "SELECT bgjob_wait($nameless, '60 s')"), 'failed', 'a job whose call is missing fails');
is($node->safe_psql('postgres', "SELECT reason FROM bgjob.jobs WHERE id = $nameless"), 'the call of the job is missing', 'the reason names the missing call');
$node->safe_psql('postgres', "SELECT bgjob_delete($endless), bgjob_purge('failed')");

# ---- configurations of functions ----

app(q{DO $$BEGIN FOR i IN 1..120 LOOP
	EXECUTE format('CREATE FUNCTION conf%s() RETURNS void LANGUAGE sql AS %L', i, 'SELECT');
	PERFORM bgjob_configure('conf' || i, parameters => jsonb_build_object('p', repeat(md5(i::text), 10000)));
END LOOP; END$$});
$node->safe_psql('postgres', 'CREATE FUNCTION own() RETURNS void LANGUAGE sql AS $$SELECT$$');
cmp_ok($node->safe_psql('postgres', q{SELECT bgjob_enqueue('own'); SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'bgjob function%'}) =~ s/.*\n//r,
	'<', 1000000, 'a session that enqueues does not keep what others have configured of their functions');
app(q{SELECT bgjob_enqueue('conf7', delay => '1 hour')});
is($node->safe_psql('postgres', q{SELECT parameters ->> 'p' = repeat(md5('7'), 10000) FROM bgjob.jobs WHERE job = 'conf7'}), 't', 'the configured parameters are in force');
app(q{SELECT bgjob_enqueue('conf' || i, delay => '1 hour') FROM generate_series(1, 100) i});
is($node->safe_psql('postgres', q{SELECT count(DISTINCT parameters ->> 'p') FROM bgjob.jobs WHERE job LIKE 'conf%'}), '100', 'each of a hundred functions has its own configuration');

app(q{DO $$BEGIN FOR i IN 2..119 LOOP EXECUTE format('DROP FUNCTION conf%s', i); END LOOP; END$$; ALTER FUNCTION conf1() RENAME TO renamed;
	SELECT bgjob_configure('renamed', priority => 3)});
wait_until($node, q{SELECT string_agg(job, ' ' ORDER BY job) = 'public.conf120() public.renamed()' FROM bgjob.functions}, 'the configuration of functions that no longer exist is removed, and no other', 30);
is($node->safe_psql('postgres', q{SELECT priority FROM bgjob.functions WHERE job = 'public.renamed()'}), '3', 'the configuration of a function that exists stays');

# A retention that is configured counts for the jobs that come, however long others are kept.
set_and_reload($node, 'bgjob.retention' => '1d');
wait_until($node, q{SELECT current_setting('bgjob.retention') = '1d'}, 'jobs are kept');
my $kept = app(q{SELECT bgjob_enqueue('renamed')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($kept, '60 s')"), 'succeeded', 'a kept job ends');
app(q{SELECT bgjob_configure('renamed', retention => '1 s')});
my $short = app(q{SELECT bgjob_enqueue('renamed')});
wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob_internal.job WHERE id = $short)", 'one that comes later is removed after a second', 30);
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $kept"), 'succeeded', 'the kept job is not removed');
$node->safe_psql('postgres', q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job LIKE 'conf%'});

check_counters($node);
$node->stop;
done_testing();
