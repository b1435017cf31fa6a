# Prints what two commits have reached, from the figures of each turn.
#
#   perl -I lib compare.pl OLD NEW     files raw.tsv, lines in the order in which they were measured
#
# The ratio is new to old, of the first figure with the first, of the second with the second; of a series, the place
# is named behind the figure. Figures that one of them lacks are counted at the end.
use strict;
use warnings;
use Bench::Results;

my (%figures, @order, $alone);

# read_figures reads the figures of one of the two.
sub read_figures
{
	my ($which, $file) = @_;

	open my $in, '<:encoding(UTF-8)', $file or die "$file: $!\n";
	while (<$in>)
	{
		chomp;
		my (undef, $case, $variant, $metric, $at, $unit, $value) = split /\t/, $_, -1;
		my $name = join "\t", "$case: $variant", $at eq '' ? $metric : "$metric $at", $unit;
		push @order, $name unless $figures{$name};
		push @{ $figures{$name}{$which} }, $value;
	}
	return;
}

# ratio returns the last two columns of a row.
sub ratio
{
	my ($median, $least, $greatest, $pairs) = Bench::Results::summary(@_);

	return (sprintf('%.2f', $median), sprintf('%.2f, %.2f; %d', $least, $greatest, $pairs));
}

die "usage: compare.pl OLD NEW\n" unless @ARGV == 2;
binmode STDOUT, ':encoding(UTF-8)';
read_figures(old => $ARGV[0]);
read_figures(new => $ARGV[1]);
my $row = "%-48s %-14s %10s %10s  %-14s %6s  %s\n";
printf $row, 'case: variant', 'figure', 'old', 'new', 'unit', 'ratio', 'from, to; pairs';
for my $name (@order)
{
	my ($old, $new) = @{ $figures{$name} }{qw(old new)};
	unless ($old && $new && @$old == @$new)
	{
		$alone++;
		next;
	}
	my @ratios = map { $old->[$_] ? $new->[$_] / $old->[$_] : () } 0 .. $#$old;
	my ($variant, $figure, $unit) = split /\t/, $name;
	my @medians = map { sprintf '%.4g', (Bench::Results::summary(@$_))[0] } $old, $new;
	printf $row, $variant, $figure, @medians, $unit, @ratios ? ratio(@ratios) : ('-', 'none');
}
print "figures that only one of them has, or not in each turn: $alone\n" if $alone;
