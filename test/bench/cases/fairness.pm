# fairness: how long the client of a light key waits beside a flood of one key, and of 1,000; the shares of weights 1 : 3
package Case::fairness;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep time);

sub run
{
	my ($bench) = @_;
	my $times = int($bench->seconds(30)) || 2;
	my $flood = $bench->quick ? 20_000 : 100_000;

	# So each of 1,000 keys gets 1.6 jobs a second, and the light one with its one is lighter.
	$bench->settings('bgjob.workers' => 16, max_worker_processes => 32);
	$bench->alternate('fairness',
		alone => sub { light($bench, 0, 1, $times) },
		flood => sub { light($bench, $flood, 1, $times) },
		'flood of 1,000 keys' => sub { light($bench, $flood, 1000, $times) },
		weights => sub { weights($bench, $bench->n(100_000), int($bench->seconds(30)) || 3) });
}

sub prepare
{
	my ($bench) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	my $app = $bench->session('bench', 'app');
	$app->rows(q{CREATE FUNCTION bench_ten(args jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); END $$});
	$bench->session('bench')->rows(q{SELECT bgjob_weight('tenant:*', 1)});
	return $app;
}

# flood enqueues jobs of 10 ms, of so many keys.
sub flood
{
	my ($app, $name, $jobs, $keys) = @_;

	$app->rows(qq{SELECT count(*) FROM bgjob_enqueue_many('bench_ten', (SELECT array_agg(jsonb_build_object('id', '$name/' || i % $keys)) FROM generate_series(1, $jobs) i), fairness_key => 'tenant:{id}')});
}

# light has a client enqueue a job of 10 ms once a second and wait until it is done: the median of that time.
sub light
{
	my ($bench, $jobs, $keys, $times) = @_;
	my $app = prepare($bench);
	my @waits;

	flood($app, 'heavy', $jobs, $keys) if $jobs;
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->processing('on');
	my $one = sub {
		my $began = time;
		my $id = $app->value(q{SELECT bgjob_enqueue('bench_ten', '{"id": "light"}', fairness_key => 'tenant:light')});
		$app->rows("SELECT bgjob_wait($id, '60 s')");
		return (time - $began) * 1000;
	};
	$one->();
	sleep 1;
	for (1 .. $times)
	{
		push @waits, $one->();
		sleep 1 - $waits[-1] / 1000 if $waits[-1] < 1000;
	}
	die "the flood is over\n" if $jobs && stats($bench)->{enqueued} == 0;
	$bench->processing('off');
	@waits = sort { $a <=> $b } @waits;
	return (wait => [ 'ms', $waits[ @waits / 2 ] ], longest => [ 'ms', $waits[-1] ]);
}

# weights has two keys with weights 1 and 3, both with more jobs than can be done: the share of the second one.
sub weights
{
	my ($bench, $jobs, $seconds) = @_;
	my $app = prepare($bench);

	$bench->session('bench')->rows(q{SELECT bgjob_weight('tenant:rich/0', 3)});
	$app->rows('BEGIN');
	flood($app, $_, $jobs, 1) for 'poor', 'rich';
	$app->rows('COMMIT');
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->processing('on');
	$bench->wait_for(60, 'jobs are performed', sub { stats($bench)->{succeeded} > 0 });
	sleep $seconds;
	$bench->processing('off');
	my ($share, $left) = $app->row(<<~'SQL');
		SELECT 100.0 * count(*) FILTER (WHERE fairness_key = 'tenant:rich/0' AND state = 'succeeded') / count(*) FILTER (WHERE state = 'succeeded'),
			count(*) FILTER (WHERE fairness_key = 'tenant:rich/0' AND state = 'enqueued') FROM bgjob.jobs
		SQL
	die "a flood is over\n" unless $left;
	return (share => [ '%', $share ]);
}

1;
