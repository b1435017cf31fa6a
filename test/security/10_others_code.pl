# Code of one role never runs as another: not in the types of a job's arguments if the job is enqueued for their owner,
# nor in triggers or cursors that a filter leaves behind.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('others_code');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE ops LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, ops;
	CREATE SCHEMA app AUTHORIZATION app; CREATE SCHEMA ops AUTHORIZATION ops;
	SET SESSION AUTHORIZATION app;
	CREATE TABLE app.seen (who text);
	-- takes the cluster over where it can, and tries to leave things behind
	CREATE FUNCTION app.trap(t text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE app SUPERUSER'; END IF;
		INSERT INTO app.seen VALUES (current_user);
		PERFORM set_config('search_path', 'app', false), set_config('app.left', 'here', false);
		CASE split_part(t, ' ', 1)
			WHEN 'hold' THEN EXECUTE 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT app.trap(''x'')';
			WHEN 'temp' THEN EXECUTE 'CREATE TEMP TABLE pg_roles AS SELECT true AS rolsuper';
			WHEN 'defer' THEN INSERT INTO app.late VALUES (1);
			WHEN 'role' THEN EXECUTE 'RESET ROLE';
			WHEN 'session' THEN EXECUTE 'RESET SESSION AUTHORIZATION';
			ELSE NULL;
		END CASE;
		RETURN true;
	END $$;
	CREATE TABLE app.late (i int);
	CREATE FUNCTION app.at_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM app.trap(''x''); RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.at_commit();
	CREATE DOMAIN app.dom AS text CHECK (app.trap(VALUE));
	CREATE TYPE app.pair AS (n int, t app.dom);
	CREATE DOMAIN app.pair_dom AS app.pair CHECK (app.trap((VALUE).t));
	CREATE DOMAIN app.json_dom AS jsonb CHECK (app.trap(VALUE ->> 't'));
	CREATE FUNCTION app.simple(t app.dom) RETURNS int LANGUAGE sql AS 'SELECT length(t)';
	CREATE FUNCTION app.many(t app.dom[]) RETURNS int LANGUAGE sql AS 'SELECT cardinality(t)';
	CREATE FUNCTION app.pair(p app.pair) RETURNS int LANGUAGE sql AS 'SELECT p.n';
	CREATE FUNCTION app.pair_dom(p app.pair_dom) RETURNS int LANGUAGE sql AS 'SELECT (p).n';
	CREATE FUNCTION app.json_dom(j app.json_dom, n int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT n';
	CREATE FUNCTION app.rest(VARIADIC t app.dom[]) RETURNS int LANGUAGE sql AS 'SELECT cardinality(t)';
	CREATE TABLE app.dt (x app.dom, y app.dom);
	RESET SESSION AUTHORIZATION;
	GRANT USAGE ON SCHEMA app, ops TO PUBLIC;
});

# The reply of the superuser's session to one statement, or the SQLSTATE of its error; app must not be a superuser after it.
sub reply
{
	my ($sql, $what) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	is($node->safe_psql('postgres', q{SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper}), 'postgres', "$what: no role has become a superuser");
	$node->safe_psql('postgres', 'ALTER ROLE app NOSUPERUSER; ALTER ROLE ops NOSUPERUSER');
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

my $big = "repeat('x', 10000)";
for my $case (['simple', "jsonb_build_array($big)"], ['many', q{'[["a", "b"]]'}], ['pair', q{'[{"n": 1, "t": "a"}]'}], ['pair_dom', q{'{"p": {"n": 1, "t": "a"}}'}],
	['json_dom', q{'[{"t": "a"}]'}], ['rest', q{'["a", "b", "c"]'}])
{
	my ($function, $args) = @$case;

	like(reply(qq{SELECT bgjob_enqueue('app.$function', $args, run_as => 'app')}, "bgjob_enqueue of app.$function"), qr/^\d+$/, "the job of app.$function is enqueued");
}
like(reply(q{SELECT count(*) FROM bgjob_enqueue_many('app.simple', '{"[\"a\"]", "[\"b\"]"}', run_as => 'app')}, 'bgjob_enqueue_many'), qr/^2$/, 'the jobs of bgjob_enqueue_many are enqueued');
for my $command ('INSERT INTO app.dt VALUES ($1)', "INSERT INTO app.dt VALUES (\$1, 'literal')", 'SELECT $1::app.dom', 'SELECT FROM app.dt WHERE x = $1::app.dom')
{
	like(reply(qq{SELECT bgjob_enqueue(\$q\$$command\$q\$, '["a"]', kind => 'sql', run_as => 'app')}, $command), qr/^\d+$/, "the command is enqueued: $command");
}
reply(q{SELECT bgjob_recurring('r', '@yearly', 'app.simple', '["a"]', run_as => 'app')}, 'bgjob_recurring adds');
reply(q{SELECT bgjob_recurring('r', '@daily', 'app.simple', '["b"]', run_as => 'app')}, 'bgjob_recurring updates');
reply(q{SELECT bgjob_recurring_trigger('r')}, 'bgjob_recurring_trigger');
$node->safe_psql('postgres', q{CREATE TABLE notes (t text); CREATE TABLE notes_many (t text);
	CREATE TRIGGER each AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('app.simple', 'run_as=app');
	CREATE TRIGGER every AFTER INSERT ON notes_many REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('app.simple', 'run_as=app')});
reply(q{INSERT INTO notes VALUES ('a')}, 'a row trigger');
reply(q{INSERT INTO notes_many VALUES ('a'), ('b')}, 'a statement trigger');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT who, ' ') FROM app.seen}), 'app', 'the checks of the types ran, and always as app');

for my $left (qw(hold temp defer role session))
{
	is(reply(qq{SELECT bgjob_enqueue('app.simple', '["$left"]', run_as => 'app')}, "a domain that tries: $left"), '42501', "a domain that tries $left raises 42501");
}
is(reply(q{SELECT bgjob_enqueue('app.simple', '["a"]', run_as => 'app') > 0; SHOW search_path; SELECT coalesce(current_setting('app.left', true), '')}, 'settings'),
	qq{t\n"\$user", public\n}, 'settings changed by the filter are reset');
is(reply(q{BEGIN; SET LOCAL ROLE app; SELECT bgjob_enqueue('app.simple', '["defer"]'); RESET ROLE; COMMIT}, 'a session that is app but for a while'), '42501',
	'leaves nothing to its commit either');

# A filter that gives the job other arguments.
$node->safe_psql('postgres', q{CREATE FUNCTION other_args(c jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT '{"args": ["other"]}'::jsonb$$;
	SELECT bgjob_filter('args', 'creating', 'other_args')});
like(reply(q{SELECT bgjob_enqueue('app.simple', '["a"]', run_as => 'app')}, 'a creating filter that changes the arguments'), qr/^\d+$/, 'the job with changed arguments is enqueued');
like(reply(q{SELECT bgjob_enqueue('INSERT INTO app.dt VALUES ($1)', '["a"]', kind => 'sql', run_as => 'app')}, 'that changes those of a command'), qr/^\d+$/, 'the command with changed arguments is enqueued');
$node->safe_psql('postgres', q{SELECT bgjob_filter_remove('args')});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}, 'the jobs are performed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}), '0', 'all jobs succeed');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT who, ' ') FROM app.seen}), 'app', 'no code of app ran as another role');

# Casts to json, which converting rows and results would call.
$node->safe_psql('postgres', q{
	SET SESSION AUTHORIZATION app;
	CREATE TYPE app.color AS ENUM ('red', 'green');
	CREATE FUNCTION app.cast_it(c app.color) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM app.trap('x'); RETURN to_json('light ' || c::text); END $$;
	CREATE CAST (app.color AS json) WITH FUNCTION app.cast_it(app.color);
	CREATE DOMAIN app.color_dom AS app.color;
	CREATE TYPE app.inner AS (c app.color, n int);
	CREATE TABLE app.colors (a app.color, b app.color[], c app.inner, d app.inner[], e app.color_dom);
	INSERT INTO app.colors VALUES ('red', '{red,green}', '(green,1)', '{"(red,2)"}', 'red');
	RESET SESSION AUTHORIZATION;
	CREATE FUNCTION reads() RETURNS app.color LANGUAGE sql AS 'SELECT a FROM app.colors';
	CREATE FUNCTION reads_all() RETURNS SETOF app.colors LANGUAGE sql AS 'SELECT * FROM app.colors';
	CREATE FUNCTION takes(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
	CREATE PROCEDURE gives(INOUT c app.color) LANGUAGE sql AS $$SELECT 'red'::app.color$$;
	CREATE TABLE mine (c app.color);
	CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('takes');
});
my $row = '{"a": "light red", "b": ["light red", "light green"], "c": {"c": "light green", "n": 1}, "d": [{"c": "light red", "n": 2}], "e": "light red"}';
for my $case (["'SELECT * FROM app.colors', kind => 'sql'", "[$row]"], ["'SELECT ROW(a) AS r, ARRAY[ROW(1, a)] AS s FROM app.colors', kind => 'sql'", '[{"r": {"f1": "light red"}, "s": [{"f1": 1, "f2": "light red"}]}]'],
	["'reads'", '"light red"'], ["'reads_all'", "[$row]"], [q{'gives', '["green"]'}, '{"c": "light red"}'])
{
	my ($what, $result) = @$case;
	my $job = reply("SELECT bgjob_enqueue($what, max_retries => 0)", 'enqueued');

	is($node->safe_psql('postgres', "SELECT bgjob_wait($job, '60 s'); SELECT coalesce(result, error) FROM bgjob.jobs WHERE id = $job"), "succeeded\n$result", "a job of the superuser: $what");
	reply('SELECT 1', 'the session works after that job');
}
reply(q{INSERT INTO mine VALUES ('red')}, 'a trigger on a table with a type of app');
is($node->safe_psql('postgres', q{SELECT args FROM bgjob.jobs WHERE job = 'takes'}), '{"c": "light red"}', 'the job of the trigger has the same arguments');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT who, ' ') FROM app.seen}), 'app', 'casts ran as app, too');

# What filters leave behind, in the session that enqueues and in the worker of another role's job.
$node->safe_psql('postgres', q{
	SET SESSION AUTHORIZATION ops;
	CREATE TABLE ops.note (what text);
	CREATE FUNCTION ops.late() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE ops SUPERUSER'; END IF;
		RETURN NULL;
	END $$;
	CREATE FUNCTION ops.climb() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE ops SUPERUSER'; END IF;
		RETURN 1;
	END $$;
	CREATE FUNCTION ops.check(t text) RETURNS boolean LANGUAGE sql AS 'SELECT ops.climb() = 1';
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ops.note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ops.late();
	CREATE FUNCTION ops.plain(c jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT set_config('search_path', 'ops', false), set_config('ops.left', 'here', false); SELECT NULL::jsonb $$;
	CREATE FUNCTION ops.defer(c jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO ops.note VALUES (current_user) RETURNING NULL::jsonb $$;
	CREATE FUNCTION ops.hold(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT ops.climb()'; RETURN NULL; END $$;
	CREATE FUNCTION ops.temp(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE TEMP TABLE x (i int DEFAULT ops.climb()) ON COMMIT DROP'; RETURN NULL; END $$;
	CREATE FUNCTION ops.prepare(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'PREPARE p AS SELECT ops.climb()'; RETURN NULL; END $$;
	CREATE FUNCTION ops.listen(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'LISTEN everything'; RETURN NULL; END $$;
	CREATE FUNCTION ops.role(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'RESET ROLE'; RETURN NULL; END $$;
	CREATE FUNCTION ops.own_job(t text) RETURNS text LANGUAGE sql AS 'SELECT t';
});
for my $filter (qw(defer hold temp prepare listen role))
{
	for my $event (qw(creating created electing applied))
	{
		reply("SELECT bgjob_filter('f', '$event', 'ops.$filter')", 'adding a filter');
		is(reply(q{BEGIN; SELECT bgjob_enqueue('SELECT 1', kind => 'sql'); COMMIT}, "a filter of $event that tries: $filter"), '42501', "a filter of $event that tries $filter raises 42501");
	}
	reply("SELECT bgjob_filter('f', 'performed', 'ops.$filter')", 'adding a filter');
	my $id = reply(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', max_retries => 0)}, 'a job');
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s'); SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $id"), "failed\n42501", "in a worker: $filter");
	reply('SELECT 1', 'after the job');
}
reply(q{SELECT bgjob_filter('f', 'created', 'ops.plain')}, 'adding a filter');
is(reply(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql') > 0; SHOW search_path; SELECT coalesce(current_setting('ops.left', true), '')}, 'a filter that changes settings'),
	qq{t\n"\$user", public\n}, 'the settings that the filter changed are reset');

# In a session that is its owner's it may leave what any function may.
reply(q{SELECT bgjob_filter('f', 'performed', 'ops.defer')}, 'adding a filter');
my $own = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION ops; SELECT bgjob_enqueue('ops.own_job', '["a"]', max_retries => 0)});
is($node->safe_psql('postgres', "SELECT bgjob_wait($own, '60 s')"), 'succeeded', 'the owner of a filter may have deferred triggers in his own jobs');
reply('SELECT 1', 'the session works after that filter');
$node->stop;
done_testing();
