# check.sh: crashes expected
# Fairness. Workers are shared out between keys by what each has got lately and by their weights: a light key does not wait for a flood, nor for one that is
# spread over 1,000 keys; a lone key gets everything; a key that was away has saved nothing up; weights change while jobs run. Within a role; roles are fair
# among each other as they were. Whatever is done to jobs that wait for their turn, and whatever is killed, none is left.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobFlow;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('fairness', 'bgjob.workers' => 2, max_connections => 40, max_prepared_transactions => 10, restart_after_crash => 'on', 'bgjob.max_crashes' => 20);

flow_on($node);
value(q{CREATE FUNCTION nap(ms float) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(ms / 1000)';
	CREATE FUNCTION nap_of(tenant_id text, ms float) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(ms / 1000)'});

# flood KEY, NUMBER, MS [, OPTIONS] returns SQL that enqueues jobs of a key.
sub flood { my ($key, $number, $ms, $options) = @_; return "SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[$ms]'::jsonb, ARRAY[$number]), fairness_key => '$key', max_retries => 0" . ($options // '') . ')' }

# begin SQL… enqueues floods in one transaction, so that all of them wait when the first one begins. What ran before is removed.
sub begin
{
	value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled')});
	all_over('all that was before is over', 60);
	value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,deleted,failed}'::text[]) s});
	value(join ';', 'BEGIN', @_, 'COMMIT');
}

# share KEY, FROM, TO returns the part of the time of the workers, in per cent, that went to a key, among the jobs that were FROMth to TOth to end.
sub share
{
	my ($key, $from, $to) = @_;

	return value(qq{SELECT round(100 * sum(d) FILTER (WHERE fairness_key = '$key') / sum(d)) FROM (
		SELECT fairness_key, extract(epoch FROM finished_at - started_at) AS d, row_number() OVER (ORDER BY finished_at) AS n FROM bgjob.jobs WHERE state = 'succeeded') x WHERE n > $from AND n <= $to});
}

# about EXPECTED, GOT, WHAT tests that a share is within a tenth of what it should be.
sub about
{
	my ($expected, $got, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok($got ne '' && abs($got - $expected) <= 0.1 * $expected + 2, "$what: $got %, should be $expected %");
}

sub ended { my ($number) = @_; wait_until($node, "SELECT count(*) >= $number FROM bgjob.jobs WHERE state = 'succeeded'", "$number jobs have run", 120) }

# light NUMBER, OPTIONS has a client enqueue a job of 10 ms and wait for it, so often; returns the median of how long it waits, in ms.
sub light
{
	my ($number, $options) = @_;

	my $script = join "\n", map { "SELECT bgjob_enqueue('nap', '[10]', fairness_key => 'light', max_retries => 0, tags => '{light}'$options) AS id \\gset\nSELECT bgjob_wait(:id, '60 s');" } 1 .. $number;
	value($script);
	my $ms = value(q{SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at) * 1000))::numeric, 1) FROM bgjob.jobs WHERE tags = '{light}' AND state = 'succeeded'});
	value(q{SELECT bgjob_purge('succeeded')});
	return $ms;
}

# ---- a light key beside a flood ----
{
	begin('SELECT 1');
	my $alone = light(20, '');
	begin(flood('heavy', 20_000, 10));
	my $beside = light(20, '');
	cmp_ok($beside, '<=', 2 * $alone, "a light key beside a flood: its client waits at most twice as long as alone ($beside ms, $alone ms)");
	my $waiting = value(q{SELECT max(id) FROM bgjob.jobs WHERE state = 'enqueued'});
	is(value("SELECT reason FROM bgjob_why($waiting) LIMIT 1"), 'fairness', 'bgjob_why says that a job of the flood waits for its turn');
	my $began = time;
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state = 'enqueued'});
	note(sprintf '20,000 jobs that wait for their turn are deleted: %.1f s', time - $began);

	begin(q{SELECT count(*) FROM bgjob_enqueue_many('nap_of', ARRAY(SELECT jsonb_build_object('tenant_id', 'big/' || i % 1000, 'ms', 10) FROM generate_series(1, 5000) i), fairness_key => '{tenant_id}', max_retries => 0)});
	$beside = light(20, '');
	cmp_ok($beside, '<=', 2 * $alone, "a light key beside a flood over 1,000 keys ($beside ms, $alone ms)");
}

# ---- shares ----
{
	begin(flood('a', 1000, 4), flood('b', 1000, 4));
	ended(300);
	about(50, share('a', 20, 300), 'two keys of the same weight share equally');

	value(q{SELECT bgjob_weight('b', 3)});
	begin(flood('a', 1000, 4), flood('b', 1000, 4));
	ended(500);
	about(75, share('b', 20, 500), 'weights 1 : 3');

	# Changed while they run.
	value(q{SELECT bgjob_weight('b', 1), bgjob_weight('a', 4)});
	my $done = value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'succeeded'});
	ended($done + 320);
	about(80, share('a', $done + 20, $done + 320), 'weights that are changed while jobs run and wait');
	value(q{SELECT bgjob_weight('b', NULL), bgjob_weight('a', NULL)});

	# By time, not by number.
	begin(flood('short', 1500, 4), flood('long', 400, 16));
	ended(400);
	about(50, share('long', 40, 400), 'jobs of 4 ms and of 16 ms get the same time');

	# Patterns, for each key.
	value(q{SELECT bgjob_weight('tenant:*', 1), bgjob_weight('tenant:rich', 3)});
	begin((map { flood("tenant:$_", 500, 4) } 'p', 'q', 'rich'));
	ended(400);
	about(60, share('tenant:rich', 20, 400), 'an exception from the weight of a pattern');
	about(20, share('tenant:p', 20, 400), 'and one under the pattern');

	# Who was away has saved nothing up.
	begin(flood('a', 1500, 4));
	ended(400);
	$done = value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'succeeded'});
	value(flood('late', 500, 4));
	ended($done + 330);
	about(50, share('late', $done + 30, $done + 330), 'a key that comes later gets its share from then on, and no more');

	# A priority goes before the turn.
	begin(flood('a', 300, 4), flood('b', 50, 4, ', priority => 1'));
	ended(120);
	is(value(q{SELECT count(*) FROM (SELECT priority, row_number() OVER (ORDER BY started_at) AS n FROM bgjob.jobs WHERE state = 'succeeded') x WHERE priority = 0 AND n BETWEEN 5 AND 44}), '0', 'the higher priority goes first');
}

# ---- a lone key gets everything ----
{
	begin('SELECT 1');
	my %rate;
	for my $round (1, 2)
	{
		for my $how ('with', 'without')
		{
			value(qq{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[1]'::jsonb, ARRAY[500]), max_retries => 0, tags => '{$how$round}'} . ($how eq 'with' ? q{, fairness_key => 'lone')} : ')'));
			all_over("500 jobs $how a key");
			my $rate = value("SELECT 500 / extract(epoch FROM max(finished_at) - min(started_at)) FROM bgjob.jobs WHERE tags = '{$how$round}'");
			$rate{$how} = $rate if $rate > ($rate{$how} // 0);
		}
	}
	note(sprintf('a lone key: %.0f jobs/s, without a key %.0f', @rate{qw(with without)}));
	is(most_at_once('1', q{tags IN ('{with1}', '{with2}')}), '2', 'all workers are at it');
	started_once(q{fairness_key = 'lone'}, 'no job is started in vain');
}

# ---- jobs without a key, other queues, other roles ----
{
	value(q{CREATE ROLE one LOGIN; GRANT USAGE ON SCHEMA bgjob TO one});
	begin(flood('a', 3000, 4), flood('b', 3000, 4, q{, queue => 'other'}));
	for my $options ('', q{, queue => 'third'}, q{, run_as => 'one'})
	{
		my $instant = value('SELECT clock_timestamp()');
		my $job = value("SELECT bgjob_enqueue('fine'$options)");
		becomes($job, 'succeeded', "a job without a key runs beside floods$options");
	}
	ended(300);
	cmp_ok(value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'succeeded' AND fairness_key = 'a'}), '>', 0, 'a flood goes on');
}

# ---- what is done to jobs that wait for their turn ----
{
	value(q{SELECT bgjob_limit('two', max_running => 2)});
	begin(flood('a', 400, 2), flood('b', 200, 2), flood('c', 200, 2, q{, limits => '{two}'}), flood('d', 100, 2, q{, sequence_key => 'd'}));
	my @ids = split /\n/, value(q{SELECT id FROM bgjob.jobs WHERE state = 'enqueued' ORDER BY id DESC LIMIT 60});
	my $n = 0;
	for my $what ("bgjob_delete(%s)", "bgjob_requeue(%s)", "bgjob_change(%s, priority => 1)", "bgjob_change(%s, queue => 'other')", "bgjob_reschedule(%s, delay => '0.5 s')", "bgjob_delete(%s)")
	{
		value('SELECT ' . join(', ', map { sprintf $what, $_ } @ids[ $n .. $n + 9 ]));
		$n += 10;
	}
	# It is none of the sequence, where those behind it have to wait.
	my $idle = session();
	say($idle, 'BEGIN', flood('a', 10, 1), flood('e', 10, 1), 'SELECT bgjob_delete(min(id)) FROM bgjob.jobs WHERE state = \'enqueued\' AND sequence_key IS NULL');
	value('BEGIN; ' . flood('f', 10, 1) . q{; PREPARE TRANSACTION 'f'});
	wait_until($node, q{SELECT count(*) <= 1 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled')}, 'a session and a prepared transaction hold nobody up');
	value(q{COMMIT PREPARED 'f'});
	say($idle, 'COMMIT');
	leave($idle);
	all_over('jobs that were deleted, requeued, changed, rescheduled, prepared while they waited for their turn: all are over');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE fairness_key IN ('e', 'f') AND state = 'succeeded'}), '20', 'those of sessions that idled have run');
	cmp_ok(most_at_once('1', q{limits = '{two}'}), '<=', 2, 'the limit held');
	is(most_at_once('1', q{sequence_key = 'd'}), '1', 'and the sequence');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted')}), '0', 'none has failed');
	nothing_left('no place is taken');
}

# ---- more keys than workers, one job each ----
begin(q{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', ARRAY(SELECT jsonb_build_array(i, 1) FROM generate_series(1, 20000) i), fairness_key => '{1}', max_retries => 0)});
all_over('20,000 keys with one job each');
started_once('true', 'each has started once');
check_counters($node);

# ---- while processes are killed ----
for my $how ('TERM worker', 'KILL worker', 'KILL scheduler', 'kill9', 'fast')
{
	ask($node, join ';', map { flood($_, 150, 3) } 'a', 'b', 'c');
	ask($node, flood('c', 50, 3, q{, sequence_key => 'c'}));
	usleep(100_000);
	if ($how =~ /^(\w+) (\w+)$/)
	{
		my ($signal, $whom) = ($1, $2);
		for my $round (1 .. $signal eq 'TERM' ? 5 : 1)
		{
			my $pid = pid_of($node, $whom eq 'worker' ? q{SELECT worker_pid FROM bgjob.jobs WHERE state = 'processing' AND worker_pid IS NOT NULL ORDER BY random() LIMIT 1}
				: q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
			kill $signal, $pid;
			until_gone($pid);
		}
	}
	elsif ($how eq 'fast')
	{
		$node->restart('fast');
	}
	else
	{
		my $postmaster = $node->{_pid};
		$node->kill9;
		until_gone($postmaster);
		start_again($node);
	}
	ask($node, 'SELECT 1');
	all_over("$how: all jobs are over");
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded' OR retries > 0}), '0', "$how: all have succeeded, and no retry was used up");
}
check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
