# Delete, requeue and reschedule return whatever the job does: while its commit waits for the calling session,
# without a row in the queue (a restored database), or after its worker is lost. Accepted requests take effect.
# Sessions that change one job at the same time meet no error.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The longest time of a command, in seconds; shorter after one has hung.
my $patience = 30;
my $node = bgjob_cluster('races');

$node->safe_psql('postgres', q{
	CREATE EXTENSION crashme;
	CREATE TABLE parent (id int PRIMARY KEY);
	INSERT INTO parent VALUES (1);
	CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE effect (job bigint);
	CREATE FUNCTION add_child() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		INSERT INTO child VALUES (1);
	END $$;
});

# comes_back SESSION, SQL, WHAT tests that the answer is 't' or a deadlock error. Returns whether it is 't'.
sub comes_back
{
	my ($session, $sql, $what) = @_;
	my ($out) = $session->query($sql);
	my $err = $session->{stderr};

	$session->{stderr} = '';
	ok($out eq 't' || $err =~ /deadlock detected/, $what) or diag("answer: $out $err");
	return $out eq 't';
}

# A session deletes, requeues or reschedules a job whose commit waits for that session.
for my $ask ('bgjob_delete(%d)', 'bgjob_requeue(%d)', q(bgjob_reschedule(%d, delay => '1 hour')))
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe("SET statement_timeout = '${patience}s'");
	$session->query_safe('BEGIN');
	$session->query_safe('SELECT id FROM parent FOR UPDATE');
	my $id = $node->safe_psql('postgres', q(SELECT bgjob_enqueue('add_child')));
	wait_until($node, "SELECT count(*) = 1 FROM pg_stat_activity a JOIN bgjob.workers w USING (pid)
		WHERE w.job_id = $id AND a.wait_event_type = 'Lock'", 'a job waits in its commit for the check of a foreign key');
	my $accepted = comes_back($session, sprintf("SELECT $ask", $id), "$ask by the session with the lock returns");
	$session->query('COMMIT');
	$session->quit;
	my $state = $ask =~ /delete/ ? 'deleted' : $ask =~ /reschedule/ ? 'scheduled' : 'succeeded';
	wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $id", "the job is $state") if $accepted;
	wait_until($node, "SELECT state = 'succeeded' AND 1 = (SELECT count(*) FROM effect WHERE job = $id)
		OR state <> 'processing' AND 0 = (SELECT count(*) FROM effect WHERE job = $id) FROM bgjob.jobs WHERE id = $id",
		'the job has effects if it has succeeded');
}

# An accepted request takes effect even if the job is interrupted before it ends.
my %promised = map { $_ => $node->safe_psql('postgres', q(SELECT bgjob_enqueue('crashme_busy', '[4000]'))) } 'deleted', 'scheduled', 'failed';
wait_until($node, q(SELECT count(*) = 3 FROM bgjob.jobs WHERE job = 'crashme_busy' AND state = 'processing'), 'three jobs run that check for no interrupts');
is($node->safe_psql('postgres', "SELECT bgjob_delete($promised{deleted})"), 't', 'the deletion of one is accepted');
is($node->safe_psql('postgres', "SELECT bgjob_reschedule($promised{scheduled}, delay => '1 hour')"), 't', 'another one is rescheduled');
set_and_reload($node, 'bgjob.enabled' => 'off', 'bgjob.shutdown_timeout' => '100ms');
wait_until($node, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^bgjob (worker|scheduler)'), 'bgjob.enabled = off interrupts all jobs');
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $promised{deleted}"), 'deleted', 'the deleted job is deleted');
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $promised{scheduled}"), 'scheduled', 'the rescheduled job is scheduled');
is($node->safe_psql('postgres', "SELECT state, interruptions FROM bgjob.jobs WHERE id = $promised{failed}"), 'enqueued|1', 'the third job is in its queue again');
$node->safe_psql('postgres', "SELECT bgjob_delete($promised{failed})");

# A worker lost during a procedure leaves jobs that are stored as processing. A dump has jobs without their
# rows in the queue and in the schedule.
my @commands = (
	[ 'bgjob_delete(%d)', 'deleted' ],
	[ 'bgjob_requeue(%d)', 'enqueued' ],
	[ q(bgjob_reschedule(%d, delay => '2 hours')), 'scheduled' ]);
my (%processing, %enqueued, %scheduled);

set_and_reload($node, 'bgjob.enabled' => 'on');
$node->safe_psql('postgres', 'CREATE DATABASE origin');
$node->safe_psql('origin', q{
	CREATE EXTENSION bgjob;
	CREATE TABLE ran (job bigint);
	CREATE TABLE rested ();
	CREATE FUNCTION work() RETURNS void LANGUAGE sql AS 'INSERT INTO public.ran VALUES (public.bgjob_current_id())';
	CREATE PROCEDURE work_committing() LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.ran VALUES (public.bgjob_current_id());
		COMMIT;
		IF NOT EXISTS (SELECT FROM public.rested) THEN
			PERFORM pg_sleep(600);
		END IF;
	END $$;
});
$processing{ $_->[1] } = $node->safe_psql('origin', q(SELECT bgjob_enqueue('work_committing'))) for @commands;
wait_until($node, 'SELECT count(*) = 3 FROM ran', 'three procedures have committed something', 60, 'origin');
$node->append_conf('postgresql.conf', 'bgjob.enabled = off');
$node->stop('immediate');
$node->start;
$node->safe_psql('origin', 'INSERT INTO rested DEFAULT VALUES');
$enqueued{ $_->[1] } = $node->safe_psql('origin', q(SELECT bgjob_enqueue('work'))) for @commands;
$scheduled{ $_->[1] } = $node->safe_psql('origin', q(SELECT bgjob_enqueue('work', delay => '1 hour'))) for @commands;

my $file = "$PostgreSQL::Test::Utils::tmp_check/origin.custom";
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE origin; CREATE DATABASE restored');
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('origin') ], 'pg_dump');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');

# control DATABASE tests that each command on a waiting or ended job, in each state, returns and takes effect.
sub control
{
	my $db = shift;

	for my $case ([ 'processing', \%processing ], [ 'enqueued', \%enqueued ], [ 'scheduled', \%scheduled ])
	{
		my ($state, $ids) = @$case;
		for my $command (@commands)
		{
			my ($call, $becomes) = @$command;
			my $id = $ids->{$becomes};
			my ($out, $err) = ('', '');

			is($node->safe_psql($db, "SELECT state FROM bgjob.jobs WHERE id = $id"), $state, "$db: a job is $state");
			$node->psql($db, "SET statement_timeout = '${patience}s'; SELECT " . sprintf($call, $id), stdout => \$out, stderr => \$err);
			is($out, 't', "$call is accepted") or do { diag($err); $patience = 5 };
			# A restored database runs new jobs, a copy does not.
			like($node->safe_psql($db, "SELECT state FROM bgjob.jobs WHERE id = $id"),
				$db eq 'restored' && $becomes eq 'enqueued' ? qr/^(enqueued|processing|succeeded)$/ : qr/^$becomes$/, "the job is $becomes");
		}
	}
}

# The jobs that have run in the end; the procedures also once before. One job of each kind was requeued.
my $expected = join("\n", sort { $a <=> $b } values %processing, map { $_->{enqueued} } \%processing, \%enqueued, \%scheduled);

sub has_performed
{
	my $db = shift;
	wait_until($node, "SELECT count(*) = 6 FROM ran", "$db: what was requeued is performed", 60, $db);
	wait_until($node, q(SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'scheduled', 'deleted')), 'nothing else is left', 60, $db);
	is($node->safe_psql($db, 'SELECT job FROM ran ORDER BY job'), $expected, 'no other job has run');
	is($node->safe_psql($db, 'SELECT state, count(*) FROM bgjob.jobs GROUP BY state ORDER BY state'), "deleted|3\nscheduled|3\nsucceeded|3",
		'the other jobs are unchanged');
}

control('origin');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, q(SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname IN ('origin', 'restored')),
	'the origin and the restored database have schedulers');
control('copy');
control('restored');
has_performed('origin');
is($node->safe_psql($_, 'SELECT count(*) FROM ran'), 3, "$_: nothing is performed before bgjob_adopt()") for 'copy';
for my $db ('copy', 'restored')
{
	$node->safe_psql($db, 'SELECT bgjob_adopt()');
	has_performed($db);
}
# Eight sessions move one job between two priorities. One may read the job, and take it when it has been away and come back.
my $moved = $node->safe_psql('postgres', q{
	CREATE TABLE problem (sqlstate text, message text);
	CREATE PROCEDURE move(job bigint, times int) LANGUAGE plpgsql AS $$
	BEGIN
		SET synchronous_commit = off;
		FOR i IN 1..times LOOP
			BEGIN
				PERFORM bgjob_change(job, priority => i % 2);
			EXCEPTION WHEN OTHERS THEN
				INSERT INTO problem VALUES (SQLSTATE, SQLERRM);
			END;
			COMMIT;
		END LOOP;
	END $$;
	SELECT bgjob_queue('held', paused => true) \gset x
	SELECT bgjob_enqueue('add_child', queue => 'held')});
my $moves = PostgreSQL::Test::Utils::tempdir() . '/move.pgb';
append_to_file($moves, "CALL move($moved, 2000);\n");
command_ok([ 'pgbench', '-n', '-c', '8', '-t', '1', '-f', $moves, $node->connstr('postgres') ], 'eight sessions change a job');
is($node->safe_psql('postgres', 'SELECT sqlstate, message, count(*) FROM problem GROUP BY 1, 2'), '', 'none of them meets an error');
is($node->safe_psql('postgres', "SELECT state, bgjob_delete(id) FROM bgjob.jobs WHERE id = $moved"), 'enqueued|t', 'the job is still enqueued');

check_counters($node);
$node->stop('immediate');
done_testing();
