# Gate: no file of the source is longer than 600 lines, unless its opening says why in a line that begins
# "Longer than 600 lines:". Report: how long the functions are. It fails nothing; the longest are named.
#
#   perl lengths.pl TREE                   says TAP
#
# A function begins at a "{" in the first column and ends at the "}" there, as the format has it.
use strict;
use warnings;

chdir(shift // '.') or die $!;
my (@functions, @long);
for my $file (glob 'src/*/*.c')
{
	open my $source, '<', $file or die "$file: $!";
	my ($name, $from, $last, $opening, $argued) = ('', 0, '', 1, 0);
	while (<$source>)
	{
		$argued = 1 if $opening && /^ \* Longer than 600 lines: \w/;
		$opening = 0 if m{\*/};
		($name) = /^(\w+)\(/ ? $1 : $name if /^\w/;
		$from = $. if /^\{/ && $last =~ /[)\w]\s*$/;
		if (/^\}\s*$/ && $from)
		{
			push @functions, [ $. - $from - 1, $name, $file ];
			$from = 0;
		}
		$last = $_ if /\S/;
	}
	push @long, "$file: $. lines" if $. > 600 && !$argued;
}
@functions = sort { $b->[0] <=> $a->[0] } @functions;
print "1..2\nok 1 - function lengths\n";
print @long ? 'not ok' : 'ok', " 2 - no file is longer than 600 lines without a reason in its opening\n";
print map { "# $_\n" } @long;
if (@functions)
{
	printf "# %d functions, median %d lines, %d over 80\n", scalar @functions, $functions[ @functions / 2 ][0],
	  scalar grep { $_->[0] > 80 } @functions;
	printf "# %4d  %s (%s)\n", @{$_}[ 0, 1, 2 ] for grep { $_ && $_->[0] > 60 } @functions[ 0 .. 4 ];
}
