# Gate: code under a spinlock is a few stores. No loop, no return, no other lock, and no function call: it could raise an
# error, allocate, or take long, while other processes spin.
#
#   perl spinlocks.pl TREE                 says TAP
use strict;
use warnings;

chdir(shift // '.') or die $!;

# Macros and inline functions that are arithmetic, or one instruction.
my %harmless = map { $_ => 1 } qw(if for while do sizeof Min Max Assert TimestampTzPlusMilliseconds pg_atomic_read_u32 pg_atomic_read_u64);
my $lines = 24;

# faults FILE, TEXT returns what a file does under spinlocks against the rule.
sub faults
{
	my ($file, $text) = @_;
	my (@faults, $n);

	$text =~ s{/\*.*?\*/}{$& =~ tr/\n//cdr}gse;     # comments, but for their lines
	$text =~ s{"(?:[^"\\\n]|\\.)*"}{""}g;
	while ($text =~ /\bSpinLockAcquire\(([^;]*)\);(.*?)\bSpinLockRelease\(([^;]*)\);/gs)
	{
		my ($lock, $held, $released) = ($1, $2, $3);
		my $at = "$file:" . (1 + substr($text, 0, $-[2]) =~ tr/\n//);

		$n++;
		push @faults, "$at: releases another lock" if $lock ne $released;
		push @faults, "$at: more than $lines lines" if $held =~ tr/\n// > $lines;
		push @faults, "$at: a $1" while $held =~ /\b(for|while|do|goto|return|break|continue)\b/g;
		push @faults, "$at: calls $_()" for grep { !$harmless{$_} } $held =~ /\b(\w+)\s*\(/g;
	}
	my $acquired = () = $text =~ /\bSpinLockAcquire\(/g;
	push @faults, "$file: $acquired acquired, " . ($n // 0) . ' released after it' if $acquired != ($n // 0);
	return @faults;
}

sub slurp { my ($file) = @_; local $/; open my $source, '<', $file or die "$file: $!"; return scalar <$source> }

my @faults = map { faults($_, slurp($_)) } glob 'src/*.c src/*/*.c src/*/*.h';
my $planted = () = faults('planted', "SpinLockAcquire(&a);\nfor (;;)\n\tmemcpy(x, y, 1);\nSpinLockRelease(&a);\nSpinLockAcquire(&a);\nLWLockAcquire(&b);\nSpinLockRelease(&a);");
print "1..2\n";
print @faults ? 'not ok' : 'ok', " 1 - only stores under spinlocks\n";
print map { "# $_\n" } @faults;
print $planted == 3 ? 'ok' : 'not ok', " 2 - others would be found\n";
