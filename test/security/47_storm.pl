# Workers start and exit all the time, terminated by hand and by settings: no slot is lost, or freed under a starting
# process, and every job runs once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my $node = bgjob_cluster('storm', 'bgjob.workers' => 8, max_worker_processes => 16, fsync => 'off');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other;
	CREATE TABLE effect (job bigint);
	GRANT INSERT ON effect TO PUBLIC;
	CREATE FUNCTION work() RETURNS void LANGUAGE sql AS 'INSERT INTO effect VALUES (bgjob_current_id()); SELECT pg_sleep(0.002)';
	CREATE PROCEDURE work_twice() LANGUAGE plpgsql AS $$BEGIN COMMIT; INSERT INTO effect VALUES (bgjob_current_id()); COMMIT; END$$;
	CREATE PROCEDURE storm() LANGUAGE plpgsql AS $$
	DECLARE
		until timestamptz := clock_timestamp() + '5 s';
		n bigint := 0;
		killed bigint := 0;
	BEGIN
		WHILE clock_timestamp() < until LOOP
			n := n + 1;
			IF n % 4 = 1 THEN
				SET LOCAL ROLE app;
				PERFORM bgjob_enqueue('public.work', queue => CASE n % 3 WHEN 0 THEN 'g' ELSE 'default' END) FROM generate_series(1, 20);
				SET LOCAL ROLE other;
				PERFORM bgjob_enqueue('public.work') FROM generate_series(1, 5);
				PERFORM bgjob_enqueue('public.work_twice') FROM generate_series(1, 2);
				RESET ROLE;
			END IF;
			COMMIT;
			-- The slots know those that are not connected yet.
			killed := killed + (SELECT count(pg_terminate_backend(pid)) FROM bgjob.workers);
			PERFORM pg_sleep(0.004 + random() * 0.02);
			COMMIT;
		END LOOP;
		CREATE TABLE killed AS SELECT killed AS n;
	END $$;
	SELECT bgjob_queue('g', group_size => 20)});

# processes returns the number of processes by the server, and by the slots.
my $processes = q{(SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'bgjob worker')};
my $slots = q{(SELECT array_agg(pid ORDER BY pid) FROM bgjob.workers)};

# fill WHAT: as many workers as there may be are at work, and no more.
sub fill
{
	my ($what) = @_;

	sql(q{SET SESSION AUTHORIZATION app; SELECT count(public.bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')) FROM generate_series(1, 30)});
	wait_until($node, q{SELECT busy = 8 AND workers = 8 FROM bgjob.servers}, "$what: eight workers are at work", 20);
	is(sql("SELECT $processes = $slots AND cardinality($slots) = 8"), 't', "$what: the view shows the processes of the server");
	sql(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE job = 'SELECT pg_sleep(600)' AND state IN ('enqueued', 'processing')});
	wait_until($node, q{SELECT busy = 0 FROM bgjob.servers}, "$what: all workers are free again", 20);
}

# room: how many workers there may be, as far as slots go.
sub room
{
	set_and_reload($node, 'bgjob.workers' => 100, 'bgjob.worker_idle_timeout' => '1s');
	wait_until($node, 'SELECT workers = 0 FROM bgjob.stats', 'the workers leave when there is nothing to do', 20);
	is(sql("SELECT $processes"), '', 'all processes of the workers have left');
	return sql('SELECT workers FROM bgjob.servers');
}

fill('before');
my $room = room();
set_and_reload($node, 'bgjob.workers' => 8, 'bgjob.worker_idle_timeout' => '10min');

# For some seconds all workers, also starting ones, are terminated while there is always work.
my ($in, $out, $err) = ('', '', '');
my $storm = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SET client_min_messages = error', '-c', 'CALL storm()' ], \$in, \$out, \$err, IPC::Run::timeout(120));
for my $workers (1, 8, 2, 16, 0, 5, 8, 1, 12)
{
	set_and_reload($node, 'bgjob.workers' => $workers);
	sql(q{SELECT pg_sleep(0.3)});
	# A new scheduler takes over the workers of the previous one, also starting ones.
	sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}) if $workers == 5;
}
$storm->finish;
is($err, '', 'the storm is over');
cmp_ok(sql('SELECT n FROM killed'), '>', 50, 'many workers were terminated');

set_and_reload($node, 'bgjob.workers' => 8);
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted')}, 'all jobs succeed in spite of it', 60)
	or diag(sql('SELECT state, reason, count(*) FROM bgjob.jobs GROUP BY 1, 2'));
is(sql(q{SELECT count(*) FROM bgjob.jobs j WHERE job LIKE 'public.work%' AND (SELECT count(*) FROM effect WHERE job = j.id) <> 1 AND job <> 'public.work_twice'}), 0, 'each once');
is(sql(q{SELECT count(*) FROM bgjob.jobs j WHERE job = 'public.work_twice' AND (SELECT count(*) FROM effect WHERE job = j.id) = 0}), 0, 'procedures that commit have run at least once');
is(sql(q{SELECT count(*) FROM bgjob.jobs WHERE retries > 0}), 0, 'no retry was used');
wait_until($node, "SELECT $processes IS NOT DISTINCT FROM $slots", 'the slots have the processes that there are', 20);
fill('after');

# All slots are free in the end.
is(room(), $room, 'the number of free slots is that of before');

my $log = slurp_file($node->logfile);
unlike($log, qr/could not start a worker|PANIC|TRAP|terminated by signal/, 'a worker that is terminated while it starts is not taken for one that cannot start');
check_counters($node);
$node->stop;
done_testing();
