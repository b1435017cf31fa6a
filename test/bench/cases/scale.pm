# jobs that sleep 1 ms, with 1 to 16 workers; and two roles with the same work share them fairly
package Case::scale;
use strict;
use warnings;
use Bench::Load;

sub run
{
	my ($bench) = @_;

	$bench->settings(max_worker_processes => 32);
	$bench->alternate('scale',
		bgjob => sub {
			my @rates;
			for my $workers (1, 2, 4, 8, 16)
			{
				$bench->settings('bgjob.workers' => $workers);
				my %figures = drain($bench, jobs => $bench->n(4000) * $workers, function => 'bench_sleep');
				push @rates, [ $workers, $figures{rate}[1] ];
				$bench->progress(sprintf '  %d workers: %.0f jobs/s', @{ $rates[-1] });
			}
			return (rate => [ 'jobs/s', \@rates ]);
		});
	$bench->settings('bgjob.workers' => 8);
	$bench->alternate('scale', 'two roles' => sub { fair($bench, $bench->n(5000)) });
}

# fair has two roles' jobs drained together: how long each took, from the first start of any.
sub fair
{
	my ($bench, $jobs) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	enqueue($bench, jobs => $jobs, function => 'bench_sleep', user => $_) for 'app', 'other';
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->processing('on');
	$bench->wait_for(300, 'both are done', sub { stats($bench)->{succeeded} == 2 * $jobs });
	my %took = map { @$_ } $bench->session('bench')->rows(<<~'SQL');
		SELECT run_as, extract(epoch FROM max(finished_at) - (SELECT min(started_at) FROM bgjob.jobs)) FROM bgjob.jobs GROUP BY 1
		SQL
	return (map { ("took_$_" => [ 's', $took{$_} ]) } 'app', 'other');
}

1;
