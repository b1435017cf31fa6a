# A job runs as its role only, whatever it tries. Settings of a role do not break the bookkeeping.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('security');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE gone LOGIN; CREATE ROLE locked LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other, gone, locked;
	CREATE TABLE seen (what text, "session" text, "current" text);
	GRANT INSERT, SELECT ON seen TO PUBLIC;
	CREATE SCHEMA app AUTHORIZATION app;
	SET SESSION AUTHORIZATION app;
	CREATE FUNCTION app.who(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO public.seen VALUES (what, session_user, current_user)';
	CREATE FUNCTION app.climb(command text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN
			EXECUTE command;
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO public.seen VALUES (command || ': ' || SQLSTATE, session_user, current_user);
			RETURN;
		END;
		INSERT INTO public.seen VALUES (command, session_user, current_user);
	END $$;
	-- a deferred constraint trigger runs at commit
	CREATE TABLE app.t (i int);
	CREATE FUNCTION app.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen VALUES ('at commit', session_user, current_user);
		RETURN NULL;
	END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.at_commit();
	CREATE FUNCTION app.insert() RETURNS void LANGUAGE sql AS 'INSERT INTO app.t VALUES (1)';
	-- things named like those that bookkeeping might use
	CREATE FUNCTION app.trap() RETURNS void LANGUAGE sql AS $$INSERT INTO public.seen VALUES ('trap', session_user, current_user)$$;
	CREATE FUNCTION app.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN PERFORM app.trap(); RETURN '"trapped"'; END$$;
	CREATE FUNCTION app.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN PERFORM app.trap(); RETURN '2000-01-01'; END$$;
	CREATE FUNCTION app.jsonb_to_record(jsonb) RETURNS record LANGUAGE plpgsql AS $$BEGIN PERFORM app.trap(); RETURN NULL; END$$;
	CREATE FUNCTION app.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM app.trap(); RETURN true; END$$;
	CREATE OPERATOR app.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = app.equal);
	CREATE FUNCTION app.hostile(numbers int[]) RETURNS int[] LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('search_path', 'app, pg_catalog, public', false);
		RETURN numbers;
	END $$;
});

sub as_app { return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; $_[0]") }
sub finish { is($node->safe_psql('postgres', "SELECT bgjob_wait($_[0], '60 s')"), $_[1] // 'succeeded', $_[2]) }

finish(as_app(q{SELECT bgjob_enqueue('app.who', '["plain"]')}), 'succeeded', 'a job of app');
is($node->safe_psql('postgres', q{SELECT "session" || ' ' || "current" FROM seen WHERE what = 'plain'}), 'app app', 'the job of app runs as app');
for my $command ('RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET ROLE NONE', 'SET SESSION AUTHORIZATION DEFAULT',
	'SET SESSION AUTHORIZATION postgres', 'SET ROLE postgres', 'SET ROLE other',
	"SET session_replication_role = replica", "INSERT INTO bgjob_internal.queue VALUES (1, 1, 10, '(0,1)')",
	"UPDATE bgjob_internal.job SET run_as = 10", "SELECT bgjob_internal.installed()", "SET bgjob.job_timeout = 1")
{
	my $id = $node->safe_psql('postgres', qq{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('app.climb', jsonb_build_array(\$\$$command\$\$))});
	finish($id, 'succeeded', "a job that tries: $command");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE "session" <> 'app' OR "current" <> 'app'}), '0', 'all jobs run as app');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what !~ '^(plain|RESET|SET ROLE NONE|SET SESSION AUTHORIZATION DEFAULT)' AND what !~ ': 42501$'}), '0',
	'commands without privileges fail with 42501');
finish(as_app(q{SELECT bgjob_enqueue('app.insert')}), 'succeeded', 'a job with a deferred constraint trigger');
is($node->safe_psql('postgres', q{SELECT "session" || ' ' || "current" FROM seen WHERE what = 'at commit'}), 'app app', 'the trigger runs as app');

$node->safe_psql('postgres', q{ALTER ROLE app SET search_path = app, public});
my $hostile = as_app(q{SET search_path = app, pg_catalog, public; SELECT public.bgjob_enqueue('hostile', '[[1, 2]]')});
finish($hostile, 'succeeded', 'a job with a hostile search_path');
is($node->safe_psql('postgres', "SELECT bgjob_result($hostile)"), '[1, 2]', 'the job has its true result');
is($node->safe_psql('postgres', q{SELECT count(*) FROM seen WHERE what = 'trap'}), '0', 'the bookkeeping has called no function of its schema');

# A role's own settings.
for my $setting ("default_transaction_read_only = on", "search_path = ''", "lock_timeout = '1ms'", "session_replication_role = replica",
	"default_transaction_isolation = serializable", "row_security = off", "idle_in_transaction_session_timeout = '1ms'", "role = other",
	"DateStyle = 'SQL, DMY'", "statement_timeout = '20ms'")
{
	$node->safe_psql('postgres', qq{SELECT pg_terminate_backend(pid) FROM bgjob.workers; ALTER ROLE app RESET ALL; ALTER ROLE app SET $setting;
		CREATE OR REPLACE FUNCTION app.quiet() RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE OR REPLACE FUNCTION app.loud() RETURNS int LANGUAGE sql AS 'SELECT 1 / 0'});
	finish(as_app(q{SELECT public.bgjob_enqueue('app.quiet')}), 'succeeded', "ALTER ROLE ... SET $setting: a job succeeds");
	finish(as_app(q{SELECT public.bgjob_enqueue('app.loud', max_retries => 0)}), 'failed', 'a job that raises an error fails');
}
my $slow = as_app(q{SELECT bgjob_enqueue('pg_catalog.pg_sleep', '[30]', max_retries => 0)});
finish($slow, 'failed', "the role's statement_timeout holds for its jobs");
$node->safe_psql('postgres', q{ALTER ROLE app RESET ALL});

# Roles without LOGIN, renamed or dropped.
$node->safe_psql('postgres', q{ALTER SYSTEM SET bgjob.enabled = off});
$node->reload;
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^bgjob (worker|scheduler)'}, 'no worker and no scheduler is left');
my %id = map { $_ => $node->safe_psql('postgres', qq{SET SESSION AUTHORIZATION $_; SELECT bgjob_enqueue('pg_catalog.pg_sleep', '[0]')}) } qw(gone locked other);
my $revoked = as_app(q{SELECT bgjob_enqueue('app.who', '["revoked"]', max_retries => 0)});
$node->safe_psql('postgres', q{DROP OWNED BY gone; DROP ROLE gone; ALTER ROLE locked NOLOGIN; ALTER ROLE other RENAME TO renamed;
	REVOKE EXECUTE ON FUNCTION app.who FROM PUBLIC, app;
	ALTER SYSTEM RESET bgjob.enabled});
$node->reload;
finish($id{other}, 'succeeded', 'a role that has been renamed is served');
finish($id{gone}, 'failed', 'the job of a role that has been dropped fails');
finish($revoked, 'failed', 'a job whose function was revoked fails');
is($node->safe_psql('postgres', "SELECT error->>'sqlstate' FROM bgjob.jobs WHERE id = $revoked"), '42501', 'the job fails with 42501');
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $id{locked}"), 'enqueued', 'the job of a role that may not log in waits');
$node->safe_psql('postgres', q{ALTER ROLE locked LOGIN});
finish($id{locked}, 'succeeded', 'the job runs when the role may log in');

# Fairness.
$node->safe_psql('postgres', q{ALTER SYSTEM SET bgjob.workers = 2; GRANT EXECUTE ON FUNCTION app.who TO PUBLIC});
$node->reload;
as_app(q{SELECT count(*) FROM bgjob_enqueue_many('pg_catalog.pg_sleep', array_fill('[0.002]'::jsonb, ARRAY[20000]))});
my $one = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION renamed; SELECT bgjob_enqueue('pg_catalog.pg_sleep', '[0]')});
finish($one, 'succeeded', 'a role with one job is served beside one with twenty thousand');
cmp_ok($node->safe_psql('postgres', q{SELECT enqueued FROM bgjob.stats}), '>', 10000, 'the other role still has jobs');
# The counters are compared at rest: those of queues are of another moment than the tables.
$node->safe_psql('postgres', q{SELECT bgjob_queue_pause('default')});
check_counters($node);
$node->stop;
done_testing();
