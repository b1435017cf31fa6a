# A server whose clock a test sets (fakeclock.c). CLOCK_MONOTONIC is not changed.
#
#   use FakeClock;
#   my $node = clock_cluster('name', 86400, 'bgjob.workers' => 2);
#   set_clock(0);
package FakeClock;
use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use BgjobTest;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(clock_cluster set_clock with_clock);

my $folder;

# set_clock SECONDS sets the clock ahead of the real time by that many seconds.
sub set_clock
{
	my ($seconds) = @_;
	open my $file, -e "$folder/offset" ? '+<:raw' : '>:raw', "$folder/offset" or die $!;
	print $file pack 'd', $seconds;
	close $file or die $!;
}

# with_clock CODE runs code that starts a server, such as $node->restart.
sub with_clock
{
	my ($code) = @_;
	local %ENV = (%ENV, LD_PRELOAD => "$folder/fakeclock.so", BGJOB_CLOCK_OFFSET => "$folder/offset");
	return $code->();
}

# clock_cluster NAME, SECONDS, SETTING => VALUE… is bgjob_cluster with a clock ahead by that many seconds.
sub clock_cluster
{
	my ($name, $seconds, @conf) = @_;
	$folder = PostgreSQL::Test::Utils::tempdir();
	system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$folder/fakeclock.so", dirname(__FILE__) . '/fakeclock.c');
	set_clock($seconds);
	return with_clock(sub { bgjob_cluster($name, @conf) });
}

1;
