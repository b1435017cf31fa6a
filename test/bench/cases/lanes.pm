# one role's rate, and the delay of its due and its recurring jobs, while another role has 200,000 waiting jobs, each in a lane of its own
# (queue and priority): against all in one
package Case::lanes;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep);

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
	my $rate = drain_window($bench, 'bench', $jobs);
	return (rate => [ 'jobs/s', $rate ], late($bench, $bench->quick ? 5 : 30));
}

# late has app's jobs become due, and recurring ones run, for so many seconds; the longest delay of each, in ms.
sub late
{
	my ($bench, $seconds) = @_;
	my $app = $bench->session('bench', 'app');

	$bench->processing('on');
	$app->rows(q{SELECT bgjob_recurring('beat', '@every_second', 'bench_noop', '{"id": 0}')});
	$bench->wait_for(60, 'the recurring job runs', sub { $app->value(q{SELECT count(*) FROM bgjob.jobs WHERE recurring_name = 'beat' AND state = 'succeeded'}) > 1 });
	$app->rows(<<~"SQL");
		SELECT bgjob_enqueue('bench_noop', jsonb_build_object('id', i), delay => i * interval '100 ms', tags => '{due}')
		FROM generate_series(10, 10 * $seconds) i
		SQL
	$bench->wait_for($seconds + 60, 'all that is due has run',
		sub { sleep 0.5; $app->value(q{SELECT count(*) FROM bgjob.jobs WHERE tags = '{due}' AND state = 'succeeded'}) == 10 * $seconds - 9 });
	my %late = (
		due       => q{SELECT max(extract(epoch FROM started_at - created_at - (args ->> 'id')::int * interval '100 ms') * 1000)
			FROM bgjob.jobs WHERE tags = '{due}'},
		recurring => q{SELECT max(extract(epoch FROM started_at - date_trunc('second', started_at)) * 1000)
			FROM bgjob.jobs WHERE recurring_name = 'beat' AND state = 'succeeded'});
	my @figures = map { ("late_$_" => [ 'ms', $app->value($late{$_}) ]) } sort keys %late;
	$bench->processing('off');
	return @figures;
}

1;
