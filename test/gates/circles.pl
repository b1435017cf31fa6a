# Gate: no circles among the files of the source.
#
#   perl circles.pl TREE                   says TAP
#
# No file depends on itself, directly or through other files. For src/store, src/README.md has the order of the files. Only
# calls of functions count: any file may include a header with the columns of a table.
use strict;
use warnings;

my $tree = shift // '.';
my (%text, %file_of, %uses);

chdir $tree or die "$tree: $!";
for my $file (glob 'src/*/*.c')
{
	my $text = do { local (@ARGV, $/) = $file; <> };
	$text =~ s{/\*.*?\*/|"(?:[^"\\\n]|\\.)*"}{}gs;
	$file =~ s{^src/}{};
	$text{$file} = $text;
	$file_of{$1} = $file while $text =~ /^(bgjob_\w+)\([^;]*?\)\n\{/gm;
}
for my $file (keys %text)
{
	$uses{$file}{ $file_of{$1} // $file } = 1 while $text{$file} =~ /\b(bgjob_\w+)\b/g;
	delete $uses{$file}{$file};
}

# The order of the files, as src/README.md has it.
my (%line, @upward);
{
	my $readme = do { local (@ARGV, $/) = 'src/README.md'; <> };
	my ($order) = $readme =~ /^## The order of the files of `store`\n(.*?)^## /ms;
	my $line = 0;
	for ($order =~ /^    (.+?)  /mg)
	{
		$line++;
		$line{"store/$_.c"} = $line for split /, /;
	}
}
for my $file (grep { m{^store/} } sort keys %uses)
{
	push @upward, "$file is not there" unless $line{$file};
	push @upward, map { "$file uses $_" } grep { ($line{$_} // 0) > ($line{$file} // 0) } sort keys %{ $uses{$file} };
}

# What is in no circle goes, from the bottom on.
my $gone = 1;
while ($gone)
{
	$gone = 0;
	for my $file (sort keys %uses)
	{
		next if grep { exists $uses{$_} } keys %{ $uses{$file} };
		delete $uses{$file};
		$gone++;
	}
}

print "1..3\n";
print keys(%file_of) > 400 ? 'ok' : 'not ok', ' 1 - ', "the functions have been found\n";
print %uses ? 'not ok' : 'ok', ' 2 - ', "no file uses one that uses it\n";
print "# $_ uses ", join(', ', sort grep { exists $uses{$_} } keys %{ $uses{$_} }), "\n" for sort keys %uses;
print @upward ? 'not ok' : 'ok', ' 3 - ', "those of src/store stand in the order of src/README.md\n";
print map { "# $_\n" } @upward;
