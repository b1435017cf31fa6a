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

is(sql(q{SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(0, 9) n), max_retries => 0)}), 10, 'jobs');
is(sql(q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', run_as => 'app')) FROM generate_series(1, 3)}), 3, 'and commands');
is_counted('public.work(integer)', '10 10 1 0 0', 'the jobs of a function are counted');
is_counted('SELECT', '3 3 0 0 0', 'and those of a kind of command');
my $before = stats();
ok(!-e $file, 'a server that runs has no file');
$node->stop;
ok(-s $file, 'one that has been shut down has one');
my $kept = slurp_file($file);
$node->start;
is(stats(), $before, 'after a restart the statistics are as before');
ok(!-e $file, 'and the file is gone');
is(run_job(q{'work', '[1]'}), 'succeeded', 'another job');
is_counted('public.work(integer)', '11 11 1 0 0', 'is added to them');

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
is_counted('public.work(integer)', '1 1 0 0 0', 'and counts');
$node->stop;
like(slurp_file($node->logfile, $from), qr{LOG:  could not (?:open|rename) file "pg_stat/bgjob_function_stats.stat}, 'it says what it could not write');
rmdir $file or die "$file: $!";
$node->start;
is(stats(), '', 'and begins anew');

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
is_counted('public.sleepy()', '0 1 0 0 1', 'a worker that is terminated: an interruption');
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'the job runs again');
is(sql("SELECT bgjob_delete($job)"), 't', 'it is deleted');
is_counted('public.sleepy()', '1 2 0 0 1', 'which ends the job, and is no failure');

# A group whose transaction is lost: its jobs are counted as what they became, once.
is(sql(q{SELECT bgjob_queue('group', group_size => 100)::text}), '', 'a queue with groups');
is(sql(q{SELECT count(*) FROM bgjob_enqueue_many('stuck', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(1, 60) n), queue => 'group')}), 60, 'jobs, one of which does not end at first');
$pid = pid_of($node, q{SELECT pid FROM bgjob.workers w JOIN bgjob.jobs j ON j.id = w.job_id WHERE j.args = '[30]'});
sql("SELECT pg_terminate_backend($pid)");
wait_until($node, q{SELECT count(*) = 60 FROM bgjob.jobs WHERE queue = 'group' AND state = 'succeeded'}, 'the worker is terminated, and all succeed');
wait_until($node, q{SELECT jobs = 60 AND attempts = 60 + interruptions AND interruptions > 0 FROM bgjob.function_stats WHERE job = 'public.stuck(integer)'}, 'each is counted once');
is(sql(q{SELECT sum(interruptions) = (SELECT interruptions FROM bgjob.function_stats WHERE job = 'public.stuck(integer)') FROM bgjob.jobs WHERE queue = 'group'}), 't', 'and each interruption');

# ---- a crash of the server ----

$job = sql(q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'a command runs');
kill_worker_of($job);
wait_until($node, "SELECT state = 'processing' AND interruptions = 1 FROM bgjob.jobs WHERE id = $job", 'the server has crashed, and the command runs again');
is(counts('public.sleepy()'), '', 'the statistics have begun anew');
is(sql('SELECT count(*) FROM bgjob.function_stats WHERE attempts > 1 OR jobs > 0'), 0, 'but for the interruption by the crash');
is_counted('???', '0 1 0 0 1', 'of a command whose kind is not known any more');
is(sql(q{SELECT total_run_time || ' ' || coalesce(min_run_time::text, 'unknown') FROM bgjob.function_stats}), '0 unknown', 'and has no run time');
is(sql("SELECT bgjob_delete($job)"), 't', 'the command is deleted');
is_counted('SELECT', '1 1 0 0 0', 'which is known');
ok(!-e $file, 'a crash leaves no file');

# ---- a greedy neighbour ----

is(sql(q{SELECT count(bgjob_enqueue('work', jsonb_build_array(n), run_as => 'app')) FROM generate_series(1, 2) n}), 2, 'a role with a few jobs');
is_counted('public.work(integer)', '2 2 0 0 0', 'of one function');
my $number = sql('SELECT count(*) FROM bgjob.function_stats');
sql(q{SET ROLE greedy; DO $$BEGIN FOR n IN 1 .. 300 LOOP EXECUTE format('CREATE FUNCTION many_%s() RETURNS void LANGUAGE sql AS $f$ $f$', n); END LOOP; END$$;
	SELECT count(bgjob_enqueue('many_' || n)) FROM generate_series(1, 300) n});
wait_until($node, q{SELECT count(*) = 300 FROM bgjob.jobs WHERE job LIKE 'many%' AND state = 'succeeded'}, 'another calls three times as many functions as there is room for');
is(sql(q{SELECT count(*) FROM bgjob.function_stats WHERE run_as <> 'greedy'::regrole}), $number, 'it has evicted none of the others');
is(counts('public.work(integer)'), '2 2 0 0 0', 'whose counts are as before');
cmp_ok(sql(q{SELECT count(*) FROM bgjob.function_stats}), '<=', 100, 'there are no more than allowed');
cmp_ok(sql(q{SELECT count(*) FROM bgjob.function_stats WHERE run_as = 'greedy'::regrole}), '>', 50, 'most of them its own');

# Used again and again, one of its own stays as well.
sql(q{SELECT bgjob_function_stats_reset()});
sql(q{SET ROLE greedy; SELECT count(*) FROM bgjob_enqueue_many('many_1', array_fill(NULL::jsonb, ARRAY[200]))});
is_counted('public.many_1()', '200 200 0 0 0', 'one function is called often');
sql(q{SET ROLE greedy; SELECT count(bgjob_enqueue('many_' || n)) FROM generate_series(2, 300) n});
wait_until($node, q{SELECT count(*) = 799 FROM bgjob.jobs WHERE job LIKE 'many%' AND state = 'succeeded'}, 'then the others');
is(counts('public.many_1()'), '200 200 0 0 0', 'the one that is used most is not evicted');

# A long name.
my $long = 'x' x 60;
sql("CREATE FUNCTION $long(" . join(', ', map { "a$_ timestamptz DEFAULT now()" } 1 .. 10) . ") RETURNS void LANGUAGE sql AS ''");
is(run_job("'$long'"), 'succeeded', 'a function with a long name');
wait_until($node, qq{SELECT count(*) = 1 FROM bgjob.function_stats WHERE job LIKE 'public.$long(timestamp%' AND length(job) = 255 AND jobs = 1}, 'the name is cut');
is(sql(qq{SELECT bgjob_function_stats_reset((SELECT 'public.' || oid::regprocedure FROM pg_proc WHERE proname = '$long'))}), 1, 'and means the same');

# Another database has its own.
sql('CREATE DATABASE another');
$node->safe_psql('another', 'CREATE EXTENSION bgjob');
is($node->safe_psql('another', 'SELECT count(*), bgjob_function_stats_reset() FROM bgjob.function_stats'), '0|0', 'another database sees and resets none of them');
my $other = $node->safe_psql('another', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
is($node->safe_psql('another', "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'it runs a job');
wait_until($node, q{SELECT string_agg(job, ' ') = 'SELECT' FROM bgjob.function_stats}, 'and sees that alone', 60, 'another');

check_counters($node);
check_counters($node, 'another');
$node->stop;
done_testing();
