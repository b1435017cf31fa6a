# A random caller of every SQL function of the extension and reader of its views: odd, huge, null and hostile values among
# valid ones; in transactions, savepoints, prepared transactions, exception blocks, cursors, triggers, filters and jobs; by
# four sessions at once, of two ordinary roles, one with grants and an administrator; with every setting that they may
# change set to anything. Whatever they call, the server survives, no call takes long, no error is internal, no role
# gains a right, and bgjob continues with consistent tables.
#
# First each function is called once with success and once with an error: a new function without such calls
# fails this test. BGJOB_FUZZ_CALLS and BGJOB_FUZZ_SEED say how many random calls follow and which
# (security/lib/RandomCalls.pm). Their results also depend on the other sessions; the assertions do not.
# The scripts of a round that failed are kept.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib", "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use RandomCalls qw(seed_session script hostile_setting places quoted);
use Test::More;
use Time::HiRes qw(time usleep);

my $calls = $ENV{BGJOB_FUZZ_CALLS} || 2000;
my $seed  = $ENV{BGJOB_FUZZ_SEED} || 20261129;
note("BGJOB_FUZZ_CALLS=$calls BGJOB_FUZZ_SEED=$seed");

my $node = bgjob_cluster('random',
	shared_preload_libraries  => 'pg_cron, bgjob',
	'bgjob.workers'           => 6,
	'bgjob.job_timeout'       => '2s',
	log_error_verbosity       => 'verbose',
	log_line_prefix           => '%m [%p] %u ',
	log_statement             => 'none',
	max_prepared_transactions => 10);
sub value { return $node->safe_psql('postgres', $_[0]) }

my $owner = value('SELECT current_user');
value(<<'SQL');
CREATE EXTENSION pg_cron; -- for bgjob_import_pg_cron()
CREATE EXTENSION amcheck;
CREATE ROLE fuzz_user LOGIN;
CREATE ROLE fuzz_second LOGIN IN ROLE fuzz_user;
CREATE ROLE fuzz_granted LOGIN;
CREATE ROLE fuzz_stranger LOGIN;
CREATE ROLE fuzz_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE fuzz_honest LOGIN;
GRANT USAGE ON SCHEMA bgjob TO fuzz_user, fuzz_second, fuzz_granted, fuzz_honest;
DO $$
BEGIN
	EXECUTE (SELECT 'GRANT EXECUTE ON FUNCTION ' || string_agg(oid::regprocedure::text, ', ') || ' TO fuzz_granted' FROM pg_proc WHERE proname ~ '^bgjob_(queue|filter|adopt)');
END $$;
CREATE SCHEMA fz; CREATE SCHEMA fz_shadow;
GRANT ALL ON SCHEMA fz, fz_shadow TO PUBLIC;
SET ROLE fuzz_user;
CREATE FUNCTION fz.good(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL, id bigint DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION fz.raises(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = pg_catalog.repeat('x', 20000); END$$;
CREATE FUNCTION fz.sleeps(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(0.1)';
CREATE FUNCTION fz.traps(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_catalog.pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN NULL; END$$;
CREATE FUNCTION fz.definer(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = fz_shadow AS $$BEGIN PERFORM public.bgjob_log('x'); END$$;
CREATE PROCEDURE fz.proc(a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;
CREATE FUNCTION fz.variadic_args(VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT $1[1]';
CREATE FUNCTION fz.outs(OUT a int, OUT b text) LANGUAGE sql AS $$SELECT 1, 'x'$$;
CREATE FUNCTION fz.poly(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION fz.rows() RETURNS SETOF int LANGUAGE sql AS 'SELECT pg_catalog.generate_series(1, 3)';
CREATE FUNCTION fz.refuses(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
CREATE DOMAIN fz.never AS text CHECK (fz.refuses(VALUE));
CREATE FUNCTION fz.of_domain(fz.never) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE AGGREGATE fz.agg(jsonb) (SFUNC = pg_catalog.jsonb_concat, STYPE = jsonb);
CREATE FUNCTION fz.some_job(back int) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM bgjob.jobs ORDER BY id DESC OFFSET back LIMIT 1';
CREATE FUNCTION fz.waiting() RETURNS bigint LANGUAGE sql AS $$SELECT public.bgjob_enqueue('fz.good', delay => '1 hour')$$;
CREATE FUNCTION fz.caught(call text) RETURNS text LANGUAGE plpgsql AS $$BEGIN EXECUTE call; RETURN '00000'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END$$;
CREATE FUNCTION fz.trapped(call text) RETURNS text LANGUAGE plpgsql AS $$BEGIN EXECUTE call; RETURN '00000'; EXCEPTION WHEN OTHERS OR query_canceled THEN RETURN SQLSTATE; END$$;
CREATE FUNCTION fz.definer_caught(call text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN EXECUTE call; RETURN '00000'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END$$;
CREATE FUNCTION fz.called(call text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE call; EXECUTE call; END$$;
CREATE PROCEDURE fz.commits(call text) LANGUAGE plpgsql AS $$BEGIN EXECUTE call; COMMIT; EXECUTE call; ROLLBACK; EXECUTE call; END$$;
CREATE FUNCTION fz.filtered(call text DEFAULT NULL, a jsonb DEFAULT NULL, b jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION fz.filter(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN IF context #>> '{args,call}' IS NOT NULL THEN PERFORM fz.caught(context #>> '{args,call}'); END IF; RETURN NULL; END$$;
CREATE FUNCTION fz_shadow.climb() RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER ROLE fuzz_user SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END$$;
CREATE FUNCTION fz_shadow.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT pg_catalog.now()$$;
CREATE FUNCTION fz_shadow.text_eq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT false$$;
CREATE FUNCTION fz_shadow.bigint_eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT true$$;
CREATE OPERATOR fz_shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = fz_shadow.text_eq);
CREATE OPERATOR fz_shadow.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = fz_shadow.bigint_eq);
CREATE FUNCTION fz.triggered() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE NEW.call; RETURN NEW; END$$;
CREATE TABLE fz.calls (call text);
CREATE TRIGGER call BEFORE INSERT ON fz.calls FOR EACH ROW EXECUTE FUNCTION fz.triggered();
CREATE TABLE fz.deferred (call text);
CREATE CONSTRAINT TRIGGER call AFTER INSERT ON fz.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fz.triggered();
CREATE TABLE fz.changed (id bigint);
CREATE TRIGGER enqueues AFTER INSERT ON fz.changed FOR EACH ROW EXECUTE FUNCTION public.bgjob_enqueue_trigger('fz.good');
GRANT ALL ON fz.calls, fz.deferred, fz.changed TO PUBLIC;
RESET ROLE;
SELECT bgjob_filter('fz', 'performing', 'fz.filter', 'fz.filtered%');
SQL

# Every function of the extension: {name, short: without the schema or, where it is overloaded, with the types, trigger, args [{name, type, optional}]}.
my @functions = map {
	my ($name, $short, $trigger, $args) = split /\|/, $_, 4;
	{
		name    => $name,
		short   => $short,
		trigger => $trigger eq 't',
		args    => [ map { my ($arg, $type, $optional) = split /:/; { name => $arg, type => $type, optional => $optional } } split /;/, $args ]
	}
} split /\n/, value(<<'SQL');
SELECT pronamespace::regnamespace || '.' || proname,
	CASE WHEN count(*) OVER (PARTITION BY proname) > 1 THEN proname || '(' || oidvectortypes(proargtypes) || ')' ELSE proname END,
	prorettype = 'trigger'::regtype, coalesce((SELECT string_agg(format('%s:%s:%s', p.proargnames[n], format_type(t, NULL), (n > pronargs - pronargdefaults)::int), ';' ORDER BY n)
                                 FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS a (t, n)), '')
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob') ORDER BY 1, 2
SQL
my @views = map { { name => $_, short => $_, view => 1 } } split /\n/, value(q{SELECT oid::regclass FROM pg_class WHERE relkind = 'v' AND relnamespace = 'bgjob'::regnamespace ORDER BY 1});
cmp_ok(scalar @functions, '>', 40, 'the functions are found');
cmp_ok(scalar @views, '>', 8, 'the views are found');

# State that no call may change: attributes of roles, memberships, rights, owners.
my $rights = q{SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (
	SELECT format('%s %s %s %s %s %s %s', rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin) FROM pg_roles
	UNION ALL SELECT m::text FROM pg_auth_members m
	UNION ALL SELECT format('%s %s %s', nspname, nspowner, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_t'
	UNION ALL SELECT format('%s %s %s', oid::regclass, relowner, relacl) FROM pg_class WHERE relnamespace::regnamespace::text ~ '^bgjob'
	UNION ALL SELECT format('%s %s %s %s', oid::regprocedure, proowner, prosecdef, proacl) FROM pg_proc WHERE proname ~ '^bgjob' OR pronamespace = 'bgjob_internal'::regnamespace) AS t (x)};
my $rights_before = value($rights);
my $born = value('SELECT pg_postmaster_start_time()');

# ---- each function once with success, once refused ----

# [what succeeds, what is refused, its SQLSTATE, as which role it succeeds, as which it is refused]; fuzz_user where there is none. "job": the
# second is called in a job, which ends so.
my %cases = (
	bgjob_enqueue          => [ q{SELECT bgjob_enqueue('fz.good', '{"a": 1}')}, q{SELECT bgjob_enqueue('fz.nothing')}, '42883' ],
	bgjob_enqueue_many     => [ q{SELECT count(*) FROM bgjob_enqueue_many('fz.good', '{NULL,NULL}')}, q{SELECT bgjob_enqueue_many('fz.nothing', '{NULL}')}, '42883' ],
	bgjob_enqueue_trigger  => [ 'INSERT INTO fz.changed VALUES (1)', 'SELECT bgjob_enqueue_trigger()', '39P01' ],
	bgjob_delete           => [ 'SELECT bgjob_delete(fz.waiting())', q{SELECT bgjob_delete(1, 'none')}, '22023' ],
	bgjob_requeue          => [ 'SELECT bgjob_requeue(fz.waiting())', q{SELECT bgjob_requeue(1, 'none')}, '22023' ],
	bgjob_reschedule       => [ q{SELECT bgjob_reschedule(fz.waiting(), delay => '2 hours')}, 'SELECT bgjob_reschedule(1)', '22023' ],
	bgjob_change           => [ q{SELECT bgjob_change(fz.waiting(), 'q1', 3)}, 'SELECT bgjob_change(1)', '22023' ],
	bgjob_wait             => [ q{SELECT bgjob_wait(fz.some_job(0), '0')}, 'SELECT bgjob_wait(-1)', '22023' ],
	bgjob_result           => [ 'SELECT bgjob_result(fz.some_job(0))', "SELECT bgjob_result(1)", '42501', 'fuzz_user', 'fuzz_stranger' ],
	bgjob_run              => [ 'SELECT bgjob_run(fz.waiting())', 'SELECT bgjob_run(-1)', '22023' ],
	bgjob_why              => [ 'SELECT count(*) FROM bgjob_why(fz.some_job(0))', 'SELECT bgjob_why(-1)', '22023' ],
	bgjob_purge            => [ q{SELECT bgjob_purge('deleted')}, q{SELECT bgjob_purge('none')}, '22023' ],
	bgjob_await            => [ q{CALL bgjob_await('{none}', '10 ms')}, q{CALL bgjob_await('{}', '10 ms')}, '22023' ],
	bgjob_fetch            => [ q{SELECT count(*) FROM bgjob_fetch('{none}', 'w')}, q{SELECT bgjob_fetch('{none}', '')}, '22023' ],
	bgjob_complete         => [ q{SELECT bgjob_complete(-1, 'w')}, q{SELECT bgjob_complete(-1, '')}, '22023' ],
	bgjob_fail             => [ q{SELECT bgjob_fail(-1, 'w', 'x')}, q{SELECT bgjob_fail(-1, 'w', NULL)}, '22023' ],
	bgjob_release          => [ q{SELECT bgjob_release(-1, 'w')}, q{SELECT bgjob_release(-1, '')}, '22023' ],
	bgjob_heartbeat        => [ q{SELECT count(*) FROM bgjob_heartbeat('w', '{-1}')}, q{SELECT bgjob_heartbeat('w', '{-1}', '0')}, '22023' ],
	bgjob_external_log     => [ q{SELECT bgjob_external_log(-1, 'w', 'x')}, q{SELECT bgjob_external_log(-1, 'w', 'x', '')}, '22023' ],
	bgjob_external_progress => [ q{SELECT bgjob_external_progress(-1, 'w', 50)}, q{SELECT bgjob_external_progress(-1, 'w', 101)}, '22023' ],
	bgjob_external_deadline => [ q{SELECT bgjob_external_deadline(-1, 'w')}, q{SELECT bgjob_external_deadline(-1, '')}, '22023' ],
	bgjob_protocol         => [ 'SELECT bgjob_protocol()', undef ],
	bgjob_current_id       => [ 'SELECT bgjob_current_id()', undef ],
	bgjob_progress         => [ 'job', 'SELECT bgjob_progress(50)', '55000' ],
	bgjob_log              => [ 'job', q{SELECT bgjob_log('x')}, '55000' ],
	bgjob_cancel_requested => [ 'job', 'SELECT bgjob_cancel_requested()', '55000' ],
	bgjob_parameter        => [ 'job', q{SELECT bgjob_parameter('x')}, '55000' ],
	bgjob_set_parameter    => [ 'job', q{SELECT bgjob_set_parameter('x', '1')}, '55000' ],
	bgjob_snooze           => [ 'job scheduled', q{SELECT bgjob_snooze('1 hour')}, '55000' ],
	bgjob_discard          => [ 'job deleted', 'SELECT bgjob_discard()', '55000' ],
	bgjob_current_batch    => [ 'job', 'SELECT bgjob_current_batch()', '55000' ],
	bgjob_antecedents      => [ 'job', 'SELECT bgjob_antecedents()', '55000' ],
	bgjob_batch            => [ q{SELECT bgjob_batch('b')}, 'SELECT bgjob_batch(parent => -1)', '22023' ],
	bgjob_batch_cancel     => [ q{SELECT bgjob_batch_cancel(bgjob_batch('b'))}, 'SELECT bgjob_batch_cancel(-1)', '22023' ],
	bgjob_batch_retry      => [ q{SELECT bgjob_batch_retry(bgjob_batch('b'))}, q{SELECT bgjob_batch_retry(bgjob_batch('b'), 'none')}, '22023' ],
	bgjob_signal           => [ q{SELECT bgjob_signal('s')}, q{SELECT bgjob_signal('')}, '22023' ],
	bgjob_signal_remove    => [ q{SELECT bgjob_signal_remove('s')}, q{SELECT bgjob_signal_remove(NULL)}, '22004' ],
	bgjob_adopt            => [ 'SELECT bgjob_adopt()', "SELECT bgjob_adopt()", '42501', 'admin', 'fuzz_stranger' ],
	bgjob_server           => [ q{SELECT bgjob_server('s1', '{q1}', 1)}, q{SELECT bgjob_server('s1', '{}')}, '22023', 'admin', 'admin' ],
	bgjob_server_pause     => [ q{SELECT bgjob_server_pause('s1')}, q{SELECT bgjob_server_pause('')}, '22023', 'admin', 'admin' ],
	bgjob_server_resume    => [ q{SELECT bgjob_server_resume('s1')}, 'SELECT bgjob_server_resume(NULL)', '22004', 'admin', 'admin' ],
	bgjob_server_remove    => [ q{SELECT bgjob_server_remove('s1')}, q{SELECT bgjob_server_remove('')}, '22023', 'admin', 'admin' ],
	bgjob_queue            => [ q{SELECT bgjob_queue('q1', group_size => 5)}, q{SELECT bgjob_queue('Q 1')}, '22023', 'admin', 'admin' ],
	bgjob_queue_pause      => [ q{SELECT bgjob_queue_pause('q1')}, q{SELECT bgjob_queue_pause('')}, '22023', 'admin', 'admin' ],
	bgjob_queue_resume     => [ q{SELECT bgjob_queue_resume('q1')}, 'SELECT bgjob_queue_resume(NULL)', '22004', 'admin', 'admin' ],
	bgjob_queue_remove     => [ q{SELECT bgjob_queue_remove('q1')}, q{SELECT bgjob_queue_remove('')}, '22023', 'admin', 'admin' ],
	bgjob_limit            => [ q{SELECT bgjob_limit('l1', 5)}, q{SELECT bgjob_limit('l1')}, '22023', 'admin', 'admin' ],
	bgjob_limit_remove     => [ q{SELECT bgjob_limit_remove('l1')}, q{SELECT bgjob_limit_remove('l1')}, '42501', 'admin', 'fuzz_stranger' ],
	bgjob_limit_close      => [ q{SELECT bgjob_limit_close('l1', delay => '0')}, q{SELECT bgjob_limit_close('l1', delay => '0')}, '42501', 'admin', 'fuzz_stranger' ],
	bgjob_limit_used       => [ 'job failed', q{SELECT bgjob_limit_used('l1', 1)}, '55000' ],
	bgjob_weight           => [ q{SELECT bgjob_weight('k', 2)}, q{SELECT bgjob_weight('k', 0)}, '22023', 'admin', 'admin' ],
	bgjob_function_stats_reset => [ q{SELECT bgjob_function_stats_reset('fz.none')}, 'SELECT bgjob_function_stats_reset()', '42501', 'admin', 'fuzz_stranger' ],
	bgjob_configure        => [ q{SELECT bgjob_configure('fz.good', priority => 1)}, q{SELECT bgjob_configure('pg_catalog.now')}, '42501' ],
	bgjob_unconfigure      => [ q{SELECT bgjob_unconfigure('fz.good')}, q{SELECT bgjob_unconfigure('pg_catalog.now')}, '42501' ],
	bgjob_cron_next        => [ q{SELECT bgjob_cron_next('@hourly')}, q{SELECT bgjob_cron_next('99 * * * *')}, '22023' ],
	bgjob_cron_occurrences => [ q{SELECT count(*) FROM bgjob_cron_occurrences('@hourly', now(), now())}, q{SELECT bgjob_cron_occurrences('@none', now(), now())}, '22023' ],
	bgjob_cron_describe    => [ q{SELECT bgjob_cron_describe('@hourly')}, q{SELECT bgjob_cron_describe('')}, '22023' ],
	bgjob_recurring         => [ q{SELECT bgjob_recurring('r', '@hourly', 'fz.good')}, q{SELECT bgjob_recurring('r', '@none', 'fz.good')}, '22023' ],
	bgjob_recurring_trigger => [ q{SELECT bgjob_recurring_trigger('r')}, "SELECT bgjob_recurring_trigger('r')", '42501', 'fuzz_user', 'fuzz_stranger' ],
	bgjob_recurring_pause   => [ q{SELECT bgjob_recurring_pause('r')}, "SELECT bgjob_recurring_pause('r')", '42501', 'fuzz_user', 'fuzz_stranger' ],
	bgjob_recurring_resume  => [ q{SELECT bgjob_recurring_resume('r')}, "SELECT bgjob_recurring_resume('r')", '42501', 'fuzz_user', 'fuzz_stranger' ],
	bgjob_recurring_remove  => [ q{SELECT bgjob_recurring_remove('r')}, "SELECT bgjob_recurring_remove('r')", '42501', 'fuzz_user', 'fuzz_stranger' ],
	bgjob_import_pg_cron    => [ 'SELECT count(*) FROM bgjob_import_pg_cron()', "SELECT bgjob_import_pg_cron()", '42501', 'admin', 'fuzz_stranger' ],
	bgjob_filter            => [ q{SELECT bgjob_filter('f', 'created', 'fz.filter', 'fz.none')}, q{SELECT bgjob_filter('f', 'none', 'fz.filter')}, '22023', 'admin', 'admin' ],
	bgjob_filter_remove     => [ q{SELECT bgjob_filter_remove('f')}, "SELECT bgjob_filter_remove('f')", '42501', 'admin', 'fuzz_stranger' ],
	bgjob_list              => [ q{SELECT count(*) FROM bgjob_list(state => 'failed')}, q{SELECT bgjob_list(state => 'none')}, '22023' ],
	bgjob_search            => [ q{SELECT count(*) FROM bgjob_search('state:failed')}, q{SELECT bgjob_search('none:')}, '22023' ],
	bgjob_failures          => [ q{SELECT count(*) FROM bgjob_failures()}, q{SELECT bgjob_failures(0)}, '22023' ],
	# What the views call, and nobody by name: what succeeds is what reads the view that needs it.
	may_see            => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', q{SELECT bgjob_internal.may_see('postgres')}, '42501' ],
	in_queue           => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', q{SELECT bgjob_internal.in_queue('fuzz_user', 'default', 0::smallint, 1, 'f')}, '42501' ],
	may_see_job        => [ 'SELECT count(t::text) FROM bgjob.job_logs AS t', 'SELECT bgjob_internal.may_see_job(1)', '42501' ],
	job_ids            => [ q{SELECT count(t::text) FROM bgjob.jobs AS t WHERE state = 'failed'}, q{SELECT bgjob_internal.job_ids('{failed}')}, '42501' ],
	newest_ids         => [ 'SELECT count(t::text) FROM (SELECT * FROM bgjob.jobs ORDER BY id DESC LIMIT 20) AS t', 'SELECT bgjob_internal.newest_ids(20)', '42501' ],
	call_name          => [ 'SELECT count(t.job) FROM bgjob.jobs AS t', 'SELECT bgjob_internal.call_name(1)', '42501' ],
	running_jobs       => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', 'SELECT bgjob_internal.running_jobs()', '42501' ],
	queue_counts       => [ 'SELECT count(t::text) FROM bgjob.queues AS t', 'SELECT bgjob_internal.queue_counts()', '42501' ],
	oldest_enqueued    => [ 'SELECT count(t::text) FROM bgjob.queues AS t', 'SELECT bgjob_internal.oldest_enqueued()', '42501' ],
	waiting_reason     => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', q{SELECT bgjob_internal.waiting_reason('e', 'fuzz_user', 'default', 0::smallint, 1, now(), 0, 1, 'f')}, '42501' ],
	is_running         => [ 'SELECT count(t::text) FROM bgjob.recurring_jobs AS t', 'SELECT bgjob_internal.is_running(1)', '42501' ],
	state_name         => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', q{SELECT bgjob_internal.state_name('e')}, '42501' ],
	milliseconds       => [ 'SELECT count(t::text) FROM bgjob.job_states AS t', 'SELECT bgjob_internal.milliseconds(now(), now())', '42501' ],
	later              => [ 'SELECT count(t::text) FROM bgjob.jobs AS t', q{SELECT bgjob_internal.later(now(), '1 day')}, '42501' ],
	worker_slots       => [ 'SELECT count(t::text) FROM bgjob.workers AS t', 'SELECT bgjob_internal.worker_slots()', '42501' ],
	worker_logs        => [ 'SELECT count(t::text) FROM bgjob.job_logs AS t', 'SELECT bgjob_internal.worker_logs()', '42501' ],
	servers            => [ 'SELECT count(t::text) FROM bgjob.servers AS t', 'SELECT bgjob_internal.servers()', '42501' ],
	counts             => [ 'SELECT count(t::text) FROM bgjob.stats AS t', 'SELECT bgjob_internal.counts()', '42501' ],
	server_count       => [ 'SELECT count(t::text) FROM bgjob.stats AS t', 'SELECT bgjob_internal.server_count()', '42501' ],
	limits             => [ 'SELECT count(t::text) FROM bgjob.limits AS t', 'SELECT bgjob_internal.limits()', '42501' ],
	function_stats     => [ 'SELECT count(t::text) FROM bgjob.function_stats AS t', 'SELECT bgjob_internal.function_stats()', '42501' ],
	metrics            => [ 'SELECT count(t::text) FROM bgjob.metrics AS t', 'SELECT bgjob_internal.metrics()', '42501' ],
	histogram_add      => [ 'SELECT count(t::text) FROM bgjob.stats_history AS t', 'SELECT bgjob_internal.histogram_add(NULL, NULL)', '42501' ],
	histogram_end      => [ 'SELECT count(t::text) FROM bgjob.stats_history AS t', 'SELECT bgjob_internal.histogram_end(NULL)', '42501' ],
	histogram_sum      => [ 'SELECT count(t::text) FROM bgjob.stats_history AS t', q{SELECT bgjob_internal.histogram_sum('')}, '42501' ],
	histogram_percentile => [ 'SELECT count(t::text) FROM bgjob.stats_history AS t', q{SELECT bgjob_internal.histogram_percentile('', 0.5)}, '42501' ],
	schedule_description => [ 'SELECT count(t::text) FROM bgjob.recurring_jobs AS t', q{SELECT bgjob_internal.schedule_description('', true, '')}, '42501' ],
	# What the extension's own script and triggers call; the refusals show that nobody else can.
	installed          => [ 'CREATE EXTENSION', 'SELECT bgjob_internal.installed()', '55000', 'admin', 'admin' ],
	count_again        => [ q{BEGIN; INSERT INTO bgjob_internal.total VALUES ('k', 0); ROLLBACK}, 'SELECT bgjob_internal.count_again()', '42501', 'admin' ],
	restored_recurring => [ 'BEGIN; INSERT INTO bgjob_internal.recurring SELECT (r).* FROM (SELECT NULL::bgjob_internal.recurring AS r) AS n WHERE false; ROLLBACK', 'SELECT bgjob_internal.restored_recurring()', '42501', 'admin' ],
	filters_changed    => [ 'BEGIN; DELETE FROM bgjob_internal.filter WHERE false; ROLLBACK', 'SELECT bgjob_internal.filters_changed()', '42501', 'admin' ],
	limits_changed     => [ 'BEGIN; DELETE FROM bgjob_internal.limit_conf WHERE false; ROLLBACK', 'SELECT bgjob_internal.limits_changed()', '42501', 'admin' ],
	note_applied       => [ 'BEGIN; SET LOCAL session_replication_role = replica; UPDATE bgjob_internal.job SET id = id WHERE false; ROLLBACK', 'SELECT bgjob_internal.note_applied()', '42501', 'admin' ],
	ignore_row         => [ 'BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM bgjob_internal.filter; ROLLBACK', 'SELECT bgjob_internal.ignore_row()', '42501', 'admin' ],
	applied_row        => [ q{BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO bgjob_internal.failure VALUES (1, 'postgres', 'x'); ROLLBACK}, 'SELECT bgjob_internal.applied_row()', '42501', 'admin' ]);

# sql_states ROLE, STATEMENTS are the SQLSTATEs that they end with; a statement may have several commands, of which the last one but ROLLBACK counts.
sub sql_states
{
	my ($role, @statements) = @_;
	my $script = join '', map { my $end = (my $sql = $_) =~ s/; ROLLBACK$// ? 'ROLLBACK;' : ''; "$sql;\n\\echo # :SQLSTATE\n$end\n" } @statements;
	my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0, timeout => 60, extra_params => [ '-U', $role ]);

	return $out =~ /^# (\w+)$/mg;
}

# Runs the calls of some functions as their roles; those that did not end as they should.
sub wrong_ends
{
	my ($what, $role_at, $functions, $expected) = @_;
	my @wrong;

	for my $role (qw(fuzz_user admin fuzz_stranger))
	{
		my @of = grep { ($cases{$_}[$role_at] // 'fuzz_user') eq $role } @$functions;
		my @states = sql_states($role eq 'admin' ? $owner : $role, map { $cases{$_}[$what] } @of);
		push @wrong, map { ($states[$_] // 'none') ne $expected->($of[$_]) ? "$of[$_]: " . ($states[$_] // 'none') : () } 0 .. $#of;
	}
	return \@wrong;
}

sub test_each_function
{
	my %missing = map { $_->{short} => 1 } @functions;
	my @jobs;

	delete @missing{ keys %cases };
	is_deeply([ sort keys %missing ], [], 'each function of the extension has calls in this test');
	# in the order in which one makes what the next one needs
	my @of = grep { $cases{$_}[0] !~ /^(?:job|CREATE EXTENSION)/ } sort keys %cases;
	my $makes = qr/^bgjob_(?:enqueue|recurring$|queue$|limit$|configure|filter$)/;
	@of = ((grep { $_ =~ $makes } @of), (grep { $_ !~ $makes && $_ !~ /_remove$/ } @of), grep { /_remove$/ } @of);
	is_deeply(wrong_ends(0, 3, \@of, sub { return '00000' }), [], 'each function succeeds');
	is_deeply(wrong_ends(1, 4, [ grep { defined $cases{$_}[1] } sort keys %cases ], sub { return $cases{ $_[0] }[2] }), [], 'each function refuses, with the right error');

	for my $name (grep { $cases{$_}[0] =~ /^job/ } sort keys %cases)
	{
		my $job = $node->safe_psql('postgres', "SELECT bgjob_enqueue(" . quoted($cases{$name}[1]) . ", kind => 'sql', max_retries => 0)", extra_params => [ '-U', 'fuzz_user' ]);
		push @jobs, [ $job, $cases{$name}[0] =~ /^job (\w+)/ ? $1 : 'succeeded' ];
	}
	my $ends = join ',', map { "($_->[0], '$_->[1]')" } @jobs;
	wait_until($node, "SELECT bool_and(j.state = e.state) FROM (VALUES $ends) AS e (id, state) JOIN bgjob.jobs j USING (id)", 'each function of jobs does its work in one', 30);
}

# ---- four sessions at once ----

my @settings = map { [ split /\|/, $_, -1 ] } split /\n/, value(<<'SQL');
SELECT name, context, vartype, min_val, max_val, array_to_string(enumvals, ',') FROM pg_settings
WHERE context IN ('user', 'superuser')
  -- Left out: what ends the session, fills the log or hides the library, as it would with any extension.
  AND name !~ '^(log_|debug_print|debug_pretty|debug_discard|trace_|exit_on_error|idle_|transaction_timeout|dynamic_library_path|client_min|zero_dam|ignore_|session_pre|local_pre|backtrace|wal_cons|temp_buffers|cron[.])'
ORDER BY name
SQL
my @user_settings = grep { $_->[1] eq 'user' } @settings;
my @sessions = map { { name => $_, user => $_, settings => \@user_settings } } qw(fuzz_user fuzz_second fuzz_granted);
push @sessions, { name => 'admin', user => $owner, settings => \@settings };
@{ $sessions[$_] }{qw(number functions)} = ($_, [ @functions, @views ]) for 0 .. $#sessions;

my $scripts = $PostgreSQL::Test::Utils::tmp_check . "/random_$seed";
mkdir $scripts;
my $psql = $node->can('installed_command') ? $node->installed_command('psql') : 'psql';
my ($seen, $slowest) = (-s $node->logfile, 0);
my (%ended, %jobs); # place → SQLSTATE → number; place → ids of jobs

# start_session SESSION, ROUND, CALLS starts a psql with a script.
sub start_session
{
	my ($session, $round, $count, $seconds) = @_;
	my $file = "$scripts/$session->{name}_$round";

	seed_session($seed * 1000 + $round * 10 + $session->{number}, $session);
	open my $handle, '>', "$file.sql" or die "$file: $!";
	print $handle script($count);
	close $handle;
	return {
		session => $session,
		file    => $file,
		run     => IPC::Run::start([ $psql, '-XAtq', '-d', $node->connstr('postgres') . " user=$session->{user}", '-f', "$file.sql" ], '<', \'', '>', "$file.out", '2>', "$file.err", IPC::Run::timeout($seconds))
	};
}

# Waits for the end of a psql, and counts what its calls came to. What went wrong.
sub finish_session
{
	my ($running) = @_;
	my @wrong;

	if (!eval { $running->{run}->finish; 1 })
	{
		push @wrong, "$running->{file}.sql: $@";
		$running->{run}->kill_kill;
	}
	my $err = slurp_file("$running->{file}.err");
	push @wrong, "$running->{file}.sql: the session was lost: " . substr($err, -2000) if $err =~ /server closed the connection|connection to server was lost/;
	my $out = slurp_file("$running->{file}.out");
	while ($out =~ /^(?:# (\w+) (\S+) (\w+)(?: (\d+))?|Time: ([\d.]+) ms.*)$/mg)
	{
		if (defined $5) { $slowest = $5 if $5 > $slowest }
		elsif (defined $4) { push @{ $jobs{$1} }, $4 }
		else { $ended{$1}{$3}++ }
	}
	return @wrong;
}

# Lines of the server's log that must not be there.
sub wrong_in_log
{
	my $log = slurp_file($node->logfile, $seen);
	my @wrong;

	$seen += length $log;
	push @wrong, $1 while $log =~ /^(.*(?:(?:PANIC|TRAP): .*|terminated by signal (?:4|6|7|8|11)\b.*|(?:ERROR|FATAL|WARNING|LOG):  (?:XX000|XX001|XX002|58\w{3}): .*(?:\n.*){0,4}|invalid memory alloc.*|cache lookup failed.*))/mg;
	return @wrong;
}

# One round: CALLS of each session. Whether all went well.
sub run_round
{
	my ($round, $count) = @_;

	# Workers of one role start with settings of its own, if the server takes them.
	seed_session($seed * 1000 + $round * 10 + 9, $sessions[1]);
	$node->psql('postgres', join("\n", map { "$_;" } 'ALTER ROLE fuzz_second RESET ALL', map { 'ALTER ROLE fuzz_second SET ' . hostile_setting(@user_settings) } 1 .. 3), on_error_stop => 0);
	my @running = map { start_session($_, $round, $count, 60 + $count) } @sessions;
	my @wrong = map { finish_session($_) } @running;
	my $now = eval { value('SELECT pg_postmaster_start_time()') } // 'none';
	push @wrong, "the server started again: $now" if $now ne $born;
	push @wrong, wrong_in_log();
	push @wrong, 'a role or a right has changed' if value($rights) ne $rights_before;
	diag("seed $seed, round $round, scripts $scripts/*_$round.sql:\n" . join("\n", @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ])) if @wrong;
	unlink map { ("$_->{file}.sql", "$_->{file}.out", "$_->{file}.err") } @running if !@wrong;
	return !@wrong;
}

sub test_random_calls
{
	my ($done, $round, $bad) = (0, 0, 0);

	while ($done < $calls && $bad < 5)
	{
		my $each = $calls - $done > 500 ? 125 : int(($calls - $done + 3) / 4);
		$bad++ if !run_round($round++, $each);
		$done += 4 * $each;
	}
	is($bad, 0, "$done calls, seed $seed: no crash, hang, internal error or right gained");
	cmp_ok($slowest, '<', 20_000, 'no call took long');
	note("the slowest statement took $slowest ms");
}

# ---- what is left ----

# What the calls leave behind (paused queues, filters, recurring jobs, settings) is removed, as an administrator may: again and again, since the
# jobs that are left make more of it. Then every job must end.
sub test_comes_to_rest
{
	my $until = time + 120;
	my $unfinished = q{SELECT count(*) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'awaiting') OR state = 'scheduled' AND run_at < now() - interval '1 second'};
	my $remove = join ';', 'ALTER ROLE fuzz_second RESET ALL', 'SELECT count(bgjob_filter_remove(name)) FROM bgjob.filters', q{SELECT count(bgjob_queue_resume('default'))},
		'SELECT count(bgjob_queue_remove(queue)) FROM bgjob.queues', 'SELECT count(bgjob_unconfigure(job)) FROM bgjob.functions';
	my $recurring = 'SELECT owner, quote_literal(name) FROM bgjob.recurring_jobs';
	my $left;

	# what awaits a signal that nobody has sent would await it for ever
	$remove .= q{; SELECT count(bgjob_signal(s)) FROM (SELECT DISTINCT unnest(after_signal) FROM bgjob.jobs WHERE state = 'awaiting') AS a (s)};
	do
	{
		value($remove);
		for (split /\n/, value($recurring))
		{
			my ($role, $name) = split /\|/, $_, 2;
			value("SET SESSION AUTHORIZATION $role; SELECT bgjob_recurring_remove($name)");
		}
		usleep(200_000);
		$left = value("SELECT ($unfinished) || ' jobs, ' || (SELECT count(*) FROM bgjob.recurring_jobs) || ' recurring jobs'");
	} until ($left eq '0 jobs, 0 recurring jobs' || time > $until);
	is($left, '0 jobs, 0 recurring jobs', 'every job ends, or waits for its time')
		or diag(value(q{SELECT id, state, run_as, queue, reason, left(job, 100) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'awaiting') ORDER BY id LIMIT 10}));
	is(value('SELECT count(*) FROM pg_prepared_xacts'), '0', 'no prepared transaction is left');
	note('jobs by state: ' . value(q{SELECT string_agg(state || ' ' || n, ', ') FROM (SELECT state, count(*) AS n FROM bgjob.jobs GROUP BY 1) AS s}));
	my $job = $node->safe_psql('postgres', q{SELECT public.bgjob_enqueue('SELECT 1', kind => 'sql')}, extra_params => [ '-U', 'fuzz_honest' ]);
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $job", 'an ordinary job of another role is performed', 30);
}

# Calls were made in each place. Of jobs their ends tell, but many have been purged.
sub test_places
{
	my @unused;

	for my $place (keys %jobs)
	{
		my $ids = join ',', @{ $jobs{$place} };
		for (split /\n/, value("SELECT CASE state WHEN 'succeeded' THEN '00000' ELSE 'error' END, count(*) FROM bgjob.jobs WHERE id IN ($ids) GROUP BY 1"))
		{
			my ($end, $n) = split /\|/;
			$ended{$place}{$end} += $n;
		}
	}
	my ($good, $all) = (0, 0);
	for my $place (places())
	{
		my $n = 0;
		$n += $_ for values %{ $ended{$place} };
		push @unused, $place if !$jobs{$place} && !$ended{$place}{'00000'};
		$good += $ended{$place}{'00000'} // 0;
		$all += $n;
	}
	note("$good of the $all calls whose end is known have succeeded");
	note(join ', ', map { my $p = $_; "$p " . ($ended{$p}{'00000'} // 0) } places());
	is_deeply(\@unused, [], 'calls were made in every place, and some succeeded') if $calls >= 1000;
	cmp_ok($good, '>', $all / 4, 'many of the calls succeeded') if $calls >= 1000;
}

sub test_tables
{
	is(value(q{SELECT count(bt_index_check(indexrelid, true)) FROM pg_index WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'bgjob_internal'::regnamespace)}),
		value(q{SELECT count(*) FROM pg_index WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'bgjob_internal'::regnamespace)}), 'the indexes are as they should be');
	is(value(q{SELECT string_agg(format('%s (%s,%s): %s', c.oid::regclass, v.blkno, v.offnum, v.msg), E'\n') FROM pg_class c, LATERAL verify_heapam(c.oid) v
		WHERE c.relkind = 'r' AND c.relnamespace = 'bgjob_internal'::regnamespace}), '', 'the tables are unchanged');
	check_counters($node);
}

# Megabytes of memory that are a process's own.
sub own_memory
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");

	return $status =~ /^RssAnon:\s+(\d+) kB/m ? $1 / 1024 : undef;
}

sub test_memory
{
	for my $kind ('bgjob launcher', 'bgjob scheduler')
	{
		my $size = own_memory(value("SELECT min(pid) FROM pg_stat_activity WHERE backend_type = '$kind'"));
		cmp_ok($size, '<', 60, "the memory of the $kind is bounded");
	}
}

test_each_function();
test_random_calls();
test_comes_to_rest();
test_places();
test_tables();
test_memory();
is(join("\n", wrong_in_log()), '', 'nothing wrong in the log at the end');
done_testing();
