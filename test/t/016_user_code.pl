# Code of the role that runs around a job: casts of results, checks of arguments, triggers at commit. It runs
# as the role, and its changes to the session do not affect the bookkeeping. Transaction commands of a job do
# not affect other jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# One worker: the next job runs in the same process.
my $node = bgjob_cluster('usercode', 'bgjob.workers' => 1);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app;
	CREATE TABLE seen (what text, "session" text, "current" text);
	GRANT INSERT, SELECT ON seen TO app;
	CREATE SCHEMA app AUTHORIZATION app;
	SET SESSION AUTHORIZATION app;
	CREATE FUNCTION app.note(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.seen VALUES (what, session_user, current_user)';

	-- the result: to_jsonb() uses a cast to json where there is one
	CREATE TYPE app.pair AS (a int, b int);
	CREATE FUNCTION app.pair_to_json(app.pair) RETURNS json LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM app.note('cast');
		PERFORM set_config('search_path', 'app', false);
		RETURN json_build_object('pair', 1);
	END $$;
	CREATE CAST (app.pair AS json) WITH FUNCTION app.pair_to_json(app.pair);
	CREATE FUNCTION app.returns_pair() RETURNS app.pair LANGUAGE sql AS 'SELECT (1, 2)::app.pair';

	-- a cast that fails
	CREATE TYPE app.broken AS (a int);
	CREATE FUNCTION app.broken_to_json(app.broken) RETURNS json LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no json' USING ERRCODE = 'AP001'; END$$;
	CREATE CAST (app.broken AS json) WITH FUNCTION app.broken_to_json(app.broken);
	CREATE FUNCTION app.returns_broken() RETURNS app.broken LANGUAGE plpgsql AS $$BEGIN PERFORM app.note('before a broken cast'); RETURN ROW(1); END$$;

	-- an argument
	CREATE FUNCTION app.checked(int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM app.note('check'); RETURN $1 > 0; END$$;
	CREATE DOMAIN app.positive AS int CHECK (app.checked(VALUE));
	CREATE FUNCTION app.takes(n app.positive) RETURNS int LANGUAGE sql AS 'SELECT n';

	-- triggers at commit
	CREATE TABLE app.t (command text);
	CREATE FUNCTION app.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.command = 'raise' THEN
			RAISE EXCEPTION 'too late' USING ERRCODE = 'AP002';
		END IF;
		BEGIN
			EXECUTE NEW.command;
			PERFORM app.note('at commit ' || NEW.command || ': done');
		EXCEPTION WHEN OTHERS THEN
			PERFORM app.note('at commit ' || NEW.command || ': ' || SQLSTATE);
		END;
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.at_commit();
	CREATE FUNCTION app.later(command text) RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.t VALUES (command); RETURN 1; END$$;

	CREATE FUNCTION app.plain() RETURNS text LANGUAGE sql
		AS 'SELECT session_user || '' '' || current_user || '' '' || current_setting(''search_path'')';
	CREATE FUNCTION app.commits() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM public.bgjob_current_id(); PERFORM app.note('commits'); COMMIT; END$$;
	CREATE FUNCTION app.executes(command text) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM app.note('executes'); EXECUTE command; END$$;
});

my $path = $node->safe_psql('postgres', 'SHOW search_path');

# as_app SQL
sub as_app { return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; $_[0]") }

sub ends
{
	my ($id, $state, $what) = @_;
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), $state, $what);
}

# next_is_clean WHAT tests that the next job of the role has a clean session.
sub next_is_clean
{
	my $id = as_app(q{SELECT bgjob_enqueue('app.plain')});
	ends($id, 'succeeded', "the job after $_[0] succeeds");
	is($node->safe_psql('postgres', "SELECT bgjob_result($id) #>> '{}'"), "app app $path", 'the session of the next job is clean');
}

my $id = as_app(q{SELECT bgjob_enqueue('app.returns_pair')});
ends($id, 'succeeded', 'a result with a cast of its own');
# Either form of JSON is right; the cast must run as the role.
like($node->safe_psql('postgres', "SELECT bgjob_result($id)"), qr/^\{"pair": 1\}$|^\{"a": 1, "b": 2\}$/, 'is kept as JSON');
next_is_clean('one whose cast changes the search_path');

$id = as_app(q{SELECT bgjob_enqueue('app.returns_broken', max_retries => 0)});
$node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')");
my $state = $node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $id");
like($state, qr/^(failed|succeeded)$/, 'a job whose result cannot be cast reaches a final state');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what = 'before a broken cast'}), $state eq 'succeeded' ? 1 : 0,
	'it has effects if and only if it has succeeded');
next_is_clean('one whose result has no JSON');

$id = as_app(q{SELECT bgjob_enqueue('app.takes', '[5]')});
ends($id, 'succeeded', 'an argument of a domain whose check is a function');
my ($status, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('app.takes', '[-5]')});
like($err, qr/ERROR:  23514:/, 'a value that the domain rejects fails the call');
$id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('app.takes', '[6]', run_as => 'app')});
ends($id, 'succeeded', 'the same job enqueued by a superuser with run_as succeeds');

for my $command ('RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'RESET ROLE', 'SET ROLE postgres',
	'UPDATE bgjob_internal.job SET priority = 1', 'DELETE FROM bgjob_internal.queue', 'LOCK TABLE bgjob_internal.job', 'CREATE TABLE bgjob.mine (i int)',
	q{SELECT set_config('search_path', 'app', false)}, 'SET default_transaction_read_only = on', q{SET statement_timeout = '1ms'})
{
	my $later = as_app("SELECT bgjob_enqueue('app.later', jsonb_build_array(\$c\$$command\$c\$))");
	ends($later, 'succeeded', "a trigger at commit that tries: $command");
	next_is_clean('it');
}
is($node->safe_psql('postgres', q{SELECT string_agg(what, ', ') FROM seen WHERE what ~ '^at commit (SET (SESSION|ROLE)|UPDATE|DELETE|LOCK|CREATE)' AND what !~ ': 42501$'}),
	'', 'commands without privileges fail with 42501');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what LIKE 'at commit%'}), 11, 'each command ran once');

$id = as_app(q{SELECT bgjob_enqueue('app.later', '["raise"]', max_retries => 0)});
ends($id, 'failed', 'a trigger at commit that raises an error fails the job');
is($node->safe_psql('postgres', "SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $id"), 'AP002', 'the job has the SQLSTATE of the trigger');
is($node->safe_psql('postgres', q{SELECT count(*) FROM app.t WHERE command = 'raise'}), 0, 'the job has no effects');
is($node->safe_psql('postgres', "SELECT coalesce(bgjob_result($id)::text, 'none')"), 'none', 'the job has no result');
next_is_clean('it');

is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT "session" || ' ' || "current", ', ') FROM seen WHERE what IN ('cast', 'before a broken cast') OR what LIKE 'at commit%'}),
	'app app', 'casts and triggers ran as the role');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE "current" <> 'app' AND what <> 'check'}), 0, 'nothing ran as another role');

# Transaction commands.
for my $case ([ 'app.commits', 'NULL' ], map { [ 'app.executes', qq('["$_"]') ] } 'COMMIT', 'ROLLBACK', 'BEGIN', 'SAVEPOINT s', q(PREPARE TRANSACTION ''x''))
{
	my ($job, $args) = @$case;
	$id = as_app("SELECT bgjob_enqueue('$job', $args, max_retries => 0)");
	ends($id, 'failed', "a function that tries to end its transaction: $job $args");
	next_is_clean('it');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what IN ('commits', 'executes')}), 0, 'none of these jobs has effects');
for my $command ('COMMIT', 'ROLLBACK', 'BEGIN', 'COMMIT AND CHAIN', 'SAVEPOINT s', q(PREPARE TRANSACTION 'bgjob_test'), 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION')
{
	my ($refused, $new, $why) = $node->psql('postgres', "SET SESSION AUTHORIZATION app;
		SELECT bgjob_enqueue(\$c\$$command\$c\$, kind => 'sql', max_retries => 0)", on_error_stop => 1);
	if ($refused == 0)
	{
		$node->safe_psql('postgres', "SELECT bgjob_wait($new, '60 s')");
		like($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $new"), qr/^(failed|succeeded)$/, "the command $command ends");
	}
	else
	{
		like($why, qr/ERROR/, "the command $command is refused at once");
	}
	next_is_clean('it');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'no prepared transaction is left');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed')}), 0, 'every job has ended');
check_counters($node);
$node->stop;
done_testing();
