# bgjob_change() and updates by bgjob_recurring(): other roles, ten thousand of each, sessions and workers at the same time, a crash, a
# restored database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('changes', 'bgjob.workers' => 3, fsync => 'off');
$node->safe_psql('postgres', q{
	CREATE EXTENSION dblink;
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE boss LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	GRANT USAGE ON SCHEMA bgjob TO app, other, boss;
	GRANT CREATE ON SCHEMA public TO app;
	GRANT app TO boss;
	CREATE TABLE effect (job bigint);
	GRANT INSERT ON effect TO PUBLIC;
	CREATE FUNCTION work() RETURNS void LANGUAGE sql AS 'INSERT INTO public.effect VALUES (bgjob_current_id())'});

# as ROLE, SQL is the last line of the answer. code ROLE, SQL is the SQLSTATE of its error.
sub as { my ($role, $sql) = @_; return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1] // '' }
sub code { my ($role, $sql) = @_; my $err; $node->psql('postgres', "SET SESSION AUTHORIZATION $role;\n\\set VERBOSITY sqlstate\n$sql", stderr => \$err); return $err =~ /ERROR:\s+(\w+)/ ? $1 : $err }
sub value { return $node->safe_psql('postgres', $_[0]) }
# What a recurring job has, whoever its owner is.
sub has { my ($name) = @_; return value("SELECT string_agg(concat_ws(' ', owner, run_as, schedule, job, queue, priority, active), ', ' ORDER BY owner::text) FROM bgjob.recurring_jobs WHERE name = '$name'") }

# ---- roles ----

value(q{SELECT bgjob_queue_pause('held')});
my $job = as('app', q{SELECT bgjob_enqueue('work', queue => 'held')});
is(code('other', "SELECT bgjob_change($job, priority => 9)"), '42501', 'a job of another role cannot be changed');
is(code('watcher', "SELECT bgjob_change($job, priority => 9)"), '42501', 'nor by a role that only sees it');
is(as('boss', "SELECT bgjob_change($job, priority => 5)"), 't', 'a member of the role changes it');
is(value("SELECT bgjob_change($job, queue => 'held', priority => 6)"), 't', 'and so does an administrator');
is(value("SELECT queue || priority || run_as FROM bgjob.jobs WHERE id = $job"), 'held6app', 'it runs as its role');

as('app', q{SELECT bgjob_recurring('r', '@yearly', 'work', queue => 'a')});
as('other', q{SELECT bgjob_recurring('r', '@monthly', 'work', queue => 'b', active => false)});
is(has('r'), 'app app @yearly work a 0 t, other other @monthly work b 0 f', 'a call with the name of another role\'s recurring job adds one');
is(code('boss', q{SELECT bgjob_recurring('r', NULL, NULL, priority => 7)}), '22004', 'a member of the role, too, would add one of its own');
is(code('boss', q{SET ROLE app; SELECT bgjob_recurring('r', NULL, NULL, priority => 7)}), '', 'it updates that of the role with SET ROLE');
is(has('r'), 'app app @yearly work a 7 t, other other @monthly work b 0 f', 'which changes no other');

# What stays is checked again: the membership, the function, and as the role of the job.
as('boss', q{SELECT bgjob_recurring('for app', '@yearly', 'work', run_as => 'app')});
value('REVOKE app FROM boss');
is(code('boss', q{SELECT bgjob_recurring('for app', '@daily', 'work')}), '42501', 'run_as does not stay when the membership has ended');
is(code('boss', q{SELECT bgjob_recurring('for app', '@daily', 'work', run_as => 'boss')}), '', 'it can be given up');
is(has('for app'), 'boss boss @daily work default 0 t', 'then the job runs as its owner');
value('GRANT app TO boss; CREATE FUNCTION closed() RETURNS void LANGUAGE sql AS $$$$');
as('app', q{SELECT bgjob_recurring('closed', '@yearly', 'closed')});
value('REVOKE EXECUTE ON FUNCTION closed() FROM PUBLIC');
is(code('app', q{SELECT bgjob_recurring('closed', NULL, NULL, priority => 7)}), '42501', 'nor does a function that the role may no longer call');
as('app', q{CREATE TABLE seen (who name); CREATE FUNCTION see(n int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (current_user); RETURN true; END$$;
	CREATE DOMAIN spy AS int CHECK (see(VALUE)); CREATE FUNCTION spied(n spy) RETURNS void LANGUAGE sql AS ''});
as('boss', q{SELECT bgjob_recurring('spied', '@yearly', 'spied', '[1]', run_as => 'app'); SELECT bgjob_recurring('spied', '@monthly', NULL)});
is(value('SELECT string_agg(DISTINCT who, $$,$$) FROM seen'), 'app', 'arguments that stay are converted as the role of the job');

# Code that a conversion runs updates the row that is being updated.
as('app', q{CREATE FUNCTION again(n int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
		IF n = 2 THEN PERFORM bgjob_recurring('nested', NULL, NULL, queue => 'inner', args => '[3]'); END IF; RETURN true; END$$;
	CREATE DOMAIN trap AS int CHECK (again(VALUE)); CREATE FUNCTION nested(n trap) RETURNS void LANGUAGE sql AS '';
	SELECT bgjob_recurring('nested', '@yearly', 'nested', '[1]')});
like(code('app', q{SELECT bgjob_recurring('nested', '@daily', 'nested', '[2]')}), qr/^(?:\w{5}|)$/, 'an update within an update ends');
is(value(q{SELECT count(*) FROM bgjob.recurring_jobs WHERE name = 'nested'}), 1, 'there is one row');

# ---- ten thousand ----

as('app', q{SELECT count(bgjob_recurring('many ' || i, '@yearly', 'work', queue => 'held')) FROM generate_series(1, 10000) i});
my $began = time;
as('other', q{SELECT bgjob_recurring('r', '@daily', 'work')});
as('app', q{SELECT bgjob_recurring('many 5000', '@daily', NULL)});
cmp_ok(time - $began, '<', 2, 'an update does not search 10,000 recurring jobs');
as('app', q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[10000]), queue => 'held')});
as('app', q{SELECT count(bgjob_change(id, 'held' || id, id::int % 100)) FROM bgjob.jobs WHERE queue = 'held' AND state = 'enqueued'});
my $theirs = as('other', q{SELECT bgjob_enqueue('work')});
is(value("SELECT bgjob_wait($theirs, '60 s')"), 'succeeded', 'jobs of a role in 10,000 queues are not in the way of others');
wait_until($node, 'SELECT count(*) = 10002 FROM effect', 'they all run', 120);
value('TRUNCATE effect');

# ---- sessions at the same time ----

value(q{CREATE FUNCTION deploy(ending text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		PERFORM dblink_connect(c, format('host=%s port=%s dbname=postgres user=app', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'))) FROM unnest('{a,b}'::text[]) c;
		PERFORM dblink_exec('a', 'BEGIN');
		PERFORM * FROM dblink('a', 'SELECT bgjob_recurring(''both'', ''@daily'', ''work'', queue => ''a'')::text') AS t (x text);
		PERFORM dblink_send_query('b', 'SELECT bgjob_recurring(''both'', ''@daily'', ''work'', priority => 5)::text');
		FOR i IN 1 .. 3000 LOOP
			PERFORM pg_stat_clear_snapshot();
			EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock');
			PERFORM pg_sleep(0.01);
		END LOOP;
		PERFORM dblink_exec('a', ending);
		PERFORM * FROM dblink_get_result('b') AS t (x text);
		PERFORM dblink_disconnect(c) FROM unnest('{a,b}'::text[]) c;
		RETURN (SELECT string_agg(queue || ' ' || priority, ', ') FROM bgjob_internal.recurring WHERE name = 'both');
	END $$});
is(value(q{SELECT deploy('COMMIT')}), 'a 5', 'two sessions add the same one: the second waits, and updates it');
is(value(q{SELECT deploy('COMMIT')}), 'a 5', 'two sessions update it');
value(q{SELECT bgjob_recurring_remove('both')});
is(value(q{SELECT deploy('ROLLBACK')}), 'default 5', 'the first is rolled back: the second adds it');

# ---- workers at the same time ----

value(q{SELECT bgjob_queue('g', group_size => 10); SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[2000]), queue => 'held')});
$node->safe_psql('postgres', q{CREATE PROCEDURE hammer() LANGUAGE plpgsql AS $$
	DECLARE
		one bigint;
	BEGIN
		LOOP
			FOR one IN SELECT id FROM bgjob.jobs WHERE state = 'enqueued' ORDER BY random() LIMIT 20 LOOP
				PERFORM bgjob_change(one, (ARRAY['g', 'default', 'held'])[1 + floor(random() * 2.2)], (random() * 5)::int);
				COMMIT;
			END LOOP;
			EXIT WHEN NOT EXISTS (SELECT FROM bgjob.jobs WHERE state = 'enqueued');
		END LOOP;
	END $$});
my @hammers = map { my $session = { out => '', err => '' };
	$session->{h} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', 'CALL hammer()' ], '<', \undef, '>', \$session->{out}, '2>', \$session->{err}, IPC::Run::timeout(180)); $session } 1 .. 2;
$_->{h}->finish for @hammers;
is(join('', map { $_->{err} } @hammers), '', 'jobs are moved while workers take them');
wait_until($node, 'SELECT count(*) >= 2000 FROM effect', 'all run');
is(value('SELECT count(*) || $$ $$ || count(DISTINCT job) FROM effect'), '2000 2000', 'each of them once');

# ---- a crash ----

my @kept = split /\|/, value(q{SELECT bgjob_enqueue('work', queue => 'held'), bgjob_enqueue('work', queue => 'held'), bgjob_enqueue('work', queue => 'held', delay => '1 hour')});
value(q{SELECT bgjob_queue_pause('moved')});
value("SELECT bgjob_change($kept[0], 'moved', 3), bgjob_change($kept[2], 'moved', 4)");
my $open = $node->background_psql('postgres', on_error_stop => 0);
$open->query_safe('BEGIN');
$open->query_safe("SELECT bgjob_change($kept[1], 'moved', 3)");
$open->query_safe(q{SET ROLE app});
$open->query_safe(q{SELECT bgjob_recurring('r', '@hourly', NULL)});
my $next = value(q{SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'r' AND owner = 'app'::regrole});
$node->stop('immediate');
$node->start;
eval { $open->quit };
is(value("SELECT string_agg(queue || priority || state, ',' ORDER BY id) FROM bgjob.jobs WHERE id IN ($kept[0], $kept[1], $kept[2])"), 'moved3enqueued,held0enqueued,moved4scheduled', 'after a crash: what was committed');
is(value(q{SELECT schedule || next_run_at FROM bgjob.recurring_jobs WHERE name = 'r' AND owner = 'app'::regrole}), "\@yearly$next", 'of recurring jobs, too');

# ---- a restored database ----

my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.custom";
as('app', q{SELECT count(bgjob_recurring_remove('many ' || i)) FROM generate_series(1, 10000) i});
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
value('CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');
sub restored { return $node->safe_psql('restored', $_[0]) }
is(restored("SELECT bgjob_change($kept[0], 'free', 9), bgjob_change($kept[2], 'free', 9)"), 't|t', 'jobs that are held back can be changed');
is(restored("SELECT string_agg(queue || priority || state || coalesce(reason, ''), ',' ORDER BY id) FROM bgjob.jobs WHERE id IN ($kept[0], $kept[2])"),
	'free9enqueuedNot adopted: run bgjob_adopt(),free9scheduledNot adopted: run bgjob_adopt()', 'they are still held back');
is(restored("SELECT (SELECT count(*) FROM bgjob_internal.queue) + (SELECT count(*) FROM bgjob_internal.schedule)"), 0, 'none was put into its place');
is(restored(q{SET ROLE app; SELECT bgjob_recurring('r', NULL, NULL); SELECT queue || priority || given::text || (next_run_at > now()) FROM bgjob.recurring_jobs WHERE name = 'r' AND owner = 'app'::regrole}) =~ s/^\n//r,
	'a7{queue,priority}true', 'an update of a restored one keeps what was given, and adopts it');
restored('SELECT bgjob_adopt()');
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $kept[0]", 'after bgjob_adopt() it runs', 60, 'restored');
check_counters($node, 'restored');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'no process has crashed');
check_counters($node);
done_testing();
