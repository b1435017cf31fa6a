# The counts of bgjob.stats and bgjob.queues come from shared memory. A large table is counted in the background: until
# then the numbers are null, and no reader scans it. Each role sees its part. A role with more queues than there are
# tallies for, savepoints, prepared transactions, requeued and replaced jobs, a census that is killed, in the way of DROP
# DATABASE, or taken while jobs come and go: the numbers are right.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use constant MANY => 80_000;

# Queue "run" is taken; jobs of others stay. A few workers leave a slot for the census.
my $node = bgjob_cluster('counts', 'bgjob.workers' => 2, 'bgjob.queues' => 'run', restart_after_crash => 'on');
sub value { return $node->safe_psql('postgres', $_[0]) }

value(q{
	CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; CREATE ROLE many LOGIN; CREATE ROLE watcher LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO one, two, many;
	GRANT pg_monitor TO watcher});
value(q{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', array_fill('[1, 1]'::jsonb, ARRAY[} . MANY . q{]), queue => 'big')});
value(q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'big', delay => '1 day')) FROM generate_series(1, 500)});
value(q{SELECT count(bgjob_enqueue('SELECT 1/0', kind => 'sql', queue => 'run', max_retries => 0)) FROM generate_series(1, 20)});
wait_until($node, q{SELECT failed = 20 FROM bgjob.queues WHERE queue = 'run'}, 'twenty jobs have failed');
is(value(q{SELECT enqueued, processing, scheduled, failed FROM bgjob.queues WHERE queue = 'big'}), MANY . '|0|500|0', 'the large queue');
cmp_ok(value(q{SELECT pg_relation_size('bgjob_internal.job') / 8192}), '>', 1000, 'the table is large');
few_blocks('SELECT * FROM bgjob.queues');
few_blocks('SELECT * FROM bgjob.stats');

# After a restart, on a server that has no slot for the census.
set_and_reload($node, max_worker_processes => 4);
$node->restart;
is(value('SELECT enqueued IS NULL, scheduled IS NULL, failed IS NULL, succeeded IS NULL, processing FROM bgjob.stats'), 't|t|t|t|0', 'stats: not known yet');
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'a scheduler is there');
is(value('SELECT queue, enqueued IS NULL, processing, failed IS NULL, oldest_enqueued_at IS NULL FROM bgjob.queues'), 'default|t|0|t|t', 'queues: not known yet');
value(q{SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'later')});
is(value(q{SELECT enqueued IS NULL, oldest_enqueued_at IS NOT NULL FROM bgjob.queues WHERE queue = 'later'}), 't|t', 'nor those of a new queue');
few_blocks('SELECT * FROM bgjob.queues');
few_blocks('SELECT * FROM bgjob.stats');

# With a slot, it is counted soon, and by no reader.
set_and_reload($node, max_worker_processes => 32);
$node->restart;
wait_until($node, q{SELECT enqueued IS NOT NULL FROM bgjob.stats}, 'the jobs are counted', 30);
is(value('SELECT enqueued, scheduled, failed FROM bgjob.stats'), (MANY + 1) . '|500|20', 'stats are right');
is(value(q{SELECT string_agg(format('%s %s %s %s', queue, enqueued, scheduled, failed), ', ' ORDER BY queue) FROM bgjob.queues}),
	'big ' . MANY . ' 500 0, default 0 0 0, later 1 0 0, run 0 0 20', 'queues are right');
few_blocks('SELECT * FROM bgjob.queues');
ok(value(q{SELECT q.oldest_enqueued_at = min(j.created_at) FROM bgjob.queues q JOIN bgjob_internal.job j USING (queue)
	WHERE queue = 'big' AND j.state = 'e' GROUP BY q.oldest_enqueued_at}) eq 't', 'and the time of the oldest job');
check_counters($node);

# Roles that see a part.
value("SET ROLE $_; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => q) FROM unnest('{shared,$_}'::text[]) q") for 'one', 'two';
value(q{SELECT bgjob_queue('set-up', group_size => 5)});
is(seen('one'), 'default 0, one 1, set-up 0, shared 1', 'a role sees its jobs, and configured queues');
is(seen('two'), 'default 0, set-up 0, shared 1, two 1', 'another role its own');
value('GRANT two TO one');
is(seen('one'), 'default 0, one 1, set-up 0, shared 2, two 1', 'and as a member those of another');
value('REVOKE two FROM one');
like(seen('watcher'), qr/big @{[MANY]}, default 0, later 1, one 1, run 0, set-up 0, shared 2, two 1/, 'pg_monitor sees all');
is(value('SET ROLE one; SELECT enqueued FROM bgjob.stats'), MANY + 5, 'stats are for all jobs');
is(value(q{SET ROLE one; SELECT oldest_enqueued_at IS NULL FROM bgjob.queues WHERE queue = 'default'}), 't', 'nothing is said of jobs that are not seen');
is(value(q{SET ROLE one; SELECT count(*) FROM bgjob.queues WHERE queue = 'big'}), '0', 'nor of their queues');

# Savepoints, and what a transaction sees of itself.
is(value(q{BEGIN;
	SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'kept') > 0;
	SAVEPOINT a; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'undone') > 0; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'kept') > 0; ROLLBACK TO a;
	SAVEPOINT b; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'kept') > 0; SELECT count(bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'kept-' || n)) FROM generate_series(1, 20) n; RELEASE b;
	SELECT string_agg(enqueued::text, ' ' ORDER BY queue) FROM bgjob.queues WHERE queue ~ 'kept|undone'; COMMIT}),
	join("\n", ('t') x 4, 20, join(' ', 2, (1) x 20)), 'a transaction sees its own jobs');
is(value(q{SELECT string_agg(enqueued::text, ' ' ORDER BY queue) FROM bgjob.queues WHERE queue ~ 'kept|undone'}), join(' ', 2, (1) x 20), 'and others what it has kept');
value(q{BEGIN; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'undone'); ROLLBACK});
is(value(q{SELECT count(*) FROM bgjob.queues WHERE queue = 'undone'}), '0', 'and not what it has not');

# A job that is replaced by one of another queue, and one that is requeued, deleted, and purged after it failed.
value(q{SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'from', unique_key => 'key')});
value(q{SELECT bgjob_enqueue('pg_catalog.int4pl', '[2, 2]', queue => 'into', unique_key => 'key', on_duplicate => 'replace', delay => '1 day')});
is(value(q{SELECT queue, enqueued, scheduled FROM bgjob.queues WHERE queue IN ('from', 'into')}), 'into|0|1', 'a replaced job is in the other queue');
value(q{SELECT bgjob_requeue(id) FROM bgjob.jobs WHERE unique_key = 'key'});
is(value(q{SELECT queue, enqueued, scheduled FROM bgjob.queues WHERE queue IN ('from', 'into')}), 'into|1|0', 'requeued, it is there');
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE unique_key = 'key'});
is(value(q{SELECT count(*) FROM bgjob.queues WHERE queue IN ('from', 'into')}), '0', 'deleted, it is not');
is(value(q{SELECT bgjob_purge('failed'); SELECT count(*) FROM bgjob.queues WHERE queue = 'run'}), "20\n0", 'nor are failed jobs that are purged');
check_counters($node);

# A role with more queues than there are tallies for.
value(q{SET ROLE many; DO $$ BEGIN FOR i IN 1..10000 LOOP PERFORM bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'tenant-' || i); END LOOP; END $$});
is(value(q{SET ROLE many; SELECT count(*), sum(enqueued), count(oldest_enqueued_at) FROM bgjob.queues WHERE queue LIKE 'tenant-%'}), '10000|10000|10000', 'ten thousand queues');
value(q{SET ROLE many; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'tenant-' || n) FROM generate_series(1, 10000, 1000) n});
is(value(q{SELECT sum(enqueued) FROM bgjob.queues WHERE queue LIKE 'tenant-%'}), '10010', 'their numbers stay right');
cmp_ok(blocks('SET ROLE many; SELECT queue, enqueued FROM bgjob.queues;', 'SELECT queue, enqueued FROM bgjob.queues'), '>', 50, 'they are counted from the tables');
few_blocks('SET ROLE one; ', 'SELECT * FROM bgjob.queues');
few_blocks('SELECT * FROM bgjob.stats');
check_counters($node);
value(q{SELECT count(bgjob_delete(id)) FROM bgjob_internal.job WHERE queue LIKE 'tenant-%'});
is(value(q{SELECT count(*) FROM bgjob.queues WHERE queue LIKE 'tenant-%'}), '0', 'and there are none when their jobs are deleted');
kill 'CONT', stop_census('postgres');
wait_until($node, q{SELECT enqueued IS NOT NULL FROM bgjob.stats}, 'the jobs are counted anew');
value(q{SET ROLE many; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'tenant-1')});
cmp_ok(blocks('SET ROLE many; SELECT queue, enqueued FROM bgjob.queues;', 'SELECT queue, enqueued FROM bgjob.queues'), '<', 50, 'the role is counted in shared memory again');
is(value(q{SET ROLE many; SELECT enqueued FROM bgjob.queues WHERE queue = 'tenant-1'}), '1', 'and its numbers are right');
check_counters($node);

# Prepared transactions.
value(q{BEGIN; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'prepared'); PREPARE TRANSACTION 'p'});
is(value(q{SELECT count(*) FROM bgjob.queues WHERE queue = 'prepared'}), '0', 'a prepared job does not count yet');
value(q{COMMIT PREPARED 'p'});
is(value(q{SELECT enqueued FROM bgjob.queues WHERE queue = 'prepared'}), '1', 'after COMMIT PREPARED it does, at once');
value(q{BEGIN; SELECT count(bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'prepared-' || n)) FROM generate_series(1, 20) n;
	SAVEPOINT a; SET LOCAL ROLE one; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'one'); RESET ROLE; RELEASE a;
	SELECT bgjob_delete(id) FROM bgjob.jobs WHERE queue = 'prepared'; PREPARE TRANSACTION 'p'});
value(q{BEGIN; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'undone'); PREPARE TRANSACTION 'q'});
value(q{ROLLBACK PREPARED 'q'});
isnt(scalar $node->psql('postgres', q{SET ROLE two; COMMIT PREPARED 'p'}), 0, 'another role cannot commit it');
value(q{COMMIT PREPARED 'p'});
is(value(q{SELECT count(*), sum(enqueued) FROM bgjob.queues WHERE queue LIKE 'prepared%' OR queue = 'undone'}), '20|20', 'one with many queues, and a deleted job');
is(seen('one'), 'default 0, one 2, set-up 0, shared 1', 'and another role');
check_counters($node);
value(q{BEGIN; SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'old'); PREPARE TRANSACTION 'old'});
$node->restart;
wait_until($node, q{SELECT enqueued IS NOT NULL FROM bgjob.stats}, 'after a restart the jobs are counted');
value(q{COMMIT PREPARED 'old'});
wait_until($node, q{SELECT enqueued = 1 FROM bgjob.queues WHERE queue = 'old'}, 'and after a prepared transaction from before it');
check_counters($node);

# Jobs come and go while a census is stopped in the middle.
my $census = stop_census('postgres');
is(value('SELECT enqueued IS NULL FROM bgjob.stats'), 't', 'while the census is taken the numbers are not known');
few_blocks('SET ROLE one;', 'SELECT * FROM bgjob.queues');
kill 'CONT', $census;
my $load = "$PostgreSQL::Test::Utils::tmp_check/load.sql";
append_to_file($load, q{\set q random(1, 40)
	SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'load-' || :q); SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 1]', queue => 'run');});
ok(beside_census([ 'pgbench', '-n', '-c', '2', '-t', '200', '-f', $load, $node->connstr('postgres') ]), 'jobs come and go meanwhile');
$node->command_ok([ 'pgbench', '-n', '-c', '3', '-T', '2', '-f', $load, 'postgres' ], 'and while it goes on');
wait_until($node, q{SELECT enqueued + processing = 0 FROM bgjob.queues WHERE queue = 'run' UNION ALL SELECT true LIMIT 1}, 'they end');
check_counters($node);

# Doubts again and again, under load.
my $doubt = "$PostgreSQL::Test::Utils::tmp_check/doubt.sql";
append_to_file($doubt, q{DELETE FROM bgjob_internal.job WHERE false; SELECT * FROM bgjob.stats; SELECT * FROM bgjob.queues;});
$node->command_ok([ 'pgbench', '-n', '-c', '3', '-T', '2', '-f', "$load\@20", '-f', "$doubt\@1", 'postgres' ], 'doubts arise again and again');
check_counters($node);

# A census in a database that is dropped.
value('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION bgjob');
$node->safe_psql('other', q{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', array_fill('[1, 1]'::jsonb, ARRAY[100000]), queue => 'big')});
$census = stop_census('other');
my ($in, $out, $err) = ('', '', '');
my $drop = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'DROP DATABASE other' ], \$in, \$out, \$err, IPC::Run::timeout(60));
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'DROP DATABASE other'}, 'DROP DATABASE waits');
kill 'CONT', $census;
ok($drop->finish, 'DROP DATABASE ends the census') or diag($err);
until_gone($census);
ok(!kill(0, $census), 'its process has left');

# A census that is killed.
$census = stop_census('postgres');
kill 'KILL', $census;
wait_until($node, q{SELECT enqueued IS NOT NULL FROM bgjob.stats}, 'after kill -9 of the census the jobs are counted');
# A database that gets many jobs at once, before anything has counted there: they are counted before that.
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
value(q{ALTER SYSTEM SET bgjob.enabled = off});
$node->reload;
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'no scheduler is left');
$node->safe_psql('fresh', 'CREATE EXTENSION bgjob');
$node->safe_psql('fresh', q{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', array_fill('[1, 1]'::jsonb, ARRAY[} . MANY . q{]), queue => 'big')});
value(q{ALTER SYSTEM RESET bgjob.enabled});
$node->reload;
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'fresh'}, 'the new database is served');
is($node->safe_psql('fresh', 'SELECT enqueued FROM bgjob.stats'), MANY, 'the jobs of a new database are known at once');
check_counters($node, 'fresh');
check_counters($node);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)\b/, 'no process has crashed by itself');

$node->stop;
done_testing();

# seen ROLE: the queues that a role sees, and their waiting jobs.
sub seen
{
	my ($role) = @_;
	return value(qq{SET ROLE $role; SELECT string_agg(queue || ' ' || enqueued, ', ' ORDER BY queue) FROM bgjob.queues});
}

# few_blocks [BEFORE,] SQL tests that a query reads few blocks.
sub few_blocks
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	cmp_ok(blocks(@_), '<=', 500, "$_[-1] reads few blocks");
}

# blocks [BEFORE,] SQL: the number of blocks that a query reads.
sub blocks
{
	my $query = pop;
	my $before = shift // '';
	my $plan = value(qq{$before EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) $query});
	my ($hit, $read) = map { $plan =~ /Buffers: shared.*?$_=(\d+)/ ? $1 : 0 } 'hit', 'read';

	return $hit + $read;
}

# beside_census COMMAND: whether the command succeeds while a census is stopped in the middle. A process may be stopped
# with a lock of the server's held that the command needs. Then the census goes on, and another one is stopped.
sub beside_census
{
	my ($command) = @_;

	for (1 .. 5)
	{
		my $pid = stop_census('postgres');
		my ($ended, $succeeded) = ends_within(60, $pid, $command);
		return $succeeded if $ended;
	}
	return 0;
}

# ends_within SECONDS, CENSUS, COMMAND: whether the command ends while the census is stopped, and whether it succeeds.
# Afterwards the census goes on.
sub ends_within
{
	my ($seconds, $pid, $command) = @_;
	my $output = '';
	my $run = IPC::Run::start($command, '<', \undef, '>&', \$output);
	my $deadline = time + $seconds;

	while ($run->pumpable && time < $deadline)
	{
		$run->pump_nb;
		usleep(20_000);
	}
	my $ended = !$run->pumpable;
	kill 'CONT', $pid;
	my $succeeded = $run->finish;
	diag($output) if $ended && !$succeeded;
	return ($ended, $succeeded);
}

# stop_census DATABASE has the jobs counted anew, and stops the process that does it (SIGSTOP), before it has told the
# numbers. Returns its pid.
sub stop_census
{
	my ($db) = @_;

	for (1 .. 30)
	{
		$node->safe_psql($db, 'DELETE FROM bgjob_internal.job WHERE false');
		my $pid = $node->safe_psql($db, q{
			DO $$
			DECLARE
				census int;
				until timestamptz = clock_timestamp() + '3 s';
			BEGIN
				WHILE census IS NULL AND clock_timestamp() < until LOOP
					PERFORM pg_stat_clear_snapshot();
					SELECT pid INTO census FROM pg_stat_activity WHERE backend_type = 'bgjob census' AND datname = current_database();
				END LOOP;
				IF census IS NOT NULL THEN
					EXECUTE format('COPY (SELECT) TO PROGRAM %L', 'kill -STOP ' || census || '; cat >/dev/null');
				END IF;
				PERFORM set_config('test.census', coalesce(census::text, ''), false);
			END $$;
			SELECT current_setting('test.census')});
		next if $pid eq '';
		open my $stat, '<', "/proc/$pid/stat" or next;
		my ($state) = <$stat> =~ /\) (\w)/;
		next if $state ne 'T';
		return $pid if $node->safe_psql($db, 'SELECT enqueued IS NULL FROM bgjob.stats') eq 't';
		kill 'CONT', $pid;
	}
	die 'no census';
}
