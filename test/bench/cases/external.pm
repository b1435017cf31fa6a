# external no-op jobs, fetched and completed one at a time by 1, 4 and 16 clients: against graphile-worker's defaults with as many at once
package Case::external;
use strict;
use warnings;
use Bench::External;
use Bench::Peers;

# Each number of clients, and the jobs for it: the rates of both grow with it.
my @sizes = ([ 1, 10_000 ], [ 4, 20_000 ], [ 16, 40_000 ]);

sub run
{
	my ($bench) = @_;

	for my $size (@sizes)
	{
		my ($clients, $jobs) = ($size->[0], $bench->n($size->[1]));
		# In two transactions; in two that are sent at once; in one that also fetches the next job; and by a client in Node, to be seen beside it.
		$bench->alternate('external',
			"bgjob $clients"           => sub { external_drain($bench, $jobs, $clients, 1, 'apart') },
			"bgjob pipelined $clients" => sub { external_drain($bench, $jobs, $clients, 1, 'pipelined') },
			"bgjob together $clients"  => sub { external_drain($bench, $jobs, $clients, 1, 'together') },
			$bench->peers
			? ("graphile $clients" => sub { graphile_own($bench, $jobs, 'plain', 'noop', at_once => $clients) },
				"bgjob in Node $clients" => sub { external_node($bench, $jobs, $clients) })
			: ());
	}
}

1;
