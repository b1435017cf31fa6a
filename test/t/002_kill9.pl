# check.sh: crashes expected
# Processes are killed in the middle of jobs with effects: every effect is there exactly once, and nothing is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);
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

# A query that is tried until the server answers.
sub ask
{
	my ($query) = @_;
	my $until = time + 60;
	while (time < $until)
	{
		# psql may be gone before it has read the query.
		my ($status, $out) = eval { $node->psql('postgres', $query, on_error_stop => 1, timeout => 30) };
		return $out if defined $status && $status == 0;
		usleep(20_000);
	}
	die "no answer: $query";
}

# The pid of some process of bgjob; waits until there is one.
sub pid_of
{
	my ($query) = @_;
	my $until = time + 60;
	while (time < $until)
	{
		my $pid = ask($query);
		return $pid if $pid =~ /^\d+$/;
		usleep(5_000);
	}
	die "no process: $query";
}

sub kill9
{
	my ($pid) = @_;
	kill 'KILL', $pid;
	my $until = time + 60;
	usleep(2_000) while kill(0, $pid) && time < $until;
}

# The same job, the first that is being processed, is hit again and again: that must not be held against it.
my $busy = q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY job_id LIMIT 1};
ask(q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[400]))});
ask(q{SELECT count(*) FROM bgjob_enqueue_many('work_committing', array_fill(NULL::jsonb, ARRAY[20]))});
my $killed = 0;
for my $round (1 .. 50)
{
	my $left = ask(q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'});
	ask(q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[100]))}) if $left < 50;
	kill9(pid_of($busy));
	$killed++;
}
is($killed, 50, 'fifty workers were killed while they performed a job');
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs}, 'every job has succeeded', 120);
is(ask(q{SELECT count(*) FROM (SELECT job FROM effect GROUP BY job HAVING count(*) <> 2 OR count(DISTINCT step) <> 2) x}), '0',
	'every effect is there exactly once');
is(ask(q{SELECT count(*) FROM bgjob.jobs j WHERE NOT EXISTS (SELECT FROM effect e WHERE e.job = j.id)}), '0', 'and none is missing');
is(ask(q{SELECT sum(retries) FROM bgjob.jobs}), '0', 'no retry was used up');
cmp_ok(ask(q{SELECT sum(interruptions) FROM bgjob.jobs}), '>=', 50, 'the interruptions are counted');
is(ask(q{SELECT count(*) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE s.state = 'enqueued' GROUP BY j.id, j.interruptions
	HAVING count(*) <> j.interruptions + 1}), '', 'and each is in the history');

# Other processes.
ask(q{CREATE FUNCTION long() RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1.5); RETURN 'done'; END$$});
my $long = ask(q{SELECT bgjob_enqueue('long')});
my $worker = pid_of(q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL});
my $began = time;
ask("SELECT pg_terminate_backend($worker)");
wait_until($node, qq{SELECT interruptions = 1 AND state IN ('processing', 'succeeded') FROM bgjob.jobs WHERE id = $long},
	'a job whose worker is terminated is taken up again');
cmp_ok(time - $began, '<', 1.4, 'within a second or so');
is(ask("SELECT bgjob_wait($long, '60 s')"), 'succeeded', 'and succeeds');
is(ask("SELECT retries FROM bgjob.jobs WHERE id = $long"), '0', 'without a retry used');

for my $type ('bgjob scheduler', 'bgjob launcher')
{
	for my $signal ('TERM', 'KILL')
	{
		my $pid = pid_of(qq{SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'});
		kill $signal, $pid;
		my $until = time + 60;
		usleep(2_000) while kill(0, $pid) && time < $until;
		my $job = ask(q{SELECT bgjob_enqueue('work')});
		is(ask("SELECT bgjob_wait($job, '60 s')"), 'succeeded', "$type gets SIG$signal: jobs are performed");
		pid_of(qq{SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'});
	}
}

# The postmaster itself, and an immediate shutdown.
for my $how ('kill9', 'immediate')
{
	my $job = ask(q{SELECT bgjob_enqueue('long')});
	pid_of(q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL});
	my $postmaster = $node->{_pid};
	$how eq 'kill9' ? $node->kill9 : $node->stop('immediate');
	my $until = time + 60;
	usleep(10_000) while kill(0, $postmaster) && time < $until;
	# What is left of the old server may hold its shared memory for a moment.
	until ($node->start(fail_ok => 1) || time > $until) { $node->{_pid} = undef; usleep(200_000) }
	is(ask("SELECT bgjob_wait($job, '60 s')"), 'succeeded', "server ended by $how: the job runs after the start");
}
$node->stop;
done_testing();
