# from the commit of an external job until a client that waited in bgjob_await() has it: against graphile-worker's pickup
package Case::external_pickup;
use strict;
use warnings;
use Bench::External;
use Bench::Peers;

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(1000);

	# Four wait, as graphile.mjs has four at once. Both are measured by the client's clock, from the answer to the commit.
	$bench->alternate('external_pickup',
		bgjob => sub { external_pickup($bench, $jobs, 4) },
		$bench->peers ? (graphile => sub { graphile_latency($bench, $jobs) }) : ());
}

1;
