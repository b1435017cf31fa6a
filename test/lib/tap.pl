# Runs one test program, parses its output as TAP, and counts the results.
#
#   perl tap.pl --name GROUP/NAME --log FILE --counts FILE [--timeout SECONDS] -- COMMAND…
#
# The program's output goes to the log. Prints one line for the program, and the failures with their
# diagnostics. Adds one line to the counts: name, passed, failed, skipped. A wrong plan, an exit status
# without a failed test and a time-out count as one failure each. Always exits with 0: the counts are
# the result.
use strict;
use warnings;
use Getopt::Long;
use POSIX qw(:sys_wait_h);
use TAP::Parser;
use Time::HiRes qw(time sleep);

GetOptions(\my %opt, 'name=s', 'log=s', 'counts=s', 'timeout=i') or die;
my $limit = $opt{timeout} || 600;
my $began = time;

my ($status, $timed_out) = run(@ARGV);
my %result = (passed => 0, failed => 0, skipped => 0, problems => []);
read_tap(slurp($opt{log}));
report();

open my $counts, '>>', $opt{counts} or die "$opt{counts}: $!";
print $counts join("\t", $opt{name}, @result{qw(passed failed skipped)}), "\n";
close $counts;

# The program leads a process group, so that a time-out ends all its processes.
sub run
{
	my @command = @_;

	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		setpgrp(0, 0);
		# The shell has let this process, as one in the background, ignore them.
		$SIG{$_} = 'DEFAULT' for qw(INT QUIT);
		open STDIN,  '<',  '/dev/null' or die;
		open STDOUT, '>>', $opt{log}   or die "$opt{log}: $!";
		open STDERR, '>&', \*STDOUT    or die;
		exec @command or die "$command[0]: $!\n";
	}
	# A signal that ends this script ends the group, too.
	$SIG{$_} = sub { kill -15, $pid; exit 1 } for qw(INT TERM HUP);
	my $pause = 0.005;
	until (waitpid($pid, WNOHANG) == $pid)
	{
		if (time - $began > $limit)
		{
			kill -15, $pid;
			my $grace = time + 10;
			my $gone  = 0;
			sleep 0.1 until ($gone = waitpid($pid, WNOHANG) == $pid) or time > $grace;
			kill -9, $pid;
			waitpid($pid, 0) unless $gone;
			return (-1, 1);
		}
		sleep $pause;
		$pause = 0.1 if ($pause *= 1.5) > 0.1;
	}
	return ($?, 0);
}

sub read_tap
{
	my $said = shift;
	my $parser = TAP::Parser->new({ tap => $said eq '' ? "# nothing was said\n" : $said });

	while (my $line = $parser->next)
	{
		next unless $line->is_test;
		if    ($line->has_skip || $line->has_todo) { $result{skipped}++ }
		elsif ($line->is_ok)                       { $result{passed}++ }
		else                                       { $result{failed}++ }
	}
	$result{skipped}++ if $parser->skip_all;
	push @{ $result{problems} }, "no end after $limit s" if $timed_out;
	push @{ $result{problems} }, 'no plan, or another number of tests than planned'
	  if !$timed_out && !$parser->is_good_plan;
	push @{ $result{problems} }, $status & 127 ? 'ended by signal ' . ($status & 127) : 'exit status ' . ($status >> 8)
	  if !$timed_out && $status != 0 && !$result{failed} && !@{ $result{problems} };
	$result{failed} += @{ $result{problems} };
}

sub report
{
	my $skipped = $result{skipped} ? ", $result{skipped} skipped" : '';

	printf "  %-5s %-34s %4d passed%s%s  %.1f s\n", $result{failed} ? 'FAIL' : 'ok', $opt{name}, $result{passed},
	  $result{failed} ? ", $result{failed} failed" : '', $skipped, time - $began;
	print map { "        ! $_\n" } @{ $result{problems} };
	return unless $result{failed};

	# Prints a short log completely; of a long one the failures, with diagnostics, and its end.
	my @lines = split /\n/, slurp($opt{log});
	if (@lines > 80)
	{
		my ($shown, @failures) = (0);
		for (@lines[ 0 .. $#lines - 40 ])
		{
			$shown = 1 if /^\s*not ok/;
			$shown = 0 if /^\s*ok/;
			push @failures, $_ if $shown;
		}
		splice @failures, 150 if @failures > 150;
		@lines = (@failures, '[…]', @lines[ -40 .. -1 ]);
	}
	print map { "        | $_\n" } @lines;
}

sub slurp
{
	open my $file, '<', shift or return '';
	local $/;
	return scalar <$file> // '';
}
