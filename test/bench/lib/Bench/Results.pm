# The results: a table of tab-separated text, one line for each figure.
#
#   case  variant  metric  at  unit  median  low  high  runs  date  commit
#
# "at" is empty, or the place in a series (seconds, workers, per cent). A case that is measured again replaces the lines
# of the variants that were measured, and no others. Every single figure goes to raw.tsv as well. The machine and the
# settings are lines too, of case "machine", with a text for the median.
package Bench::Results;
use strict;
use warnings;
use POSIX qw(strftime);

# The order in which cases run and are shown: the short ones first, the one that fills the disk last.
our @CASES = qw(drain group update statements pickup enqueue many blocked snapshot held deadrows lanes compose limits sequences fairness external external_groups external_pickup external_waiting external_held external_worker retention scale idle memory size views);

my @columns = qw(case variant metric at unit median low high runs date commit);

# new reads the file, if it is there already; raw => where single figures are to go.
sub new
{
	my ($class, $file, %opt) = @_;
	my $self = bless { file => $file, lines => [], now => [], raw => $opt{raw}, commit => $opt{commit} // '' }, $class;

	return $self unless open my $in, '<:encoding(UTF-8)', $file;
	while (<$in>)
	{
		chomp;
		my %line;
		@line{@columns} = split /\t/, $_, -1;
		push @{ $self->{lines} }, \%line unless $line{case} eq 'case';
	}
	return $self;
}

# add notes one figure of one repetition.
sub add
{
	my ($self, %figure) = @_;

	push @{ $self->{now} }, { at => '', %figure };
	return unless $self->{raw};
	open my $raw, '>>:encoding(UTF-8)', $self->{raw} or die "$self->{raw}: $!";
	print $raw join("\t", time, @figure{qw(case variant metric)}, $figure{at} // '', @figure{qw(unit value)}), "\n";
}

# settle turns the figures of a case into medians, puts them in the place of older ones and writes the file.
sub settle
{
	my ($self, $case) = @_;
	my (%sets, @order);

	for my $figure (grep { $_->{case} eq $case } @{ $self->{now} })
	{
		my $key = join "\t", @$figure{qw(case variant metric at unit)};
		push @order, $key unless $sets{$key};
		push @{ $sets{$key} }, $figure->{value};
	}
	@{ $self->{now} } = grep { $_->{case} ne $case } @{ $self->{now} };
	my @lines;
	for my $key (@order)
	{
		my %line;
		@line{qw(case variant metric at unit)} = split /\t/, $key, -1;
		@line{qw(median low high runs)} = summary(@{ $sets{$key} });
		@line{qw(date commit)} = (strftime('%Y-%m-%d', gmtime), $self->{commit});
		push @lines, \%line;
	}
	$self->_replace($case, @lines);
	$self->write;
}

# _replace puts a variant's lines where its old ones are, or behind everything else.
sub _replace
{
	my ($self, $case, @new) = @_;
	my (%new, @lines);

	push @{ $new{ $_->{variant} } }, $_ for @new;
	my %measured = map { $_ => 1 } keys %new;
	for my $line (@{ $self->{lines} })
	{
		if ($line->{case} ne $case || !$measured{ $line->{variant} }) { push @lines, $line }
		elsif (my $place = delete $new{ $line->{variant} }) { push @lines, @$place }
	}
	push @lines, grep { $new{ $_->{variant} } } @new;
	$self->{lines} = \@lines;
}

# fact notes something about the machine or the settings.
sub fact
{
	my ($self, $name, $text) = @_;

	@{ $self->{lines} } = grep { $_->{case} ne 'machine' || $_->{metric} ne $name } @{ $self->{lines} };
	push @{ $self->{lines} }, { (map { $_ => '' } @columns), case => 'machine', metric => $name, median => $text,
		date => strftime('%Y-%m-%d', gmtime), commit => $self->{commit} };
}

# write rewrites the file.
sub write
{
	my ($self) = @_;

	open my $out, '>:encoding(UTF-8)', $self->{file} or die "$self->{file}: $!";
	print $out join("\t", @columns), "\n";
	print $out join("\t", map { s/[\t\n]/ /gr } @$_{@columns}), "\n" for @{ $self->{lines} };
	close $out or die "$self->{file}: $!";
}

# line finds a figure: its line, or nothing.
sub line
{
	my ($self, $case, $variant, $metric, $at) = @_;

	my ($line) = grep { $_->{case} eq $case && $_->{variant} eq $variant && $_->{metric} eq $metric && $_->{at} eq ($at // '') }
	  @{ $self->{lines} };
	return $line;
}

# median is a figure's median, or undef.
sub median
{
	my $line = line(@_);

	return $line ? $line->{median} : undef;
}

# series lists a series' points in their order: [ at, median ].
sub series
{
	my ($self, $case, $variant, $metric) = @_;

	return sort { $a->[0] <=> $b->[0] } map { [ $_->{at}, $_->{median} ] }
	  grep { $_->{case} eq $case && $_->{variant} eq $variant && $_->{metric} eq $metric && $_->{at} ne '' } @{ $self->{lines} };
}

# measured lists the cases of which there are results, in their order.
sub measured
{
	my ($self) = @_;

	return grep { my $case = $_; grep { $_->{case} eq $case } @{ $self->{lines} } } @CASES;
}

# variants lists a case's variants in the order of the file.
sub variants
{
	my ($self, $case) = @_;
	my %seen;

	return grep { !$seen{$_}++ } map { $_->{variant} } grep { $_->{case} eq $case } @{ $self->{lines} };
}

# lines lists the lines of a case.
sub lines
{
	my ($self, $case) = @_;

	return grep { $_->{case} eq $case } @{ $self->{lines} };
}

# summary is the median, the least, the greatest and the number of values, rounded to six places that count.
sub summary
{
	my @sorted = sort { $a <=> $b } @_;
	my $middle = @sorted % 2 ? $sorted[ $#sorted / 2 ] : ($sorted[ @sorted / 2 - 1 ] + $sorted[ @sorted / 2 ]) / 2;

	return ((map { sprintf('%.6g', $_) + 0 } $middle, @sorted[ 0, -1 ]), scalar @sorted);
}

1;
