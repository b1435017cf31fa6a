# External workers, and time: clocks that jump while jobs are leased, also over a restart; the longest and shortest leases; an old
# snapshot; many jobs. A lease lasts as long as it says, whatever the clock does.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use FakeClock;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

my $node = clock_cluster('external_time', 0, 'bgjob.workers' => 2, fsync => 'off', log_statement => 'none', max_wal_size => '4GB');
my $unbound = 'SET bgjob.bind_leases = off;';
sub value { return (split /\n/, $node->safe_psql('postgres', "$unbound $_[0]"))[-1] // '' }
sub shown { return value("SELECT concat_ws(' ', state, retries, interruptions) FROM bgjob.jobs WHERE id = $_[0]") }
value(q{CREATE FUNCTION ext(q text, t interval = NULL) RETURNS bigint LANGUAGE sql AS $$ SELECT bgjob_enqueue('w', kind => 'external', queue => q, timeout => t, retry_delays => '{1 hour}') $$});
my $day = 86400;

# ---- the clock jumps forward ----
{
	my ($held, $short, $timed) = map { value("SELECT $_") } q{ext('a')}, q{ext('b')}, q{ext('c', '30 min')};
	value(qq{SELECT count(*) FROM bgjob_fetch('{$_}', 'w', 1, '1 hour')}) for qw(a c);
	value(q{SELECT count(*) FROM bgjob_fetch('{b}', 'w', 1, '20 s')});
	set_clock($day);
	wait_until($node, q{SELECT clock_timestamp() > (SELECT max(started_at) + interval '23 hours' FROM bgjob.jobs)}, 'the clock is set forward by a day');
	my $f = value(q{SELECT bgjob_enqueue('SELECT 1')});
	is(value("SELECT bgjob_wait($f, '20 s')"), 'succeeded', 'a job runs');
	usleep(1_500_000);
	is(shown($held), 'processing 0 0', 'a lease of an hour holds');
	is(shown($timed), 'processing 0 0', 'so does an attempt of half an hour');
	is(value("SELECT command FROM bgjob_heartbeat('w', '{$held}', '1 hour')"), 'continue', 'its worker goes on');
	is(value("SELECT bgjob_complete($held, 'w')"), 't', 'and completes it');
	is(value("SELECT bgjob_complete($timed, 'w')"), 't', 'the other, too');
	my $late = value(q{SELECT ext('b')});
	is(value(q{SELECT lease_until BETWEEN clock_timestamp() + interval '59 min' AND clock_timestamp() + interval '61 min' FROM bgjob_fetch('{b}', 'w2', 1, '1 hour')}), 't', 'lease_until is by the clock of the server');
	value("SELECT bgjob_complete($late, 'w2')");
	wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $short", 'a lease of 20 s ends within some 20 s', 40);
	value("SELECT bgjob_delete($short)");
}

# ---- and back ----
{
	my ($long, $short, $timed) = map { value("SELECT $_") } q{ext('a')}, q{ext('b')}, q{ext('c', '2 s')};
	value(q{SELECT count(*) FROM bgjob_fetch('{a}', 'w', 1, '1 hour')});
	value(q{SELECT count(*) FROM bgjob_fetch('{b}', 'w', 1, '2 s')});
	value(q{SELECT count(*) FROM bgjob_fetch('{c}', 'w', 1, '1 hour')});
	set_clock(0);
	my $began = time;
	wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $short", 'the clock is set back by a day: a lease of 2 s ends all the same', 30);
	wait_until($node, "SELECT state = 'scheduled' FROM bgjob.jobs WHERE id = $timed", 'and an attempt of 2 s', 30);
	is(shown($long), 'processing 0 0', 'a long one does not');
	is(value("SELECT bgjob_complete($long, 'w')"), 't', 'and is completed');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE finished_at < created_at - interval '25 hours'}), 0, 'times are those of the clock');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled')});
}

# ---- over a restart ----
for my $jump ($day, -$day, 400 * $day, 0)
{
	my ($long, $short) = map { value("SELECT $_") } q{ext('a')}, q{ext('b')};
	value(q{SELECT count(*) FROM bgjob_fetch('{a}', 'w', 1, '1 hour')});
	value(q{SELECT count(*) FROM bgjob_fetch('{b}', 'w', 1, '2 s')});
	set_clock($jump);
	with_clock(sub { $node->restart });
	my $what = $jump / $day . ' days';
	wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $short", "restarted when the clock has jumped to $what: the short lease ends", 30);
	is(shown($long), 'processing 0 0', 'the long one holds');
	is(value("SELECT command FROM bgjob_heartbeat('w', '{$long}', '1 hour')"), 'continue', 'its worker goes on');
	is(value("SELECT bgjob_complete($long, 'w')"), 't', 'and completes it');
	value("SELECT bgjob_delete($short)");
}

# ---- the longest, the shortest ----
{
	my @jobs = map { value(q{SELECT ext('year')}) } 1 .. 3;
	is(value(q{SELECT lease_until - clock_timestamp() BETWEEN '359 days' AND '367 days' FROM bgjob_fetch('{year}', 'y', 1, '1 year')}), 't', 'a lease of a year');
	is(value("SELECT command FROM bgjob_heartbeat('y', '{$jobs[0]}', '1 year')"), 'continue', 'is extended by a year');
	is(value(q{SELECT count(*) FROM bgjob_fetch('{year}', 'y', 2, '1 microsecond')}), 2, 'leases of a microsecond');
	wait_until($node, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN ($jobs[1], $jobs[2]) AND state = 'enqueued'", 'end');
	is(shown($jobs[0]), 'processing 0 0', 'the long one does not');
	with_clock(sub { $node->restart });
	is(value("SELECT bgjob_complete($jobs[0], 'y')"), 't', 'not even by a restart');
	my $forever = value(q{SELECT ext('forever', '99999 years')});
	is(value(q{SELECT count(*) FROM bgjob_fetch('{forever}', 'y', 1, '1 hour')}), 1, 'an attempt of 99,999 years');
	is(value("SELECT bgjob_complete($forever, 'y')"), 't', 'is completed');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state = 'enqueued'});
}

# ---- an old snapshot ----
{
	my $old = $node->background_psql('postgres');
	$old->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM bgjob.jobs});
	value(q{CREATE PROCEDURE cycles(n int) LANGUAGE plpgsql AS $$
		DECLARE
			k bigint;
		BEGIN
			FOR i IN 1 .. n LOOP
				PERFORM count(*) FROM bgjob_enqueue_many('w', array_fill('1'::jsonb, ARRAY[20]), kind => 'external', queue => 'cycle');
				COMMIT;
				SELECT count(*) INTO k FROM bgjob_fetch('{cycle}', 'c', 20) f WHERE bgjob_complete(f.id, 'c');
				IF k <> 20 THEN RAISE EXCEPTION '% of 20', k; END IF;
				COMMIT;
			END LOOP;
		END $$});
	# Read in blocks, since a time says little on a busy machine.
	my $blocks = sub { return value(q{EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*) FROM bgjob_fetch('{cycle}', 'c') f WHERE bgjob_complete(f.id, 'c')}) };
	my $read = sub {
		value(q{SELECT ext('cycle')});
		my $json = $node->safe_psql('postgres', q{EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*) FROM bgjob_fetch('{cycle}', 'c') f WHERE bgjob_complete(f.id, 'c')});
		return $json =~ /"Shared Hit Blocks": (\d+)/ ? $1 : -1;
	};
	value('CALL cycles(20)');
	$read->();
	my $first = $read->();
	value('CALL cycles(1000)');
	my $later = $read->();
	cmp_ok($later, '<', 5 * $first + 200, "after 20,000 jobs under an old snapshot a fetch reads $later blocks, $first before");
	# A transaction with an old snapshot itself.
	value(q{SELECT ext('seen')});
	my $id = value(q{SELECT max(id) FROM bgjob.jobs});
	my $answer = $old->query(q{SELECT count(*) FROM bgjob_fetch('{seen}', 'old')});
	like($answer, qr/^[01]$/m, "a transaction whose snapshot is older than a job: it gets it or not ($answer)");
	if ($answer =~ /1/)
	{
		is($old->query("SELECT bgjob_complete($id, 'old')"), 't', 'then it completes it');
	}
	$old->query('COMMIT');
	$old->quit;
	value("SELECT bgjob_delete($id)");
	is(value("SELECT state IN ('succeeded', 'deleted') FROM bgjob.jobs WHERE id = $id"), 't', 'nothing is left of it');
}

# ---- many jobs ----
{
	my $n = $ENV{BGJOB_JOBS} // 100_000;
	my $began = time;
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('w', array_fill('{"a": 1}'::jsonb, ARRAY[$n]), kind => 'external', queue => 'many')});
	note(sprintf '%d external jobs enqueued in %.1f s', $n, time - $began);
	my $f = value(q{SELECT bgjob_enqueue('SELECT 1')});
	is(value("SELECT bgjob_wait($f, '20 s')"), 'succeeded', "$n external jobs hold up no other");
	value(q{SELECT bgjob_enqueue('w', kind => 'external', queue => 'many', priority => 5)});
	for my $step (1 .. 3)
	{
		$began = time;
		is(value(q{SELECT count(*) FROM bgjob_fetch('{many}', 'm', 100) f WHERE bgjob_complete(f.id, 'm')}), 100, 'a hundred of them');
		note(sprintf 'fetch and complete of 100: %.3f s', time - $began);
	}
	is(value('SELECT count(*) FROM bgjob_fetch(ARRAY[\'many\'], \'m\', 10000, \'1 s\')') > 100, 1, 'ten thousand of them, for a second');
	wait_until($node, q{SELECT processing = 0 FROM bgjob.stats}, 'are back after it', 60);
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'many' AND state = 'enqueued'}), $n + 1 - 300, 'none is lost');
	is(value(q{SELECT min(f.id) = (SELECT min(id) FROM bgjob.jobs WHERE queue = 'many' AND state IN ('enqueued', 'processing')) FROM bgjob_fetch('{many}', 'm', 1) f}), 't', 'and the first is the first');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE queue = 'many' AND state IN ('enqueued', 'processing')});
}

check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'nothing has crashed');
done_testing();
