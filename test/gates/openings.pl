# Gate: every C file opens with a comment of at least eight lines. The comment describes the file, the
# processes that run it and its invariants.
#
#   perl openings.pl TREE                  says TAP
use strict;
use warnings;

chdir(shift // '.') or die $!;
my @files = glob 'src/*/*.c';
my @short;
for my $file (@files)
{
	open my $source, '<', $file or die "$file: $!";
	my ($lines, $inside) = (0, 0);
	while (<$source>)
	{
		last unless $inside || m{^/\*};
		$inside = 1;
		$lines++ unless /-----/;    # the frame is not counted
		last if m{\*/};
	}
	push @short, "$file: its opening comment has $lines lines" if $lines < 8;
}
print "1..1\n";
print @short ? 'not ok' : 'ok', ' 1 - ' . @files . " files have an opening\n";
print map { "# $_\n" } @short;
