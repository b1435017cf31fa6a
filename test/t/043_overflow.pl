# A role with more lanes (queue and priority) than its group may have: all of its jobs run, each once, and higher
# priorities first.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('overflow', 'bgjob.workers' => 1, 'bgjob.queues' => 'first, *');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE TABLE done (n bigserial, queue text, priority int);
	CREATE FUNCTION work(queue text, priority int) RETURNS void LANGUAGE sql AS 'INSERT INTO done (queue, priority) VALUES (queue, priority)';
	CREATE FUNCTION block() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(1)';
	CREATE FUNCTION enqueue_lanes(lanes int, priorities int) RETURNS bigint LANGUAGE sql AS $$
		SELECT count(bgjob_enqueue('work', jsonb_build_array('q' || i, i % priorities), queue => 'q' || i, priority => i % priorities))
		FROM generate_series(1, lanes) i$$});

my $holder = $node->background_psql('postgres');

# performs TEXT LANES CODE tests that the jobs that CODE enqueues while the worker is busy run.
sub performs
{
	my ($what, $lanes, $enqueue) = @_;

	sql('TRUNCATE done');
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	sql(q{SELECT bgjob_enqueue('block', priority => 30000)});
	wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, "$what: the worker is at something");
	$enqueue->();
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	wait_until($node, "SELECT count(*) = $lanes FROM done", "$what: all are performed", 60);
	is(sql('SELECT count(DISTINCT (queue, priority)) FROM done'), $lanes, "$what: each once");
	return;
}

sub in_order { return sql('SELECT count(*) FROM (SELECT priority > lag(priority) OVER (ORDER BY n) AS wrong FROM done) d WHERE wrong') }

performs('one transaction', 900, sub { sql('SELECT enqueue_lanes(900, 700)') });
is(in_order(), 0, 'higher priorities first');

performs('more lanes than a transaction notes', 3000, sub { sql('SELECT enqueue_lanes(3000, 10)') });

# Lanes of low priority fill the group when a lane of higher priority comes.
performs('one transaction after the other', 1000, sub {
	sql('SELECT enqueue_lanes(900, 10)');
	sql(q{SELECT count(bgjob_enqueue('work', jsonb_build_array('r' || i, 100 + i), queue => 'r' || i, priority => 100 + i)) FROM generate_series(1, 99) i});
	sql(q{SELECT bgjob_enqueue('work', '["first", 0]', queue => 'first')});
});
is(sql('SELECT queue FROM done ORDER BY n LIMIT 1'), 'first', 'the queue that comes first in the list goes before all');
is(sql(q{SELECT string_agg(priority::text, ' ' ORDER BY n) FROM (SELECT * FROM done WHERE queue <> 'first' ORDER BY n LIMIT 99) d}),
	join(' ', reverse 101 .. 199), 'jobs of a higher priority than the present lanes run next, in order');

# Jobs that a rollback makes ready again, of lanes without room.
performs('rolled back', 1000, sub {
	sql('SELECT enqueue_lanes(1000, 1)');
	sql(q{BEGIN; SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state = 'enqueued'; ROLLBACK});
});

# Lanes of a queue that is paused, or not taken, delay no other lane.
sql(q{SELECT bgjob_queue_pause('q' || i) FROM generate_series(1, 300) i});
sql('TRUNCATE done; SELECT enqueue_lanes(600, 1)');
wait_until($node, 'SELECT count(*) = 300 FROM done', 'with 300 queues paused, the jobs of the others are performed', 60);
sql(q{SELECT bgjob_queue_resume('q' || i) FROM generate_series(1, 300) i});
wait_until($node, 'SELECT count(*) = 600 FROM done', 'and those of the paused ones when they are resumed', 60);

$holder->quit;
check_counters($node);
$node->stop;
done_testing();
