# check.sh: crashes expected
# Processes are killed while jobs run: each job takes effect exactly once, and none is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use BgjobTest;

my $node = bgjob_cluster('kill9', restart_after_crash => 'on');
$node->safe_psql('postgres', q{
	CREATE TABLE effect (job bigint, step int);
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id(), 1);
		PERFORM pg_sleep(0.01 + random() * 0.05);
		INSERT INTO effect VALUES (bgjob_current_id(), 2);
	END $$;
	CREATE PROCEDURE work_committing() LANGUAGE plpgsql AS $$
	BEGIN
		COMMIT;
		PERFORM pg_sleep(0.05);
		INSERT INTO effect VALUES (bgjob_current_id(), 1), (bgjob_current_id(), 2);
	END $$;
});

# The first running job is hit again and again: its kills must not count as crashes.
my $busy = q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY job_id LIMIT 1};
ask($node, q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[400]))});
ask($node, q{SELECT count(*) FROM bgjob_enqueue_many('work_committing', array_fill(NULL::jsonb, ARRAY[20]))});
my $killed = 0;
# busy_worker returns a worker that runs a job. The jobs are short: there may be none left by the time that one is looked for.
sub busy_worker
{
	for (1 .. 1000)
	{
		my $left = ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'});
		ask($node, q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[100]))}) if $left < 50;
		my $pid = ask($node, $busy);
		return $pid if $pid =~ /^\d+$/;
	}
	die 'no worker runs a job';
}
for my $round (1 .. 50)
{
	my $pid = busy_worker();
	kill 'KILL', $pid;
	until_gone($pid);
	$killed++;
}
is($killed, 50, 'fifty workers were killed while they ran a job');
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs}, 'every job has succeeded', 120);
is(ask($node, q{SELECT count(*) FROM (SELECT job FROM effect GROUP BY job HAVING count(*) <> 2 OR count(DISTINCT step) <> 2) x}), '0',
	'every effect is there exactly once');
is(ask($node, q{SELECT count(*) FROM bgjob.jobs j WHERE NOT EXISTS (SELECT FROM effect e WHERE e.job = j.id)}), '0', 'no effect is missing');
is(ask($node, q{SELECT sum(retries) FROM bgjob.jobs}), '0', 'no retry was used up');
cmp_ok(ask($node, q{SELECT sum(interruptions) FROM bgjob.jobs}), '>=', 50, 'the interruptions are counted');
is(ask($node, q{SELECT count(*) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE s.state = 'enqueued' GROUP BY j.id, j.interruptions
	HAVING count(*) <> j.interruptions + 1}), '', 'each interruption is in the history');

# Other processes.
ask($node, q{CREATE FUNCTION long() RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1.5); RETURN 'done'; END$$});
my $long = ask($node, q{SELECT bgjob_enqueue('long')});
my $worker = pid_of($node, q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL});
my $began = time;
ask($node, "SELECT pg_terminate_backend($worker)");
wait_until($node, qq{SELECT interruptions = 1 AND state IN ('processing', 'succeeded') FROM bgjob.jobs WHERE id = $long},
	'a job whose worker is terminated is started again');
cmp_ok(time - $began, '<', 1.4, 'within 1.4 s');
is(ask($node, "SELECT bgjob_wait($long, '60 s')"), 'succeeded', 'the job succeeds');
is(ask($node, "SELECT retries FROM bgjob.jobs WHERE id = $long"), '0', 'the job has used no retry');

for my $type ('bgjob scheduler', 'bgjob launcher')
{
	for my $signal ('TERM', 'KILL')
	{
		my $pid = pid_of($node, qq{SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'});
		kill $signal, $pid;
		until_gone($pid);
		my $job = ask($node, q{SELECT bgjob_enqueue('work')});
		is(ask($node, "SELECT bgjob_wait($job, '60 s')"), 'succeeded', "$type gets SIG$signal: jobs still run");
		pid_of($node, qq{SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'});
	}
}

# The postmaster itself, and an immediate shutdown.
for my $how ('kill9', 'immediate')
{
	my $job = ask($node, q{SELECT bgjob_enqueue('long')});
	pid_of($node, q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL});
	my $postmaster = $node->{_pid};
	$how eq 'kill9' ? $node->kill9 : $node->stop('immediate');
	until_gone($postmaster);
	start_again($node);
	is(ask($node, "SELECT bgjob_wait($job, '60 s')"), 'succeeded', "server ended by $how: the job runs after the start");
}
check_counters($node);
$node->stop;
done_testing();
