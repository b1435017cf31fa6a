# bgjob.stats is right: after a restart, with waiting retries, with prepared transactions that are committed or rolled
# back before and after a restart, and when jobs are counted while other sessions commit.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('counters', 'bgjob.workers' => 2);
sub value { return $node->safe_psql('postgres', $_[0]) }

# Waiting retries. bgjob.stats is not read before the first restart.
value(q{SELECT count(bgjob_enqueue('SELECT 1/0', kind => 'sql', max_retries => 1)) FROM generate_series(1, 5)});
wait_until($node, q{SELECT count(*) = 5 FROM bgjob.jobs WHERE state = 'scheduled' AND retries = 1}, 'five jobs wait for a retry');
is(value('SELECT retries FROM bgjob.stats'), '5', 'bgjob.stats tells them, although it was not read before');
$node->restart;
is(value('SELECT retries FROM bgjob.stats'), '5', 'bgjob.stats counts the retries after a restart');
value(q{SELECT count(bgjob_requeue(id)) FROM bgjob.jobs WHERE state = 'scheduled'});
wait_until($node, q{SELECT count(*) = 5 FROM bgjob.jobs WHERE state = 'failed'}, 'requeued, they fail for good');
is(value('SELECT retries, failed, scheduled FROM bgjob.stats'), '0|5|0', 'bgjob.stats counts no retries after the failures');
check_counters($node);

# Transactions that are prepared before a restart and end after it, whatever they have done to jobs.
value(q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')) FROM generate_series(1, 3)});
my ($deleted, $moved, $kept) = split /\n/, value(q{SELECT id FROM bgjob.jobs WHERE state = 'scheduled' ORDER BY 1});
prepare('puts in', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', tags => '{new}')}, q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')) FROM generate_series(1, 7)});
prepare('deletes', "SELECT bgjob_delete($deleted)");
prepare('requeues', "SELECT bgjob_requeue($moved)");
prepare('is undone', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', tags => '{undone}')}, "SELECT bgjob_delete($kept)");
prepare('has others', 'CREATE TABLE unconcerned ()');
is(value(q{SELECT count(*) FROM pg_locks WHERE classid = 'pg_extension'::regclass AND objid <> 0}), '4', 'prepared transactions that concern jobs are marked');
$node->restart;
is(value('SELECT scheduled, processing FROM bgjob.stats'), '3|0', 'after a restart bgjob.stats shows what is committed');
value("COMMIT PREPARED '$_'") for 'puts in', 'deletes', 'requeues', 'has others';
value(q{ROLLBACK PREPARED 'is undone'});
wait_until($node, qq{SELECT count(*) = 2 FROM bgjob.jobs WHERE state = 'succeeded' AND (tags = '{new}' OR id = $moved)}, 'what has become ready runs at once', 5);
is(value('SELECT enqueued, scheduled, processing, deleted FROM bgjob.stats'), '0|8|0|1', 'the numbers are right');
is(value('SELECT count(*) FROM bgjob.jobs WHERE tags = \'{undone}\''), '0', 'the rolled-back jobs do not exist');
check_counters($node);

# Committed without a read of bgjob.stats in between: the jobs are counted once.
prepare('unseen', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
$node->restart;
value(q{SELECT * FROM bgjob.stats; COMMIT PREPARED 'unseen'});
wait_until($node, q{SELECT enqueued + processing = 0 FROM bgjob.stats}, 'a job of a prepared transaction runs', 5);
is(value('SELECT processing FROM bgjob.stats'), '0', 'no job is counted as processing');

# A job that a prepared transaction had taken out of its queue runs after ROLLBACK PREPARED, although a worker skipped
# it meanwhile.
value('CREATE EXTENSION dblink');
my $busy = join ';', map { qq{SELECT bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql', tags => '{busy}')} } 1, 2;
value($busy);
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE state = 'processing'}, 'both workers run jobs');
value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', tags => '{taken}')});
prepare('takes', q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{taken}'});
value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', priority => -1, tags => '{behind}')});
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{busy}'});
wait_until($node, q{SELECT state = 'succeeded' FROM bgjob.jobs WHERE tags = '{behind}'}, 'the job behind it has run');
is(value(q{SELECT state FROM bgjob.jobs WHERE tags = '{taken}'}), 'enqueued', 'the claimed job is enqueued again');
value(q{ROLLBACK PREPARED 'takes'});
wait_until($node, q{SELECT state = 'succeeded' FROM bgjob.jobs WHERE tags = '{taken}'}, 'ROLLBACK PREPARED gives it back at once', 5);

# A session that waits for a job that a prepared transaction ends is woken by COMMIT PREPARED.
value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour', tags => '{awaited}')});
prepare('ends', q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{awaited}'});
my ($in, $out, $err) = ('', '', '');
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{SELECT bgjob_wait(id, '30 s') FROM bgjob.jobs WHERE tags = '{awaited}'} ],
	\$in, \$out, \$err, IPC::Run::timeout(60));
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT bgjob_wait(%' AND wait_event_type = 'Extension'}, 'a session waits for it');
value(q{COMMIT PREPARED 'ends'});
$waiter->finish;
is($out, "deleted\n", 'COMMIT PREPARED wakes it') or diag($err);
check_counters($node);

# Jobs are counted while other sessions commit, from two sessions at a time.
my $load = "$PostgreSQL::Test::Utils::tmp_check/load.sql";
append_to_file($load, q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql');});
my $doubt = "$PostgreSQL::Test::Utils::tmp_check/doubt.sql";
append_to_file($doubt, q{DELETE FROM bgjob_internal.job WHERE false; SELECT * FROM bgjob.stats;});
$node->command_ok([ 'pgbench', '-n', '-c', '4', '-T', '2', '-f', "$load\@9", '-f', $doubt, 'postgres' ], 'jobs come and go while they are counted again and again');
check_counters($node);

$node->stop;
done_testing();

# prepare GID, SQL… prepares a transaction.
sub prepare
{
	my ($gid, @sql) = @_;
	value(join ';', 'BEGIN', @sql, "PREPARE TRANSACTION '$gid'");
}
