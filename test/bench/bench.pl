# Runs the cases against the server that suite.sh has started, and keeps the results.
#
#   perl -I lib bench.pl --dir DIR --bindir BIN [--quick] [--repeat N] [CASE…]     as the cluster's user
#
# A case is a file in cases/ with a package Case::NAME and a sub run(context). One that dies is reported, the next one
# runs. Results go to DIR/out/benchmarks.tsv after every case, so nothing measured is lost.
use strict;
use warnings;
use FindBin;
use Getopt::Long;
use Bench;
use Bench::Machine;
use Bench::Results;

my %opt = (repeat => 3);
GetOptions(\%opt, 'dir=s', 'bindir=s', 'quick', 'repeat=i') or die;
my @wanted = @ARGV ? @ARGV : @Bench::Results::CASES;
$| = 1;
binmode STDOUT, ':encoding(UTF-8)';

my $results = Bench::Results->new("$opt{dir}/out/benchmarks.tsv", raw => "$opt{dir}/raw.tsv", commit => $ENV{BENCH_COMMIT});
my $bench = Bench->new(%opt, results => $results);
my @failed;
Bench::Machine::note($bench);
for my $case (@wanted)
{
	require "$FindBin::Bin/cases/$case.pm";
	$bench->progress("== $case");
	my $ran = eval { "Case::$case"->can('run')->($bench); 1 };
	unless ($ran)
	{
		push @failed, $case;
		$bench->progress("$case FAILED: $@" =~ s/\n+$//r);
	}
	$results->settle($case);
	eval { $bench->defaults; 1 } or die "the server does not obey: $@";
}
$bench->close_sessions;
print "failed: @failed\n" if @failed;
exit(@failed ? 1 : 0);
