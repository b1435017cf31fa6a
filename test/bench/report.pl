# Makes the text and the chart of the benchmarks from their data.
#
#   perl report.pl DIR                     DIR/benchmarks.tsv → DIR/benchmarks.md, DIR/benchmarks.svg (gnuplot)
#
# Prints the tables, too. Without gnuplot there is no chart. Nothing is measured here.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::Bin/lib";
use Bench::Goals;
use Bench::Results;
use File::Temp 'tempdir';

my $dir = shift // die "usage: report.pl DIR\n";
-f "$dir/benchmarks.tsv" or die "$dir/benchmarks.tsv is missing\n";
my $results = Bench::Results->new("$dir/benchmarks.tsv");
binmode STDOUT, ':encoding(UTF-8)';

# What the columns are called, in their order; other metrics follow as they come.
my %title = (
	rate => 'rate', begin => 'first third', end => 'last third', p50 => 'p50', p99 => 'p99', call_p50 => 'p50 from the call',
	call_p99 => 'p99 from the call', single => 'one job a commit', wal => 'WAL', cpu => 'CPU, server', client_cpu => 'CPU, client',
	commits => 'commits', hits => 'buffer hits', statements => 'statements', private => 'private memory', lock_wait => 'longest wait for a lock',
	max_first => 'greatest size, first minute', max_last => 'greatest size, last minute', first => 'rate, first minute', last => 'rate, last minute',
	left => 'jobs left at the end', took_app => 'role app', took_other => 'role other', transactions => 'transactions', wakeups => 'wake-ups',
	workers => 'workers', jobs => 'jobs', life => 'jobs in a life', growth => 'growth in a life', processes => 'workers',
	program => 'CPU, the program', handlers => 'CPU, its handlers', woken => 'sessions that woke', returned => 'calls that returned');
my @order = qw(rate begin end p50 p99 call_p50 call_p99 single private wal cpu client_cpu commits hits processes statements);

my $tables = goals() . join '', map { case_text($_) } $results->measured;
print $tables;
open my $out, '>:encoding(UTF-8)', "$dir/benchmarks.md" or die "$dir/benchmarks.md: $!";
print $out opening(), $tables, profile();
close $out or die "$dir/benchmarks.md: $!";
chart();

# profile is where the time goes, as somebody has written it down beside the data.
sub profile
{
	open my $in, '<:encoding(UTF-8)', "$dir/profile.md" or return '';
	local $/;
	return <$in>;
}

# opening is the text before the tables: the machine, and how it was measured.
sub opening
{
	my %fact = map { $_->{metric} => $_->{median} } $results->lines('machine');
	my $text = "# bgjob: benchmarks\n\nMade by `bash test/bench/run.sh`; do not edit. The data are in benchmarks.tsv.\n\n";

	$text .= "**$fact{size}.**\n\n" if ($fact{size} // '') =~ /QUICK/;
	$text .= "![rates, an old snapshot, workers](benchmarks.svg)\n\n## Where\n\n| | |\n|---|---|\n";
	$text .= join '', map { "| $_ | $fact{$_} |\n" } grep { defined $fact{$_} && $_ ne 'size' }
	  'processor', 'cores', 'memory', 'kernel', 'distribution', 'fdatasync', 'PostgreSQL', 'bgjob', 'graphile-worker', 'settings';
	$text .= join "\n", '', '## How', '',
	  'Figures are medians, with the least and the greatest in brackets. Variants are measured in turn (A B A B …) on the same private cluster; nothing else',
	  "runs. It has PostgreSQL's defaults, except for `shared_preload_libraries`, the socket and what a case names. Each variant has a fresh database.", '',
	  'Before each run there is a CHECKPOINT. Then the jobs are enqueued with processing off, VACUUM ANALYZE runs, and the jobs are drained. A drain is the time',
	  'from the start of the first job to the end of the last. WAL, CPU, commits and buffer hits are those of the drain, per job. CPU is in seconds per 1000',
	  "jobs, of all processes of the server, also those that have ended. The client's CPU is that of Node.", '',
	  '"graphile" is ../shared/peers/graphile.mjs, which counts the rows that are left every 5 ms. "own driver" is test/bench/peers/drive.mjs, which counts in its',
	  'tasks. External workers are test/bench/client/external.c: one process in C, a connection and a name for each client, a completion and a fetch in two',
	  'transactions, in two that are sent in one message ("pipelined"), or in one ("together"). Absolute figures are noisy: compare the ratios.', '', '';
	return $text;
}

# goals is the table of the goals.
sub goals
{
	my $text = "## Goals\n\n| case | goal | measured | |\n|---|---|---|---|\n";

	$text .= '| ' . join(' | ', @$_[ 0 .. 2 ], $_->[3] eq 'reached' ? 'reached' : "**$_->[3]**") . " |\n" for Bench::Goals::judge($results);
	return "$text\n";
}

# case_text is a case: its title from the first line of its file, its table, its series.
sub case_text
{
	my ($case) = @_;
	my @lines = grep { $_->{at} eq '' } $results->lines($case);
	my %dates = map { ("$_->{date}, $_->{commit}" => 1) } $results->lines($case);

	return join '', "## $case\n\n", about($case), ' (' . join('; ', sort keys %dates) . ")\n\n", @lines ? table($case, @lines) : (), series_tables($case);
}

# about is the first line of the case's file.
sub about
{
	my ($case) = @_;

	open my $in, '<:encoding(UTF-8)', "$FindBin::Bin/cases/$case.pm" or return ucfirst $case;
	my $line = <$in> =~ s/^# |\s+$//gr;
	return ucfirst $line;
}

# table has a line for each variant and a column for each figure; and how many times as fast bgjob is.
sub table
{
	my ($case, @lines) = @_;
	my %place = map { $order[$_] => $_ } 0 .. $#order;
	my (%seen, %unit);
	my @metrics = sort { ($place{$a} // 99) <=> ($place{$b} // 99) } grep { !$seen{$_}++ } map { $_->{metric} } @lines;
	my $ours    = $results->median($case, 'bgjob', 'rate');
	my %names   = map { $_->{variant} => 1 } @lines;
	my $ratio   = $ours && keys %names > 1;

	$unit{ $_->{metric} } //= $_->{unit} for @lines;
	my $text = '| | ' . join(' | ', map { heading($_, $unit{$_}) } @metrics) . ($ratio ? ' | bgjob to this |' : ' |') . "\n";
	$text .= '|---|' . '---:|' x (@metrics + ($ratio ? 1 : 0)) . "\n";
	for my $variant (grep { $names{$_} } $results->variants($case))
	{
		my $rate = $results->median($case, $variant, 'rate');
		$text .= "| $variant | " . join(' | ', map { cell($results->line($case, $variant, $_)) } @metrics);
		$text .= $ratio ? ' | ' . ($rate ? sprintf('%.2f ×', $ours / $rate) : '') . " |\n" : " |\n";
	}
	return "$text\n";
}

# series_tables are the series of a case, thinned to twelve places.
sub series_tables
{
	my ($case) = @_;
	my (%metrics, $text);

	for my $line (grep { $_->{at} ne '' } $results->lines($case))
	{
		$metrics{ $line->{metric} }{unit} = $line->{unit};
		$metrics{ $line->{metric} }{variants}{ $line->{variant} }{ $line->{at} } = $line->{median};
	}
	for my $metric (sort keys %metrics)
	{
		my %at = map { map { $_ => 1 } keys %$_ } values %{ $metrics{$metric}{variants} };
		my @at = sort { $a <=> $b } keys %at;
		my $step = int((@at + 11) / 12);
		@at = @at[ grep { $_ % $step == $step - 1 } 0 .. $#at ];
		$text .= '| ' . heading($metric eq 'series' ? 'rate' : $metric, $metrics{$metric}{unit}) . ' at | ' . join(' | ', @at) . " |\n";
		$text .= '|---|' . '---:|' x @at . "\n";
		for my $variant (grep { $metrics{$metric}{variants}{$_} } $results->variants($case))
		{
			my $points = $metrics{$metric}{variants}{$variant};
			$text .= "| $variant | " . join(' | ', map { defined $points->{$_} ? number($points->{$_}) : '' } @at) . " |\n";
		}
		$text .= "\n";
	}
	return $text // '';
}

# heading is a column's title with its unit.
sub heading
{
	my ($metric, $unit) = @_;
	my $name = $title{$metric} // $metric;

	return $unit eq '' ? $name : "$name, " . $unit =~ s/^us$/µs/r;
}

# cell is a figure with its spread.
sub cell
{
	my ($line) = @_;

	return '' unless $line;
	return number($line->{median}) . ($line->{runs} > 1 ? ' (' . number($line->{low}) . '–' . number($line->{high}) . ')' : '');
}

# number prints three or more digits that count, thousands apart.
sub number
{
	my ($value) = @_;
	my $size = abs $value;

	my $text = sprintf $size >= 100 || $size == int $size ? '%.0f' : $size >= 10 ? '%.1f' : $size >= 0.1 ? '%.2f' : '%.4f', $value;
	$text =~ s/^-(?=[0.]+$)//; # nearly nothing less than nothing is nothing
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# chart writes what chart.gp draws into files, and has gnuplot draw it.
sub chart
{
	my $place = tempdir(CLEANUP => 1);

	columns("$place/rates", map { bar(@$_) } [ drain => 'graphile', 'graphile' ], [ drain => 'bgjob', 'bgjob' ],
		[ group => 'graphile batched', 'graphile\nbatched' ], [ group => 'floor', 'floor.sql' ], [ group => 'bgjob', 'bgjob\ngroups' ]);
	my @held = grep { /held$/ && @{ [ $results->series('snapshot', $_, 'series') ] } } $results->variants('snapshot');
	for my $i (0 .. $#held)
	{
		# Against the same without a snapshot: what the snapshot costs.
		my $free = $results->median('snapshot', $held[$i] =~ s/held$/free/r, 'rate') or next;
		columns("$place/held$i", [ qq("$held[$i]") ], map { [ $_->[0], 100 * $_->[1] / $free ] } $results->series('snapshot', $held[$i], 'series'));
	}
	columns("$place/scale", $results->series('scale', 'bgjob', 'rate'));
	columns("$place/size", $results->series('retention', 'bgjob', 'size'));
	unlink "$dir/benchmarks.svg";
	system('gnuplot', '-e', "place='$place'; out='$dir/benchmarks.svg'; held=" . scalar @held, "$FindBin::Bin/chart.gp") == 0
	  or warn "no chart: gnuplot failed or is not installed\n";
}

# bar is a bar of the first panel, if it was measured.
sub bar
{
	my ($case, $variant, $name) = @_;
	my $rate = $results->median($case, $variant, 'rate');

	return $rate ? [ qq("$name"), $rate ] : ();
}

# columns writes a file of gnuplot's kind; none if there is nothing for it.
sub columns
{
	my ($file, @rows) = @_;

	return unless @rows;
	open my $to, '>:encoding(UTF-8)', $file or die "$file: $!";
	print $to join("\t", @$_), "\n" for @rows;
	close $to;
}
