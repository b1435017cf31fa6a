# No low-water mark goes back. A held snapshot keeps the dead rows of all earlier jobs in the queue. Whatever makes a job ready again, no
# worker scans all of them for it. Unannounced jobs are found, too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;

my $dead = 30_000;
my $node = bgjob_cluster('sweep', 'bgjob.workers' => 1, 'bgjob.worker_idle_timeout' => '10min', max_prepared_transactions => 5);
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE TABLE done (n bigserial, what text);
	CREATE FUNCTION work(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO done (what) VALUES (what)';
	CREATE FUNCTION nothing(i int) RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION wait_for(what int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(what)';
	SELECT bgjob_queue('default', group_size => 100)});

sub all_idle
{
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND state <> 'idle')}, $_[0]);
}
sub done { return sql(q{WITH d AS (DELETE FROM done RETURNING *) SELECT string_agg(what, ' ' ORDER BY n) FROM d}) }

# read returns the number of entries of the queue's index that were read, dead ones included.
sub entries_read { return sql(q{SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.queue_pkey'::regclass}) }

my $snapshot = $node->background_psql('postgres');
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql("SELECT count(*) FROM bgjob_enqueue_many('nothing', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, $dead) i))");
all_idle('many jobs have run');
sql(q{SELECT bgjob_queue('default', group_size => 1)});
my $before = entries_read();
wait_until($node, "SELECT txid_current() > 0 AND idx_tup_read > $before + $dead FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.queue_pkey'::regclass", 'the scheduler goes over the rows that are left of them', 60);
my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'});
sub stop_scheduler { kill 'STOP', $scheduler or die }
sub let_go { kill 'CONT', $scheduler }
END { let_go() if $scheduler }

# cheap NAME, CODE tests that CODE causes hardly any read of dead rows.
sub cheap
{
	my ($name, $code) = @_;
	my $from = entries_read();

	$code->();
	cmp_ok(entries_read() - $from, '<', $dead / 10, "$name: the dead rows are not scanned");
}

stop_scheduler();
cheap('a job', sub {
	sql(q{SELECT bgjob_enqueue('work', '["one"]')});
	all_idle('after that sweep, a job has run');
	is(done(), 'one', 'that one') });

# Jobs locked by a transaction are skipped, and ready again after its rollback: a few, and more than are remembered singly.
my $holder = $node->background_psql('postgres');
my $taker = $node->background_psql('postgres');
for my $case ([ 1, 'ROLLBACK' ], [ 5, 'ROLLBACK TO s; COMMIT' ], [ 40, 'ROLLBACK' ])
{
	my ($n, $end) = @$case;
	cheap("$n given back", sub {
		$holder->query_safe('SELECT pg_advisory_lock(7)');
		sql(q{SELECT bgjob_enqueue('wait_for', '[7]')});
		wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, 'the only worker is at something long');
		sql(join ';', map { qq{SELECT bgjob_enqueue('work', '["$_"]')} } 1 .. $n + 1);
		$taker->query_safe("BEGIN; SAVEPOINT s; SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE job = 'work' AND state = 'enqueued' AND args ->> 0 <> '" . ($n + 1) . "'");
		$holder->query_safe('SELECT pg_advisory_unlock(7)');
		wait_until($node, q{SELECT count(*) = 1 FROM done}, "the worker passes by $n that a transaction has taken");
		is(done(), $n + 1, 'the worker runs the next job');
		$taker->query_safe($end);
		all_idle("after $end the others have been performed");
		is(done(), join(' ', 1 .. $n), 'in their order, each once') });
}

# The job of a lost worker is ready again. (The scheduler returns it, and may sweep meanwhile.)
$holder->query_safe('SELECT pg_advisory_lock(7)');
sql(q{SELECT bgjob_enqueue('wait_for', '[7]')});
my $worker = pid_of($node, q{SELECT pid FROM bgjob.workers WHERE state = 'busy'});
let_go();
$holder->query_safe("SELECT pg_terminate_backend($worker)");
$holder->query_safe('SELECT pg_advisory_unlock(7)');
all_idle('the job of a terminated worker has run');

# Unannounced jobs: of prepared transactions, and rows written by hand.
$holder->query_safe('SELECT pg_advisory_lock(7)');
$taker->query_safe(q{BEGIN; SELECT count(bgjob_enqueue('work', jsonb_build_array('early ' || i))) FROM generate_series(1, 3) i; PREPARE TRANSACTION 'early'});
sql(q{SELECT count(bgjob_enqueue('work', '["soon"]')) FROM generate_series(1, 3)});
all_idle('jobs behind those of a prepared transaction have run');
is(done(), 'soon soon soon', 'the other jobs have not run');
sql(q{COMMIT PREPARED 'early'});
all_idle('when it has committed, they have been');
is(done(), 'early 1 early 2 early 3', 'in their order');
$taker->query_safe(q{BEGIN; SELECT count(bgjob_enqueue('work', jsonb_build_array(i))) FROM generate_series(1, 500) i; PREPARE TRANSACTION 'many'});
sql(q{SELECT bgjob_enqueue('work', '["soon"]')});
all_idle('one behind many');
sql(q{COMMIT PREPARED 'many'});
all_idle('so have many jobs of a prepared transaction');
is(done(), join(' ', 'soon', 1 .. 500), 'in their order');
sql(q{SELECT bgjob_queue('default', paused => true);
	SELECT count(bgjob_enqueue('work', jsonb_build_array('by hand ' || i))) FROM generate_series(1, 40) i;
	CREATE TABLE kept AS SELECT * FROM bgjob_internal.queue; DELETE FROM bgjob_internal.queue;
	SELECT bgjob_queue_resume('default'); SELECT bgjob_enqueue('work', '["last"]')});
wait_until($node, q{SELECT count(*) = 1 FROM done}, 'a job has run while others have no row in the queue');
sql('INSERT INTO bgjob_internal.queue SELECT * FROM kept');
all_idle('the others have run after their rows were inserted again');
is(done(), join(' ', 'last', map { "by hand $_" } 1 .. 40), 'in their order');
$snapshot->quit;
$_->quit for $holder, $taker;

check_counters($node);
done_testing();
