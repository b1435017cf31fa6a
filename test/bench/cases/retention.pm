# a steady load for three minutes with bgjob.retention = 5 s, from when the first jobs are removed: the table's size, the rate, waits for locks
package Case::retention;
use strict;
use warnings;
use Bench::Load;

sub run
{
	my ($bench) = @_;

	$bench->settings('bgjob.retention' => '5s');
	$bench->alternate('retention', bgjob => sub { measured($bench) });
}

sub measured
{
	my ($bench) = @_;
	my $seconds = int $bench->seconds(180);
	my $window  = $seconds / 18;
	my ($waited, $looked, @sizes) = (0, -1);

	$bench->fresh('bench');
	$bench->admin->rows('CHECKPOINT');
	$bench->session('bench', 'postgres', 'sizes');
	my @rates = steady($bench, seconds => $seconds + $window, window => $window, tick => sub {
		my ($at) = @_;

		my $wait = $bench->admin->value(<<~'SQL');
			SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)) * 1000, 0) FROM pg_locks WHERE NOT granted
			SQL
		$waited = $wait if $wait > $waited;
		return unless int($at) > $looked;
		$looked = int $at;
		push @sizes, [ $looked, $bench->session('bench', 'postgres', 'sizes')->value(q(SELECT pg_total_relation_size('bgjob_internal.job'))) / 1048576 ];
	});
	shift @rates;    # nothing has expired yet
	my @first = grep { $_->[0] <= $seconds / 3 } @sizes;
	my @last  = grep { $_->[0] > $seconds * 2 / 3 } @sizes;
	return (
		series    => [ 'jobs/s', \@rates ],
		size      => [ 'MB', \@sizes ],
		first     => [ 'jobs/s', mean(@rates[ 0 .. 5 ]) ],
		last      => [ 'jobs/s', mean(@rates[ -6 .. -1 ]) ],
		max_first => [ 'MB', greatest(@first) ],
		max_last  => [ 'MB', greatest(@last) ],
		lock_wait => [ 'ms', $waited ],
		left      => [ 'jobs', $bench->session('bench')->value('SELECT count(*) FROM bgjob.jobs') ]);
}

sub mean
{
	my @points = grep { defined } @_;
	my $sum = 0;

	$sum += $_->[1] for @points;
	return $sum / @points;
}

sub greatest { return (sort { $b <=> $a } map { $_->[1] } @_)[0] }

1;
