# external no-op jobs, fetched and completed in groups of 100 by 1, 2 and 4 clients: against graphile-worker's batched mode
package Case::external_groups;
use strict;
use warnings;
use Bench::External;
use Bench::Peers;

use constant GROUP => 100;

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(200_000);

	$bench->alternate('external_groups',
		(map {
			my $clients = $_;
			# A group's completion is one statement, and a transaction; or one with the next fetch.
			("bgjob $clients" => sub { external_drain($bench, $jobs, $clients, GROUP, 'apart') },
				"bgjob together $clients" => sub { external_drain($bench, $jobs, $clients, GROUP, 'together') })
		} 1, 2, 4),
		$bench->peers ? ('graphile batched' => sub { graphile_own($bench, $bench->n(100_000), 'batched', 'noop') }) : ());
}

1;
