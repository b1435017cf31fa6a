# Very many tiny jobs on several workers, while sessions delete and requeue some of them: waiting jobs by id, running jobs as
# bgjob.workers shows them. Many requests come just when the job has ended and its worker runs the next one. Each job writes its id in
# its transaction. In the end each deleted job has had no effect, each other job has succeeded with exactly one effect, and no
# request has affected another job. Then many sessions wait in bgjob_wait(), for one job and for many.
#
# BGJOB_STRESS is the number of jobs (20000; a million takes some minutes), BGJOB_WAITERS that of waiting sessions (100).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $jobs = $ENV{BGJOB_STRESS} // 20_000;
my $waiters = $ENV{BGJOB_WAITERS} // 100;
my $patience = 120 + $jobs / 500;
my $node = bgjob_cluster('stress', 'bgjob.workers' => 6, max_connections => $waiters + 40);

$node->safe_psql('postgres', q{
	CREATE TABLE effect (job bigint);
	CREATE TABLE asked (id bigint, what text, from_state text, answer boolean, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE span (queue text, lo bigint, hi bigint);
	-- One in eight takes a little longer, so that it can be met.
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		IF bgjob_current_id() % 8 = 0 THEN
			PERFORM pg_sleep(0.002);
		END IF;
	END $$;
	-- A third of the jobs may be deleted, a third requeued, and a third is left alone by all, and shows whether the wrong ones are hit.
	CREATE FUNCTION purpose(id bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT (ARRAY['delete', 'requeue', 'none'])[1 + id % 3] $$;
	CREATE FUNCTION ask(job bigint, state text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF purpose(job) = 'delete' THEN
			INSERT INTO asked VALUES (job, 'delete', state, bgjob_delete(job, state));
		ELSIF purpose(job) = 'requeue' THEN
			INSERT INTO asked VALUES (job, 'requeue', state, bgjob_requeue(job, state));
		END IF;
	END $$;
	-- Orders about running jobs (mode processing) or waiting ones, until all jobs have ended.
	CREATE PROCEDURE annoy(mode text) LANGUAGE plpgsql AS $$
	DECLARE
		s span;
		running bigint;
	BEGIN
		SELECT * INTO s FROM span;
		FOR i IN 1 .. 1000000000 LOOP
			IF mode = 'processing' THEN
				SELECT w.job_id INTO running FROM bgjob.workers w WHERE w.job_id BETWEEN s.lo AND s.hi AND purpose(w.job_id) <> 'none' ORDER BY random() LIMIT 1;
				IF FOUND THEN
					PERFORM ask(running, 'processing');
				END IF;
			ELSE
				PERFORM ask(s.lo + floor(random() * (s.hi - s.lo + 1))::bigint, 'enqueued');
			END IF;
			COMMIT;
			EXIT WHEN i % 200 = 0 AND NOT EXISTS (SELECT FROM bgjob.jobs WHERE id BETWEEN s.lo AND s.hi AND state IN ('enqueued', 'processing', 'scheduled'));
			-- Few jobs must not all be deleted before the workers come to them.
			IF mode = 'enqueued' THEN
				PERFORM pg_sleep(0.005);
			END IF;
		END LOOP;
	END $$;
	SELECT bgjob_queue('g', group_size => 50);
});

sub value { return $node->safe_psql('postgres', $_[0]) }

# in_background SQL starts a session, which finish() ends.
sub in_background
{
	my ($sql) = @_;
	my %session = (in => '', out => '', err => '');
	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ],
		\$session{in}, \$session{out}, \$session{err}, IPC::Run::timeout($patience + 200));
	return \%session;
}

sub stress
{
	my ($queue) = @_;
	my $began = time;

	value('TRUNCATE effect, asked, span');
	value(qq{SELECT bgjob_queue_pause('$queue')});
	value(qq{INSERT INTO span SELECT '$queue', min(id), max(id) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[$jobs]), queue => '$queue', max_retries => 0) AS id});
	my @annoying = map { in_background("CALL annoy('$_')") } 'processing', 'processing', 'processing', 'enqueued';
	value(qq{SELECT bgjob_queue_resume('$queue')});
	my $mine = 'id BETWEEN (SELECT lo FROM span) AND (SELECT hi FROM span)';
	wait_until($node, "SELECT count(*) = 0 FROM bgjob.jobs WHERE $mine AND state NOT IN ('succeeded', 'deleted', 'failed')", "queue $queue: all $jobs jobs end", $patience)
		or diag(value("SELECT state, count(*), min(id), max(reason) FROM bgjob.jobs WHERE $mine GROUP BY 1"));
	$_->{run}->finish for @annoying;
	is(join('', map { $_->{err} } @annoying), '', "queue $queue: the annoying sessions have had no error");

	# The outcome of all jobs, copied to tables: the views are slow for a million queries.
	value(qq{
		DROP TABLE IF EXISTS j, h, e, accepted;
		CREATE TABLE j AS SELECT id, state, retries, interruptions, reason, error FROM bgjob.jobs WHERE $mine;
		CREATE TABLE h AS SELECT job_id AS id, array_agg(state ORDER BY seq) AS states FROM bgjob.job_states GROUP BY 1;
		CREATE TABLE e AS SELECT job AS id, count(*) AS n FROM effect GROUP BY 1;
		CREATE TABLE accepted AS SELECT id, what, count(*) AS n FROM asked WHERE answer GROUP BY 1, 2;
		ANALYZE j, h, e, accepted});
	is(value('SELECT count(*) FROM j'), $jobs, "queue $queue: no job is lost");
	is(value(q{SELECT count(*) FROM j WHERE state = 'failed'}), '0', "queue $queue: none has failed")
		or diag(value(q{SELECT id, purpose(id), reason, error ->> 'sqlstate', (SELECT string_agg(what || ' ' || n, ',') FROM accepted a WHERE a.id = j.id)
			FROM j WHERE state = 'failed' LIMIT 5}));
	is(value('SELECT count(*) FROM j WHERE interruptions <> 0 OR retries <> 0'), '0', "queue $queue: no job was interrupted or retried");
	is(value(q{SELECT count(*) FROM accepted JOIN j USING (id) WHERE what = 'delete' AND j.state <> 'deleted'}), '0',
		"queue $queue: every job whose deletion was accepted has ended as deleted");
	is(value(q{SELECT count(*) FROM j WHERE state = 'deleted' AND id NOT IN (SELECT id FROM accepted WHERE what = 'delete')}), '0', "queue $queue: no other job is deleted");
	is(value(q{SELECT count(*) FROM j JOIN e USING (id) WHERE state = 'deleted'}), '0', "queue $queue: no deleted job has had an effect");
	is(value(q{SELECT count(*) FROM j LEFT JOIN e USING (id) WHERE state = 'succeeded' AND n IS DISTINCT FROM 1}), '0', "queue $queue: each succeeded job has its effect once");
	is(value('SELECT count(*) FROM e LEFT JOIN j USING (id) WHERE n > 1 OR j.id IS NULL'), '0', "queue $queue: no job has had two");
	is(value(q{SELECT count(*) FROM j LEFT JOIN h USING (id) WHERE id NOT IN (SELECT id FROM accepted) AND h.states IS DISTINCT FROM '{enqueued,processing,succeeded}'::text[]}), '0',
		"queue $queue: other jobs have a history of one attempt");
	# Enough requests must have been accepted, and come too late.
	for my $what ('delete', 'requeue')
	{
		for my $state ('enqueued', 'processing')
		{
			cmp_ok(value("SELECT count(*) FROM asked WHERE what = '$what' AND from_state = '$state' AND answer"), '>', 5, "queue $queue: $what of jobs that were $state was accepted");
		}
		cmp_ok(value("SELECT count(*) FROM asked WHERE what = '$what' AND from_state = 'processing' AND NOT answer"), '>', 0, "queue $queue: $what came too late for some");
	}
	note(sprintf('%s: %.1f s; %s', $queue, time - $began,
		value(q{SELECT string_agg(format('%s %s %s: %s', what, from_state, answer, n), ', ') FROM (SELECT what, from_state, answer, count(*) AS n FROM asked GROUP BY 1, 2, 3 ORDER BY 1, 2, 3) x})));
	value(qq{SELECT bgjob_purge(s) FROM unnest('{succeeded,failed,deleted}'::text[]) s});
}

stress('default');
stress('g');

# Many sessions wait for jobs of a queue that is paused until all of them wait.
$node->safe_psql('postgres', q{
	CREATE TABLE target (slot int PRIMARY KEY, id bigint, wanted text);
	CREATE TABLE woke (slot int, state text, at timestamptz);
	CREATE FUNCTION fine() RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION bad() RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
	CREATE PROCEDURE fine_procedure() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
});
my $script = "$PostgreSQL::Test::Utils::tmp_check/wait.sql";
append_to_file($script, q{INSERT INTO woke SELECT :client_id, bgjob_wait(id, '120 s'), clock_timestamp() FROM target WHERE slot = :client_id;} . "\n");

# crowd WHAT, SQL THAT FILLS target, SQL THAT LETS THE JOBS END
sub crowd
{
	my ($what, $fill, $go) = @_;
	my ($in, $out, $err) = ('', '', '');

	value('TRUNCATE target, woke');
	value(q{SELECT bgjob_queue_pause('crowd')});
	value($fill);
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', $waiters, '-j', 4, '-t', 1, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		\$in, \$out, \$err, IPC::Run::timeout(300));
	wait_until($node, qq{SELECT count(*) = $waiters FROM pg_stat_activity WHERE query LIKE '%bgjob_wait(id, ''120 s'')%' AND state = 'active' AND wait_event IS NOT NULL AND pid <> pg_backend_pid()},
		"$what: $waiters sessions wait", 90);
	is(value('SELECT count(*) FROM woke'), '0', "$what: no session is awake");
	my $gone = value(qq{SELECT clock_timestamp()});
	value($go);
	wait_until($node, qq{SELECT count(*) = 0 FROM target JOIN bgjob.jobs USING (id) WHERE state NOT IN ('succeeded', 'failed', 'deleted')}, "$what: the jobs end", 60);
	wait_until($node, "SELECT count(*) = $waiters FROM woke", "$what: all of them wake", 30) or diag($err);
	$bench->finish;
	is(value('SELECT count(*) FROM woke JOIN target USING (slot) WHERE state IS DISTINCT FROM wanted'), '0', "$what: with the right state")
		or diag(value('SELECT state, wanted, count(*) FROM woke JOIN target USING (slot) GROUP BY 1, 2'));
	is(value('SELECT count(DISTINCT slot) FROM woke'), $waiters, "$what: each once");
	# A crowd of processes on few cores; without a wake-up it would be the slow poll's ten seconds, or the time-out.
	my $slowest = value("SELECT max(extract(epoch FROM w.at - greatest(j.finished_at, '$gone'))) FROM woke w JOIN target USING (slot) JOIN bgjob.jobs j USING (id)");
	cmp_ok($slowest, '<', 5, "$what: soon ($slowest s)");
}

my $resume = q{SELECT bgjob_queue_resume('crowd')};
my $slots = 'generate_series(0, ' . ($waiters - 1) . ') i';
crowd('one job that succeeds', "INSERT INTO target SELECT i, j.id, 'succeeded' FROM (SELECT bgjob_enqueue('fine', queue => 'crowd') AS id OFFSET 0) j, $slots", $resume);
crowd('one job that fails', "INSERT INTO target SELECT i, j.id, 'failed' FROM (SELECT bgjob_enqueue('bad', queue => 'crowd', max_retries => 0) AS id OFFSET 0) j, $slots", $resume);
crowd('one job that is deleted', "INSERT INTO target SELECT i, j.id, 'deleted' FROM (SELECT bgjob_enqueue('fine', queue => 'crowd') AS id OFFSET 0) j, $slots",
	q{SELECT bgjob_delete(id) FROM (SELECT DISTINCT id FROM target) x});
crowd('many jobs that succeed', "INSERT INTO target SELECT i, bgjob_enqueue('fine', queue => 'crowd'), 'succeeded' FROM $slots", $resume);
value(q{SELECT bgjob_queue('crowd', group_size => 50)});
crowd('many jobs of all kinds, in groups', qq{INSERT INTO target SELECT i, CASE i % 4
		WHEN 0 THEN bgjob_enqueue('fine', queue => 'crowd') WHEN 1 THEN bgjob_enqueue('bad', queue => 'crowd', max_retries => 0)
		WHEN 2 THEN bgjob_enqueue('SELECT bgjob_discard()', kind => 'sql', queue => 'crowd') ELSE bgjob_enqueue('fine_procedure', queue => 'crowd') END,
	(ARRAY['succeeded', 'failed', 'deleted', 'succeeded'])[1 + i % 4] FROM $slots}, $resume);
crowd('many jobs, of which some are deleted', "INSERT INTO target SELECT i, bgjob_enqueue('fine', queue => 'crowd'), CASE i % 2 WHEN 0 THEN 'deleted' ELSE 'succeeded' END FROM $slots",
	q{SELECT count(bgjob_delete(id)) FROM target WHERE wanted = 'deleted'; } . $resume);

# Each session enqueues and waits at once, repeatedly: jobs end while the waits begin.
value($resume);
my $quick = "$PostgreSQL::Test::Utils::tmp_check/quick.sql";
append_to_file($quick, q{SELECT bgjob_enqueue('fine', priority => :client_id % 3) AS id \gset
INSERT INTO woke SELECT :client_id, bgjob_wait(:id, '20 s'), clock_timestamp();
});
value('TRUNCATE woke');
command_ok([ 'timeout', 300, 'pgbench', '-n', '-c', $waiters, '-j', 4, '-t', 20, '-f', $quick, '-h', $node->host, '-p', $node->port, 'postgres' ], "$waiters sessions enqueue and wait");
is(value(q{SELECT count(*) FROM woke WHERE state = 'succeeded'}), $waiters * 20, 'all sessions are woken with the right state');
is(value(q{SELECT count(*) FROM woke WHERE state IS DISTINCT FROM 'succeeded'}), '0', 'no session is woken by its timeout');
check_counters($node);
$node->stop;
done_testing();
