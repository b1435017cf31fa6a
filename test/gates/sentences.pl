# Gate: no sentence of the README or of doc/*.md has more than 30 words. Code blocks, tables and headings are left out.
#
#   perl sentences.pl TREE                 says TAP
#
# A sentence ends at ".", "!" or "?", or with its paragraph or list item. Code in backquotes counts as one word.
use strict;
use warnings;
use utf8;

use constant LIMIT => 30;

chdir(shift // '.') or die $!;
my @files = (glob('doc/*.md'), 'README.md');

binmode STDOUT, ':encoding(UTF-8)';
print '1..', @files + 2, "\n";
verdict(!long_sentences(join(' ', ('word') x LIMIT) . '.'), 'a sentence of ' . LIMIT . ' words passes');
verdict(long_sentences("- One.\n- " . join(' ', ('word') x (LIMIT + 1))) == 1, 'a sentence of one word more is found');
for my $file (@files)
{
	open my $in, '<:encoding(UTF-8)', $file or die "$file: $!";
	my @long = long_sentences(do { local $/; <$in> });
	verdict(!@long, $file, map { "$file:$_->[0]: $_->[1] words: $_->[2]" } @long);
}

# verdict prints the result of one test, and on failure the lines that say why.
sub verdict
{
	my ($passed, $name, @why) = @_;
	our $number;

	print $passed ? 'ok ' : 'not ok ', ++$number, " - $name\n", map { "# $_\n" } $passed ? () : @why;
}

# long_sentences returns [line, words, sentence] for each sentence over the limit.
sub long_sentences
{
	my ($text) = @_;
	my (@long, $fenced, $from);
	my ($paragraph, $line) = ('', 0);
	my $end = sub {
		for my $sentence (split /(?<=[.!?])["')*]*\s+/, plain($paragraph))
		{
			my @words = grep { /\w/ } split ' ', $sentence;
			push @long, [ $from, scalar @words, $sentence ] if @words > LIMIT;
		}
		$paragraph = '';
	};

	for (split /\n/, $text)
	{
		$line++;
		$fenced = !$fenced if /^\s*```/;
		my $prose = !$fenced && !/^\s*(?:```|\||#)/;
		$end->() if !$prose || !/\S/ || /^\s*(?:[*-]|\d+\.)\s/;
		next if !$prose;
		$from = $line if $paragraph eq '';
		$paragraph .= "$_ ";
	}
	$end->();
	return @long;
}

# plain removes the markup: code becomes one word, a link its text.
sub plain
{
	my ($text) = @_;

	$text =~ s/``.+?``|`[^`]*`/code/g;
	$text =~ s/!?\[([^\]]*)\]\([^)]*\)/$1/g;
	return $text;
}
