# no-op jobs in a queue with groups of 200: against graphile-worker's batched mode and floor.sql
package Case::group;
use strict;
use warnings;
use Bench::Load;
use Bench::Peers;

sub run
{
	my ($bench) = @_;

	$bench->fresh('bench');
	my $groups = $bench->grouped('bench', 'group');
	$bench->alternate('group',
		$groups
		? (bgjob => sub {
				drain($bench, jobs => $bench->n(200_000), options => q(, queue => 'g'), prepare => sub { $bench->grouped($_[0], 'group') });
			})
		: (),
		$bench->peers
		? ('graphile batched' => sub { graphile_drain($bench, $bench->n(100_000), 'batched') },
			'graphile batched, own driver' => sub { graphile_own($bench, $bench->n(100_000), 'batched', 'noop') },
			floor => sub { floor_rate($bench) })
		: ());
}

1;
