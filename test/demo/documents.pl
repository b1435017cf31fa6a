# Prints the text files of this machine in COPY's text format, one line "path TAB content" for each: the
# licences and the copyright files of the packages. Links to a file that is there already are left out;
# bytes that are no UTF-8 are read as Latin-1.
use strict;
use warnings;

my %seen;
binmode STDOUT, ':encoding(UTF-8)';
for my $path (glob('/usr/share/common-licenses/*'), glob('/usr/share/doc/*/copyright'))
{
	my ($device, $inode) = stat $path or next;
	next if !-f _ || !-r _ || $seen{"$device/$inode"}++;
	open my $file, '<:raw', $path or next;
	my $text = do { local $/; <$file> } // '';
	utf8::decode($text);
	$text =~ tr/\0//d;
	for ($path, $text) { s/\\/\\\\/g; s/\t/\\t/g; s/\n/\\n/g; s/\r/\\r/g }
	print "$path\t$text\n";
}
