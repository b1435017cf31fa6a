# Report: how long the functions are. It fails nothing; the longest are named, so that somebody looks.
#
#   perl lengths.pl TREE                   says TAP
#
# A function begins at a "{" in the first column and ends at the "}" there, as the format has it.
use strict;
use warnings;

chdir(shift // '.') or die $!;
my @functions;
for my $file (glob 'src/*/*.c')
{
	open my $source, '<', $file or die "$file: $!";
	my ($name, $from, $last) = ('', 0, '');
	while (<$source>)
	{
		($name) = /^(\w+)\(/ ? $1 : $name if /^\w/;
		$from = $. if /^\{/ && $last =~ /[)\w]\s*$/;
		if (/^\}\s*$/ && $from)
		{
			push @functions, [ $. - $from - 1, $name, $file ];
			$from = 0;
		}
		$last = $_ if /\S/;
	}
}
@functions = sort { $b->[0] <=> $a->[0] } @functions;
print "1..1\nok 1 - function lengths\n";
if (@functions)
{
	printf "# %d functions, median %d lines, %d over 80\n", scalar @functions, $functions[ @functions / 2 ][0],
	  scalar grep { $_->[0] > 80 } @functions;
	printf "# %4d  %s (%s)\n", @{$_}[ 0, 1, 2 ] for grep { $_ && $_->[0] > 60 } @functions[ 0 .. 4 ];
}
