# check.sh: crashes expected
# The statistics of functions: kept over a restart, begun anew after a crash, and not read from a file that was tampered with. Each
# attempt is counted once, whoever records it. A role with thousands of functions evicts none but its own. Counts and rights of the
# view are in pgtap/19_function_stats.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('function_stats', restart_after_crash => 'on', 'bgjob.workers' => 4, 'bgjob.function_stats_max' => 100, 'bgjob.max_crashes' => 2);
my $file = $node->data_dir . '/pg_stat/bgjob_function_stats.stat';
sub sql { return ask($node, $_[0]) }
sub run_job { my ($arguments) = @_; my $id = sql("SELECT bgjob_enqueue($arguments)"); return sql("SELECT bgjob_wait($id, '60 s')") }

sql(q{
	CREATE ROLE app LOGIN; CREATE ROLE greedy LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, greedy; GRANT ALL ON SCHEMA public TO greedy, app;
	CREATE FUNCTION work(n int) RETURNS int LANGUAGE sql AS 'SELECT 10 / n';
	CREATE FUNCTION sleepy() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
	CREATE FUNCTION stuck(i int) RETURNS void LANGUAGE plpgsql AS $$BEGIN
		IF i = 30 AND (SELECT interruptions = 0 FROM bgjob.jobs WHERE id = bgjob_current_id()) THEN PERFORM pg_sleep(600); END IF; END$$});

# counts NAME returns jobs, attempts, failures, retries and interruptions of a row.
sub counts { my ($name) = @_; return sql("SELECT concat_ws(' ', jobs, attempts, failures, retries, interruptions) FROM bgjob.function_stats WHERE job = '$name'") }

# is_counted NAME, COUNTS, WHAT waits until a row has these counts: they come just after the commit that others see.
sub is_counted
{
	my ($name, $counts, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, "SELECT coalesce((SELECT concat_ws(' ', jobs, attempts, failures, retries, interruptions) FROM bgjob.function_stats WHERE job = '$name'), '') = '$counts'", $what)
	  || diag(counts($name));
}
sub stats { return sql('SELECT s::text FROM bgjob.function_stats s ORDER BY job COLLATE "C", run_as::text COLLATE "C"') }

# ---- a restart ----

is(sql(q{SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(0, 9) n), max_retries => 0)}), 10, 'ten jobs call a function');
is(sql(q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', run_as => 'app')) FROM generate_series(1, 3)}), 3, 'three jobs are commands');
is_counted('public.work(integer)', '10 10 1 0 0', 'the jobs of a function are counted');
is_counted('SELECT', '3 3 0 0 0', 'the jobs of a kind of command are counted');
my $before = stats();
ok(!-e $file, 'a running server has no file');
$node->stop;
ok(-s $file, 'a shutdown writes the file');
my $kept = slurp_file($file);
$node->start;
is(stats(), $before, 'after a restart the statistics are as before');
ok(!-e $file, 'the start removes the file');
is(run_job(q{'work', '[1]'}), 'succeeded', 'a job runs after the restart');
is_counted('public.work(integer)', '11 11 1 0 0', 'the job is added to the statistics from the file');

# ---- files that are not what was written ----

# edited AT, BYTES returns the file with other bytes at a place.
sub edited { my ($at, $bytes) = @_; my $copy = $kept; substr($copy, $at, length $bytes) = $bytes; return $copy }
my %broken = (
	empty => '', 'cut off' => substr($kept, 0, -1), 'a changed byte' => edited(116, "\x7f"), 'another layout' => edited(4, 'x'),
	'too many rows' => edited(8, pack 'Q', 2**61), noise => join('', map { chr($_ * 7919 % 256) } 1 .. 5000));
$node->stop;
for my $how (sort keys %broken)
{
	open my $out, '>:raw', $file or die "$file: $!";
	print $out $broken{$how};
	close $out;
	my $from = -s $node->logfile;
	$node->start;
	is(stats(), '', "$how: nothing is read");
	like(slurp_file($node->logfile, $from), qr{LOG:  ignoring invalid data in file "pg_stat/bgjob_function_stats.stat"}, "$how: the log says so");
	ok(!-e $file, "$how: the file is gone");
	$node->stop;
}
unlink $file;
mkdir $file or die "$file: $!";
my $from = -s $node->logfile;
$node->start;
is(run_job(q{'work', '[1]'}), 'succeeded', 'with a directory in place of the file the server starts');
is_counted('public.work(integer)', '1 1 0 0 0', 'with a directory in place of the file the server counts jobs');
$node->stop;
like(slurp_file($node->logfile, $from), qr{LOG:  could not (?:open|rename) file "pg_stat/bgjob_function_stats.stat}, 'the log says which file could not be written');
rmdir $file or die "$file: $!";
$node->start;
is(stats(), '', 'without the file the statistics begin anew');

# ---- attempts that others record ----

# A worker is lost: the scheduler records that, and knows no run time.
sub kill_worker_of
{
	my ($job) = @_;
	my $pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $job AND state = 'processing'");

	kill 'KILL', $pid;
	until_gone($pid);
}
my $job = sql(q{SELECT bgjob_enqueue('sleepy', max_retries => 0)});
my $pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $job AND state = 'processing'");
sql("SELECT pg_terminate_backend($pid)");
is_counted('public.sleepy()', '0 1 0 0 1', 'the termination of a worker is counted as an interruption');
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'the interrupted job runs again');
is(sql("SELECT bgjob_delete($job)"), 't', 'the running job is deleted');
is_counted('public.sleepy()', '1 2 0 0 1', 'a deletion ends the job, and is no failure');

# A group whose transaction is lost: its jobs are counted as what they became, once.
is(sql(q{SELECT bgjob_queue('group', group_size => 100)::text}), '', 'a queue has groups');
is(sql(q{SELECT count(*) FROM bgjob_enqueue_many('stuck', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(1, 60) n), queue => 'group')}), 60, 'one of sixty jobs does not end at first');
$pid = pid_of($node, q{SELECT pid FROM bgjob.workers w JOIN bgjob.jobs j ON j.id = w.job_id WHERE j.args = '[30]'});
sql("SELECT pg_terminate_backend($pid)");
wait_until($node, q{SELECT count(*) = 60 FROM bgjob.jobs WHERE queue = 'group' AND state = 'succeeded'}, 'after the termination of the worker all jobs succeed');
wait_until($node, q{SELECT jobs = 60 AND attempts = 60 + interruptions AND interruptions > 0 FROM bgjob.function_stats WHERE job = 'public.stuck(integer)'}, 'each job of a lost group is counted once');
is(sql(q{SELECT sum(interruptions) = (SELECT interruptions FROM bgjob.function_stats WHERE job = 'public.stuck(integer)') FROM bgjob.jobs WHERE queue = 'group'}), 't', 'each interruption of a lost group is counted');

# A job that ends its worker, as a function and as a command.
sql('CREATE EXTENSION crashme');
for my $call (q{'crashme_fatal'}, q{'SELECT crashme_fatal()', kind => 'sql'})
{
	my $name = $call =~ /sql/ ? 'SELECT' : 'public.crashme_fatal()';

	is(run_job($call), 'failed', "$name: a job that ends its workers fails");
	is_counted($name, '1 2 2 0 0', "$name: the end of a worker is a failure of the job that ended it");
	is(sql("SELECT concat_ws(' ', last_sqlstate, last_error, min_run_time, total_run_time) FROM bgjob.function_stats WHERE job = '$name'"), '57P02 Ended its worker 2 times 0',
		"$name: the last error is the end of the worker");
}

# ---- a crash of the server ----

$job = sql(q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'a command runs');
kill_worker_of($job);
wait_until($node, "SELECT state = 'processing' AND interruptions = 1 FROM bgjob.jobs WHERE id = $job", 'after a crash of the server the command runs again');
is(counts('public.sleepy()'), '', 'after a crash of the server the statistics begin anew');
is(sql('SELECT count(*) FROM bgjob.function_stats WHERE attempts > 1 OR jobs > 0'), 0, 'only the interruption by the crash is counted');
is_counted('???', '0 1 0 0 1', 'a command that ran at the crash has an unknown kind');
is(sql(q{SELECT total_run_time || ' ' || coalesce(min_run_time::text, 'unknown') FROM bgjob.function_stats}), '0 unknown', 'an attempt that was lost has no run time');
is(sql("SELECT bgjob_delete($job)"), 't', 'the command is deleted');
is_counted('SELECT', '1 1 0 0 0', 'the deleted command has a known kind');
ok(!-e $file, 'a crash leaves no file');

$node->stop('immediate');
ok(!-e $file, 'an immediate shutdown leaves no file');
$node->start;
is(counts('SELECT'), '', 'after an immediate shutdown the statistics begin anew');

# ---- a greedy neighbour ----

is(sql(q{SELECT count(bgjob_enqueue('work', jsonb_build_array(n), run_as => 'app')) FROM generate_series(1, 2) n}), 2, 'a role has a few jobs');
is_counted('public.work(integer)', '2 2 0 0 0', 'the jobs of the role are counted');
my $number = sql('SELECT count(*) FROM bgjob.function_stats');
sql(q{SET ROLE greedy; DO $$BEGIN FOR n IN 1 .. 300 LOOP EXECUTE format('CREATE FUNCTION many_%s() RETURNS void LANGUAGE sql AS $f$ $f$', n); END LOOP; END$$;
	SELECT count(bgjob_enqueue('many_' || n)) FROM generate_series(1, 300) n});
wait_until($node, q{SELECT count(*) = 300 FROM bgjob.jobs WHERE job LIKE 'many%' AND state = 'succeeded'}, 'another role calls three times as many functions as there is room for');
is(sql(q{SELECT count(*) FROM bgjob.function_stats WHERE run_as <> 'greedy'::regrole}), $number, 'a role with many functions evicts no row of another role');
is(counts('public.work(integer)'), '2 2 0 0 0', 'the counts of the other role are as before');
cmp_ok(sql(q{SELECT count(*) FROM bgjob.function_stats}), '<=', 100, 'there are no more rows than bgjob.function_stats_max');
cmp_ok(sql(q{SELECT count(*) FROM bgjob.function_stats WHERE run_as = 'greedy'::regrole}), '>', 50, 'most rows belong to the role with many functions');

# Used again and again, one of its own stays as well.
sql(q{SELECT bgjob_function_stats_reset()});
sql(q{SET ROLE greedy; SELECT count(*) FROM bgjob_enqueue_many('many_1', array_fill(NULL::jsonb, ARRAY[200]))});
is_counted('public.many_1()', '200 200 0 0 0', 'a role calls one function often');
sql(q{SET ROLE greedy; SELECT count(bgjob_enqueue('many_' || n)) FROM generate_series(2, 300) n});
wait_until($node, q{SELECT count(*) = 799 FROM bgjob.jobs WHERE job LIKE 'many%' AND state = 'succeeded'}, 'the role calls many other functions');
is(counts('public.many_1()'), '200 200 0 0 0', 'the most used row of a role is not evicted');

# A long name.
my $long = 'x' x 60;
sql("CREATE FUNCTION $long(" . join(', ', map { "a$_ timestamptz DEFAULT now()" } 1 .. 10) . ") RETURNS void LANGUAGE sql AS ''");
is(run_job("'$long'"), 'succeeded', 'a function with a long name runs');
wait_until($node, qq{SELECT count(*) = 1 FROM bgjob.function_stats WHERE job LIKE 'public.$long(timestamp%' AND length(job) = 255 AND jobs = 1}, 'a long name is cut');
is(sql(qq{SELECT bgjob_function_stats_reset((SELECT 'public.' || oid::regprocedure FROM pg_proc WHERE proname = '$long'))}), 1, 'bgjob_function_stats_reset() takes the whole of a long name');

# Another database has its own.
sql('CREATE DATABASE another');
$node->safe_psql('another', 'CREATE EXTENSION bgjob');
is($node->safe_psql('another', 'SELECT count(*), bgjob_function_stats_reset() FROM bgjob.function_stats'), '0|0', 'another database sees and resets no row of this one');
my $other = $node->safe_psql('another', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
is($node->safe_psql('another', "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'the other database runs a job');
wait_until($node, q{SELECT string_agg(job, ' ') = 'SELECT' FROM bgjob.function_stats}, 'the other database has statistics of its own', 60, 'another');

check_counters($node);
check_counters($node, 'another');
$node->stop;
done_testing();
