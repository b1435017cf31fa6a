# no-op jobs, defaults, durable, full history: against graphile-worker's defaults
package Case::drain;
use strict;
use warnings;
use Bench::Load;
use Bench::Peers;

sub run
{
	my ($bench) = @_;

	$bench->alternate('drain',
		bgjob => sub { drain($bench, jobs => $bench->n(200_000)) },
		$bench->peers
		? (graphile => sub { graphile_drain($bench, $bench->n(30_000), 'plain') },
			'graphile, own driver' => sub { graphile_own($bench, $bench->n(30_000), 'plain', 'noop') })
		: ());
}

1;
