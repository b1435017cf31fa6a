# bgjob-worker: how it leaves, what it does when the connection, the server, a job or its lease is lost, what an administrator
# can have it do, and what it tells others about itself.
# check.sh: crashes expected
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobWorker;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('life', 'bgjob.workers' => 1, max_connections => 50);
my $stop = PostgreSQL::Test::Utils::tempdir() . '/go';
worker_on($node);

# The handlers wait until the test lets them go: for the file "$stop.ID". They leave their pid in "$stop.ID.pid".
my $handler = script(<<'EOT');
#!/bin/bash
stop=$1
case $BGJOB_JOB in
stubborn) trap '' TERM INT HUP ;;
parent) sleep 1000 & echo $! >"$stop.$BGJOB_ID.child" ;;
terminated) trap 'echo "got TERM" >&2; exit 0' TERM ;;
esac
echo $$ >"$stop.$BGJOB_ID.new" && mv "$stop.$BGJOB_ID.new" "$stop.$BGJOB_ID.pid"
until [ -e "$stop.$BGJOB_ID" ]; do sleep 0.02; done
echo '"went"'
EOT
my @options = ('--concurrency', 2, '--heartbeat', '200ms', '--kill-after', '300ms');
my @none = (script("#!/bin/sh\n"));

# ---- leaving ----

my $worker = start_worker([ @options, '--grace', '1h' ], $handler, $stop);
my $job = enqueue('waits');
my $pid = performed($job);
kill 'TERM', $worker->{pid};
until_logged($worker, qr/leaving, 1 jobs? are being performed/, 'SIGTERM: the worker begins to leave');
my $later = enqueue('waits');
let_go($job);
is(exit_code($worker), 0, 'SIGTERM: it leaves when its job has ended');
ended($job, 'succeeded|"went"', 'SIGTERM: the job has succeeded');
is(state($later), 'enqueued', 'SIGTERM: no other job was fetched');

$worker = start_worker([ @options, '--grace', '100ms' ], $handler, $stop);
$job = enqueue('stubborn');
my @pids = map { performed($_) } $later, $job;
kill 'TERM', $worker->{pid};
is(exit_code($worker), 0, 'the grace time: the worker leaves after it');
ok(!kill(0, $_), 'the grace time: handlers are ended, also one that ignores SIGTERM') for @pids;
given_back($_, 'the grace time') for $later, $job;
is(value("SELECT reason FROM bgjob.jobs WHERE id = $job"), "Released by worker \"$worker->{name}\"", 'the grace time: the reason says who gave it back');

$worker = start_worker([ @options, '--grace', '1h', '--kill-after', '1h' ], $handler, $stop);
@pids = map { performed($_) } $later, $job;
kill 'TERM', $worker->{pid};
until_logged($worker, qr/leaving, 2 jobs/, 'SIGTERM twice: the first one');
kill 'TERM', $worker->{pid};
is(exit_code($worker), 0, 'SIGTERM twice: the worker leaves at once');
ok(!kill(0, $_), 'SIGTERM twice: its handlers are gone') for @pids;
given_back($_, 'SIGTERM twice') for $later, $job;

$worker = start_worker([ @options, '--listen', '0' ], $handler, $stop);
@pids = map { performed($_) } $later, $job;
my ($port) = logged($worker) =~ /listening at 127\.0\.0\.1, port (\d+)/;
like(page('/readyz'), qr/^HTTP\/1\.1 200 .*\r\n\r\nok\n$/s, '/readyz: ready');
kill 'USR1', $worker->{pid};
until_logged($worker, qr/quiet: no more jobs are fetched/, 'SIGUSR1: the worker becomes quiet');
like(page('/readyz'), qr/^HTTP\/1\.1 503 .*\r\n\r\nquiet\n$/s, '/readyz: quiet');
like(page('/healthz'), qr/^HTTP\/1\.1 200 .*\r\n\r\nok\n$/s, '/healthz: healthy');
my $third = enqueue('waits');
let_go($_) for $later, $job;
ended($_, 'succeeded|"went"', 'SIGUSR1: jobs go on') for $later, $job;
is(state($third), 'enqueued', 'SIGUSR1: no other job is fetched');
my $metrics = page('/metrics');
like($metrics, qr/^bgjob_worker_jobs_total\{outcome="succeeded"\} 2$/m, '/metrics: jobs by outcome');
like($metrics, qr/^bgjob_worker_job_duration_seconds_count 2$/m, '/metrics: the durations');
like($metrics, qr/^bgjob_worker_quiet 1$/m, '/metrics: quiet');
like(page('/other'), qr/^HTTP\/1\.1 404 /, 'there are no other pages');
like(page('/metrics', 'POST'), qr/^HTTP\/1\.1 405 /, 'and no other methods');
end_worker($worker);

# ---- jobs that are taken away ----

$worker = start_worker(\@options, $handler, $stop);
$pid = performed($third);
value("SELECT bgjob_delete($third)");
gone($pid, 'a job that was deleted has its handler ended');
is(state($third), 'deleted', 'and stays deleted');
my $parent = enqueue('parent');
$pid = performed($parent);
my $child = slurp_file("$stop.$parent.child") + 0;
value("SELECT bgjob_requeue($parent)");
gone($_, 'a job that was requeued has the whole process group ended') for $pid, $child;
$pid = performed($parent);
value("SELECT bgjob_delete($parent)");
gone($pid, 'so has the attempt that followed, when it is deleted');
$job = enqueue('waits', undef, q(timeout => '2 s', max_retries => 0));
$pid = performed($job);
gone($pid, 'a job that is out of time has its handler ended');
wait_until($node, "SELECT state = 'failed' AND error ->> 'sqlstate' = '57014' FROM bgjob.jobs WHERE id = $job", 'and has failed as jobs that time out do');

# ---- what an administrator can have it do ----

value("SELECT bgjob_server_pause('$worker->{name}')");
until_logged($worker, qr/paused by an administrator/, 'an administrator pauses the worker');
$job = enqueue('waits');
value("SELECT bgjob_server_resume('$worker->{name}')");
until_logged($worker, qr/resumed by an administrator/, 'and resumes it');
$pid = performed($job);
value("SELECT bgjob_server_remove('$worker->{name}')");
until_logged($worker, qr/removed by an administrator: leaving/, 'and removes it');
let_go($job);
is(exit_code($worker), 0, 'then it leaves');
ended($job, 'succeeded|"went"', 'after its job');

# ---- losing things ----

# The worker dies: its handlers get SIGTERM, its jobs are back at once.
$worker = start_worker([ @options, '--lease', '1h' ], $handler, $stop);
$job = enqueue('terminated');
$pid = performed($job);
kill 'KILL', $worker->{pid};
exit_code($worker);
gone($pid, 'a worker that dies takes its handlers along');
wait_until($node, "SELECT state = 'enqueued' AND retries = 0 FROM bgjob.jobs WHERE id = $job", 'its jobs are back, long before the lease ends');

# The session is terminated: the worker is bound to it, so the job is performed again.
$worker = start_worker([ @options, '--lease', '1h' ], $handler, $stop);
$pid = performed($job);
is(value("SELECT worker_pid IS NOT NULL FROM bgjob.jobs WHERE id = $job"), 't', 'a worker is bound to its connection');
unlink "$stop.$job.pid";
value("SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE id = $job");
gone($pid, 'the handlers of a connection that was lost are ended');
my $second = performed($job);
isnt($second, $pid, 'and the job is performed again, over a new connection');
let_go($job);
ended($job, 'succeeded|"went"', 'with success');
is(value("SELECT retries FROM bgjob.jobs WHERE id = $job"), 0, 'without a retry');
end_worker($worker);

# Not bound: the job outlives connections, and the server.
foreach my $how ('fast', 'immediate')
{
	my $pooled = start_worker([ @options, '--pooled', '--lease', '1h' ], $handler, $stop);

	$job = enqueue('waits');
	$pid = performed($job);
	value('CHECKPOINT'); # the fetch alone is not flushed when it commits
	$node->stop($how);
	until_logged($pooled, qr/could not connect/, "$how shutdown, --pooled: the worker tries to connect");
	let_go($job);
	gone($pid, "$how shutdown, --pooled: the handler ends by itself");
	start_again($node);
	ended($job, 'succeeded|"went"', "$how shutdown, --pooled: the answer is given after the restart");
	is(value("SELECT concat_ws(' ', retries, (SELECT count(*) FROM bgjob.job_states WHERE job_id = $job AND state = 'processing')) FROM bgjob.jobs WHERE id = $job"), '0 1',
		"$how shutdown, --pooled: in one attempt");
	end_worker($pooled);
}

# Bound, and the server is restarted.
$worker = start_worker([ @options, '--persistent' ], 'perl', '-ne', '$| = 1; /"id":(\d+)/; print qq({"id":$1}\n)');
until_logged($worker, qr/connected to database/, 'a worker before a restart');
$job = enqueue('quick');
ended($job, 'succeeded', 'performs a job');
$node->restart;
$job = ask($node, q{SELECT bgjob_enqueue('quick', kind => 'external')});
ended($job, 'succeeded', 'and performs jobs after the restart');
end_worker($worker);

# Jobs that have always been quick, and one that is not: answers wait for each other, but not for that one.
$worker = start_worker([ '--concurrency', 2, '--heartbeat', '1h', '--lease', '3h', '--persistent' ], 'perl', '-e', <<'EOT', $stop);
$| = 1;
while (my $line = <STDIN>)
{
	my ($id) = $line =~ /"id":(\d+)/;
	if ($line =~ /"job":"waits"/)
	{
		open my $file, '>', "$ARGV[0].$id.new" or die; print $file $$; close $file;
		rename "$ARGV[0].$id.new", "$ARGV[0].$id.pid";
		select undef, undef, undef, 0.02 until -e "$ARGV[0].$id";
	}
	print qq({"id":$id}\n);
}
EOT
until_logged($worker, qr/connected to database/, 'a worker for quick jobs');
for my $round (1 .. 3)
{
	value(q{SELECT count(bgjob_enqueue('quick', kind => 'external')) FROM generate_series(1, 200)});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE job = 'quick' AND state <> 'succeeded'}, "round $round: quick jobs have succeeded");
	($job, my $quick) = split /\|/, value(q{SELECT bgjob_enqueue('waits', kind => 'external'), bgjob_enqueue('quick', kind => 'external')});
	performed($job);
	ended($quick, 'succeeded', "round $round: so has one beside a job that takes long");
	is(state($job), 'processing', "round $round: while that runs");
	let_go($job);
	ended($job, 'succeeded', "round $round: which succeeds, too");
}
end_worker($worker);

# The lease ends while the server cannot be reached: the handler is ended.
$worker = start_worker([ '--pooled', '--lease', '2s', '--kill-after', '300ms' ], $handler, $stop);
$job = enqueue('waits');
$pid = performed($job);
$node->stop('fast');
gone($pid, 'without a sign of life that reaches the server the handler is ended when the lease ends');
kill 'TERM', $worker->{pid};
is(exit_code($worker), 0, 'without jobs the worker leaves also while there is no server') || diag(logged($worker));
start_again($node);
wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $job", 'the job is back');
value("SELECT bgjob_delete($job)");

# ---- systemd ----

my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$stop.notify") or die $!;
{
	local $ENV{NOTIFY_SOCKET} = "$stop.notify";
	local $ENV{WATCHDOG_USEC} = 400000;
	$worker = start_worker([ '--concurrency', 3 ], script("#!/bin/sh\necho \"\\\"\$NOTIFY_SOCKET\$WATCHDOG_USEC\\\"\"\n"));
}
my %told;
told('READY=1');
told('STATUS=running, 0 of 3 slots busy');
told('WATCHDOG=1') for 1 .. 3;
ended(enqueue('any'), 'succeeded|""', 'handlers do not see the socket of the service manager');
kill 'TERM', $worker->{pid};
told('STOPPING=1');
is(exit_code($worker), 0, 'the service leaves');

check_counters($node);
done_testing();

sub state { return value("SELECT state FROM bgjob.jobs WHERE id = $_[0]") }

# performed JOB waits until its handler runs, and returns its pid.
sub performed
{
	my ($id) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	until_true(sub { -e "$stop.$id.pid" }, "the handler of job $id runs") || diag(logged($worker));
	my $running = slurp_file("$stop.$id.pid") + 0;
	unlink "$stop.$id.pid";
	return $running;
}

sub let_go { open my $file, '>', "$stop.$_[0]" or die $!; close $file }

sub gone
{
	my ($process, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return until_true(sub { !kill 0, $process }, $what) || diag(logged($worker));
}

sub given_back
{
	my ($id, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(value("SELECT concat_ws(' ', state, retries) FROM bgjob.jobs WHERE id = $id"), 'enqueued 0', "$what: job $id is given back");
}

# page PATH [, METHOD] returns the answer of the worker to a request.
sub page
{
	my ($path, $method) = (@_, 'GET');
	my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 20) or die "port $port: $!";

	print $client "$method $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
	local $/;
	return <$client>;
}

# told WHAT waits until the service manager has been told so.
sub told
{
	my ($what) = @_;
	my $select = IO::Select->new($socket);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	until ($told{$what})
	{
		return ok(0, "the service manager is told $what") unless $select->can_read(30);
		$socket->recv(my $text, 1000);
		$told{ $text =~ /^(STATUS=.* busy)/ ? $1 : $text }++;
	}
	$told{$what}--;
	return ok(1, "the service manager is told $what");
}
