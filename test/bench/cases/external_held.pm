# external jobs under a steady load for a minute while another session holds an old snapshot
package Case::external_held;
use strict;
use warnings;
use Bench::External;
use Bench::Load;
use Bench::Peers;

sub run
{
	my ($bench) = @_;
	my $seconds = int $bench->seconds(60);

	$bench->alternate('external_held',
		map {
			my ($name, $clients, $batch) = @$_;
			map { my $held = $_; ("$name " . ($held ? 'held' : 'free') => sub { held($bench, $held, $seconds, $clients, $batch) }) } 1, 0
		} [ 'bgjob', 16, 1 ], [ 'bgjob groups', 2, 100 ]);
	return unless $bench->peers;
	# Nothing is judged by these: what graphile-worker does meanwhile, once.
	for my $mode ('plain', 'batched')
	{
		for (1, 0)
		{
			my @rates = graphile_held($bench, $seconds < 11 ? 11 : $seconds, $mode, $_);
			$bench->record('external_held', "graphile $mode " . ($_ ? 'held' : 'free'), series_figures(@rates));
			$bench->progress("external_held: graphile $mode " . ($_ ? 'held' : 'free') . ': ' . join ' ', map { $_->[1] } @rates);
		}
	}
}

# held measures with or without a snapshot that is held from before the first job on.
sub held
{
	my ($bench, $held, $seconds, $clients, $batch) = @_;

	external_jobs($bench, 0);
	$bench->session('bench', 'app', 'holder')->rows('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class') if $held;
	my $client = external_serve($bench, $clients, $batch, 'apart');
	# Groups are so fast that they would wait for the enqueueing with fewer.
	my @rates = eval {
		steady($bench, seconds => $seconds, window => $bench->quick ? 1 : 5, function => 'noop', options => q(, kind => 'external'),
			keep => $batch > 1 ? 40000 : 10000);
	};
	my $error = $@;
	stop_program($client);
	die $error if $error;
	return series_figures(@rates);
}

1;
