# bgjob_run() gives no role the rights of another, and performs no job twice: beside workers and other sessions, after a
# crash, and on a server that runs no jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('run', 'bgjob.workers' => 2, fsync => 'off', restart_after_crash => 'on');
sub value { return $node->safe_psql('postgres', $_[0]) }

# reply ROLE, SQL returns the answer in a session of that role, or the SQLSTATE and message of the error.
sub reply
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-U', $role ]);
	return $err =~ /ERROR:\s+(\w{5}: .*)/ ? $1 : $out;
}

value(q{CREATE ROLE app LOGIN; CREATE ROLE team; GRANT team TO app; CREATE ROLE evil LOGIN; GRANT app TO evil;
	CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; CREATE ROLE stranger LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, evil, other; GRANT CREATE ON SCHEMA public TO app, evil;
	SELECT bgjob_queue('held', paused => true)});
value(q{SET SESSION AUTHORIZATION evil;
	CREATE TABLE trap (seen text); GRANT ALL ON trap TO PUBLIC;
	CREATE FUNCTION sprung() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RESET SESSION AUTHORIZATION; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER sprung AFTER INSERT ON trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sprung();
	CREATE FUNCTION evil(command text) RETURNS text LANGUAGE plpgsql AS $$BEGIN EXECUTE command; RETURN format('%s %s', session_user, current_user); END$$;
	CREATE FUNCTION enqueue_evil(command text) RETURNS bigint LANGUAGE sql AS $$SELECT bgjob_enqueue('evil', jsonb_build_array(command), queue => 'held', run_as => 'app')$$});

#
# A member of a role has had a job enqueued to run as that role. It does not get at the session of a more powerful role.
#
my @commands = (
	'RESET ROLE', 'SET ROLE team', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', q{SELECT set_config('role', 'none', false)},
	q{INSERT INTO trap VALUES ('x')}, 'CREATE TEMP TABLE t (a int)', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'PREPARE p AS SELECT 1', 'LISTEN x');
my %evil = map { my $command = $_; ($command => reply('evil', "SELECT enqueue_evil(\$q\$$command\$q\$)")) } @commands, 'SELECT 1', 'RESET ALL', 'SET app.rest = \'behind\'';
my %as = (
	'after SET ROLE'                  => 'SET ROLE app',
	'after SET SESSION AUTHORIZATION' => 'SET SESSION AUTHORIZATION app');
foreach my $how (sort keys %as)
{
	like(reply('postgres', "$as{$how}; SELECT bgjob_run($evil{$_})"), qr/^42501: cannot /, "$how: $_ is refused") for @commands;
	is(reply('postgres', "$as{$how}; BEGIN; SELECT current_user FROM (SELECT bgjob_run($evil{'RESET ALL'})) x; SELECT current_user; ROLLBACK"), "app\napp", "$how: RESET ALL leaves the role");
}
value(q{CREATE FUNCTION by_definer(id bigint) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS 'SELECT bgjob_run(id)'; ALTER FUNCTION by_definer OWNER TO app});
like(reply('postgres', "SELECT by_definer($evil{$_})"), qr/^42501: cannot /, "in a SECURITY DEFINER function: $_ is refused") for @commands;
is(reply('postgres', "BEGIN; SELECT by_definer($evil{'SELECT 1'}); ROLLBACK"), '"postgres app"', 'a job that does nothing of the kind runs');

# In a session of the role itself it may do what the role may.
foreach my $command (@commands)
{
	my $expected = $command eq 'SET SESSION AUTHORIZATION postgres' ? qr/^42501: permission denied/ : $command eq 'SET ROLE team' ? qr/^"app team"\napp app$/ : qr/^"app app"\napp app$/;

	like(reply('app', "BEGIN; SELECT bgjob_run($evil{$command}); SELECT session_user, current_user \\g (fieldsep=' ')\nROLLBACK"), $expected, "in a session of its own role: $command");
}
is(reply('app', "BEGIN; SELECT bgjob_run($evil{q{SET app.rest = 'behind'}}) IS NOT NULL, current_setting('app.rest', true); SELECT current_setting('app.rest', true); ROLLBACK"), "t|\n", 'a setting of a job is not left behind');

#
# Jobs of others
#
my $id = $evil{'SELECT 1'};
like(reply('postgres', "SELECT bgjob_run($id)"), qr/^0A000: job $id is a job of another role/, 'a superuser does not perform it with its own rights');
like(reply('evil', "SELECT bgjob_run($id)"), qr/^0A000: /, 'nor does a member of the role');
is(reply('evil', "SET ROLE app; SELECT bgjob_run(enqueue_evil('SELECT 1'))"), '"evil app"', 'but as that role');
like(reply('other', "SELECT bgjob_run($id)"), qr/^42501: permission denied for job/, 'another role has no right to the job');
like(reply('monitor', "SELECT bgjob_run($id)"), qr/^42501: permission denied for schema/, 'pg_monitor may see, not use');
like(reply('stranger', "SELECT bgjob_run($id)"), qr/^42501: permission denied for schema/, 'a role without USAGE');
value('REVOKE app FROM evil');
like(reply('app', "SELECT bgjob_run($id)"), qr/^42501: role "evil" is no longer a member of role "app"/, 'a job of a role that is no longer a member');
value("GRANT app TO evil; ALTER FUNCTION evil OWNER TO postgres; REVOKE EXECUTE ON FUNCTION evil FROM PUBLIC");
like(reply('app', "SELECT bgjob_run($id)"), qr/^42501: permission denied for function evil/, 'EXECUTE is asked for again');
value('GRANT EXECUTE ON FUNCTION evil TO PUBLIC');

#
# One job at a time, whoever performs it
#
value(q{CREATE TABLE done (n int); GRANT ALL ON done TO PUBLIC;
	CREATE FUNCTION once(n int) RETURNS void LANGUAGE sql AS 'INSERT INTO public.done VALUES (n)';
	CREATE FUNCTION block() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(50); END'});
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('SELECT pg_advisory_lock(50)');
my $runs = value(q{SELECT bgjob_enqueue('block')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $runs", 'a worker performs a job');
like(reply('postgres', "SELECT bgjob_run($runs)"), qr/^55000: job $runs cannot be performed now/, 'which no session performs, or waits for');
$holder->query_safe('SELECT pg_advisory_unlock(50)');
is(value("SELECT bgjob_wait($runs, '60 s')"), 'succeeded', 'the worker goes on');

my $held = value(q{SELECT bgjob_enqueue('once', '[0]', queue => 'held')});
$holder->query_safe("BEGIN; SELECT bgjob_run($held)");
like(reply('postgres', "SELECT bgjob_run($held)"), qr/^55000: /, 'a job that another session performs is refused at once');
is(value("SELECT state FROM bgjob.jobs WHERE id = $held"), 'enqueued', 'others see it waiting');
like(reply('postgres', "SET lock_timeout = '50 ms'; SELECT bgjob_delete($held)"), qr/^55P03: /, 'to delete it is to wait for that session');
$holder->query_safe('ROLLBACK');
is(value("BEGIN; SELECT bgjob_delete($held); ROLLBACK"), 't', 'which has given it back');

# An event that the scheduler has left to a worker comes first.
value(q{CREATE FUNCTION watch(context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'; SELECT bgjob_filter('watch', 'electing', 'watch', 'once')});
my $pending = value(q{SELECT bgjob_enqueue('once', '[0]', queue => 'held', delay => '10 ms')});
wait_until($node, "SELECT pending IS NOT NULL FROM bgjob_internal.job WHERE id = $pending", 'a job with a filter has become due');
like(reply('postgres', "SELECT bgjob_run($pending)"), qr/^55000: /, 'a worker has to call the filter first');
value(q{SELECT bgjob_filter_remove('watch')});
value("SELECT bgjob_delete($pending)");

# A restored job
my $restored = value(q{SELECT bgjob_enqueue('once', '[0]', queue => 'held')});
value("DELETE FROM bgjob_internal.queue WHERE pos = $restored");
like(reply('postgres', "SELECT bgjob_run($restored)"), qr/^55000: /, 'a job that was restored is not performed');
value('SELECT bgjob_adopt()');
is(value("SELECT bgjob_run($restored) IS NULL"), 't', 'before it is adopted');
value('TRUNCATE done');

# Two sessions and two workers go through the same jobs; some sessions roll back.
value(q{SELECT bgjob_queue('race', paused => true)});
value(q{SELECT count(*) FROM bgjob_enqueue_many('once', (SELECT array_agg(to_jsonb(ARRAY[i])) FROM generate_series(1, 1000) i), queue => 'race')});
my @race = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
value(q{SELECT bgjob_queue_resume('race')});
foreach my $session (0, 1)
{
	my $order = $session ? 'DESC' : 'ASC';
	$race[$session]->query_until(qr/started/, qq{\\echo started
		DO \$\$
		DECLARE
			job bigint;
		BEGIN
			FOR job IN SELECT id FROM bgjob.jobs WHERE queue = 'race' ORDER BY id $order LOOP
				BEGIN
					PERFORM bgjob_run(job);
					IF job % 5 = 0 THEN RAISE division_by_zero; END IF;
				EXCEPTION WHEN object_not_in_prerequisite_state OR division_by_zero THEN NULL;
				END;
				COMMIT;
			END LOOP;
		END \$\$;
		});
}
$_->query_safe('SELECT 1') for @race;
$_->quit for @race;
wait_until($node, q{SELECT count(*) = 1000 FROM bgjob.jobs WHERE queue = 'race' AND state = 'succeeded'}, 'all jobs succeed');
is(value('SELECT count(*), count(DISTINCT n) FROM done'), '1000|1000', 'each has been performed once');

#
# A session that is canceled, terminated, or crashes the server, gives the job back, and it is no crash of the job.
#
value(q{CREATE FUNCTION block_or_not() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) = 'client backend' THEN
			PERFORM pg_advisory_xact_lock(51);
		END IF;
		RETURN 'performed';
	END$$});
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend', 'kill -9')
{
	my $lock = $node->background_psql('postgres', on_error_stop => 0);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $job;

	$lock->query_safe('SELECT pg_advisory_lock(51)');
	value(q{SELECT bgjob_queue_pause('ends')});
	$job = value(q{SELECT bgjob_enqueue('block_or_not', queue => 'ends', max_retries => 0)});
	$session->query_until(qr/started/, "\\echo started\nSELECT bgjob_run($job);\n");
	my $pid = pid_of($node, q{SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 51 AND NOT granted});
	$end eq 'kill -9' ? kill('KILL', $pid) : value("SELECT $end($pid)");
	if ($end eq 'kill -9')
	{
		until_gone($pid);
		ask($node, 'SELECT 1');
	}
	ask($node, q{SELECT bgjob_queue_resume('ends')});
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $job", "$end: a worker performs the job");
	is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $job"), 'enqueued processing succeeded', "$end: it has no other attempt");
	is(value("SELECT coalesce(crashes, 0) FROM bgjob_internal.job WHERE id = $job"), 0, "$end: no crash is counted against it");
	eval { $_->quit } for $lock, $session;
}
eval { $holder->quit };

#
# Without workers
#
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob worker'}, 'the workers leave');
is(value(q{SELECT bgjob_run(bgjob_enqueue('block_or_not'))}), '"performed"', 'bgjob_run() needs no worker');
set_and_reload($node, 'bgjob.enabled' => 'on');

unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal (?:6|11)/, 'no process has failed otherwise');
value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state = 'enqueued'});
check_counters($node);
done_testing();
