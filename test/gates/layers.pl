# Gate: the layers of the source.
#
#   perl layers.pl TREE                    says TAP
#
# A file of src/LAYER includes only its own layer and lower ones; process and api stand side by side
# and do not include each other. PG_VERSION_NUM is in base/compat.h alone. The tables of bgjob are
# named by the storage layer alone; strings in C elsewhere that read like SQL on them are a violation.
use strict;
use warnings;

my $tree  = shift // '.';
my %level = (rules => 0, base => 1, store => 2, run => 3, process => 4, api => 4);
my (@upward, @version, @tables, %files);

chdir $tree or die "$tree: $!";
for my $file (glob 'src/*/*.c src/*/*.h')
{
	my ($layer) = $file =~ m{^src/(\w+)/};
	next unless exists $level{$layer};
	$files{$layer}++;

	my $text = do { local (@ARGV, $/) = $file; <> };
	$text =~ s{/\*.*?\*/}{ $& =~ tr/\n//cdr }gse;    # comments go, line numbers stay
	my $number = 0;
	for (split /\n/, $text)
	{
		my $where = "$file:" . ++$number;

		if (/^\s*#\s*include\s*"(\w+)\/[\w.]+"/ && exists $level{$1})
		{
			push @upward, "$where: $layer includes $1"
			  if $level{$1} > $level{$layer} || $level{$1} == $level{$layer} && $1 ne $layer;
		}
		push @version, $where if /\bPG_VERSION_NUM\b/ && $file ne 'src/base/compat.h';
		next if $layer eq 'store';
		push @tables, "$where: $_"
		  if /"[^"]*\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:ONLY\s+)?bgjob(?:_internal)?\./i
		  || /get_relname_relid\s*\(\s*"(?!pg_)/ || /makeRangeVar\s*\([^)]*"bgjob(?:_internal)?"/;
	}
}

# The server's headers come first through postgres.h; the pure layer has neither.
my @impure;
for my $file (glob 'src/rules/*.c src/rules/*.h')
{
	my $text = do { local (@ARGV, $/) = $file; <> };
	push @impure, "$file: $1" while $text =~ /^\s*#\s*include\s*"((?!rules\/)[^"]+)"/gm;
}

my $test = 0;
print "1..4\n";
result('includes go downward', @upward);
result('src/rules includes nothing but itself and the C library', @impure);
result('PG_VERSION_NUM is in src/base/compat.h alone', @version);
result('only src/store names the tables', @tables);

sub result
{
	my ($name, @violations) = @_;

	print @violations ? 'not ok ' : 'ok ', ++$test, " - $name\n";
	print map { "# $_\n" } @violations;
}
