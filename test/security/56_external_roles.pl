# External workers under attack by roles: who may take whose jobs, code of another role beside a fetch (functions, operators, temporary
# tables, filters, settings of roles), names of workers that look like something else, the protocol in contexts where it must not work.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('external_roles', 'bgjob.workers' => 2, fsync => 'off', max_prepared_transactions => 5, log_statement => 'none');
sub value { return $node->safe_psql('postgres', $_[0]) }
# as ROLE, SQL: the SQLSTATE of its error, or the last line of its answer.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /(?:ERROR|FATAL):\s+(\w{5})/ ? $1 : (split /\n/, $out)[-1] // '';
}
sub no_superuser
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(value(q{SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper}), 'postgres', "$what: no role has become a superuser");
	value('ALTER ROLE evil NOSUPERUSER');
}
my $ext = q{SELECT bgjob_enqueue('work', '{"secret": "s3cr3t"}', 'external', queue => '%s')};

value(q{
	CREATE ROLE app LOGIN; CREATE ROLE evil LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE noinherit LOGIN NOINHERIT IN ROLE app;
	GRANT USAGE ON SCHEMA bgjob TO app, evil, monitor, noinherit;
	CREATE SCHEMA evil AUTHORIZATION evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
	SET SESSION AUTHORIZATION evil;
	CREATE TABLE evil.seen (what text, who text, session text);
	GRANT INSERT ON evil.seen TO PUBLIC;
	CREATE FUNCTION evil.spring(what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO evil.seen VALUES (what, current_user, session_user);
		IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN EXECUTE 'ALTER ROLE evil SUPERUSER'; END IF;
	EXCEPTION WHEN OTHERS THEN NULL;
	END $$});

# ---- jobs of others ----
{
	my $job = value(sprintf $ext, 'secret');
	my $apps = as('app', sprintf $ext, 'secret');
	for my $role (qw(evil monitor))
	{
		is(as($role, q{SELECT count(*) FROM bgjob_fetch('{*}', 'w', 10000)}), 0, "$role fetches no jobs of others");
		is(as($role, q{SELECT count(*) FROM bgjob_fetch('{secret}', 'w', 10000)}), 0, 'nor of their queue');
	}
	is(value(q{SELECT string_agg(id::text, ' ') FROM bgjob_fetch('{secret}', 'w', 10)}), "$job $apps", 'an administrator fetches both');
	# The session of value() has ended, so the jobs are back soon: they are leased for longer here.
	wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE queue = 'secret' AND state = 'enqueued'}, 'they are back with the end of its session');
	value(q{SET bgjob.bind_leases = off; SELECT count(*) FROM bgjob_fetch('{secret}', 'w', 10)});
	for my $role (qw(app evil monitor))
	{
		for my $id ($job, $apps)
		{
			is(as($role, "SELECT concat_ws(' ', bgjob_complete($id, 'w'), bgjob_fail($id, 'w', 'e'), bgjob_release($id, 'w'), bgjob_external_log($id, 'w', 'm'), bgjob_external_progress($id, 'w', 1))"), 'f f f f f',
				"$role of the same name of a worker answers for none of an administrator's");
		}
		like(as($role, "SELECT string_agg(command, ' ') FROM bgjob_heartbeat('w', '{$job}')"), qr/^(cancel|lost)$/, 'nor keeps it alive');
	}
	is(as('evil', "SELECT string_agg(command, ' ') FROM bgjob_heartbeat('w', '{$job,$apps,987654321}')"), 'cancel cancel cancel', 'what is another\'s looks like what is not there');
	is(as('evil', q{SELECT count(*) FROM bgjob.jobs}), 0, 'the view shows nothing of them');
	is(as('evil', "SELECT count(*) FROM bgjob.job_states WHERE job_id IN ($job, $apps)"), 0, 'nor that of states');
	is(as('app', "SELECT server FROM bgjob.jobs WHERE id = $apps"), 'w', 'the job\'s role sees who has it');
	is(as('evil', q{SELECT count(*) FROM bgjob.servers WHERE kind = 'external'}), 1, 'a role sees its own worker, and none of other roles');
	is(as('monitor', q{SELECT count(*) FROM bgjob.servers WHERE kind = 'external'}), 4, 'pg_monitor sees all');
	is(as('app', "SELECT bgjob_delete($job)"), '42501', 'a role may not delete another\'s leased job');
	is(as('app', "SELECT bgjob_delete($apps)"), 't', 'but its own, which an administrator\'s worker holds');
	is(value("SELECT string_agg(command, ' ') FROM bgjob_heartbeat('w', '{$job,$apps}')"), 'continue cancel', 'that worker hears of it');
	is(value("SELECT bgjob_complete($job, 'w')"), 't', 'and completes the other');

	# Without the privileges of the role.
	$apps = as('app', sprintf $ext, 'secret');
	my $without = as('noinherit', q{SELECT count(*) FROM bgjob_fetch('{secret}', 'n', 10)});
	is($without, as('noinherit', q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'secret'}), 'a member that does not inherit fetches what it sees');
	is(as('noinherit', q{SET ROLE app; SELECT count(*) FROM bgjob_fetch('{secret}', 'n', 10)}), $without ? 0 : 1, 'after SET ROLE it is that role');
	value("SELECT bgjob_delete($apps)");
	# Rights that are gone.
	value(q{GRANT app TO evil});
	$apps = as('app', sprintf $ext, 'secret');
	is(as('evil', q{SET bgjob.bind_leases = off; SELECT id FROM bgjob_fetch('{secret}', 'm')}), $apps, 'a member takes the job');
	value(q{REVOKE app FROM evil});
	is(as('evil', "SELECT concat_ws(' ', bgjob_complete($apps, 'm', '\"forged\"'), bgjob_fail($apps, 'm', 'e'), bgjob_external_log($apps, 'm', 'x'), bgjob_external_progress($apps, 'm', 1))"), 'f f f f', 'a former member answers for it no more');
	is(as('app', "SELECT bgjob_delete($apps)"), 't', 'its role deletes it');
	value(q{REVOKE USAGE ON SCHEMA bgjob FROM evil});
	is(as('evil', $_), '42501', "without USAGE: $_") for q{SELECT bgjob_fetch('{x}', 'w')}, q{SELECT bgjob_heartbeat('w', NULL)}, q{CALL bgjob_await('{x}', '1 s')};
	value(q{GRANT USAGE ON SCHEMA bgjob TO evil});
	is(as('evil', $_), '42501', "denied: $_") for map { "SELECT $_" } '* FROM bgjob_internal.lease', q{bgjob_server_pause('w')}, q{bgjob_server_remove('w')}, q{bgjob_server_resume('w')};
	is(as('evil', q{DELETE FROM bgjob_internal.lease}), '42501', 'the table of leases is private');
	is(value(q{SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'bgjob_internal' AND (has_any_column_privilege('evil', c.oid, 'SELECT') OR has_table_privilege('evil', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AND c.relkind = 'r'}), 0, 'all tables are');
	is(value(q{SELECT coalesce(string_agg(p.oid::regprocedure::text, ' '), '') FROM pg_proc p WHERE pronamespace = 'bgjob_internal'::regnamespace AND proname ~ 'lease|external|worker_|awaiter' AND has_function_privilege('evil', oid, 'EXECUTE')
		AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid WHERE d.refobjid = p.oid)}), '', 'no private function of leases is for everybody but those of views');
}

# ---- functions, operators and tables in the caller's path ----
{
	value(q{
		SET SESSION AUTHORIZATION evil;
		CREATE FUNCTION evil.bgjob_complete(id bigint, worker text, result text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.spring('complete') IS NULL $$;
		CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.spring('now') IS NULL; SELECT pg_catalog.now() $$;
		CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.spring('clock') IS NULL; SELECT pg_catalog.now() $$;
		CREATE FUNCTION evil.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT evil.spring('format') IS NULL; SELECT ''::text $$;
		CREATE FUNCTION evil.eq8(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.spring('bigint') IS NULL; SELECT true $$;
		CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq8);
		CREATE FUNCTION evil.eqt(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT evil.spring('text') IS NULL; SELECT true $$;
		CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eqt);
		CREATE FUNCTION evil.plus(timestamptz, interval) RETURNS timestamptz LANGUAGE sql AS $$ SELECT evil.spring('plus') IS NULL; SELECT $1 $$;
		CREATE OPERATOR evil.+ (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = evil.plus);
		CREATE TABLE evil.lease (job bigint); CREATE TABLE evil.job (id bigint); CREATE TABLE evil.queue (job bigint);
		CREATE TYPE evil.jsonb AS (a int);
		CREATE DOMAIN evil.interval AS text CHECK (evil.spring('interval') IS NULL)});
	my $job = as('evil', sprintf $ext, 'path');
	for my $path ('evil, pg_catalog, public', 'pg_temp, evil, pg_catalog, public')
	{
		my $all = qq{SET bgjob.bind_leases = off; SET search_path = $path; CREATE TEMP TABLE lease (job pg_catalog.int8); CREATE TEMP TABLE job (id pg_catalog.int8); CREATE TEMP TABLE pg_class (oid pg_catalog.oid);
			CREATE TEMP TABLE pg_roles AS SELECT true AS rolsuper;
			SELECT public.bgjob_external_log(f.id, 'p', 'm'), public.bgjob_external_progress(f.id, 'p', 1), f.id FROM public.bgjob_fetch('{path}', 'p') f;
			SELECT * FROM public.bgjob_heartbeat('p', '{$job}'); SELECT public.bgjob_release($job, 'p'); SELECT * FROM public.bgjob_fetch('{path}', 'p'); CALL public.bgjob_await('{path}', '10 ms'::pg_catalog.interval);
			SELECT public.bgjob_fail($job, 'p', 'e', retry => false)};
		like(value($all), qr/^t$/m, "a superuser with search_path $path works with a job of that role");
		value(qq{SELECT bgjob_requeue($job)});
	}
	# Only what the superuser's own queries say may be looked up there: these have no operators.
	is(value(q{SELECT coalesce(string_agg(DISTINCT what || ' as ' || who, ', '), '') FROM evil.seen}), '', 'nothing of the role\'s was called');
	no_superuser('search_path');
	value("SELECT bgjob_delete($job)");
}

# ---- filters ----
{
	value(q{
		SET SESSION AUTHORIZATION evil;
		CREATE TABLE evil.late (i int);
		CREATE FUNCTION evil.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.spring('deferred'); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON evil.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.at_commit();
		CREATE FUNCTION evil.filter(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
		DECLARE
			attack text := CASE WHEN session_user <> 'evil' THEN c #>> '{args,attack}' END;
		BEGIN
			PERFORM evil.spring('filter ' || (c ->> 'event'));
			CASE attack
				WHEN 'reset' THEN EXECUTE 'RESET ROLE';
				WHEN 'session' THEN EXECUTE 'SET SESSION AUTHORIZATION postgres';
				WHEN 'set' THEN PERFORM pg_catalog.set_config('search_path', 'evil', false), pg_catalog.set_config('session_authorization', 'postgres', false);
				WHEN 'temp' THEN EXECUTE 'CREATE TEMP TABLE pg_roles AS SELECT true AS rolsuper';
				WHEN 'defer' THEN INSERT INTO evil.late VALUES (1);
				WHEN 'hold' THEN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT evil.spring(''hold'')';
				WHEN 'prepare' THEN EXECUTE 'PREPARE p AS SELECT evil.spring(''prepared'')';
				WHEN 'fetch' THEN PERFORM public.bgjob_fetch('{*}', 'w', 100);
				WHEN 'complete' THEN PERFORM public.bgjob_complete((c ->> 'id')::bigint, 'admin', '"forged"');
				WHEN 'delete' THEN PERFORM public.bgjob_delete((c ->> 'id')::bigint);
				WHEN 'await' THEN CALL public.bgjob_await('{*}', '10 ms');
				WHEN 'role set' THEN EXECUTE 'SET ROLE evil';
				WHEN 'timeout' THEN PERFORM pg_catalog.set_config('statement_timeout', '1ms', false);
				ELSE NULL;
			END CASE;
			RETURN NULL;
		END $$;
		RESET SESSION AUTHORIZATION;
		GRANT EXECUTE ON FUNCTION bgjob_filter, bgjob_filter_remove TO evil;
		SET SESSION AUTHORIZATION evil;
		SELECT bgjob_filter(e, e, 'evil.filter') FROM unnest('{performing,performed,electing,applied,unapplied}'::text[]) e});
	for my $attack (qw(reset session set temp defer hold prepare fetch complete delete await timeout), 'role set')
	{
		my $job = as('evil', qq{SELECT bgjob_enqueue('attacks', '{"attack": "$attack"}', 'external', queue => 'filters', max_retries => 0)});
		my ($out, $err) = ('', '');
		value(sprintf $ext, 'untouched');
		$node->psql('postgres', qq{SELECT id, 'got' FROM bgjob_fetch('{filters}', 'admin');
			SELECT current_user, session_user, current_setting('search_path'), current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors), to_regclass('pg_temp.pg_roles');
			SELECT bgjob_complete($job, 'admin', '1');
			SELECT current_user, session_user, current_setting('search_path'), current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors), to_regclass('pg_temp.pg_roles')},
			stdout => \$out, stderr => \$err, on_error_stop => 0);
		my @states = grep { /\|/ && !/got/ } split /\n/, $out;
		is($_, 'postgres|postgres|"$user", public|0|0|0|', "a filter of the job's role ($attack) leaves nothing in an administrator's session") for @states;
		is(scalar(@states), 2, 'which goes on') or diag("$out\n$err");
		isnt(value("SELECT result FROM bgjob.jobs WHERE id = $job"), '"forged"', 'nor has it forged a result');
		is(value(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'untouched' AND state NOT IN ('enqueued', 'deleted')}), 0, 'nor has it taken jobs of others');
		# As its role: its filters would attack the administrator's session.
		as('evil', q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state NOT IN ('deleted', 'succeeded')});
		value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE queue = 'untouched' AND state NOT IN ('deleted', 'succeeded')});
	}
	is(value(q{SELECT string_agg(DISTINCT who, ' ') FROM evil.seen WHERE what LIKE 'filter%'}), 'evil', 'filters run as their owner');
	no_superuser('filters');
	as('evil', q{SELECT bgjob_filter_remove(name) FROM bgjob.filters});
	value('TRUNCATE evil.seen');
}

# ---- settings of roles and sessions ----
{
	for my $setting ("session_replication_role = 'replica'", 'default_transaction_read_only = on', 'row_security = off', 'enable_indexscan = off', 'enable_seqscan = off', "default_transaction_isolation = 'serializable'",
		'statement_timeout = 1', 'lock_timeout = 1', 'idle_in_transaction_session_timeout = 1', "search_path = ''", 'bytea_output = escape', "DateStyle = 'German'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kathmandu'",
		'bgjob.bind_leases = on', 'transform_null_equals = on', 'check_function_bodies = off', 'work_mem = 64', 'synchronous_commit = off', "client_min_messages = 'debug5'", 'array_nulls = off', 'extra_float_digits = -15', "xmlbinary = 'hex'", "lc_messages = 'C'", 'jit = on',
		'force_parallel_mode = on', 'debug_parallel_query = on')
	{
		my ($name) = $setting =~ /^([\w.]+)/;
		next if value("SELECT count(*) FROM pg_settings WHERE name = '$name'") eq '0' && $name !~ /\./;
		my $job = as('app', sprintf $ext, 'set');
		my ($out, $err) = ('', '');
		$node->psql('postgres', qq{\\set VERBOSITY verbose\nSET $setting;
			SELECT 'fetched ' || id FROM public.bgjob_fetch('{set}', 's');
			SELECT 'beat ' || command FROM public.bgjob_heartbeat('s', '{$job}');
			SELECT 'log ' || public.bgjob_external_log($job, 's', 'm');
			SELECT 'done ' || public.bgjob_complete($job, 's', '[1.5]')}, stdout => \$out, stderr => \$err, on_error_stop => 0);
		unlike($err, qr/XX000|PANIC|server closed/, "SET $setting: no internal error");
		if ($setting =~ /read_only/) { like($err, qr/25006/, 'nothing is taken in a read-only transaction') }
		elsif ($setting !~ /timeout/) { is($out, "fetched $job\nbeat continue\nlog true\ndone true", "SET $setting: a job is fetched and completed") or diag($err) }
		value("SELECT bgjob_delete($job)");
	}
	# The lifetime of leases is no setting of a caller.
	for my $setting (qw(bgjob.max_leases bgjob.max_crashes bgjob.job_timeout bgjob.enabled))
	{
		next if value("SELECT count(*) FROM pg_settings WHERE name = '$setting'") eq '0';
		like(as('evil', "SET $setting = 1"), qr/^(42501|55P02|22023)$/, "a role cannot set $setting");
	}
}

# ---- names of workers ----
{
	is(as('evil', q{SELECT count(*) FROM bgjob_fetch('{x}', 'default')}), 0, 'a worker has the name of an internal server');
	is(value(q{SELECT bgjob_server_pause('default')}), 't', 'the administrator pauses the server of that name');
	is(value(q{SELECT paused FROM bgjob.servers WHERE name = 'default' AND kind = 'internal'}), 't', 'it is the internal one that is paused');
	my $id = value(q{SELECT bgjob_enqueue('SELECT 1')});
	is(value("SELECT bgjob_wait($id, '500 ms')"), '', 'it starts nothing');
	is(value(q{SELECT bgjob_server_resume('default')}), 't', 'resumed');
	is(value("SELECT bgjob_wait($id, '30 s')"), 'succeeded', 'it does');
	value(q{SELECT bgjob_server('reports', '{reports}', 1)});
	as('evil', q{SELECT count(*) FROM bgjob_fetch('{x}', 'reports')});
	is(value(q{SELECT bgjob_server_remove('reports')}), 't', 'a configured server is removed by its name, whatever workers are called');
	is(value(q{SELECT count(*) FROM bgjob_internal.server_conf WHERE name = 'reports'}), 0, 'it is gone');

	# A pause of one role's worker is none of another role's.
	my ($evils, $apps) = (as('evil', sprintf $ext, 'names'), as('app', sprintf $ext, 'names'));
	is(as('evil', q{SELECT id FROM bgjob_fetch('{names}', 'same')}), $evils, 'two roles have a worker of the same name');
	is(as('app', q{SELECT id FROM bgjob_fetch('{names}', 'same')}), $apps, 'each with its own jobs');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE queue = 'names'});
	# What a name can do to the log, the views and JSON.
	my $offset = -s $node->logfile;
	my $strange = q{x" ignored 2026-01-01 LOG: fake %s %n \\ ' $$ ☃};
	(my $quoted = $strange) =~ s/'/''/g;
	my $job = as('app', sprintf $ext, 'names');
	as('app', qq{SET bgjob.bind_leases = off; SELECT * FROM bgjob_fetch('{names}', '$quoted', 1, '1 ms')});
	wait_until($node, "SELECT state = 'enqueued' AND interruptions = 1 FROM bgjob.jobs WHERE id = $job", 'the lease of a worker with a strange name ends');
	is(as('app', qq{SELECT bgjob_complete($job, '$quoted')}), 'f', 'it is late');
	wait_until($node, "SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late answer%'", 'which is noted');
	is(value("SELECT reason = format('Late answer of worker \"%s\" ignored', '$quoted') FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late%'"), 't', 'with its name as it is');
	my $log = substr slurp_file($node->logfile), $offset;
	is(scalar(grep { /fake/ && !/^\S+ \S+/ } split /\n/, $log), 0, 'a name makes no line of its own in the log');
	for my $control ('\x01', '\x1f', '\r', '\n', '\x7f', '\xc2\x85', '\xc2\x9b')
	{
		is(as('app', qq{SELECT * FROM bgjob_fetch('{names}', E'a${control}b')}), '22023', "a control character in a name is refused: $control");
	}
	value("SELECT bgjob_delete($job)");
}

# ---- bgjob_await where a transaction cannot end ----
{
	my $await = q{CALL public.bgjob_await('{x}', '10 ms')};
	value(qq{
		CREATE PROCEDURE calls() LANGUAGE plpgsql AS \$\$ BEGIN $await; END \$\$;
		CREATE PROCEDURE loops() LANGUAGE plpgsql AS \$\$ DECLARE r record; BEGIN FOR r IN SELECT generate_series(1, 3) LOOP $await; END LOOP; END \$\$;
		CREATE PROCEDURE traps() LANGUAGE plpgsql AS \$\$ BEGIN BEGIN $await; EXCEPTION WHEN OTHERS THEN RAISE; END; END \$\$;
		CREATE PROCEDURE definer() LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN $await; END \$\$;
		CREATE PROCEDURE with_set() LANGUAGE plpgsql SET work_mem = '1MB' AS \$\$ BEGIN $await; END \$\$;
		CREATE FUNCTION in_function() RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN $await; END \$\$;
		CREATE TABLE t_trigger (i int);
		CREATE FUNCTION in_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $await; RETURN NULL; END \$\$;
		CREATE TRIGGER t AFTER INSERT ON t_trigger FOR EACH ROW EXECUTE FUNCTION in_trigger();
		GRANT ALL ON t_trigger TO PUBLIC});
	for my $case ([ "BEGIN; $await", '2D000' ], [ "BEGIN; SAVEPOINT s; $await", '2D000' ], [ 'SELECT in_function()', '2D000' ], [ 'INSERT INTO t_trigger VALUES (1)', '2D000' ], [ 'CALL traps()', '2D000' ],
		[ 'CALL definer()', '2D000' ], [ 'CALL with_set()', '2D000' ], [ "DO 'BEGIN $await; END'" =~ s/'\{x\}', '10 ms'/''{x}'', ''10 ms''/r, '2D000|' ], [ 'CALL calls()', '2D000|' ], [ 'CALL loops()', '2D000|' ])
	{
		my ($sql, $code) = @$case;
		like(as('app', "$sql;\nROLLBACK;"), qr/^(?:$code)$/, "$sql: " . ($code =~ /\|$/ ? 'refused or done' : 'refused'));
	}
	my ($out, $err) = ('', '');
	# Several statements in one message are one transaction.
	$node->psql('postgres', "SELECT 1", extra_params => [ '-c', "\\set VERBOSITY verbose", '-c', "SELECT 1; $await; SELECT 2" ], stdout => \$out, stderr => \$err, on_error_stop => 0);
	like($err, qr/2D000/, 'several statements in one message are a transaction') or diag("$out/$err");
	# What a session keeps between transactions survives.
	is(value(qq{CREATE TEMP TABLE kept AS SELECT 7 AS v; BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 8; COMMIT; PREPARE p AS SELECT 9; SELECT pg_advisory_lock(55); LISTEN x; SET work_mem = '3MB'; SET ROLE app;
		RESET ROLE; $await; FETCH c; EXECUTE p; SELECT v, current_setting('work_mem'), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) FROM kept}),
		"\n8\n9\n7|3MB|1", 'what a session keeps survives');
	value(qq{SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on; $await});
	pass('it works where transactions are serializable and read-only');
	my $script = PostgreSQL::Test::Utils::tempdir() . '/await.sql';
	open my $file, '>', $script or die;
	print $file "$await;\n";
	close $file;
	for my $protocol (qw(simple extended prepared))
	{
		$node->command_ok([ 'pgbench', '-n', '-M', $protocol, '-c', 2, '-t', 5, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], "by the $protocol protocol");
	}
}

# ---- definers ----
{
	value(q{
		CREATE FUNCTION take(w text) RETURNS SETOF bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$ SELECT id FROM bgjob_fetch('{definer}', w) $$;
		ALTER FUNCTION take OWNER TO app; GRANT EXECUTE ON FUNCTION take TO evil});
	my $job = as('app', sprintf $ext, 'definer');
	is(as('evil', q{SET bgjob.bind_leases = off; SELECT take('d')}), $job, 'a definer\'s function fetches with the rights of its owner');
	is(as('evil', "SELECT bgjob_complete($job, 'd')"), 'f', 'the lease is the owner\'s, not the caller\'s');
	is(as('app', "SELECT bgjob_complete($job, 'd')"), 't', 'who completes it');
}

no_superuser('in the end');
check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'nothing has crashed');
done_testing();
