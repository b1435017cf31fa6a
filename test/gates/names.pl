# Gate: each wait of a process has a name in pg_stat_activity.
#
#   perl names.pl TREE                     says TAP
#
# Waits name their event by bgjob_wait_event(): the server's own class "Extension" is named by base/waits.c
# alone. Each LWLock tranche that a file makes is given a name in the same file.
use strict;
use warnings;

chdir(shift // '.') or die $!;
my (@waits, @locks);
for my $file (glob 'src/*/*.c src/*/*.h')
{
	my $text = do { local (@ARGV, $/) = $file; <> };
	my $made  = () = $text =~ /\bLWLockNewTrancheId\(\)/g;
	my $named = () = $text =~ /\bLWLockRegisterTranche\(/g;

	push @waits, $file if $text =~ /\bPG_WAIT_EXTENSION\b|\bWAIT_EVENT_[A-Z_]+/ && $file ne 'src/base/waits.c';
	push @locks, "$file: $made tranches, $named names" if $made != $named;
}
print "1..2\n";
result(1, 'waits have names of their own', @waits);
result(2, 'LWLock tranches have names', @locks);

sub result
{
	my ($number, $name, @violations) = @_;

	print @violations ? 'not ok' : 'ok', " $number - $name\n", map { "# $_\n" } @violations;
}
