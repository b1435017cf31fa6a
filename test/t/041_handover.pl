# A job that is enqueued by itself is handed to the workers at its commit, without a scan of the queue. Whatever happens in
# between, each job runs once, and none is left.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('handover', 'bgjob.workers' => 1, 'bgjob.worker_idle_timeout' => '10min');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE TABLE done (n bigserial, what text);
	CREATE FUNCTION work(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO done (what) VALUES (what)';
	CREATE FUNCTION wait_for(what int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(what); INSERT INTO done (what) VALUES (what)'});

# all_idle TEXT waits until all jobs have ended and all workers are idle.
sub all_idle
{
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND state <> 'idle')}, $_[0]);
}

# done returns the jobs that have run since the last call, in order.
sub done
{
	return sql(q{WITH d AS (DELETE FROM done RETURNING *) SELECT string_agg(what, ' ' ORDER BY n) FROM d});
}

# looks returns the number of scans of the queue's index.
sub looks
{
	return sql(q{SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.queue_pkey'::regclass});
}

# 1. One at a time. The scheduler, which would find jobs left behind, is stopped.
sql(q{SELECT bgjob_enqueue('work', '["first"]')});
all_idle('the first job has run');
is(done(), 'first', 'no other job has run');
my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'});
kill 'STOP', $scheduler or die;
END { kill 'CONT', $scheduler if $scheduler }
my $before = looks();
sql(join "\n", map { qq{SELECT bgjob_enqueue('work', '["$_"]') AS id \\gset\nSELECT bgjob_wait(:id);} } 1 .. 100);
all_idle('a hundred jobs have run, one after the other');
is(done(), join(' ', 1 .. 100), 'in their order');
cmp_ok(looks() - $before, '<', 10, 'the jobs cause hardly any scan of the queue');

# 2. More jobs than are handed over at a time, while no worker takes any.
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(7)');
sql(q{SELECT bgjob_enqueue('wait_for', '[7]')});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, 'the only worker is at something long');
sql(join ';', map { qq{SELECT bgjob_enqueue('work', '["$_"]')} } 1 .. 100);
$holder->query_safe('SELECT pg_advisory_unlock(7)');
all_idle('a hundred jobs that waited have run');
is(done(), join(' ', 7, 1 .. 100), 'in their order');

# 3. A job that is enqueued before another one, and committed after it.
my $late = $node->background_psql('postgres');
$late->query_safe(q{BEGIN; SELECT bgjob_enqueue('work', '["late"]')});
sql(q{SELECT bgjob_enqueue('work', '["soon"]')});
all_idle('the committed job has run');
$late->query_safe('COMMIT');
all_idle('the other one, too');
is(done(), 'soon late', 'each once');

# The same while no worker takes any: jobs run in the order of their ids.
$holder->query_safe('SELECT pg_advisory_lock(7)');
sql(q{SELECT bgjob_enqueue('wait_for', '[7]')});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, 'the only worker is at something long again');
sql(q{SELECT bgjob_enqueue('work', '["a"]')});
$late->query_safe(q{BEGIN; SELECT bgjob_enqueue('work', '["b"]')});
sql(q{SELECT bgjob_enqueue('work', '["c"]')});
$late->query_safe(q{COMMIT; BEGIN; SELECT bgjob_enqueue('work', '["d"]'); ROLLBACK});
$late->query_safe(q{BEGIN; SAVEPOINT s; SELECT bgjob_enqueue('work', '["e"]'); ROLLBACK TO s; SELECT bgjob_enqueue('work', '["f"]'); COMMIT});
$late->query_safe(q{BEGIN; SAVEPOINT s; SELECT bgjob_enqueue('work', '["g"]'); RELEASE s; SELECT bgjob_enqueue('work', '["h"]'); COMMIT});
$late->query_safe(q{BEGIN; SELECT bgjob_delete(bgjob_enqueue('work', '["i"]')); COMMIT});
my $deleted = sql(q{SELECT bgjob_enqueue('work', '["j"]')});
sql(qq{SELECT bgjob_delete($deleted)});
my $requeued = sql(q{SELECT bgjob_enqueue('work', '["k"]')});
sql(q{SELECT bgjob_enqueue('work', '["l"]', priority => 1)});
$holder->query_safe('SELECT pg_advisory_unlock(7)');
all_idle('all committed jobs have run');
my $order = done();
is(join(' ', sort split ' ', $order), '7 a b c f g h k l', 'each job runs once');
like($order, qr/^7 l a /, 'the higher priority first');
sql("SELECT bgjob_requeue($requeued)");
all_idle('a job has run again');
is(done(), 'k', 'the job of the higher priority runs');

# 4. Rows of the queue that reuse the tids of others. With the scheduler, which applies pauses.
kill 'CONT', $scheduler;
sql(q{SELECT bgjob_queue_pause('default')});
sql(q{SELECT bgjob_delete(bgjob_enqueue('work', '["old"]'))});
sql('VACUUM bgjob_internal.queue');
sql(q{SELECT bgjob_enqueue('work', '["new"]')});
sql(q{SELECT bgjob_queue_resume('default')});
all_idle('a job whose row reused a tid has run');
is(done(), 'new', 'only the new job has run');
sql(q{SELECT bgjob_queue_pause('default')});
sql(join ';', map { qq{SELECT bgjob_enqueue('work', '["$_"]')} } 'x', 'y', 'z');
sql('VACUUM FULL bgjob_internal.queue');
sql(q{SELECT bgjob_enqueue('work', '["last"]')});
sql(q{SELECT bgjob_queue_resume('default')});
all_idle('jobs whose rows have been moved have run');
is(done(), 'x y z last', 'in their order');
is(sql('SELECT count(*) FROM bgjob_internal.queue'), 0, 'nothing is left in the queue');

$late->quit;
$holder->quit;
check_counters($node);
$node->stop;
done_testing();
