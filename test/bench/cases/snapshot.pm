# a steady load for a minute while another session holds an old snapshot
package Case::snapshot;
use strict;
use warnings;
use Bench::Load;
use Bench::Peers;

sub run
{
	my ($bench) = @_;
	my $seconds = int $bench->seconds(60);
	my $window  = $bench->quick ? 1 : 5;

	$bench->fresh('bench');
	my $groups = $bench->grouped('bench', 'snapshot');
	$bench->alternate('snapshot',
		map({ my ($name, $held) = @$_; ("bgjob $name" => sub { held($bench, $held, $seconds, $window, '') }) } [ 'held', 1 ], [ 'free', 0 ]),
		$groups
		? map({ my ($name, $held) = @$_; ("bgjob group $name" => sub { held($bench, $held, $seconds, $window, q(, queue => 'g')) }) }
			[ 'held', 1 ], [ 'free', 0 ])
		: ());
	return unless $bench->peers;
	# These are here to be seen beside it, once: nothing is judged by them.
	for my $mode ('plain', 'batched')
	{
		for (['held', 1], ['free', 0])
		{
			my @rates = graphile_held($bench, $seconds < 11 ? 11 : $seconds, $mode, $_->[1]);
			$bench->record('snapshot', "graphile $mode $_->[0]", series_figures(@rates));
			$bench->progress("snapshot: graphile $mode $_->[0]: " . join ' ', map { $_->[1] } @rates);
		}
	}
}

# held measures bgjob with or without a snapshot that is held from before the first job on.
sub held
{
	my ($bench, $held, $seconds, $window, $options) = @_;

	$bench->fresh('bench');
	$bench->grouped('bench', 'snapshot') if $options;
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->session('bench', 'app', 'holder')->rows('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class') if $held;
	# Groups are so fast that they would wait for the enqueueing with fewer.
	return series_figures(steady($bench, seconds => $seconds, window => $window, options => $options, keep => $options ? 40000 : 10000));
}

1;
