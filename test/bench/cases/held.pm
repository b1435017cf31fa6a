# a steady load for ten minutes while another session holds an old snapshot, second by second: against the same without it
package Case::held;
use strict;
use warnings;
use Bench::Load;
use List::Util qw(min sum);

sub run
{
	my ($bench) = @_;
	my $seconds = int $bench->seconds(600);

	$bench->alternate('held', map { my ($name, $held) = @$_; ("bgjob $name" => sub { load($bench, $held, $seconds) }) } [ 'held', 1 ], [ 'free', 0 ]);
}

sub load
{
	my ($bench, $held, $seconds) = @_;

	$bench->fresh('bench');
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->session('bench', 'app', 'holder')->rows('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class') if $held;
	my @rates = map { $_->[1] } steady($bench, seconds => $seconds, window => 1, keep => 20000);
	my $tenth = int(@rates / 10) || 1;
	return (
		rate   => [ 'jobs/s', mean(@rates) ],
		begin  => [ 'jobs/s', mean(@rates[ 0 .. $tenth - 1 ]) ],
		end    => [ 'jobs/s', mean(@rates[ -$tenth .. -1 ]) ],
		parts  => [ 'jobs/s', [ map { [ $_ * $tenth, mean(@rates[ ($_ - 1) * $tenth .. $_ * $tenth - 1 ]) ] } 1 .. 10 ] ],
		lowest => [ 'jobs/s', min @rates ],
		jobs   => [ '', int sum @rates ]);
}

sub mean { return sum(@_) / @_ }

1;
