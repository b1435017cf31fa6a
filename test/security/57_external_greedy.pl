# External workers: a greedy neighbour. All leases, ten thousand names, a thousand late answers, heartbeats in a loop, storms of
# savepoints, transactions that stay open. Another role's worker gets its jobs all the same, what an administrator has paused stays
# so, and neither log, history nor memory is filled.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('external_greedy', 'bgjob.workers' => 2, 'bgjob.max_leases' => 200, fsync => 'off', max_connections => 150, log_statement => 'none');
sub value { return $node->safe_psql('postgres', $_[0]) }
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role;\nSET bgjob.bind_leases = off;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	diag($err) if $err =~ /ERROR/;
	return (split /\n/, $out)[-1] // '';
}
value(q{
	CREATE ROLE app LOGIN; CREATE ROLE greedy LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, greedy;
	CREATE FUNCTION ext(n int, q text) RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM bgjob_enqueue_many('w', array_fill('1'::jsonb, ARRAY[n]), kind => 'external', queue => q) $$;
	CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS $$ SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts $$;
	GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts() TO PUBLIC; GRANT SELECT ON pg_backend_memory_contexts TO PUBLIC});

# ---- all leases ----
{
	as('greedy', q{SELECT ext(1000, 'greedy')});
	my $got = as('greedy', q{SELECT count(*) FROM bgjob_fetch('{*}', 'g', 1000, '1 hour')});
	cmp_ok($got, '<=', 200, "there are so many leases ($got)");
	cmp_ok($got, '>', 0, 'a fetch gets what there is');
	as('greedy', qq{SELECT count(*) FROM bgjob_fetch('{*}', 'g$_', 1000, '1 hour')}) for 1 .. 5;
	note('greedy holds ' . value(q{SELECT sum(busy) FROM bgjob.servers WHERE kind = 'external'}));
	like(slurp_file($node->logfile), qr/WARNING|LOG|HINT/, 'the log has something');
	as('app', q{SELECT ext(3, 'app')});
	is(as('app', q{SELECT count(*) FROM bgjob_fetch('{*}', 'a', 1, '1 hour')}), 1, 'another role gets a job, although one has taken all leases that it could');
	is(as('app', q{SELECT bgjob_complete(id, 'a') FROM bgjob.jobs WHERE state = 'processing'}), 't', 'and completes it');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE run_as = 'greedy'::regrole AND state NOT IN ('enqueued', 'processing')}), 0, 'jobs for which there was no lease wait');
	is(as('greedy', q{SELECT count(*) FILTER (WHERE bgjob_complete(id, server)) > 0 FROM bgjob.jobs WHERE state = 'processing'}), 't', 'the greedy one completes its own');
	for (1 .. 50)
	{
		last if as('greedy', q{SELECT count(*) FROM bgjob_fetch('{*}', 'g', 1000, '1 hour') f WHERE bgjob_complete(f.id, 'g')}) eq '0';
	}
	wait_until($node, q{SELECT count(*) = 1000 FROM bgjob.jobs WHERE run_as = 'greedy'::regrole AND state = 'succeeded'}, 'and all the rest after that');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state = 'enqueued'});
}

# ---- ten thousand names ----
{
	as('app', q{SELECT ext(2, 'app')});
	my $job = as('app', q{SELECT id FROM bgjob_fetch('{app}', 'paused one', 1, '1 hour')});
	is(value(q{SELECT bgjob_server_pause('paused one')}), 't', 'an administrator has paused a worker');
	my $began = time;
	is(as('greedy', q{SELECT count(*) FROM generate_series(1, 10000) i, bgjob_fetch('{x}', 'name ' || i) f}), 0, 'ten thousand names of workers');
	cmp_ok(time - $began, '<', 30, 'do not take long');
	is(as('app', qq{SELECT string_agg(concat_ws(' ', id, command), ', ') FROM bgjob_heartbeat('paused one', '{$job}')}), "$job continue, quiet", 'the paused worker is paused all the same');
	is(as('app', q{SELECT count(*) FROM bgjob_fetch('{app}', 'paused one')}), 0, 'and gets nothing');
	is(as('app', q{SELECT count(*) FROM bgjob_fetch('{app}', 'a new one')}), 1, 'a new worker of another role gets jobs');
	is(value(q{SELECT count(*) FROM bgjob.servers WHERE name = 'a new one' AND busy = 1}), 1, 'and is shown') or diag(value(q{SELECT count(*) FROM bgjob.servers}));
	$began = time;
	my $rows = value('SELECT count(*) FROM bgjob.servers');
	cmp_ok(time - $began, '<', 3, "the view of $rows workers is quick");
	is(value(q{SELECT bgjob_server_resume('paused one')}), 't', 'it is resumed');
	is(as('app', q{SELECT count(*) FILTER (WHERE bgjob_complete(id, server)) FROM bgjob.jobs WHERE state = 'processing'}), 2, 'both complete what they hold');
}

# ---- heartbeats, late answers, unknown jobs ----
{
	as('app', q{SELECT ext(1, 'beat')});
	my $job = as('app', q{SELECT id FROM bgjob_fetch('{beat}', 'b', 1, '1 hour')});
	my ($lsn, $size) = (value('CHECKPOINT; SELECT pg_current_wal_insert_lsn()'), -s $node->logfile);
	as('greedy', q{SELECT count(*) FROM generate_series(1, 20000) i, bgjob_heartbeat('g', ARRAY[i::bigint]) h});
	as('app', qq{SELECT count(*) FROM generate_series(1, 20000) i, bgjob_heartbeat('b', '{$job}') h});
	as('greedy', q{SELECT count(*) FILTER (WHERE bgjob_complete(i, 'g')) FROM generate_series(1000001, 1020000) i});
	cmp_ok(value("SELECT pg_current_wal_insert_lsn() - '$lsn'"), '<', 200_000, 'heartbeats and answers for jobs that are not the caller\'s write nothing');
	cmp_ok((-s $node->logfile) - $size, '<', 20_000, 'nor do they fill the log');
	is(as('app', "SELECT bgjob_complete($job, 'b')"), 't', 'a worker completes its job meanwhile');
	as('app', q{SELECT ext(1, 'late')});
	$job = as('app', q{SELECT id FROM bgjob_fetch('{late}', 'b', 1, '1 ms')});
	wait_until($node, "SELECT interruptions = 1 FROM bgjob.jobs WHERE id = $job", 'a lease ends');
	$size = -s $node->logfile;
	is(as('app', "SELECT count(*) FILTER (WHERE bgjob_complete($job, 'b')) FROM generate_series(1, 5000)"), 0, 'five thousand late answers');
	is(as('app', "SELECT count(*) FILTER (WHERE bgjob_complete($job, 'late ' || i)) FROM generate_series(1, 2000) i"), 0, 'of many workers that never had the job');
	wait_until($node, "SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late answer of worker \"b\"%'", 'one is noted');
	usleep(500_000);
	cmp_ok(value("SELECT count(*) FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late%'"), '<=', 200, 'and not many more');
	cmp_ok((-s $node->logfile) - $size, '<', 200_000, 'the log is not filled');
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')});
}

# ---- storms of savepoints, open transactions ----
{
	as('greedy', q{SELECT ext(150, 'storm')});
	value(q{
		CREATE FUNCTION storm(n int) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			before bigint;
			taken bigint := 0;
			k bigint;
		BEGIN
			PERFORM count(*) FROM bgjob_fetch('{storm}', 's', 1);
			FOR i IN 1 .. 200 LOOP
				BEGIN
					PERFORM count(*) FROM bgjob_fetch('{storm}', 's', 1);
					RAISE EXCEPTION 'undone';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
			before := memory();
			FOR i IN 1 .. n LOOP
				BEGIN
					SELECT count(*) INTO k FROM bgjob_fetch('{storm}', 's', 1);
					taken := taken + k;
					RAISE EXCEPTION 'undone';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
			RETURN format('%s %s', taken, memory() - before);
		END $$});
	my $began = time;
	my ($taken, $more) = split ' ', as('greedy', 'SELECT storm(5000)');
	is($taken, 5000, 'five thousand fetches that are rolled back to savepoints');
	cmp_ok($more, '<', 2_000_000, "take no memory for each ($more bytes)");
	cmp_ok(time - $began, '<', 60, 'nor ever longer');
	wait_until($node, q{SELECT count(*) = 150 FROM bgjob.jobs WHERE queue = 'storm' AND state <> 'processing' OR state = 'processing'}, 'all are there');

	my $open = $node->background_psql('postgres', on_error_stop => 0);
	$open->query(q{SET SESSION AUTHORIZATION greedy; BEGIN; SELECT count(*) FROM bgjob_fetch('{storm}', 'open', 50, '1 s')});
	as('app', q{SELECT ext(5, 'calm')});
	is(as('app', q{SELECT count(*) FROM bgjob_fetch('{*}', 'c', 5) f WHERE bgjob_complete(f.id, 'c')}), 5, 'a fetch in a transaction that stays open holds up no other role');
	my $f = value(q{SELECT bgjob_enqueue('SELECT 1')});
	is(value("SELECT bgjob_wait($f, '20 s')"), 'succeeded', 'nor internal workers');
	# Its lease is over before it was ever committed.
	usleep(1_300_000);
	$open->query('COMMIT');
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state = 'processing' AND server = 'open'}, 'a fetch that is committed after the end of its leases holds nothing');
	$open->quit;
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled')});
	value(q{SELECT count(*) FROM bgjob_fetch('{*}', 'nobody', 10)});
}

# ---- a hundred that wait ----
{
	my @waiters = map { my ($o, $e) = ('', ''); my @q = ('-c', 'SET SESSION AUTHORIZATION greedy', '-c', q{CALL bgjob_await('{*}', '60 s')});
		{ out => \$o, run => IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), @q ], '<', \undef, '>', \$o, '2>', \$e) } } 1 .. 80;
	wait_until($node, q{SELECT count(*) = 80 FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND wait_event_type = 'Extension'}, 'eighty clients of one role wait');
	my ($o, $e) = ('', '');
	my $app = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SET SESSION AUTHORIZATION app', '-c', q{CALL bgjob_await('{*}', '60 s')} ], '<', \undef, '>', \$o, '2>', \$e);
	wait_until($node, q{SELECT count(*) = 81 FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND wait_event_type = 'Extension'}, 'and one of another');
	as('app', q{SELECT ext(1, 'one')});
	wait_until($node, q{SELECT count(*) = 80 FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND state = 'active'}, 'its job wakes that one');
	eval { $app->finish };
	is($e, '', 'without an error');
	value(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND pid <> pg_backend_pid()});
	eval { $_->{run}->finish } for @waiters;
	value(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled')});
	value(q{SELECT count(*) FROM bgjob_fetch('{*}', 'nobody', 10)});
}

check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'nothing has crashed');
done_testing();
