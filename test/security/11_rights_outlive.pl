# Rights are checked again when a job starts, and when a recurring job is due or changed: membership, EXECUTE, LOGIN,
# CONNECT and the kind of a function.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('rights_outlive');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE boss LOGIN; CREATE ROLE leaver LOGIN; CREATE ROLE chief LOGIN SUPERUSER;
	GRANT USAGE ON SCHEMA bgjob TO app, boss, leaver;
	GRANT boss TO app, leaver;
	CREATE SCHEMA app AUTHORIZATION app; GRANT USAGE ON SCHEMA app TO PUBLIC;
	SELECT bgjob_queue('held', paused => true), bgjob_queue('groups', group_size => 10, paused => true);
	SET SESSION AUTHORIZATION app;
	CREATE FUNCTION app.me(x text DEFAULT '') RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
	CREATE TABLE app.t (x text);
	CREATE TRIGGER t AFTER INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION public.bgjob_enqueue_trigger('app.me', 'run_as=boss', 'queue=held', 'max_retries=0');
});

sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql") }

sub sqlstate
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role; $sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

sub ends
{
	my ($id, $how, $what) = @_;

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s'); SELECT coalesce(error ->> 'sqlstate', result #>> '{}') FROM bgjob.jobs WHERE id = $id"), $how, $what);
}

# ---- memberships ----

my $options = "run_as => 'boss', queue => 'held', max_retries => 0";
my %job;
$job{function} = as('app', "SELECT bgjob_enqueue('app.me', jsonb_build_array(repeat('x', 10000)), $options)");
$job{command} = as('app', "SELECT bgjob_enqueue('SELECT current_user::text', kind => 'sql', $options)");
$job{many} = as('app', "SELECT max(i) FROM bgjob_enqueue_many('app.me', '{\"[]\", \"[]\"}', $options) i");
$job{later} = as('app', "SELECT bgjob_enqueue('app.me', delay => '1 hour', $options)");
$job{group} = as('app', q{SELECT bgjob_enqueue('app.me', run_as => 'boss', queue => 'groups', max_retries => 0)});
as('app', q{INSERT INTO app.t VALUES ('a')});
$job{trigger} = $node->safe_psql('postgres', q{SELECT max(id) FROM bgjob.jobs});
$job{dropped} = as('leaver', "SELECT bgjob_enqueue('app.me', $options)");
as('app', q{SELECT bgjob_recurring('often', '@every_second', 'app.me', run_as => 'boss'); SELECT bgjob_recurring('paused', '@yearly', 'app.me', run_as => 'boss', active => false);
	SELECT bgjob_recurring('active', '@yearly', 'app.me', run_as => 'boss')});
my $own = as('boss', q{SELECT bgjob_enqueue('app.me', queue => 'held')});
my $groups_own = as('boss', q{SELECT bgjob_enqueue('app.me', queue => 'groups')});
my $by_another = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('app.me', run_as => 'boss', queue => 'held')});
wait_until($node, q{SELECT last_state = 'succeeded' FROM bgjob.recurring_jobs WHERE name = 'often'}, 'a recurring job of app runs as boss');
$node->safe_psql('postgres', q{REVOKE boss FROM app; DROP OWNED BY leaver; DROP ROLE leaver});
wait_until($node, q{SELECT error ~ 'no longer a member' FROM bgjob.recurring_jobs WHERE name = 'often'}, 'after REVOKE it shows an error at its time');
my $last = $node->safe_psql('postgres', q{SELECT last_job_id FROM bgjob.recurring_jobs WHERE name = 'often'});
is(sqlstate('app', "SELECT bgjob_recurring_$_->[0]('$_->[1]')"), '42501', "bgjob_recurring_$_->[0]: 42501") for ['trigger', 'often'], ['trigger', 'paused'], ['resume', 'paused'], ['pause', 'active'];
is(sqlstate('postgres', q{SELECT bgjob_recurring_trigger('often')}), '42501', 'an administrator cannot trigger it either, since app has it run as boss');
is(sqlstate('app', q{SELECT bgjob_recurring('often', '@daily', 'app.me', run_as => 'boss')}), '42501', 'changing it: 42501');
is(sqlstate('app', "SELECT $_($job{later})"), '42501', "$_ of a job that has been enqueued: 42501") for 'bgjob_requeue', 'bgjob_delete';
is(sqlstate('app', "SELECT bgjob_reschedule($job{later}, delay => '1 s')"), '42501', 'bgjob_reschedule: 42501');
is(sqlstate('boss', "SELECT bgjob_requeue($job{later})"), 't', 'boss controls it');
$node->safe_psql('postgres', q{SELECT bgjob_queue_resume('held'), bgjob_queue_resume('groups')});
ends($job{$_}, "failed\n42501", "waiting since before the REVOKE: $_") for sort keys %job;
ends($own, "succeeded\nboss", 'a job of boss is not concerned');
ends($groups_own, "succeeded\nboss", 'a job of boss in the same group succeeds');
ends($by_another, "succeeded\nboss", 'a job that a superuser has enqueued succeeds');
like($node->safe_psql('postgres', "SELECT error ->> 'message' FROM bgjob.jobs WHERE id = $job{function}"), qr/^role "app" is no longer a member of role "boss"/, 'the message names both');
$node->safe_psql('postgres', 'GRANT boss TO app');
is(sqlstate('app', "SELECT bgjob_requeue($job{function})"), 't', 'after GRANT it is requeued');
ends($job{function}, "succeeded\nboss", 'the requeued job runs');
wait_until($node, q{SELECT error IS NULL FROM bgjob.recurring_jobs WHERE name = 'often'}, 'the recurring job goes on, too');
cmp_ok($node->safe_psql('postgres', q{SELECT last_job_id FROM bgjob.recurring_jobs WHERE name = 'often'}), '>', $last, 'the recurring job has a new job');
$node->safe_psql('postgres', 'REVOKE boss FROM app');
is(sqlstate('app', q{SELECT bgjob_recurring_remove('often')}), 't', 'app can always remove it');

# ---- a worker that is connected already ----

sub due_after
{
	my ($role, $change, $job) = @_;
	my $id = as($role, q{SELECT bgjob_enqueue('app.me')});

	ends($id, "succeeded\n$role", "$role has a worker");
	$id = as($role, "SELECT bgjob_enqueue($job, max_retries => 0, queue => 'held')");
	$node->safe_psql('postgres', $change);
	$node->safe_psql('postgres', q{SELECT bgjob_queue_resume('held')});
	return $id;
}

$node->safe_psql('postgres', q{REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO app});
for my $case (['NOLOGIN', 'ALTER ROLE app NOLOGIN', 'ALTER ROLE app LOGIN'], ['REVOKE CONNECT', 'REVOKE CONNECT ON DATABASE postgres FROM app', 'GRANT CONNECT ON DATABASE postgres TO app'])
{
	my ($what, $take, $give) = @$case;

	$node->safe_psql('postgres', q{SELECT bgjob_queue_pause('held')});
	my $id = due_after('app', $take, q{'app.me'});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.workers WHERE role = 'app'::regrole}, "$what: the worker leaves");
	is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $id"), 'enqueued', "$what: the job has not been performed");
	$node->safe_psql('postgres', $give);
	ends($id, "succeeded\napp", "$what: the job runs when the right is back");
}
$node->safe_psql('postgres', q{SELECT bgjob_queue_pause('held'); GRANT CONNECT ON DATABASE postgres TO PUBLIC});
my $id = due_after('chief', 'ALTER ROLE chief NOSUPERUSER; GRANT USAGE ON SCHEMA bgjob TO chief', q{'SET SESSION AUTHORIZATION postgres', kind => 'sql'});
ends($id, "failed\n42501", 'a former superuser cannot become another role in an old worker');

# ---- a recurring job that cancels the one before ----

$node->safe_psql('postgres', 'GRANT boss TO app');
as('app', q{SELECT bgjob_recurring('long', '@every_second', 'SELECT pg_sleep(60)', kind => 'sql', run_as => 'boss', overlap => 'cancel')});
wait_until($node, q{SELECT last_state = 'processing' FROM bgjob.recurring_jobs WHERE name = 'long'}, 'a long job');
$node->safe_psql('postgres', 'REVOKE boss FROM app');
wait_until($node, q{SELECT error ~ 'no longer a member' FROM bgjob.recurring_jobs WHERE name = 'long'}, 'the recurring job shows that its membership is missing');
my ($long, $next) = split /\|/, $node->safe_psql('postgres', q{SELECT last_job_id, next_run_at FROM bgjob.recurring_jobs WHERE name = 'long'});
wait_until($node, qq{SELECT next_run_at > '$next' FROM bgjob.recurring_jobs WHERE name = 'long'}, 'at its next time');
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $long"), 'processing', 'the job of boss is not canceled either');
is(sqlstate('boss', "SELECT bgjob_delete($long)"), 't', 'boss ends it');
as('app', q{SELECT bgjob_recurring_remove('long')});

as('app', q{SELECT bgjob_recurring('barred', '@every_second', 'app.me', starts_at => clock_timestamp() + '1 s')});
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC, app');
wait_until($node, q{SELECT error ~ 'may not connect' FROM bgjob.recurring_jobs WHERE name = 'barred'}, 'CONNECT is asked for, too');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC');
wait_until($node, q{SELECT last_state = 'succeeded' FROM bgjob.recurring_jobs WHERE name = 'barred'}, 'the recurring job continues when the right is back');
as('app', q{SELECT bgjob_recurring_remove('barred')});

# ---- functions that were replaced ----

my %becomes = (
	window => ['42809', q{CREATE FUNCTION app.f() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'}],
	aggregate => ['42809', q{CREATE AGGREGATE app.f(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')}],
	'C trigger' => ['22023', q{CREATE FUNCTION app.f() RETURNS trigger LANGUAGE internal AS 'suppress_redundant_updates_trigger'}],
	'trigger' => ['22023', q{CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'}],
	'event trigger' => ['22023', q{CREATE FUNCTION app.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'}],
	'language handler' => ['22023', q{CREATE FUNCTION app.f() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'}],
	set => ['[1, 2]', q{CREATE FUNCTION app.f() RETURNS SETOF int LANGUAGE sql AS 'VALUES (1), (2)'}],
	gone => ['42883', q{SELECT 1}],
	'no EXECUTE' => ['42501', q{CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC}]);

$node->safe_psql('postgres', q{ALTER ROLE chief SUPERUSER; SELECT bgjob_recurring('f', '@yearly', 'app.me')});
for my $queue (qw(held groups))
{
	for my $kind (sort keys %becomes)
	{
		my ($result, $sql) = @{ $becomes{$kind} };

		$node->safe_psql('postgres', qq{SELECT bgjob_queue_pause('$queue'); DROP ROUTINE IF EXISTS app.f(); CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'});
		my $job = as('app', "SELECT bgjob_enqueue('app.f', queue => '$queue', max_retries => 0)");
		as('app', q{SELECT bgjob_recurring('f', '@every_second', 'app.f', active => false)});
		$node->safe_psql('postgres', "DROP FUNCTION app.f(); $sql; SELECT bgjob_queue_resume('$queue')");
		ends($job, $result =~ /^\d/ ? "failed\n$result" : "succeeded\n$result", "a function that has become: $kind ($queue)");
		is(sqlstate('app', q{SELECT bgjob_recurring_trigger('f')}), $result, "bgjob_recurring_trigger of a function that has become: $kind") if $result =~ /^\d/;
	}
}
# The scheduler checks, too.
$node->safe_psql('postgres', qq{DROP FUNCTION app.f(); CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'});
as('app', q{SELECT bgjob_recurring('f', '@every_second', 'app.f', active => true)});
wait_until($node, q{SELECT last_state = 'succeeded' FROM bgjob.recurring_jobs WHERE name = 'f' AND owner = 'app'::regrole}, 'a recurring job');
$node->safe_psql('postgres', "DROP FUNCTION app.f(); $becomes{window}[1]");
wait_until($node, q{SELECT error ~ 'window function' FROM bgjob.recurring_jobs WHERE name = 'f' AND owner = 'app'::regrole}, 'shows what its function has become');
as('app', q{SELECT bgjob_recurring_remove('f')});

# A procedure in the place of a function.
for my $queue (qw(held groups))
{
	$node->safe_psql('postgres', qq{SELECT bgjob_queue_pause('$queue'); DROP ROUTINE IF EXISTS app.p(); CREATE FUNCTION app.p() RETURNS void LANGUAGE sql AS 'SELECT 1'});
	my $job = as('app', "SELECT bgjob_enqueue('app.p', queue => '$queue', max_retries => 0)");
	$node->safe_psql('postgres', qq{DROP FUNCTION app.p(); CREATE PROCEDURE app.p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; SELECT bgjob_queue_resume('$queue')});
	is($node->safe_psql('postgres', "SELECT bgjob_wait($job, '60 s')"), 'succeeded', "a function that has become a procedure, which commits ($queue)");
}
# A filter that does so between the claim and the call.
$node->safe_psql('postgres', q{
	DROP PROCEDURE app.p(); CREATE FUNCTION app.p() RETURNS void LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION swap(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE 'DROP FUNCTION app.p()';
		EXECUTE 'CREATE PROCEDURE app.p() LANGUAGE plpgsql AS ''BEGIN COMMIT; END''';
		RETURN NULL;
	END $$;
	SELECT bgjob_filter('swap', 'performing', 'swap', jobs => 'app.p')});
my $swapped = as('app', q{SELECT bgjob_enqueue('app.p', max_retries => 0)});
ends($swapped, "failed\n55000", 'a procedure that takes the place of a function at the last moment cannot commit the claim');
$node->stop;
done_testing();
