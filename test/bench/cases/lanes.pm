# the rate of one role while another has 200,000 jobs waiting, each in a lane of its own (queue and priority): against all in one
package Case::lanes;
use strict;
use warnings;
use Bench::Load;

sub run
{
	my ($bench) = @_;

	$bench->alternate('lanes', 'one lane' => sub { rate($bench, 0) }, '200,000 lanes' => sub { rate($bench, 1) });
}

# rate drains jobs of app while other has jobs that hold the workers that they get.
sub rate
{
	my ($bench, $many) = @_;
	my ($jobs, $lanes) = ($bench->n(100_000), $bench->n(200_000));
	my $lane = $many ? q(, queue => 'q' || i / 60000, priority => i % 60000 - 30000) : '';

	$bench->processing('off');
	$bench->fresh('bench');
	my $other = $bench->session('bench', 'other');
	for (my $from = 0; $from < $lanes; $from += 5000)
	{
		$other->rows("SELECT count(bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql'$lane)) FROM generate_series($from, least($from + 4999, $lanes - 1)) i");
	}
	enqueue($bench, jobs => $jobs);
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	return (rate => [ 'jobs/s', drain_window($bench, 'bench', $jobs) ]);
}

1;
