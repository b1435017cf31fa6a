# bgjob-worker --persistent with four no-op handlers in Python: the rate, and the program's own CPU for each job
package Case::external_worker;
use strict;
use warnings;
use Bench::External;

sub run
{
	my ($bench) = @_;

	return $bench->skip('external_worker', 'the server has no bgjob-worker') unless -x "$bench->{bindir}/bgjob-worker";
	return $bench->skip('external_worker', 'there is no python3') unless grep { -x "$_/python3" } split /:/, $ENV{PATH};
	my $jobs = $bench->n(50_000);
	$bench->alternate('external_worker', 'bgjob-worker' => sub { external_worker($bench, $jobs, 4) });
}

1;
