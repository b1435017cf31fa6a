# Functions shared by the tests of bgjob-worker: they start it, wait for it, and enqueue what it performs.
#
#   my $node = bgjob_cluster('name');
#   worker_on($node);
#   my $worker = start_worker([ '--concurrency', 2 ], 'handler.sh', 'argument');
#
# A worker that is started has a name of its own. Its log is in a file, of which logged() returns the text.
package BgjobWorker;
use strict;
use warnings;
use Exporter 'import';
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(worker_on start_worker run_worker end_worker exit_code logged until_logged value enqueue ended script until_true);

my ($node, $folder, $number);

sub worker_on
{
	($node) = @_;
	$folder = PostgreSQL::Test::Utils::tempdir();
	$number = 0;
}

sub value { return $node->safe_psql('postgres', $_[0]) }

# enqueue JOB, ARGS, OPTIONS enqueues an external job and returns its id.
sub enqueue
{
	my ($job, $args, $options) = @_;

	$args = defined $args ? "'$args'" : 'NULL';
	return value("SELECT bgjob_enqueue('$job', $args, kind => 'external'" . ($options ? ", $options" : '') . ')');
}

# script TEXT writes an executable file and returns its name.
sub script
{
	my ($text) = @_;
	my $name = "$folder/script" . ++$number;

	open my $file, '>', $name or die $!;
	print $file $text;
	close $file or die $!;
	chmod 0755, $name;
	return $name;
}

# start_worker OPTIONS, HANDLER… starts a worker of database postgres. Environment variables are inherited.
sub start_worker
{
	my ($options, @handler) = @_;
	my %worker = (name => 'w' . ++$number, log => "$folder/worker$number.log");
	my @named = grep({ $_ eq '--name' } @$options) ? () : ('--name', $worker{name});
	my @database = grep({ $_ eq '-d' } @$options) ? () : ('-d', $node->connstr('postgres'));
	my @command = ('bgjob-worker', '--log-level', 'debug', @database, @named, @$options, '--', @handler);

	$worker{pid} = fork // die $!;
	if ($worker{pid} == 0)
	{
		open STDERR, '>', $worker{log} or die $!;
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>&', \*STDERR or die $!;
		exec @command or die "$command[0]: $!";
	}
	return \%worker;
}

# exit_code WORKER [, SECONDS] waits for its end; undef: it did not end. A signal is negative.
sub exit_code
{
	my ($worker, $seconds) = @_;
	my $end = time + ($seconds // 60);

	return $worker->{code} if defined $worker->{code};
	while (time < $end)
	{
		if (waitpid($worker->{pid}, 1) == $worker->{pid})
		{
			return $worker->{code} = $? & 127 ? -($? & 127) : $? >> 8;
		}
		usleep(10_000);
	}
	return undef;
}

# end_worker WORKER [, SIGNAL] ends it, and tests that it leaves with 0.
sub end_worker
{
	my ($worker, $signal) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	kill $signal // 'TERM', $worker->{pid};
	is(exit_code($worker), 0, "worker $worker->{name} leaves as it was asked to") || diag(logged($worker));
}

# run_worker OPTIONS, HANDLER… runs a worker to its end, and returns its exit code and its log.
sub run_worker
{
	my $worker = start_worker(@_);
	my $code = exit_code($worker, 120);

	kill 'KILL', $worker->{pid} unless defined $code;
	return ($code, logged($worker));
}

sub logged { return slurp_file($_[0]{log}) }

# until_true CODE, WHAT [, SECONDS] tests that code becomes true.
sub until_true
{
	my ($code, $what, $seconds) = @_;
	my $end = time + ($seconds // 60);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	while (!$code->())
	{
		return ok(0, $what) if time > $end;
		usleep(20_000);
	}
	return ok(1, $what);
}

# until_logged WORKER, PATTERN, WHAT
sub until_logged
{
	my ($worker, $pattern, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return until_true(sub { -e $worker->{log} && logged($worker) =~ $pattern }, $what) || diag(logged($worker));
}

# ended JOB, EXPECTED, WHAT waits until a job has ended, and compares state, retries, message and result.
sub ended
{
	my ($job, $expected, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	BgjobTest::becomes_true($node, "SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = $job", 60, 'postgres');
	return is(value("SELECT concat_ws('|', state, error ->> 'message', result) FROM bgjob.jobs WHERE id = $job"), $expected, $what);
}

1;
