# Runs pg_regress or pg_isolation_regress and prints its results as TAP, whatever format its version
# has, with the differences as diagnostics.
#
#   perl regress.pl --outputdir DIR --tests NAME,NAME… -- PROGRAM OPTION…
#
# A test that the program does not report, for example after a crash of the server, has failed.
use strict;
use warnings;
use Getopt::Long;

GetOptions(\my %opt, 'outputdir=s', 'tests=s') or die;
my @tests = split /,/, $opt{tests};

$| = 1;
print '1..' . @tests . "\n";
my (%result, @output);
open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @ARGV, "--outputdir=$opt{outputdir}", @tests or die;
while (<$out>)
{
	push @output, $_;
	$result{$2} = $1 eq 'ok' if /^(ok|not ok) +\d+ +[-+] (\S+)/;                     # 16 and later
	$result{$1} = $2 eq 'ok' if /^(?:test)? *(\S+) +\.\.\. (ok|FAILED|failed)\b/;    # 15
}
close $out;

my ($number, $failed) = (0, 0);
for my $test (@tests)
{
	print $result{$test} ? 'ok ' : 'not ok ', ++$number, " - $test\n";
	$failed++ unless $result{$test};
}
if ($failed)
{
	my @diffs;
	if (open my $file, '<', "$opt{outputdir}/regression.diffs") { @diffs = <$file>; }
	@diffs = (@diffs[ 0 .. 399 ], '[' . (@diffs - 400) . " more lines]\n") if @diffs > 400;
	print map { s/\R?\z//r =~ s/^/# /r . "\n" } @diffs ? @diffs : @output;
}
exit($failed ? 1 : 0);
