# check.sh: crashes expected
# Sequences. The jobs of one key run one after the other and in order, through retries, failures and deletions, whoever enqueues and commits
# when, with many workers and while processes are killed; what blocks a key is shown; jobs of other keys, roles, and without a key go on; a job put into an
# idle sequence starts as soon as any other.
#
# BGJOB_SEQUENCED is the number of jobs of each load (500), BGJOB_KEYS that of keys with one job each (20000).
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

my $jobs = $ENV{BGJOB_SEQUENCED} // 500;
my $keys = $ENV{BGJOB_KEYS} // 20_000;
my $node = bgjob_cluster('sequences', 'bgjob.workers' => 8, max_connections => 60, max_prepared_transactions => 20, restart_after_crash => 'on', 'bgjob.max_crashes' => 30);
my $tmp = $PostgreSQL::Test::Utils::tmp_check;

flow_on($node);
value(q{
	-- Each job that commits leaves the order in which it has run.
	CREATE TABLE effect (n bigserial, job bigint, key text);
	CREATE FUNCTION work(key text, ms float DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect (job, key) VALUES (bgjob_current_id(), key);
		PERFORM hold('key ' || key, 1, ms);
	END $$;
	-- fails as long as the table says so
	CREATE TABLE broken (key text);
	CREATE FUNCTION fragile(key text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect (job, key) VALUES (bgjob_current_id(), key);
		IF EXISTS (SELECT FROM broken b WHERE b.key = fragile.key) THEN RAISE EXCEPTION 'broken'; END IF;
	END $$;
	CREATE PROCEDURE committing(key text) LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect (job, key) VALUES (bgjob_current_id(), key);
		PERFORM hold('key ' || key, 1, 2);
		COMMIT;
	END $$});

# fine KEY [, OPTIONS] enqueues a job that ends at once.
sub fine { my ($key, $options) = @_; return value("SELECT bgjob_enqueue('work', '[\"$key\"]', sequence_key => '$key', max_retries => 0" . ($options // '') . ')') }

# in_order WHERE, WHAT tests that the jobs with an effect had it in the order of their ids, each once, and not at the same time.
sub in_order
{
	my ($where, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(value(qq{SELECT count(*) FROM (SELECT job, lag(job) OVER (PARTITION BY key ORDER BY n) AS before FROM effect WHERE $where) x WHERE job <= before}), '0', "$what: in order")
		or diag(value(qq{SELECT * FROM (SELECT key, job, n, lag(job) OVER (PARTITION BY key ORDER BY n) AS before FROM effect WHERE $where) x WHERE job <= before LIMIT 10}));
	is(most_at_once(q{j.run_as || ' ' || j.sequence_key}, q{j.sequence_key IS NOT NULL}), '1', "$what: never two at once");
}

# waits JOB, FOR, WHAT tests that a job waits for another one of its sequence.
sub waits
{
	my ($job, $for, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $why = value("SELECT detail FROM bgjob_why($job) WHERE reason = 'sequence'");

	is(state_of($job) . ' ' . value("SELECT reason FROM bgjob_why($job) LIMIT 1"), 'enqueued sequence', "$what: it waits for its sequence");
	like($why, qr/\b$for\b/, "$what: bgjob_why names the job before it");
}

# ---- many keys, many workers ----
{
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_object('key', 'a' || i % 10, 'ms', i % 3) FROM generate_series(1, $jobs) i), sequence_key => '{key}', max_retries => 0)});
	value(qq{SELECT count(bgjob_enqueue('work', jsonb_build_object('key', 'b' || i % 3), sequence_key => 'b' || i % 3, max_retries => 0, priority => i % 4)) FROM generate_series(1, $jobs) i});
	value(qq{SELECT count(bgjob_enqueue('committing', jsonb_build_object('key', 'c'), sequence_key => 'c', max_retries => 0)) FROM generate_series(1, 20) i});
	value(qq{SELECT bgjob_queue('g', group_size => 50); SELECT count(bgjob_enqueue('work', jsonb_build_object('key', CASE WHEN i % 2 = 0 THEN 'g' || i % 3 ELSE 'u' || i END), sequence_key => CASE WHEN i % 2 = 0 THEN 'g' || i % 3 END, queue => 'g', max_retries => 0)) FROM generate_series(1, $jobs) i});
	all_over('all jobs are over');
	started_once('true', 'each has started once');
	in_order(q{key ~ '^[abc]'}, 'all keys');
	in_order(q{job IN (SELECT id FROM bgjob.jobs WHERE queue = 'g' AND sequence_key IS NOT NULL)}, 'in a queue with groups');
	cmp_ok(most_at_once('1', q{sequence_key ~ '^a'}), '>', 1, 'jobs of different keys run beside each other');
	is(value('SELECT count(*) FROM effect'), value('SELECT count(*) FROM bgjob.jobs'), 'each has had its effect once');
}

# ---- an idle sequence is as quick as none ----
{
	for my $i (1 .. 40)
	{
		my $key = $i % 2 ? q{, sequence_key => 'idle'} : '';
		my $job = value("SELECT bgjob_enqueue('fine', tags => '{quick}'$key)");
		value("SELECT bgjob_wait($job, '20 s')");
	}
	my ($with, $without) = split /\|/, value(q{SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY w) FILTER (WHERE k), percentile_cont(0.5) WITHIN GROUP (ORDER BY w) FILTER (WHERE NOT k)
		FROM (SELECT extract(epoch FROM started_at - created_at) * 1000 AS w, sequence_key IS NOT NULL AS k FROM bgjob.jobs WHERE tags = '{quick}') x});
	cmp_ok($with, '<=', 2 * $without + 5, sprintf('a job of an idle sequence starts as soon as any other (%.2f ms, others %.2f ms)', $with, $without));
}

# ---- however the job ahead ends ----
for my $case (
	[ 'success', q{'block', '[1]'}, sub { let_go(1) } ],
	[ 'discard', q{'SELECT block(1), bgjob_discard()', kind => 'sql'}, sub { let_go(1) } ],
	[ 'bgjob_delete of one that runs', q{'block', '[1]'}, sub { value("SELECT bgjob_delete($_[0])") } ],
	[ 'bgjob_delete of one that has failed', q{'SELECT block(1), 1 / (random() * 0)::int', kind => 'sql', max_retries => 0}, sub { let_go(1); becomes($_[0], 'failed', 'the first one has failed'); waits($_[1], $_[0], 'behind a failed job'); }, sub { value("SELECT bgjob_delete($_[0])") } ],
	[ 'bgjob_delete of one that waits for its retry', q{'SELECT block(1), 1 / (random() * 0)::int', kind => 'sql', retry_delays => '{1 h}'}, sub { let_go(1); becomes($_[0], 'scheduled', 'the first one waits for its retry'); waits($_[1], $_[0], 'behind a retry'); }, sub { value("SELECT bgjob_delete($_[0])") } ],
	[ 'bgjob_purge of one that has failed', q{'SELECT block(1), 1 / (random() * 0)::int', kind => 'sql', max_retries => 0}, sub { let_go(1); becomes($_[0], 'failed', 'the first one has failed') }, sub { value("SELECT bgjob_purge('failed')") } ],
	[ 'a canceled batch', q{'block', '[1]', batch => (SELECT max(id) FROM bgjob.batches)}, sub { value('SELECT bgjob_batch_cancel(max(id)) FROM bgjob.batches') } ])
{
	my ($what, $job, @steps) = @$case;
	my $key = $what =~ s/\W+/ /gr;

	value("SELECT bgjob_batch('$what')");
	hold_back(1);
	my $first = value("SELECT bgjob_enqueue($job, sequence_key => '$key')");
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $first", "$what: the first job runs");
	my ($second, $third) = (fine($key), fine($key));
	waits($second, $first, "$what: the second one");
	is(state_of($third), 'enqueued', "$what: the third one waits as well");
	my $beside = value(q{SELECT bgjob_enqueue('fine')});
	becomes($beside, 'succeeded', "$what: a job without a key runs");
	my $instant;
	for my $step (@steps)
	{
		$instant = value('SELECT clock_timestamp()');
		$step->($first, $second);
	}
	becomes($_, 'succeeded', "$what: the next one runs") for $second, $third;
	soon_after($second, $instant, $what);
	let_go(1);
	in_order("key = '$key'", $what);
	value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('scheduled', 'failed')});
}

# ---- retries and failures hold the key ----
{
	value(q{INSERT INTO broken VALUES ('r')});
	my $first = value(q{SELECT bgjob_enqueue('fragile', '["r"]', sequence_key => 'r', retry_delays => '{0.3 s}', max_retries => 100)});
	my $second = fine('r');
	wait_until($node, "SELECT retries >= 2 FROM bgjob.jobs WHERE id = $first", 'the first job fails and is tried again');
	is(state_of($second), 'enqueued', 'the second one waits all the time');
	like(value("SELECT detail FROM bgjob_why($second) WHERE reason = 'sequence'"), qr/\b$first\b/, 'and says for whom');
	value(q{DELETE FROM broken});
	becomes($second, 'succeeded', 'it runs after the retry that succeeds');
	in_order(q{key = 'r'}, 'through retries');

	value(q{INSERT INTO broken VALUES ('f')});
	$first = value(q{SELECT bgjob_enqueue('fragile', '["f"]', sequence_key => 'f', max_retries => 0)});
	becomes($first, 'failed', 'a job has failed for good');
	my @then = map { fine('f') } 1 .. 3;
	waits($then[0], $first, 'enqueued after a failure');
	my $urgent = fine('f', ', priority => 10');
	is(state_of($urgent), 'enqueued', 'nor does one of a higher priority overtake it');
	value(q{DELETE FROM broken});
	my $instant = value('SELECT clock_timestamp()');
	value("SELECT bgjob_requeue($first)");
	becomes($_, 'succeeded', 'requeued, the sequence goes on') for $first, @then, $urgent;
	soon_after($first, $instant, 'a requeued job');
	in_order(q{key = 'f'}, 'through a failure');

	# One in the middle is deleted, moved into the future, changed.
	hold_back(1);
	$first = value(q{SELECT bgjob_enqueue('block', '[1]', sequence_key => 'mid')});
	my ($deleted, $later, $changed, $last) = map { fine('mid') } 1 .. 4;
	value("SELECT bgjob_delete($deleted)");
	value("SELECT bgjob_reschedule($later, delay => '1 h')");
	value("SELECT bgjob_change($changed, priority => -5, queue => 'elsewhere')");
	is(join(' ', map { state_of($_) } $deleted, $later, $changed), 'deleted scheduled enqueued', 'those that wait can be deleted, rescheduled, changed');
	let_go(1);
	value("SELECT bgjob_delete($later)");
	becomes($_, 'succeeded', 'those that are left run') for $changed, $last;
	in_order(q{key = 'mid'}, 'after changes in the middle');

	# The running job is requeued: it stays the first one.
	hold_back(1);
	$first = blocked(q{sequence_key => 'again'});
	my $second_one = fine('again');
	value("SELECT bgjob_requeue($first)");
	let_go(1);
	becomes($_, 'succeeded', 'a running job is requeued') for $first, $second_one;
	is(value("SELECT a.started_at < b.started_at FROM bgjob.jobs a, bgjob.jobs b WHERE a.id = $first AND b.id = $second_one"), 't', 'it runs before the next one');
	# One that has succeeded runs again: it joins the sequence.
	hold_back(1);
	my $third = blocked(q{sequence_key => 'again'});
	value("SELECT bgjob_requeue($second_one)");
	is(state_of($second_one), 'enqueued', 'a finished job that is requeued waits for the one that runs');
	let_go(1);
	becomes($second_one, 'succeeded', 'then it runs');
	is(most_at_once('1', q{sequence_key = 'again'}), '1', 'not at once');

	# Snoozed.
	value(q{CREATE FUNCTION snoozes() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effect (job, key) VALUES (bgjob_current_id(), 'zzz');
		IF (SELECT count(*) FROM bgjob.job_states WHERE job_id = bgjob_current_id() AND state = 'processing') < 2 THEN PERFORM bgjob_snooze('0.3 s'); END IF; END $$});
	$first = value(q{SELECT bgjob_enqueue('snoozes', sequence_key => 'zzz')});
	$second = fine('zzz');
	becomes($_, 'succeeded', 'a job that snoozes, and the next one') for $first, $second;
	in_order(q{key = 'zzz'}, 'through a snooze');
}

# ---- delayed and awaiting jobs are in the sequence when they are ready ----
{
	my $later = fine('d', q{, delay => '1 h'});
	my $parent = value(q{SELECT bgjob_enqueue('fine', delay => '1 h')});
	my $child = fine('d', ", after => '{$parent}'");
	my $now = fine('d');
	becomes($now, 'succeeded', 'a delayed job and one that awaits do not hold up their sequence');
	hold_back(1);
	my $first = blocked(q{sequence_key => 'd'});
	value("SELECT bgjob_requeue($parent), bgjob_requeue($later)");
	becomes($parent, 'succeeded', 'the parent ends');
	wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $child", 'its child is ready');
	is(join(' ', state_of($child), state_of($later)), 'enqueued enqueued', 'both wait for the one that runs');
	let_go(1);
	becomes($_, 'succeeded', 'then both run') for $later, $child;
	my $due = fine('d', q{, delay => '0.2 s'});
	becomes($due, 'succeeded', 'a job that becomes due runs');
}

# ---- roles, limits, queues ----
{
	value(q{CREATE ROLE one LOGIN; CREATE ROLE two LOGIN; GRANT USAGE ON SCHEMA bgjob TO one, two; SELECT bgjob_limit('l', max_running => 2), bgjob_queue('q', max_running => 3)});
	hold_back(1);
	my $first = blocked(q{sequence_key => 'shared', run_as => 'one'});
	my $same = value(q{SET SESSION AUTHORIZATION one; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', sequence_key => 'shared')});
	my $other = value(q{SET SESSION AUTHORIZATION two; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', sequence_key => 'shared')});
	becomes($other, 'succeeded', 'a key of one role is not that of another');
	is(state_of($same), 'enqueued', 'but that of the same');
	let_go(1);
	becomes($_, 'succeeded', 'which goes on') for $first, $same;
	value(qq{SELECT count(bgjob_enqueue('work', jsonb_build_object('key', 'x' || i % 5, 'ms', 1), sequence_key => 'x' || i % 5, limits => CASE WHEN i % 3 > 0 THEN '{l}'::text[] END,
		queue => CASE WHEN i % 2 = 0 THEN 'q' ELSE 'default' END, max_retries => 0, tags => '{x}')) FROM generate_series(1, $jobs) i});
	all_over('sequences under limits, in queues with max_running: all jobs are over');
	started_once(q{tags = '{x}'}, 'each has started once');
	in_order(q{key ~ '^x'}, 'under limits');
	cmp_ok(most_at_once('1', q{limits = '{l}'}), '<=', 2, 'never three under a limit of two');
	cmp_ok(most_at_once('1', q{queue = 'q'}), '<=', 3, 'never four of a queue with three');
	nothing_left('no place is left taken');
}

# ---- transactions ----
{
	my ($idle, $second) = (session(), session());
	# The sessions enqueue in one order and commit in the other.
	say($_, 'BEGIN') for $idle, $second;
	my $c = say($idle, q{SELECT bgjob_enqueue('work', '["t"]', sequence_key => 't')});
	my $d = say($second, q{SELECT bgjob_enqueue('work', '["t"]', sequence_key => 't')});
	say($second, 'COMMIT');
	becomes($d, 'succeeded', 'a job runs that was committed while an older one was not');
	my $instant = value('SELECT clock_timestamp()');
	say($idle, 'COMMIT');
	becomes($c, 'succeeded', 'the older one runs when it is committed');
	soon_after($c, $instant, 'an older one');

	# Enqueued behind one that runs, which ends before the commit.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		hold_back(1);
		my $first = blocked(q{sequence_key => 't'});
		say($idle, 'BEGIN', 'SAVEPOINT a', q{SELECT bgjob_enqueue('work', '["t"]', sequence_key => 't')}, 'ROLLBACK TO a');
		$c = say($idle, q{SELECT bgjob_enqueue('work', '["t"]', sequence_key => 't')});
		let_go(1);
		becomes($first, 'succeeded', "$end: the job ahead ends while a session has enqueued the next one, and idles");
		my $other = fine('t');
		becomes($other, 'succeeded', "$end: a later one runs meanwhile");
		$instant = value('SELECT clock_timestamp()');
		say($idle, $end);
		next if $end eq 'ROLLBACK';
		becomes($c, 'succeeded', "$end: then that one runs");
		soon_after($c, $instant, $end);
	}

	# The job ahead fails, is deleted by a session that idles.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		my $first = value(q{SELECT bgjob_enqueue('bad', sequence_key => 't', max_retries => 0)});
		becomes($first, 'failed', "$end: the job ahead has failed");
		$c = fine('t');
		waits($c, $first, "$end: behind it");
		say($idle, 'BEGIN', "SELECT bgjob_delete($first)");
		is(state_of($c), 'enqueued', "$end: a deletion that is not committed does not count");
		my $later = fine('t');
		$instant = value('SELECT clock_timestamp()');
		say($idle, $end);
		if ($end eq 'ROLLBACK')
		{
			waits($c, $first, "$end: nor one that was rolled back");
			value("SELECT bgjob_delete($first)");
		}
		becomes($_, 'succeeded', "$end: the sequence goes on") for $c, $later;
		soon_after($c, $instant, "$end of the deletion");
	}

	# The next one is touched by a session that idles, while the job ahead ends.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		hold_back(1);
		my $first = blocked(q{sequence_key => 't'});
		my ($touched, $next) = (fine('t'), fine('t'));
		say($idle, 'BEGIN', "SELECT bgjob_delete($touched)");
		let_go(1);
		becomes($first, 'succeeded', "$end: the job ahead ends while a session deletes the next one");
		$instant = value('SELECT clock_timestamp()');
		say($idle, $end);
		becomes($touched, $end eq 'COMMIT' ? 'deleted' : 'succeeded', "$end: that one is over");
		becomes($next, 'succeeded', "$end: and the one after it runs");
		soon_after($end eq 'COMMIT' ? $next : $touched, $instant, "$end of the deletion of the next one");
	}
	leave($idle, $second);

	for my $restart (0, 1)
	{
		my $when = $restart ? 'over a restart' : 'at once';
		my $key = "p$restart";
		hold_back(1);
		my $first = blocked("sequence_key => '$key'");
		my ($in, $out, $behind) = ((map { value("BEGIN; SELECT bgjob_enqueue('work', '[\"$key\"]', sequence_key => '$key'); PREPARE TRANSACTION '$_'") } 'in', 'out'), fine($key));
		$node->restart('immediate') if $restart;
		let_go($restart ? () : 1);
		becomes($_, 'succeeded', "$when: prepared jobs hold nobody up") for $first, $behind;
		$instant = value('SELECT clock_timestamp()');
		value(q{COMMIT PREPARED 'in'});
		becomes($in, 'succeeded', "$when: COMMIT PREPARED of a job");
		soon_after($in, $instant, "$when: COMMIT PREPARED");
		value(q{ROLLBACK PREPARED 'out'});
		becomes(fine($key), 'succeeded', "$when: ROLLBACK PREPARED leaves nothing behind");
	}
}

# ---- under an old snapshot: no job goes along all that have stood there before ----
{
	my ($old, $idle) = (session(), session());
	my $long = 600;
	my $read = q{SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.sequence_pkey'::regclass};
	my $gone = q{SELECT n_tup_del FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.sequence'::regclass};

	say($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT 1');
	my ($tries, $entries) = (0);
	# The scheduler may not know yet that the transactions are over that were prepared above: then nothing is remembered.
	do
	{
		my ($had_read, $were_gone) = (value($read), value($gone));
		value(qq{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill('["long"]'::jsonb, ARRAY[$long]), sequence_key => 'long')});
		all_over('a long sequence under an old snapshot');
		wait_until($node, "SELECT ($gone) >= $were_gone + $long", 'each worker has reported what it did');
		$entries = value($read) - $had_read;
	} until $entries < 20 * $long || ++$tries == 5;
	cmp_ok($entries, '<', 20 * $long, "a long sequence under an old snapshot: $entries entries of its index were read for $long jobs");
	in_order(q{key = 'long'}, 'a long sequence under an old snapshot');

	# What is remembered of the sequence is right whatever becomes visible before it; in a queue that is paused, so it stays there.
	value(q{SELECT bgjob_queue_pause('still')});
	my $before = q{SELECT bgjob_enqueue('work', '["long"]', sequence_key => 'long', queue => 'still')};
	my $others = q{SELECT count(bgjob_enqueue('work', jsonb_build_array('o' || i), sequence_key => 'o' || i)) FROM generate_series(1, 100) i};
	for my $case ([ 'COMMIT' ], [ 'RELEASE of a savepoint', 'SAVEPOINT a' ], [ 'COMMIT with jobs of very many sequences', $others ], [ 'COMMIT PREPARED' ], [ 'ROLLBACK of a deletion' ], [ 'ROLLBACK TO a savepoint before a deletion' ],
		[ 'ROLLBACK of the deletion of very many' ], [ 'ROLLBACK PREPARED of a deletion' ])
	{
		my ($end, @first) = @$case;
		my $deletes = $end =~ /deletion/;
		becomes(fine('long'), 'succeeded', "$end: the sequence is idle");
		my $job = $deletes ? value($before) : undef;
		say($idle, 'BEGIN', @first);
		$job //= say($idle, $before);
		say($idle, 'SAVEPOINT b') if $end =~ /TO a savepoint/;
		say($idle, $others, q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE sequence_key ~ '^o' AND state = 'enqueued'}) if $end =~ /deletion of very/;
		say($idle, "SELECT bgjob_delete($job)", $before) if $deletes; # the deletion is seen by the transaction itself
		say($idle, 'RELEASE a') if $end =~ /RELEASE/;
		say($idle, q{PREPARE TRANSACTION 'p'}) if $end =~ /PREPARED/;
		becomes(fine('long'), 'succeeded', "$end: a job runs that nobody stands before, as far as can be seen") unless $deletes;
		say($idle, "$1 'p'") if $end =~ /^(\w+ PREPARED)/;
		say($idle, 'ROLLBACK TO b') if $end =~ /TO a savepoint/;
		say($idle, $end =~ /^ROLLBACK of/ ? 'ROLLBACK' : 'COMMIT') unless $end =~ /PREPARED/;
		my $behind = fine('long');
		waits($behind, $job, "$end: a job that is enqueued afterwards waits for the one that stands there");
		value("SELECT bgjob_delete($job)");
		becomes($behind, 'succeeded', "$end: until that one is deleted");
	}
	value(q{SELECT bgjob_queue_resume('still')});
	all_over('nobody is left');
	say($old, 'COMMIT');
	leave($old, $idle);
}

# ---- without the scheduler; a server that is started with failed and waiting jobs ----
{
	hold_back(1);
	my $first = blocked(q{sequence_key => 'chain'});
	my $last = value(q{SELECT max(id) FROM bgjob_enqueue_many('work', array_fill('["chain"]'::jsonb, ARRAY[50]), sequence_key => 'chain') id});
	my $pid = scheduler();
	kill 'STOP', $pid;
	let_go(1);
	becomes($last, 'succeeded', '50 jobs of a sequence run while the scheduler is stopped');
	kill 'CONT', $pid;
	in_order(q{key = 'chain'}, 'without the scheduler');

	my $failed = value(q{SELECT bgjob_enqueue('bad', sequence_key => 'start', max_retries => 0)});
	becomes($failed, 'failed', 'a job fails');
	my @then = map { fine('start') } 1 .. 3;
	my $free = value(q{SELECT bgjob_enqueue('block', '[1]', sequence_key => 'start 2')});
	my $then = fine('start 2');
	let_go();
	$node->restart('fast');
	becomes($then, 'succeeded', 'after a restart a sequence goes on');
	waits($then[0], $failed, 'after a restart a failed job blocks its key');
	value("SELECT bgjob_delete($failed)");
	becomes($_, 'succeeded', 'until it is deleted') for @then;
	in_order(q{key ~ 'start'}, 'after a restart');
}
check_counters($node);

# ---- many keys ----
{
	my $began = time;
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.int4pl', ARRAY(SELECT jsonb_build_array(i, 1) FROM generate_series(1, $keys) i), sequence_key => 'many {1}', max_retries => 0, tags => '{many}')});
	all_over("$keys keys with one job each");
	note(sprintf '%d keys: %.1f s', $keys, time - $began);
	started_once(q{tags = '{many}'}, 'each has started once');
	is(value(q{SELECT count(DISTINCT sequence_key) FROM bgjob.jobs WHERE tags = '{many}'}), $keys, 'each has a key of its own');
	is(value(q{SELECT count(*) FROM bgjob_internal.sequence}), '0', 'nothing is kept of a sequence that is over');
}
value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,failed,deleted}'::text[]) s; TRUNCATE effect});

# ---- under load, while processes are killed: 8 sessions, each with keys of its own and some that all share ----
append_to_file("$tmp/seq.pgb", q{\set r random(1, 8)
\set k random(1, 3)
\set z random(0, 20)
\set ms random(0, 4)
BEGIN;
SELECT bgjob_enqueue('work', jsonb_build_array('own' || :client_id, :ms), sequence_key => 'own' || :client_id, max_retries => 0, priority => :k);
SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(jsonb_build_array('own' || :client_id || '/' || :k), ARRAY[3]), sequence_key => 'own' || :client_id || '/' || :k, max_retries => 0);
SELECT bgjob_enqueue('work', jsonb_build_array('shared' || :k, :ms), sequence_key => 'shared' || :k, max_retries => 0);
\if :r = 1
ROLLBACK;
\elif :r = 2
\sleep :z ms
COMMIT;
\else
COMMIT;
\endif
\sleep :z ms
});
for my $how ('TERM worker', 'KILL worker', 'TERM scheduler', 'KILL scheduler', 'kill9', 'immediate')
{
	my $bench = in_background('pgbench', '-n', '-c', 8, '-T', 2, '--random-seed=' . length($how), '-f', "$tmp/seq.pgb");
	wait_until($node, q{SELECT count(*) > 20 FROM effect}, "$how: jobs run");
	if ($how =~ /^(\w+) (\w+)$/)
	{
		my ($signal, $whom) = ($1, $2);
		for my $round (1 .. $signal eq 'TERM' ? 10 : 1)
		{
			my $pid = ask($node, $whom eq 'worker' ? q{SELECT worker_pid FROM bgjob.jobs WHERE state = 'processing' AND worker_pid IS NOT NULL ORDER BY random() LIMIT 1}
				: q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
			kill $signal, $pid if $pid =~ /^\d+$/;
			usleep(50_000);
		}
	}
	else
	{
		my $postmaster = $node->{_pid};
		$how eq 'kill9' ? $node->kill9 : $node->stop('immediate');
		until_gone($postmaster);
		start_again($node);
	}
	$bench->{run}->finish;
	ask($node, 'SELECT 1');
	all_over("$how: all jobs are over");
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}), '0', "$how: all have succeeded")
		or diag(value(q{SELECT id, sequence_key, state, reason, error FROM bgjob.jobs WHERE state <> 'succeeded' LIMIT 5}));
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE retries > 0}), '0', "$how: no retry was used up");
	in_order(q{key ~ '^own'}, $how);
	cmp_ok(value(q{SELECT count(*) FROM effect}), '>', 20, "$how: there was something to do");
	is(value(q{SELECT count(*) FROM (SELECT j.id FROM bgjob.jobs j LEFT JOIN effect e ON e.job = j.id GROUP BY 1 HAVING count(e.job) <> 1) x}), '0', "$how: each job has had its effect once");
	value(q{SELECT bgjob_purge('succeeded'); TRUNCATE effect});
}
check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
