# External workers: the program of test/bench/client, a client in Node and bgjob-worker, in front of a fresh database of external no-op jobs.
package Bench::External;
use strict;
use warnings;
use Bench::Load;
use Bench::Meter;
use Exporter 'import';
use IO::Handle;
use IPC::Open3;

our @EXPORT = qw(external_jobs external_drain external_serve external_pickup external_node external_worker stop_program);

# external_jobs makes database "bench" anew and enqueues jobs, as drain in Bench::Load does.
sub external_jobs
{
	my ($bench, $jobs) = @_;

	$bench->fresh('bench');
	$bench->admin->rows('CHECKPOINT');
	enqueue($bench, jobs => $jobs, function => 'noop', options => q(, kind => 'external')) if $jobs;
	$bench->session('bench')->rows('VACUUM ANALYZE');
}

# external_drain has jobs performed by so many clients, each fetching up to "batch"; mode is apart, pipelined or together.
sub external_drain
{
	my ($bench, $jobs, $clients, $batch, $mode) = @_;

	return _drain($bench, $jobs, [ _client($bench), 'drain', $clients, $batch, $mode, $jobs ]);
}

# external_node does the same, one job at a time, with a client in Node: what of the difference to graphile-worker is the language's.
sub external_node
{
	my ($bench, $jobs, $clients) = @_;

	return _drain($bench, $jobs, [ 'node', "$bench->{dir}/peers/external.mjs", $clients, $jobs ]);
}

# external_serve starts clients that perform what comes; returns the process, for stop_program.
sub external_serve
{
	my ($bench, $clients, $batch, $mode) = @_;

	return (_start($bench, _client($bench), 'serve', $clients, $batch, $mode))[0];
}

# external_pickup enqueues single jobs for clients that wait in bgjob_await().
sub external_pickup
{
	my ($bench, $jobs, $clients) = @_;

	external_jobs($bench, 0);
	my ($pid, undef, $from) = _start($bench, _client($bench), 'pickup', $clients, $jobs);
	my ($p50, $p99) = map { /p50 (\d+) p99 (\d+)/ } <$from>;
	_ended($pid);
	return (p50 => [ 'us', $p50 ], p99 => [ 'us', $p99 ]);
}

# external_worker has jobs performed by bgjob-worker with so many handlers in Python that stay; all on one processor, if one is given. The
# program's CPU is its own alone: that of its handlers is not in it until they have ended.
sub external_worker
{
	my ($bench, $jobs, $handlers, $processor) = @_;
	my @there = defined $processor ? ('taskset', '-c', $processor) : ();

	external_jobs($bench, $jobs);
	my $meter = Bench::Meter->begin(bench => $bench, db => 'bench');
	my ($worker) = _start($bench, @there, "$bench->{bindir}/bgjob-worker", '--queue', '*', '--concurrency', $handlers, '--name', 'bench', '--persistent',
		'--', 'python3', "$bench->{dir}/tree/test/bench/client/noop.py");
	eval {
		_move_sessions($bench, $processor) if @there;
		$bench->wait_for(60 + $jobs / 100, 'all jobs have succeeded', sub { stats($bench)->{succeeded} == $jobs });
	};
	my ($error, $own) = ($@, (Bench::Meter::process_cpu($worker))[0]);
	my $all = Bench::Meter::family_cpu($worker);
	$meter->stop;
	stop_program($worker);
	die $error if $error;
	my ($seconds) = $bench->session('bench')->row('SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM bgjob.jobs');
	return (
		rate     => [ 'jobs/s', $jobs / $seconds ],
		program  => [ 'us/job', $own / $jobs * 1e6 ],
		handlers => [ 'us/job', ($all - $own) / $jobs * 1e6 ],
		$meter->costs($jobs));
}

# _move_sessions has the sessions of bgjob-worker run on a processor.
sub _move_sessions
{
	my ($bench, $processor) = @_;
	my $pids;

	$bench->wait_for(60, 'bgjob-worker is connected',
		sub { ($pids) = $bench->admin->row(q(SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE application_name LIKE 'bgjob-worker%')); defined $pids });
	for my $pid (split / /, $pids)
	{
		system("taskset -cp $processor $pid >/dev/null") == 0 or die "taskset failed\n";
	}
	return;
}

# stop_program ends a program that goes on until it is terminated.
sub stop_program
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	waitpid $pid, 0;
}

# _drain runs a client that prints "ready", wants a line, and prints its rate.
sub _drain
{
	my ($bench, $jobs, $command) = @_;

	external_jobs($bench, $jobs);
	my ($pid, $to, $from) = _start($bench, @$command);
	my ($meter, $rate);
	while (my $line = <$from>)
	{
		if ($line =~ /^ready/)
		{
			$meter = Bench::Meter->begin(bench => $bench, db => 'bench', client => $pid);
			print $to "go\n";
		}
		if ($line =~ /^jobs per second (\d+)/)
		{
			$rate = $1;
			$meter->stop;
			close $to;
		}
	}
	_ended($pid);
	my $succeeded = stats($bench)->{succeeded};
	die "$succeeded jobs succeeded, not $jobs\n" unless $succeeded == $jobs;
	return (rate => [ 'jobs/s', $rate ], $meter->costs($jobs));
}

sub _client { return "$_[0]{dir}/tree/test/bench/client/external" }

# _start starts a program that connects as role app; its process, input and output.
sub _start
{
	my ($bench, @command) = @_;

	local %ENV = (%ENV, PGHOST => $bench->socket, PGPORT => 5432, PGUSER => 'app', PGDATABASE => 'bench');
	open my $errors, '>>', "$bench->{dir}/client.log" or die "client.log: $!";
	my $pid = open3(my $to, my $from, '>&' . fileno $errors, @command);
	$to->autoflush(1);
	return ($pid, $to, $from);
}

# _ended waits for a program's end.
sub _ended
{
	my ($pid) = @_;

	waitpid $pid, 0;
	die "the client failed, see client.log\n" if $?;
}

1;
