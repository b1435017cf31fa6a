# The systems that bgjob is compared with: graphile-worker, through the shared graphile.mjs and our own drive.mjs, and floor.sql.
#
# graphile.mjs waits for the end of a drain by counting the table every 5 ms, which costs the peer something; drive.mjs
# counts the jobs in the tasks themselves, and can have a job do an UPDATE. Each run has a fresh database "peers".
package Bench::Peers;
use strict;
use warnings;
use Bench::Meter;
use Exporter 'import';
use IO::Handle;
use IPC::Open3;

our @EXPORT = qw(graphile_drain graphile_own graphile_latency graphile_held graphile_schema graphile_idle floor_rate);

# graphile_drain runs "graphile.mjs drain": jobs, and the mode, plain or batched.
sub graphile_drain
{
	my ($bench, $jobs, $mode) = @_;

	my ($meter, $rate);
	_prepare($bench);
	_node($bench, ['graphile.mjs', 'drain', $jobs, 10, $mode], sub {
		my ($line, $pid) = @_;
		# Between these lines there are a VACUUM ANALYZE, and the drain.
		$meter = Bench::Meter->begin(bench => $bench, db => 'peers', client => $pid) if $line =~ /^enqueued per second/;
		($rate) = $line =~ /(\d+)/ and $meter->stop if $line =~ /^jobs per second/;
	});
	die "graphile.mjs printed no rate\n" unless $rate;
	my %costs = $meter->costs($jobs);
	# Its own sessions report the statistics of the enqueueing at any time.
	delete @costs{qw(commits hits)};
	return (rate => [ 'jobs/s', $rate ], %costs);
}

# graphile_own runs "drive.mjs drain": jobs, mode, task (noop or update); at_once => how many; prepare => and begin => as drain in Bench::Load.
sub graphile_own
{
	my ($bench, $jobs, $mode, $task, %opt) = @_;

	my ($meter, $rate);
	_prepare($bench);
	$opt{prepare}->('peers') if $opt{prepare};
	_node($bench, ['drive.mjs', 'drain', $jobs, $opt{at_once} // 10, $mode, $task], sub {
		my ($line, $pid, $to) = @_;
		if ($line =~ /^ready/)
		{
			$meter = Bench::Meter->begin(bench => $bench, db => 'peers', client => $pid);
			$opt{begin}->() if $opt{begin};
			print $to "go\n";
		}
		($rate) = $line =~ /(\d+)/ and $meter->stop if $line =~ /^jobs per second/;
	});
	die "drive.mjs printed no rate\n" unless $rate;
	return (rate => [ 'jobs/s', $rate ], $meter->costs($jobs));
}

# graphile_latency runs "graphile.mjs latency".
sub graphile_latency
{
	my ($bench, $jobs) = @_;

	my @us;
	_prepare($bench);
	_node($bench, ['graphile.mjs', 'latency', $jobs], sub { @us = ($1, $2) if $_[0] =~ /p50 (\d+) p99 (\d+)/ });
	die "graphile.mjs printed no latency\n" unless @us;
	return (p50 => [ 'us', $us[0] ], p99 => [ 'us', $us[1] ]);
}

# graphile_held runs "graphile.mjs held": the mode, and whether a snapshot is held; returns a series.
sub graphile_held
{
	my ($bench, $seconds, $mode, $held) = @_;

	my @rates;
	_prepare($bench);
	_node($bench, ['graphile.mjs', 'held', $seconds, $mode, $held ? () : 'free'],
		sub { push @rates, [ $1, $2 ] if $_[0] =~ /^(\d+) s: jobs per second (\d+)/ });
	return @rates;
}

# graphile_schema makes a fresh database with graphile-worker's schema.
sub graphile_schema
{
	my ($bench) = @_;

	_prepare($bench);
	_node($bench, ['drive.mjs', 'migrate'], sub { });
}

# graphile_idle runs it without jobs; calls the sub at the beginning and at the end: process id, -1 or 1.
sub graphile_idle
{
	my ($bench, $seconds, $look) = @_;

	_prepare($bench);
	_node($bench, ['drive.mjs', 'idle', $seconds], sub {
		my ($line, $pid) = @_;
		$look->($pid, $line eq 'idle' ? -1 : 1) if $line =~ /^(?:idle|over)$/;
	});
}

# floor_rate runs floor.sql and returns its rate in groups of 500 with history.
sub floor_rate
{
	my ($bench) = @_;
	my $file = "$bench->{dir}/peers/floor.sql";

	if ($bench->quick)
	{
		open my $in, '<', $file or die "$file: $!";
		my $text = do { local $/; <$in> } =~ s/,(20?0?)0000\)/int($1 * 500) =~ s{^}{,}r . ')'/ger;
		open my $out, '>', $file = "$bench->{dir}/floor-quick.sql" or die "$file: $!";
		print $out $text;
		close $out;
	}
	_prepare($bench);
	my $text = $bench->run('psql', '-X', '-h', $bench->socket, '-U', 'postgres', '-d', 'peers', '-f', $file);
	my ($rate) = $text =~ /drained \d+ batch 500 hist t : (\d+) jobs/ or die "floor.sql printed no rate:\n$text";
	my ($single) = $text =~ /drained \d+ batch 1 hist t : (\d+) jobs/;
	return (rate => [ 'jobs/s', $rate ], $single ? (single => [ 'jobs/s', $single ]) : ());
}

# _prepare creates the database again, and makes a checkpoint.
sub _prepare
{
	my ($bench) = @_;

	$bench->fresh('peers', empty => 1);
	$bench->admin->rows('CHECKPOINT');
}

# _node runs a script and calls the sub for each line: line, process id, the script's input.
sub _node
{
	my ($bench, $arguments, $each) = @_;

	local %ENV = (%ENV, PGHOST => $bench->socket, PGPORT => 5432, PGUSER => 'postgres', PGDATABASE => 'peers', NO_LOG_SUCCESS => 1);
	open my $errors, '>>', "$bench->{dir}/node.log" or die "node.log: $!";
	chdir "$bench->{dir}/peers" or die "peers: $!";
	my $pid = open3(my $to, my $from, '>&' . fileno $errors, 'node', @$arguments);
	$to->autoflush(1);
	while (my $line = <$from>)
	{
		chomp $line;
		$each->($line, $pid, $to);
	}
	waitpid $pid, 0;
	my $status = $?;
	chdir $bench->{dir};
	die "node @$arguments failed, see node.log\n" if $status;
}

1;
