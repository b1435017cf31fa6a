# Gate: the manual's section "What is in the log" has every message that bgjob writes at LOG, WARNING or a higher level
# other than ERROR, and no others.
#
#   perl logged.pl TREE                    says TAP
#
# The messages are the first arguments of errmsg and its kin in calls of ereport and elog. What differs from one time to the
# other is "…" in the manual's tables, and a plural has one line: its second form.
use strict;
use warnings;
use utf8;

chdir(shift // '.') or die $!;
binmode STDOUT, ':encoding(UTF-8)';

my $string = qr/"(?:[^"\\]|\\.)*"/;
my (%source, %manual);

for my $file (glob 'src/*/*.[ch]')
{
	my $text = slurp($file);

	while ($text =~ /\b(?:ereport|elog)\s*(\((?:[^()"]|$string|(?1))*\))/g)
	{
		my $call = substr $1, 1, -1;
		my ($level, $rest) = $call =~ /^([^,]*),(.*)$/s;
		next if $level !~ /\b(?:LOG|WARNING|FATAL|PANIC)\b/;
		my ($plural, $message) = $rest =~ /\berrmsg(_plural)?\w*\s*(\((?:[^()"]|$string|(?2))*\))/ ? ($1, substr $2, 1) : ('', $rest);
		my @forms = strings($message);
		$source{ plain($forms[ $plural ? 1 : 0 ]) } = $file;
	}
}

my ($section) = slurp('doc/manual.md') =~ /^### What is in the log\n(.*?)^### /ms or die 'the section is missing';
while ($section =~ /^\| `(.*?)` \|/mg)
{
	$manual{$1} = 1;
}

print "1..2\n";
verdict('each message is in the manual', map { "$source{$_}: $_" } grep { !$manual{$_} } sort keys %source);
verdict('each message of the manual is in the source', grep { !$source{$_} } sort keys %manual);

# verdict prints the result of one test, which passes if nothing speaks against it.
sub verdict
{
	my ($name, @against) = @_;
	our $number;

	print @against ? 'not ok ' : 'ok ', ++$number, " - $name\n", map { "# $_\n" } @against;
}

# strings returns the texts of a list of arguments that begin with strings; adjacent strings are one.
sub strings
{
	my ($arguments) = @_;
	my @texts;

	while ($arguments =~ /\G\s*((?:$string|\s|\bINT64_FORMAT\b|\bUINT64_FORMAT\b)+),?/gc)
	{
		push @texts, join '', map { /^"(.*)"$/s ? $1 : '%d' } $1 =~ /($string|\w+)/g;
	}
	return @texts;
}

# plain returns a format as the manual has it.
sub plain
{
	my ($format) = @_;

	return $format =~ s/\\"/"/gr =~ s/%[-\d.*l]*[a-zA-Z]/…/gr;
}

sub slurp
{
	my ($file) = @_;

	open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
	local $/;
	return <$in>;
}
