# the rate while 100,000 jobs are there that cannot run now: scheduled far ahead, or in a paused queue
package Case::blocked;
use strict;
use warnings;
use Bench::Load;

sub run
{
	my ($bench) = @_;

	$bench->fresh('bench');
	my $pause = $bench->has_function('bench', 'bgjob_queue_pause');
	$bench->skip('blocked', 'the extension has no bgjob_queue_pause() yet') unless $pause;
	$bench->alternate('blocked',
		without   => sub { rate($bench, sub { }) },
		scheduled => sub {
			rate($bench, sub { enqueue($bench, jobs => $bench->n(100_000), options => q(, delay => '30 days')) });
		},
		$pause
		? (paused => sub {
				rate($bench, sub {
					# A queue can be paused once it is known.
					$bench->session('bench')->rows(q(SELECT bgjob_queue('held'))) if $bench->has_function('bench', 'bgjob_queue');
					$bench->session('bench')->rows(q(SELECT bgjob_queue_pause('held')));
					enqueue($bench, jobs => $bench->n(100_000), options => q(, queue => 'held'));
				});
			})
		: ());
}

# rate drains jobs beside those that the sub puts in.
sub rate
{
	my ($bench, $block) = @_;
	my $jobs = $bench->n(50_000);

	$bench->processing('off');
	$bench->fresh('bench');
	$block->();
	enqueue($bench, jobs => $jobs);
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	return (rate => [ 'jobs/s', drain_window($bench, 'bench', $jobs) ]);
}

1;
