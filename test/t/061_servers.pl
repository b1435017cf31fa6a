# check.sh: crashes expected
# Servers: pools of workers with their own queues, on a running server. A pool of slow jobs holds up no other one; pausing, changing
# and removing servers under load is in force at the commit, and loses no job; restarts, crashes and a dump keep what is configured;
# roles share each server; where slots are short, servers share them; a server whose queues have no room among the lanes of a role
# finds its jobs. The functions and views are in pgtap/29_servers.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('servers', restart_after_crash => 'on', max_worker_processes => 32, 'bgjob.workers' => 4, max_prepared_transactions => 5);
sub sql { return ask($node, $_[0]) }
sub run_job { my ($arguments) = @_; my $id = sql("SELECT bgjob_enqueue($arguments)"); return sql("SELECT bgjob_wait($id, '60 s')") }

sql(q{
	CREATE ROLE a LOGIN; CREATE ROLE b LOGIN; GRANT USAGE ON SCHEMA bgjob TO a, b; GRANT ALL ON SCHEMA public TO a, b;
	CREATE TABLE done (n int, server text, at timestamptz DEFAULT clock_timestamp()); GRANT ALL ON done TO a, b;
	CREATE FUNCTION nap(s float8) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(s)';
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$
		INSERT INTO public.done SELECT n, (SELECT server FROM bgjob.workers WHERE pid = pg_backend_pid()) $$;
	CREATE FUNCTION slow(n int) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.005); SELECT work(n)';
	CREATE TABLE opened (); GRANT ALL ON opened TO a, b;
	CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN WHILE NOT EXISTS (SELECT FROM public.opened) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;
	CREATE FUNCTION broken() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$});

# enqueue_many FUNCTION, NUMBER, QUEUE enqueues jobs with the arguments 1 to NUMBER.
sub enqueue_many { my ($function, $n, $queue) = @_; return sql("SELECT count(*) FROM bgjob_enqueue_many('$function', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(1, $n) n), queue => '$queue')") }

# all_done QUEUE, WHAT tests that all jobs of a queue succeed.
sub all_done
{
	my ($queue, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue = '$queue' AND state <> 'succeeded')", $what);
}

# wait_time ID returns how long a job waited for its start, in seconds.
sub wait_time { my ($id) = @_; return sql("SELECT extract(epoch FROM started_at - created_at)::float8 FROM bgjob.jobs WHERE id = $id") }

# ---- pools of their own ----

sql(q{SELECT bgjob_server('quick', '{quick}', 1), bgjob_server('default', '{default,other}', 2)});
sql(q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[30]'::jsonb, ARRAY[20]))});
wait_until($node, q{SELECT busy = 2 FROM bgjob.servers WHERE name = 'default'}, 'the workers of default are busy with slow jobs');
is(run_job(q{'nap', '[0]', queue => 'quick'}), 'succeeded', 'a job of another server runs');
my $id = sql(q{SELECT bgjob_enqueue('nap', '[0]', queue => 'quick')});
is(sql("SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'another one, too');
cmp_ok(wait_time($id), '<', 1, 'it did not wait for the slow ones');
is(sql(q{SELECT count(*) FROM bgjob.workers WHERE server = 'default'}), '2', 'default has as many workers as it may have');
is(sql(q{SELECT count(*) FROM bgjob.workers WHERE server = 'quick'}), '1', 'quick has one worker, for one job at a time');
is(sql(q{SELECT string_agg(DISTINCT w.reason, ' ') FROM bgjob.jobs j, bgjob_why(j.id) w WHERE j.state = 'enqueued'}), 'behind no worker', 'bgjob_why() tells of the jobs before them, and of busy workers');

# A role without a worker gets one, also beyond the number of the server; the other roles' jobs do not end.
$id = sql(q{SELECT bgjob_enqueue('nap', '[0]', run_as => 'b')});
is(sql("SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'the job of another role runs beside the slow ones');
cmp_ok(wait_time($id), '<', 1, 'within a second');
is(sql(q{SELECT bgjob_server_remove('default')}), 't', 'default follows the settings again');
wait_until($node, q{SELECT busy = 4 FROM bgjob.servers WHERE name = 'default'}, 'and has more workers at once');
is(sql(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}), '20', 'the slow jobs are deleted');
sql(q{SELECT bgjob_server_remove('quick')});

# ---- two roles share a server, and slots are its own ----

sql(q{SELECT bgjob_server('two', '{two}', 2), bgjob_server('default', '{default}')});
sql(q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[0.05]'::jsonb, ARRAY[100]), queue => 'two', run_as => 'a')});
wait_until($node, q{SELECT busy = 2 FROM bgjob.servers WHERE name = 'two'}, 'one role has both workers');
sql(q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[0.05]'::jsonb, ARRAY[20]), queue => 'two', run_as => 'b')});
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE run_as = 'b'::regrole AND state <> 'succeeded')}, 'the jobs of another role run');
cmp_ok(sql(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'two' AND run_as = 'a'::regrole AND state <> 'succeeded'}), '>', 10, 'while those of the first still wait');
all_done('two', 'all of them end');
is(sql(q{SELECT string_agg(DISTINCT server, ' ') FROM bgjob.jobs WHERE queue = 'two'}), 'two', 'all in server two');

# ---- pause, change and removal under load ----

# stops NAME, SQL, QUEUE tests that no job of a queue starts after the commit of a change.
sub stops
{
	my ($what, $change, $queue) = @_;

	enqueue_many('slow', 600, $queue);
	wait_until($node, "SELECT count(*) > 20 FROM bgjob.jobs WHERE queue = '$queue' AND state = 'succeeded'", "$what: jobs run");
	sql($change);
	my $after = sql('SELECT clock_timestamp()');
	wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue = '$queue' AND state = 'processing')", "$what: the running jobs end");
	is(run_job(q{'nap', '[0]'}), 'succeeded', "$what: others run");
	cmp_ok(sql("SELECT count(*) FROM bgjob.jobs WHERE queue = '$queue' AND state = 'enqueued'"), '>', 0, "$what: jobs are left");
	is(sql("SELECT count(*) FROM bgjob.jobs WHERE queue = '$queue' AND started_at > '$after'"), '0', "$what: none has started since");
	return;
}
stops('a paused server', q{SELECT bgjob_server_pause('two')}, 'two');
is(sql(q{SELECT bgjob_server_resume('two')}), 't', 'the server is resumed');
all_done('two', 'the jobs that were left run');
stops('a list without the queue', q{SELECT bgjob_server('two', '{three}', 2)}, 'two');
sql(q{SELECT bgjob_server('two', '{three,two}', 2)});
all_done('two', 'with the queue in the list again, they run');
stops('a removed server', q{SELECT bgjob_server_remove('two')}, 'two');
is(sql(q{SELECT w.detail FROM bgjob.jobs j, bgjob_why(j.id) w WHERE j.queue = 'two' AND j.state = 'enqueued' LIMIT 1}), 'No server takes queue "two".', 'bgjob_why() says that no server takes them');
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE server = 'two')}, 'its workers leave');
sql(q{SELECT bgjob_server('two', '{two}', 2)});
all_done('two', 'added again, it performs the rest');
is(sql(q{SELECT count(*) = count(DISTINCT (j.id)) FROM done JOIN bgjob.jobs j ON j.queue = 'two' AND j.args = jsonb_build_array(done.n)}), 'f', 'the jobs have left their rows');
is(sql(q{SELECT count(*) || ' ' || count(DISTINCT server) || ' ' || min(server) FROM done}), '1800 1 two', 'each job ran once, in its server');

# Fewer workers: the others leave after their jobs.
sql(q{SELECT bgjob_server('two', '{two}', 4)});
sql(q{SELECT count(*) FROM bgjob_enqueue_many('hold', array_fill('[]'::jsonb, ARRAY[60]), queue => 'two')});
wait_until($node, q{SELECT busy = 4 FROM bgjob.servers WHERE name = 'two'}, 'four workers are busy');
sql(q{SELECT bgjob_server('two', '{two}', 1)});
sql(q{INSERT INTO opened DEFAULT VALUES});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.workers WHERE server = 'two'}, 'three of them leave');
is(sql(q{SELECT count(*) FROM bgjob.jobs WHERE interruptions > 0}), '0', 'no job was interrupted for that');
all_done('two', 'the one that is left performs the rest');

# ---- prepared transactions ----

sql(q{BEGIN; SELECT bgjob_server('prepared', '{prepared}', 1), bgjob_server_pause('two'); PREPARE TRANSACTION 's'});
$id = sql(q{SELECT bgjob_enqueue('nap', '[0]', queue => 'prepared')});
is(sql("SELECT detail FROM bgjob_why($id)"), 'No server takes queue "prepared".', 'a prepared transaction has no effect');
sql(q{COMMIT PREPARED 's'});
is(sql("SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'after COMMIT PREPARED the server serves');
is(sql(q{BEGIN; SELECT bgjob_server_remove('prepared'), bgjob_server_resume('two'); PREPARE TRANSACTION 's'; COMMIT PREPARED 's'}), 't|t', 'a removal is prepared and committed');
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE server = 'prepared')}, 'the removed server has no worker any more');
$id = sql(q{SELECT bgjob_enqueue('nap', '[0]', queue => 'prepared')});
is(run_job(q{'nap', '[0]', queue => 'two'}), 'succeeded', 'the resumed one serves');
is(sql("SELECT state FROM bgjob.jobs WHERE id = $id"), 'enqueued', 'the removed one does not');
is(sql("SELECT bgjob_delete($id)"), 't', 'its job is deleted');

# ---- lost workers, restart, crash ----

$id = sql(q{SELECT bgjob_enqueue('nap', '[600]', queue => 'two', max_retries => 0)});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", 'a job runs');
my $killed = sql("SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE id = $id");
wait_until($node, "SELECT interruptions = 1 AND state = 'processing' FROM bgjob.jobs WHERE id = $id", 'its worker is terminated, another one of the server has it');
is(sql("SELECT string_agg(data ->> 'server', ' ') FROM bgjob.job_states WHERE job_id = $id AND state = 'processing'"), 'two two', 'the history has the server of both attempts');

sql(q{SELECT bgjob_server('resting', '{resting}', 1), bgjob_server_pause('resting')});
my $resting = sql(q{SELECT bgjob_enqueue('nap', '[0]', queue => 'resting')});
my $servers = q{SELECT string_agg(format('%s %s %s %s', name, queues, workers, paused), ', ' ORDER BY name) FROM bgjob.servers};
my $before = sql($servers);
like($before, qr/^default \{default\} 4 f, resting \{resting\} 1 t, two \{two\} 1 f$/, 'three servers are configured');
set_and_reload($node, 'bgjob.shutdown_timeout' => '1s');
for my $how ('restart', 'immediate', 'crash')
{
	my $pid = sql("SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
	if ($how eq 'restart') { $node->restart }
	elsif ($how eq 'immediate') { $node->stop('immediate'); $node->start }
	else { kill 'KILL', $pid; until_gone($pid) }
	$node->poll_query_until('postgres', 'SELECT true');
	wait_until($node, "SELECT state = 'processing' AND worker_pid <> $pid FROM bgjob.jobs WHERE id = $id", "$how: the job runs again", 60);
	is(sql("SELECT server FROM bgjob.jobs WHERE id = $id"), 'two', "$how: in its server");
	is(sql($servers), $before, "$how: the servers are as before");
	is(sql("SELECT state FROM bgjob.jobs WHERE id = $resting"), 'enqueued', "$how: the paused one starts no job");
}
is(sql("SELECT string_agg(DISTINCT data ->> 'server', ' ') FROM bgjob.job_states WHERE job_id = $id AND state = 'processing'"), 'two', 'the history has the server of all attempts');
is(sql("SELECT bgjob_delete($id)"), 't', 'the job is deleted');
is(sql(q{SELECT bgjob_server_resume('resting')}), 't', 'the paused server is resumed');
is(sql("SELECT bgjob_wait($resting, '60 s')"), 'succeeded', 'and performs its job');

# ---- a dump ----

sql(q{SELECT bgjob_server_pause('resting'), bgjob_server('odd', '{odd,*}')});
$before = sql($servers);
my $file = "$PostgreSQL::Test::Utils::tmp_check/servers.sql";
command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', $servers), $before, 'the restored database has the servers');
$node->safe_psql('restored', 'SELECT bgjob_adopt()');
$id = $node->safe_psql('restored', q{SELECT bgjob_enqueue('nap', '[0]', queue => 'unknown')});
is($node->safe_psql('restored', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'a job runs there');
is($node->safe_psql('restored', "SELECT server FROM bgjob.jobs WHERE id = $id"), 'odd', 'in the server that takes its queue');
$node->safe_psql('postgres', 'DROP DATABASE restored');
sql(q{SELECT bgjob_server_remove('odd'), bgjob_server_remove('resting'), bgjob_server_remove('two'), bgjob_server_remove('default')});
is(sql($servers), 'default {*} 4 f', 'default is left');

# ---- a server whose queue has no room among the lanes of a role ----

sql(q{SELECT bgjob_server('default', '{*}', 1), bgjob_server('only', '{only}', 1)});
my $slow = sql(q{SELECT bgjob_enqueue('nap', '[600]', queue => 'slow')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $slow", 'the worker of default is busy');
is(sql(q{SELECT count(bgjob_enqueue('nap', '[0]', queue => 'lane' || i)) FROM generate_series(1, 300) i}), '300', 'there are more lanes than the role may have');
for my $priority (0, 5, -5)
{
	$id = sql("SELECT bgjob_enqueue('nap', '[0]', queue => 'only', priority => $priority)");
	is(sql("SELECT bgjob_wait($id, '60 s')"), 'succeeded', "a job of the other server with priority $priority is found");
	cmp_ok(wait_time($id), '<', 2, 'soon');
}
# Its worker goes to its own lanes, and does not walk through those of the role, whenever another lane has come up for which there is no room.
use constant { LANES => 3000, ROUNDS => 20 };
is(sql('SELECT count(bgjob_enqueue(\'nap\', \'[0]\', queue => \'lane\' || i)) FROM generate_series(301, ' . LANES . ') i'), LANES - 300, 'there are thousands of lanes');
my $idle = q{SELECT state = 'idle' FROM bgjob.workers WHERE server = 'only'};
my $lookups = q{(SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.queue_pkey'::regclass)};
wait_until($node, $idle, 'the worker of the other server waits');
$before = sql("SELECT $lookups");
for my $i (1 .. ROUNDS)
{
	$id = sql('SELECT bgjob_enqueue(\'nap\', \'[0]\', queue => \'lane' . (LANES - $i) . "'), bgjob_enqueue('nap', '[0]', queue => 'only')") =~ s/.*\|//r;
	sql("SELECT bgjob_wait($id, '60 s')");
	becomes_true($node, $idle, 60, 'postgres'); # it has looked for more, and reports what it did before it waits
}
wait_until($node, "SELECT $lookups >= $before + " . ROUNDS, 'it has looked for lanes');
cmp_ok(sql("SELECT $lookups - $before"), '<', LANES * ROUNDS / 4, 'but not gone through all of them each time');
sql("SELECT bgjob_delete($slow)");
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))}, 'the others run when default has time');
sql(q{SELECT bgjob_server_remove('only'), bgjob_server_remove('default')});

# ---- changes all the time ----

enqueue_many('slow', 2000, $_) for qw(s1 s2 s3);
srand($ENV{BGJOB_SEED} // 61);
for my $round (1 .. 80)
{
	my $name = 'r' . int rand 4;
	my @lists = ('{s1}', '{s2,s3}', '{*}', '{s3,*,s1}');
	my @changes = ("bgjob_server('$name', '$lists[rand @lists]', " . (1 + int rand 3) . ')', "bgjob_server_pause('$name')", "bgjob_server_resume('$name')", "bgjob_server_remove('$name')",
		"bgjob_server('default', '$lists[rand @lists]')", "bgjob_server_remove('default')");
	my $change = $changes[rand @changes];
	my $end = rand() < 0.2 ? 'ROLLBACK' : 'COMMIT';

	sql("BEGIN; SELECT $change; $end");
	sql(q{SELECT pg_terminate_backend(pid) FROM bgjob.workers ORDER BY random() LIMIT 1}) if rand() < 0.1;
}
sql(q{SELECT count(bgjob_server_remove(name)) FROM bgjob.servers});
all_done($_, "$_: all jobs ran while servers changed") for qw(s1 s2 s3);
is(sql(q{SELECT count(*) || ' ' || count(DISTINCT id) FROM bgjob.jobs WHERE queue ~ '^s[123]$' AND state = 'succeeded'}), '6000 6000', 'all of them succeeded');
is(sql(q{SELECT count(*) FROM done}), 1800 + 6000, 'each had its effect once');
check_counters($node);
$node->stop;

# ---- too few slots ----

my $few = bgjob_cluster('servers_few', max_worker_processes => 10, 'bgjob.workers' => 8);
$few->safe_psql('postgres', q{CREATE FUNCTION nap(s float8) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(s)';
	SELECT bgjob_server('x', '{x}', 4), bgjob_server('default', '{default}')});
ask($few, q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[600]'::jsonb, ARRAY[20]))});
becomes_true($few, q{SELECT busy >= 4 FROM bgjob.servers WHERE name = 'default'}, 60, 'postgres');
$id = ask($few, q{SELECT bgjob_enqueue('nap', '[0]', queue => 'x')});
is(ask($few, "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'few slots: the job of a server without a worker runs beside jobs that do not end');
cmp_ok(ask($few, "SELECT extract(epoch FROM started_at - created_at)::float8 FROM bgjob.jobs WHERE id = $id"), '<', 1.5, 'few slots: within a second');
ask($few, q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs});
ask($few, q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[0.02]'::jsonb, ARRAY[3000]))});
ask($few, q{SELECT count(*) FROM bgjob_enqueue_many('nap', array_fill('[0.02]'::jsonb, ARRAY[3000]), queue => 'x')});
wait_until($few, q{SELECT count(*) FILTER (WHERE server = 'x') >= 2 AND count(*) FILTER (WHERE server = 'default') >= 2 FROM bgjob.workers WHERE state = 'busy'}, 'few slots: both servers have some of the workers');
ask($few, q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs});
check_counters($few);
done_testing();
